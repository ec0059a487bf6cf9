"""Choice of the reader for a table file, and folders whose files are parts of one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_runtime.data.tables.cells import Cells, Decimal
from vae_runtime.data.tables.files.arff_files import ARFF_EXTENSIONS, ArffFile
from vae_runtime.data.tables.files.arrow_files import ARROW_EXTENSIONS, ArrowFile
from vae_runtime.data.tables.files.chunks import Chunk, TableFile
from vae_runtime.data.tables.files.h5ad_files import H5AD_EXTENSIONS, H5adFile
from vae_runtime.data.tables.files.json_files import JSON_EXTENSIONS, JsonFile
from vae_runtime.data.tables.files.streams import format_extension
from vae_runtime.data.tables.files.table_splits import SplitFiles, find_split_files
from vae_runtime.data.tables.files.text_files import TEXT_EXTENSIONS, TextFile
from vae_runtime.data.tables.names import quoted
from vae_runtime.errors import InputError

TABLE_EXTENSIONS = (
    *(*TEXT_EXTENSIONS, *JSON_EXTENSIONS, *ARROW_EXTENSIONS),
    *(*ARFF_EXTENSIONS, *H5AD_EXTENSIONS),
)
"""Extensions of files that are read as tables, in lower case."""

_NO_PARTS = (".txt", ".dat", ".data", ".json")
"""Extensions that also other files than parts of a table have: notes, settings."""


def is_table_file(path: Path) -> bool:
    """Return whether the extension of a file is that of a table, compressed or not."""
    return _reader(path) is not None


def is_table_folder(path: Path) -> bool:
    """Return whether a folder holds parts of a table, or the tables of splits."""
    return next(_find_parts(path), None) is not None or bool(_find_splits(path).splits)


@dataclass(frozen=True)
class TableSplits:
    """A table for each split that a source has; "train" is always present."""

    files: dict[str, TableFile]
    notes: tuple[str, ...] = ()

    @property
    def scored(self) -> TableFile:
        """The table to score: the test split if there is one."""
        return self.files.get("test", self.files["train"])


def open_splits(path: Path) -> TableSplits:
    """Open a table file, or a folder of parts; with a table for each split, if it has splits.

    Errors are those of `open_table`.
    """
    found = _find_splits(path) if path.is_dir() else SplitFiles()
    if not found.splits:
        return TableSplits({"train": open_table(path)})
    files = {split: _open_parts(path, parts) for split, parts in found.splits.items()}
    return TableSplits(files, found.notes)


def open_table(path: Path) -> TableFile:
    """Open a table file, or a folder of parts with the same columns.

    Raises:
        InputError: the file is no table, has no rows, or the parts have different columns.
        MissingExtraError: the format needs pyarrow, which is not installed.
    """
    if path.is_dir():
        parts = sorted(_find_parts(path))
        if not parts:
            raise InputError(
                f"{path} holds no tables, expected files such as .csv and .parquet: give another "
                "folder"
            )
        return _open_parts(path, parts)
    return _open(path)


class PartsFile:
    """A table in parts, in the order of their paths; see `TableFile` for its attributes.

    Folders such as `year=2024` between the folder and a part give a column each, as in Hive.
    """

    notes: tuple[str, ...]

    def __init__(self, path: Path, parts: Sequence[Path]) -> None:
        """Compare the columns of all parts."""
        _refuse_twins(path, parts)
        self.path = path
        self._parts = [(_open(part), _partition(path, part)) for part in parts]
        first, keys = self._parts[0][0], self._parts[0][1]
        self._own = first.names
        for part, partition in self._parts[1:]:
            if {*part.names} != {*self._own} or part.has_header != first.has_header:
                raise self._different(first, part)
            if [*partition] != [*keys]:
                raise InputError(
                    f"{part.path} lies in folders of other columns than {first.path}, expected "
                    f"{quoted([*keys])}: move it"
                )
        self.names = (*self._own, *(key for key in keys if key not in self._own))
        self.has_header, self.index, self.label = first.has_header, first.index, first.label
        self.unreadable = first.unreadable
        files = [part for part, _ in self._parts]
        self.categories = frozenset(
            i
            for i, name in enumerate(self._own)
            if any(part.names.index(name) in part.categories for part in files)
        )
        if len({part.decimal for part in files} - {"?"}) > 1:
            raise InputError(
                f"{path}: some parts have decimal commas and some decimal points, expected the "
                "same in all: write points"
            )
        self.decimal: Decimal = next((p.decimal for p in files if p.decimal != "?"), first.decimal)
        self.notes = (f"read {len(files)} files as parts of one table", *first.notes)

    def chunks(self, columns: Sequence[int], rows: int | None = None) -> Iterator[Chunk]:
        """Yield the cells of some columns, part by part."""
        first = 0
        for number, (part, partition) in enumerate(self._parts):
            wanted = [self.names[i] for i in columns]
            own = [part.names.index(name) for name in wanted if name in self._own]
            for chunk in part.chunks(own, rows):
                taken = iter(chunk.columns)
                cells: list[Cells] = [
                    next(taken) if name in self._own else [partition[name]] * chunk.rows
                    for name in wanted
                ]
                yield Chunk(cells, first, chunk.rows, _place_in(part.path, chunk.place), number)
                first += chunk.rows

    def _different(self, first: TableFile, part: TableFile) -> InputError:
        own, other = {*first.names}, {*part.names}
        lacks = [name for name in first.names if name not in other]
        has = [name for name in part.names if name not in own]
        differences = [
            *([f"lacks {quoted(lacks)}"] if lacks else []),
            *([f"has {quoted(has)} besides"] if has else []),
        ] or ["has no header, or alone has one"]
        return InputError(
            f"{self.path}: {part.path.name} {' and '.join(differences)}, expected the columns of "
            f"{first.path.name}: give one of the files, or a folder whose tables have the same "
            "columns"
        )


def _reader(path: Path) -> Callable[[Path], TableFile] | None:
    extension = format_extension(path)
    if extension in TEXT_EXTENSIONS:
        return TextFile
    if extension in JSON_EXTENSIONS:
        return JsonFile
    if extension in ARFF_EXTENSIONS:
        return ArffFile
    if path.suffix.lower() in H5AD_EXTENSIONS:
        return H5adFile
    return ArrowFile if path.suffix.lower() in ARROW_EXTENSIONS else None


def _open(path: Path) -> TableFile:
    reader = _reader(path)
    if reader is None:
        raise InputError(
            f"{path} is no table, expected one of {', '.join(TABLE_EXTENSIONS)}: rename or convert "
            "it"
        )
    return reader(path)


def _refuse_twins(folder: Path, parts: Sequence[Path]) -> None:
    """Raise `InputError` for files that differ in their format only: the same rows twice."""
    stems: dict[Path, Path] = {}
    for part in parts:
        stem = part.parent / part.name.lower().rpartition(format_extension(part))[0]
        if (twin := stems.setdefault(stem, part)) is not part:
            raise InputError(
                f"{folder} has {twin.name} and {part.name}, expected each table once: give one of "
                "them, or move the other away"
            )


def _open_parts(folder: Path, parts: Sequence[Path]) -> TableFile:
    if parts[1:] or _partition(folder, parts[0]):
        return PartsFile(folder, parts)
    return _open(parts[0])


def _find_splits(folder: Path) -> SplitFiles:
    """Find splits among the parts; a name such as `train.txt` says that the file is a table."""
    parts = {*_find_parts(folder)}
    named = {path for path in folder.iterdir() if path.is_file() and is_table_file(path)}
    return find_split_files(folder, sorted(parts | named))


def _find_parts(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that may be parts of a table; not hidden ones, as in Hive."""
    for path in folder.rglob("*"):
        if not is_table_file(path) or format_extension(path) in _NO_PARTS:
            continue
        hidden = any(name.startswith((".", "_")) for name in path.relative_to(folder).parts)
        if not hidden and path.is_file():
            yield path


def _partition(folder: Path, part: Path) -> dict[str, str]:
    """Return the columns that the folders of a part give."""
    return partition_columns(part.relative_to(folder).parts[:-1])


def partition_columns(folders: Sequence[str]) -> dict[str, str]:
    """Return the columns that folders such as `year=2024` give, as in Hive.

    >>> partition_columns(["data", "year=2024", "city=S%C3%A3o"])
    {'year': '2024', 'city': 'São'}
    """
    from urllib.parse import unquote

    pairs = [name.partition("=") for name in folders]
    values = {unquote(key): unquote(value) for key, mark, value in pairs if mark and key}
    return {k: "" if v == "__HIVE_DEFAULT_PARTITION__" else v for k, v in values.items()}


def _place_in(path: Path, place: Callable[[int], str]) -> Callable[[int], str]:
    return lambda row: f"{path.name} {place(row)}"
