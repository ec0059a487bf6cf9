"""Layout of a text table: comment lines, delimiter, header, decimal mark, and labels.

Conventions:
    - Lines above the table that begin with # or % are comments. The last one is the header if it
      has as many cells as the table has columns, and the table has no other, as NumPy writes it.
    - The delimiter is a tab, a semicolon, a bar, a comma or a run of blanks: the one that splits
      all first lines into the same number of cells. If several do, it is the one that gives most
      numbers.
    - The first line is a header if none of its cells is a number, not all are missing, and most do
      not occur again below; or if it counts, as pandas names columns and as years do.
    - A header with one cell less than the first row has no name for the first column, as in R.
    - Labels are certain in three layouts only: scikit-learn's first line `150,4,setosa,...`, the
      UCR archive's files `Name_TRAIN.tsv`, and MNIST as CSV.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, pairwise
from pathlib import Path

from vae_runtime.data.tables.cells import Decimal, find_decimal, is_float, is_missing
from vae_runtime.data.tables.files.chunks import HEAD_CELLS, HEAD_ROWS, require_rows
from vae_runtime.data.tables.files.streams import find_encoding, open_text
from vae_runtime.data.tables.names import position_name, unique_names

BLANKS = " "
"""Delimiter that stands for any run of blanks and tabs."""

_DELIMITERS = ("\t", ";", "|", ",", BLANKS)
_SAMPLE_LINES = 100
_COMMENTS = ("#", "%")
_UCR = re.compile(r".*_(TRAIN|TEST)(\.tsv|\.txt|\.csv)?(\.\w+)?", re.IGNORECASE)
_PIXEL = re.compile(r"(pixel|px|p)?_?\d+(x\d+)?", re.IGNORECASE)
_YEAR = re.compile(r"1[5-9]\d\d|2[01]\d\d")
_MIN_PIXELS = 16

Rows = Iterator[tuple[int, list[str]]]
"""Rows with the number of their last line, from 1."""


@dataclass(frozen=True)
class Layout:
    """Layout of a text table.

    `skipped` is the number of lines above the first row; `label_names` are the names that
    scikit-learn's first line gives to the numbers of the classes.
    """

    encoding: str
    delimiter: str
    skipped: int
    names: tuple[str, ...]
    has_header: bool
    decimal: Decimal = "."
    label: int | None = None
    label_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def find_layout(path: Path) -> Layout:
    """Find out how a text table is laid out. Raises `InputError` if it has no rows."""
    encoding = find_encoding(path)
    with open_text(path, encoding) as stream:
        above, lines, given = _first_lines(stream)
    delimiter = given or _find_delimiter(lines)
    with open_text(path, encoding) as stream:
        numbered = [*islice(split_rows(stream, delimiter, len(above)), HEAD_ROWS)]
    lines_of, head = [line for line, _ in numbered], [cells for _, cells in numbered]
    head = head[: max(10, HEAD_CELLS // max(1, len(head[0]) if head else 1))]
    first, body = (head[0], head[1:]) if head else ([], [])
    notes = []
    if encoding in ("cp1252", "latin-1"):
        notes.append(f"is not UTF-8 and is read as {encoding}")
    label: int | None = None
    header: list[str] | None = None
    label_names = _scikit_learn_classes(first, body)
    if label_names:
        first, body, label = body[0], body[1:], len(body[0]) - 1
    if _is_header(first, body):
        header = first
    else:
        body = [first, *body] if first else []
        header = None if label_names else _commented_header(above, delimiter, first)
    start = len(head) - len(body)
    skipped = lines_of[start - 1] if start else len(above)
    width = len(body[0]) if body else 0
    require_rows(path, len(body), max(width, len(header or [])))
    names = _names(header, body[0]) if header else tuple(map(position_name, range(width)))
    if label is None:
        label = _certain_label(path, names, body, has_header=header is not None)
    decimal = find_decimal(chain.from_iterable(body), delimiter)
    return Layout(
        *(encoding, delimiter, skipped, names, header is not None, decimal),
        *(label, label_names, tuple(notes)),
    )


def split_rows(stream: Iterable[str], delimiter: str, skipped: int = 0) -> Rows:
    """Yield the rows of a text, without empty lines, from line `skipped` + 1 on."""
    lines = _without_nul(islice(stream, skipped, None))
    if delimiter == BLANKS:
        lines = (" ".join(line.split("\t")).strip() + "\n" for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter == BLANKS)
    for cells in reader:
        if cells and (len(cells) > 1 or cells[0].strip()):
            yield skipped + reader.line_num, cells


def _without_nul(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if "\0" in line:
            raise ValueError("it has a NUL character")
        yield line


def _first_lines(stream: Iterable[str]) -> tuple[list[str], list[str], str | None]:
    """Return the lines above the table, its first lines, and a delimiter that the file states."""
    above: list[str] = []
    lines: list[str] = []
    given = None
    for line in stream:
        if not lines and not line.strip():
            above.append(line)
        elif not lines and not above and (stated := re.fullmatch(r"sep=(.)\s*", line)):
            given = stated[1]  # Excel's own line
            above.append(line)
        elif not lines and _is_comment(line):
            above.append(line)
        else:
            lines.append(line)
            if len(lines) == _SAMPLE_LINES:
                break
    return above, lines, given


def _is_comment(line: str) -> bool:
    """Return whether a line is a comment; a first column may be called #."""
    return line.startswith(_COMMENTS) and not re.match(r"""[#%]["']?\s*[\t;|,]""", line)


def _find_delimiter(lines: list[str]) -> str:
    best, best_score = ",", (-1.0, -1.0)
    for delimiter in _DELIMITERS:
        try:
            rows = [cells for _, cells in split_rows(lines, delimiter)]
        except csv.Error:
            continue
        if len(lines) == _SAMPLE_LINES:
            rows = rows[:-1]  # the last one may go on in the next line
        score = _split_score(rows, delimiter)
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _split_score(rows: list[list[str]], delimiter: str) -> tuple[float, float]:
    """Say how well a delimiter splits rows: the share of rows of one length, and of numbers."""
    lengths = [len(row) for row in rows[1:] or rows]
    usual = max(lengths, key=lengths.count, default=0)
    if usual < 2 or (len(rows) > 1 and len(rows[0]) < 2 < usual):
        return (-1.0, -1.0)
    alike = lengths.count(usual) / len(lengths)
    if delimiter == BLANKS and alike < 1:
        return (-1.0, -1.0)  # blanks between words
    cells = [cell for row in rows for cell in row]
    decimal = find_decimal(cells, delimiter)
    numbers = sum(is_float(cell, decimal) for cell in cells) / len(cells)
    return (round(alike, 1), round(numbers, 2))


def _is_header(first: Sequence[str], body: list[list[str]]) -> bool:
    if not any(map(_is_number, first)):
        if all(is_missing(cell) or is_float(cell) for cell in first):
            return False
        return not _recurs(first, body)
    return _counts([cell.strip() for cell in first], body)


def _is_number(cell: str) -> bool:
    """Return whether a cell is a number; columns may be called inf and nan."""
    return bool(re.search(r"\d", cell)) and (is_float(cell) or _is_decimal_comma(cell))


def _is_decimal_comma(cell: str) -> bool:
    return bool(re.fullmatch(r"[-+]?\d*,\d+", cell.strip()))


def _recurs(first: Sequence[str], body: list[list[str]]) -> bool:
    """Return whether most cells of the first line occur again in their columns: no names."""
    columns = [*zip(*(row for row in body if len(row) == len(first)), strict=True)]
    if not columns or len(first) < 2:
        return False
    again = sum(name in column for name, column in zip(first, columns, strict=True))
    return again > len(first) / 2


def _counts(first: list[str], body: list[list[str]]) -> bool:
    """Return whether a first line is 0, 1, 2, ... of pandas, or a name and then years."""
    numbers = [cell for cell in first if _is_number(cell)]
    if not all(re.fullmatch(r"\d{1,9}", cell) for cell in numbers):
        return False
    steps = {int(b) - int(a) for a, b in pairwise(numbers)}
    positions = [str(i) for i in range(len(numbers))]
    if first[0] == "" and len(numbers) == len(first) - 1 and numbers == positions:
        return True
    if len(numbers) == len(first):
        second = body[0] if body else []
        fractions = any(is_float(c) and not c.strip().lstrip("+-").isdigit() for c in second)
        return len(first) > 1 and numbers == positions and fractions
    years = len(numbers) >= 3 and all(map(_YEAR.fullmatch, numbers))
    consecutive = len(numbers) >= 2 and steps == {1}
    regular = years and len(steps) == 1 and min(steps) > 0
    return (consecutive or regular) and _has_names_above_numbers(first, body)


def _has_names_above_numbers(first: list[str], body: list[list[str]]) -> bool:
    """Return whether words stand above numbers, or words that do not recur stand above words."""
    rows = [row for row in body if len(row) == len(first)]
    columns = [*zip(*rows, strict=True)]
    for name, cells in zip(first, columns, strict=False):
        filled = [cell for cell in cells if not is_missing(cell)]
        if not _is_number(name) and len(filled) >= 2 and all(map(is_float, filled)):
            return True
    words = [i for i, name in enumerate(first) if not _is_number(name)]
    if not words or not columns or len(first) - len(words) < 3:
        return False
    return all(
        not any(is_float(cell) and not is_missing(cell) for cell in columns[i])
        and first[i] not in (cell.strip() for cell in columns[i])
        for i in words
    )


def _names(header: Sequence[str], first: Sequence[str]) -> tuple[str, ...]:
    short = len(first) == len(header) + 1 and not is_missing(first[-1])
    return unique_names(["", *header] if short else header)


def _commented_header(above: list[str], delimiter: str, first: list[str]) -> list[str] | None:
    """Return the header that the last comment line holds, as `numpy.savetxt` writes it."""
    line = next((line for line in reversed(above) if line.strip()), "")
    if not line.startswith(_COMMENTS):
        return None
    for _, cells in split_rows([line[1:].strip() + "\n"], delimiter):
        if len(cells) == len(first) and not any(map(is_float, cells)):
            return cells
    return None


def _scikit_learn_classes(first: list[str], body: list[list[str]]) -> tuple[str, ...]:
    """Return the classes of a first line such as `150,4,setosa,versicolor,virginica`."""
    if len(first) < 3 or not body or not all(re.fullmatch(r"\d+", cell) for cell in first[:2]):
        return ()
    rows, features = int(first[0]), int(first[1])
    names = tuple(cell.strip() for cell in first[2:])
    enough = len(body) == min(rows, HEAD_ROWS - 1)
    fits = features >= 1 and all(len(row) == features + 1 for row in body)
    if not (fits and enough) or any(is_missing(n) or is_float(n) for n in names):
        return ()
    classes = {row[-1].strip() for row in body}
    return names if classes <= {str(i) for i in range(len(names))} else ()


def _certain_label(
    path: Path, names: Sequence[str], body: list[list[str]], *, has_header: bool
) -> int | None:
    """Return the column that must be the label, in the files of UCR and MNIST."""
    pixels = len(names) - 1
    first_is_class = all(re.fullmatch(r"\s*[-+]?\d+(\.0*)?(e[+]?0+)?\s*", row[0]) for row in body)
    if not has_header and pixels > 1 and first_is_class and _UCR.fullmatch(path.name):
        return 0
    if pixels < _MIN_PIXELS:
        return None
    if has_header:
        is_mnist = names[0].lower() in ("label", "class") and all(map(_PIXEL.fullmatch, names[1:]))
        return 0 if is_mnist and first_is_class else None
    is_square = any(math.isqrt(pixels // c) ** 2 * c == pixels for c in (1, 3))
    if not (first_is_class and is_square and pixels >= 784):
        return None
    values = [cell.strip() for row in body[:100] for cell in row[1:]]
    few_classes = len({row[0].strip() for row in body}) <= 100
    return 0 if few_classes and all(v.isdigit() and int(v) <= 255 for v in values) else None
