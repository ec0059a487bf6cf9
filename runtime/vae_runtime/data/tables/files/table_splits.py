"""Splits of a folder of tables, by the names of its files or of its subfolders.

    train.csv test.csv val.csv             also mnist_train.csv, train-00000-of-00002.parquet
    train/part-0.parquet test/...          subfolders, at any depth

The rest of a name must be the same in all splits, but for digits. Files such as
`sample_submission.csv` and `y_train.csv` are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from vae_runtime.data.arrays.named_arrays import SPLIT_WORDS, parse_name
from vae_runtime.data.folder_layout import split_of_folder
from vae_runtime.data.tables.names import quoted
from vae_runtime.errors import InputError

_PART_WORDS = frozenset(("of", "part", "c"))
_LONG_WORDS = ("train", "val", "dev", "test")

Parts = tuple[str, ...]
_Stem = tuple[str, ...]


@dataclass(frozen=True)
class SplitFiles:
    """Files of each split; no splits if the folder has none."""

    splits: dict[str, list[Path]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_split_files(folder: Path, paths: Sequence[Path]) -> SplitFiles:
    """Find the splits of tables in a folder.

    Raises `InputError` if files of several kinds have splits, so that the choice is not clear.
    """
    relative = {path: path.relative_to(folder).parts for path in paths}
    for depth in range(max((len(parts) for parts in relative.values()), default=0)):
        found = [(path, *_entry(parts, depth)) for path, parts in sorted(relative.items())]
        stems = {stem for _, split, stem in found if split == "train" and stem is not None}
        chosen = [stem for stem in stems if _has_splits(found, stem)]
        if len(chosen) > 1:
            names = [path.name for path, split, stem in found if split and stem in chosen]
            raise InputError(
                f"{folder} has train and test tables of several kinds, {quoted(names)}: expected "
                "one kind, give a folder that has only one"
            )
        if chosen:
            return _split_files(folder, found, chosen[0])
    return SplitFiles()


def _entry(parts: Parts, depth: int) -> tuple[str | None, _Stem | None]:
    """Return the split that a path names at a depth, and what else is in that name."""
    if len(parts) <= depth:
        return None, None
    name = PurePosixPath(parts[-1]).name.split(".")[0]
    parsed = parse_name(name)
    if parsed.role == "labels" and parsed.split:
        return None, None
    if len(parts) > depth + 1:
        key, _, value = parts[depth].rpartition("=")
        return split_of_folder(value if key in ("", "split") else parts[depth]), ("/",)
    if not any(word in name.lower() for word in _LONG_WORDS):
        return None, None
    stem = tuple(w for w in parsed.stem if not w.isdigit() and w not in _PART_WORDS)
    return parsed.split, stem


def _has_splits(found: list[tuple[Path, str | None, _Stem | None]], stem: _Stem) -> bool:
    return len({split for _, split, own in found if own == stem and split}) > 1


def _split_files(
    folder: Path, found: list[tuple[Path, str | None, _Stem | None]], stem: _Stem
) -> SplitFiles:
    splits: dict[str, list[Path]] = {}
    for split in SPLIT_WORDS:
        if files := [path for path, own, s in found if own == split and s == stem]:
            splits[split] = files
    taken = {path for files in splits.values() for path in files}
    names = [f"{split}: {_listed(folder, files)}" for split, files in splits.items()]
    notes = [f"splits by their names: {'; '.join(names)}"]
    if left_out := [path for path, _, _ in found if path not in taken]:
        notes.append(f"left out what is in no split: {_listed(folder, left_out)}")
    return SplitFiles(splits, tuple(notes))


def _listed(folder: Path, files: Sequence[Path]) -> str:
    names: Iterator[str] = (path.relative_to(folder).as_posix() for path in files[:3])
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return f"{', '.join(names)}{more}"
