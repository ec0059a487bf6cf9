"""Text tables, compressed or not, by the standard library alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.data.tables.cells import Cells
from vae_runtime.data.tables.faults import Faults
from vae_runtime.data.tables.files.chunks import Chunk, Places, chunk_rows
from vae_runtime.data.tables.files.layout import Rows, find_layout, split_rows
from vae_runtime.data.tables.files.streams import open_text

TEXT_EXTENSIONS = (".csv", ".tsv", ".tab", ".data", ".dat", ".txt")


class TextFile:
    """A text table; see `TableFile` for its attributes and `layout` for what is found out."""

    def __init__(self, path: Path) -> None:
        """Find the layout. Raises `InputError` if the file is no text or has no rows."""
        self.path = path
        with wrap_read_errors(path, "CSV file"):
            self._layout = layout = find_layout(path)
        self.names, self.has_header = layout.names, layout.has_header
        self.label, self.decimal, self.notes = layout.label, layout.decimal, layout.notes
        self.index: frozenset[int] = frozenset()
        self.categories: frozenset[int] = frozenset()
        self.unreadable: dict[int, str] = {}

    def chunks(self, columns: Sequence[int], rows: int | None = None) -> Iterator[Chunk]:
        """Yield the texts of some columns. `InputError` names rows of another length."""
        layout, first = self._layout, 0
        faults = Faults(self.path)
        size = chunk_rows(len(self.names), rows)
        with (
            wrap_read_errors(self.path, "CSV file"),
            open_text(self.path, layout.encoding) as stream,
        ):
            found = split_rows(stream, layout.delimiter, layout.skipped)
            while part := self._read(islice(found, size), faults):
                lines, cells = part
                if not faults:
                    texts = [self._texts(cells, i) for i in columns]
                    yield Chunk(texts, first, len(lines), Places("line", lines))
                first += len(lines)
            faults.raise_if_any("")

    def _read(self, rows: Rows, faults: Faults) -> tuple[list[int], list[str]] | None:
        """Return the lines and all cells of some rows, None after the last; note bad rows.

        One list of all cells is several times as fast as a list for each row, which Python's
        garbage collector would visit.
        """
        width, lines, cells = len(self.names), list[int](), list[str]()
        for line, row in rows:
            if len(row) == width + 1 and not row[-1].strip():
                del row[-1]
            if len(row) != width:
                faults.add_row(line, len(row), width)
            lines.append(line)
            cells += row
        return (lines, cells) if lines else None

    def _texts(self, cells: list[str], column: int) -> Cells:
        texts = cells[column :: len(self.names)]
        names = self._layout.label_names
        return [names[int(text)] for text in texts] if names and column == self.label else texts
