"""Cells of a table that are text: missing values, numbers, booleans and categories.

Conventions:
    - A cell is missing if it is empty or a word such as NA, NaN, null, None, "?", "-" or ".".
    - A number has a decimal point. In a file whose numbers have decimal commas, it has a comma.
    - Separators of thousands are accepted only where they cannot be anything else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Cells: TypeAlias = "NDArray[np.float64] | Sequence[str]"
"""Cells of one column: numbers, NaN where they are missing; or text."""

Decimal: TypeAlias = Literal[".", ",", "?"]
"""Decimal mark of a file. "?": a point, but a comma may be a decimal comma or mark thousands."""

MAX_CATEGORY_LENGTH = 200
"""Longest text of a category, in characters; the rest is cut off."""

BOOLEANS = {"true": 1.0, "false": 0.0}
"""Words of boolean columns, in lower case."""

_MISSING = {
    *("", "na", "n/a", "nan", "-nan", "null", "none", "nil", "missing", "?", "-", "--", "."),
    *("#n/a", "#na", "#n/a n/a", "<na>", "nat", "#value!", "#div/0!", "#null!", "(null)"),
}
_THOUSANDS = {  # by decimal mark; one group alone may be a fraction
    ".": re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?"),
    "?": re.compile(r"[-+]?[1-9]\d{0,2}((,\d{3}){2,}(\.\d*)?|,\d{3}\.\d*)"),
    ",": re.compile(r"[-+]?[1-9]\d{0,2}((\.\d{3}){2,}(,\d*)?|\.\d{3},\d*)"),
}
_DECIMAL_COMMA = re.compile(  # and nothing else: 1,5  0,123  1.234,567
    r"[-+]?((\d+,(\d{1,2}|\d{4,})|0*,\d+)(e[-+]?\d+)?|[1-9]\d{0,2}(\.\d{3})+,\d+)", re.IGNORECASE
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def is_missing(cell: str) -> bool:
    """Return whether a cell stands for a missing value."""
    return cell.strip().lower() in _MISSING


def to_float(cell: str, decimal: Decimal = ".") -> float | None:
    """Return the number of a cell, also infinity and NaN; None if it is no number.

    >>> to_float("1,234.5"), to_float("1,5", ","), to_float("1_0"), to_float("5 kg")
    (1234.5, 1.5, None, None)
    """
    cell = cell.strip()
    if decimal == "," and "." in cell and not _THOUSANDS[","].fullmatch(cell):
        return None
    if "," in cell:
        if _THOUSANDS[decimal].fullmatch(cell):
            cell = cell.replace("," if decimal != "," else ".", "")
        if decimal == ",":
            cell = cell.replace(",", ".")
    elif decimal == ",":
        cell = cell.replace(".", "")
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def is_float(cell: str, decimal: Decimal = ".") -> bool:
    """Return whether a cell is a number, including NaN, infinity and float32 overflow."""
    return to_float(cell, decimal) is not None


def holds_numbers(cells: Cells, decimal: Decimal = ".") -> bool:
    """Return whether cells are numbers, or texts of which the first that is not missing is one."""
    if isinstance(cells, np.ndarray):
        return True
    return is_float(next((cell for cell in cells if not is_missing(cell)), ""), decimal)


def to_numbers(cells: Cells, decimal: Decimal = ".") -> NDArray[np.float64]:
    """Return cells as numbers, NaN for those that are none."""
    if isinstance(cells, np.ndarray):
        return cells
    if decimal != "," and "_" not in "".join(cells):  # Python reads 1_0 as 10
        for filled in (cells, [cell or "nan" for cell in cells]):
            try:
                return np.array([*map(float, filled)], np.float64)
            except ValueError:
                continue
    found = (to_float(cell, decimal) for cell in cells)
    return np.array([np.nan if value is None else value for value in found], np.float64)


def words(cells: Cells, values: NDArray[np.float64]) -> list[int]:
    """Return the positions of cells that are neither numbers nor missing; `values` are theirs."""
    if isinstance(cells, np.ndarray):
        return []
    return [int(i) for i in np.flatnonzero(np.isnan(values)) if not is_missing(cells[int(i)])]


def to_booleans(cells: Cells, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 for true and 0 for false, as words or numbers; NaN for anything else."""
    if not isinstance(cells, np.ndarray):
        found = [BOOLEANS.get(cell.strip().lower(), np.nan) for cell in cells]
        values = np.where(np.isnan(values), found, values)
    return np.where((values == 0) | (values == 1), values, np.nan)


def to_labels(texts: Sequence[str], decimal: Decimal = ".") -> NDArray[Any]:
    """Return texts as labels: whole numbers, numbers, or texts if any is none."""
    numbers = to_numbers(texts, decimal)
    if words(texts, numbers):
        return np.array(["" if is_missing(text) else text for text in texts])
    is_whole = np.isfinite(numbers).all() and (np.abs(numbers) < 2**53).all()
    return numbers.astype(np.int64) if is_whole and (numbers % 1 == 0).all() else numbers


def to_texts(cells: Cells) -> list[str]:
    """Return cells as the texts of categories, "" for a missing value.

    >>> to_texts(np.array([1.0, 2.5, np.nan])), to_texts([" red", "NA"])
    (['1', '2.5', ''], ['red', ''])
    """
    if isinstance(cells, np.ndarray):
        return [number_text(value) for value in cells.tolist()]
    known: dict[str, str] = {}
    for cell in cells:
        if cell not in known:
            known[cell] = "" if is_missing(cell) else clean_text(cell)
    return [known[cell] for cell in cells]


def to_names(cells: Cells) -> list[str]:
    """Return cells as texts that name rows: whole, and NA is a name like any other.

    >>> to_names(["NA", " 007"]), to_names(np.array([7.0]))
    (['NA', '007'], ['7'])
    """
    if isinstance(cells, np.ndarray):
        return to_texts(cells)
    return [_CONTROL.sub(" ", cell).strip() for cell in cells]


def clean_text(cell: str) -> str:
    """Return a text as one line without blanks around it, not longer than a manifest takes."""
    return _CONTROL.sub(" ", cell)[:MAX_CATEGORY_LENGTH].strip()


def number_text(value: float) -> str:
    """Return a number as the text of a category: 1 for 1.0, "" for NaN."""
    if value != value:
        return ""
    return str(int(value)) if value.is_integer() else repr(value)


def same_number(text: str) -> str:
    """Return `number_text` if a text is a number, otherwise the text itself."""
    value = to_float(text)
    return text if value is None else number_text(value)


def find_decimal(cells: Iterable[str], delimiter: str) -> Decimal:
    """Return the decimal mark that these cells of a file show.

    A comma is one if a cell such as "1,5" or "0,123" cannot be anything else, and no cell has a
    decimal point.
    """
    points = commas = thousands = False
    for cell in cells:
        cell = cell.strip()
        if "," in cell:
            commas |= bool(_DECIMAL_COMMA.fullmatch(cell))
            thousands |= bool(_THOUSANDS["?"].fullmatch(cell))
        elif "." in cell and not points:
            points = is_float(cell)
    if commas and not (points or thousands):
        return ","
    return "." if (points and not commas) or thousands or delimiter == "," else "?"
