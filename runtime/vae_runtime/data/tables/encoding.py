"""Encoding of a table's columns as the elements of a sample.

    number, boolean   one element: the number; 1 for true and 0 for false
    category          one 0/1 element for each category
    indicator         one more element after those of a column: 1 where the value is missing

The manifest keeps an encoding, and a device applies it to files and data frames. A cell that it
cannot encode becomes NaN in all elements of its column, so that the sample cannot be scored:

    missing "error", "drop"    a missing value (training leaves these rows out with "drop")
    unknown_category "error"   a category that was not in training; with "zeros" it has only zeros

With "mean" and "indicator" a missing value becomes the mean of the training samples; of a category,
the mean of its elements.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.tables.cells import (
    Cells,
    Decimal,
    same_number,
    to_booleans,
    to_numbers,
    to_texts,
    words,
)
from vae_runtime.files import strict_json
from vae_runtime.files.strict_json import meta

Missing: TypeAlias = Literal["error", "drop", "mean", "indicator"]
UnknownCategory: TypeAlias = Literal["error", "zeros"]
Kind: TypeAlias = Literal["number", "boolean", "category"]

MISSING, UNKNOWN = -1, -2
"""Codes of cells of a category that are missing, or none of the categories."""

_Line = Annotated[str, meta(pattern="[^\x00-\x1f\x7f-\x9f]{0,1000}")]


@dataclass(frozen=True)
class ColumnEncoding:
    """Encoding of one column of a table."""

    name: Annotated[str, meta("name in the table", pattern="[^\x00-\x1f\x7f-\x9f]{0,1000}")]
    kind: Annotated[
        Kind, meta("boolean: true is 1, false is 0; category: a 0/1 element for each category")
    ]
    categories: Annotated[
        tuple[_Line, ...],
        meta("texts of the categories, in the order of the elements", optional=True),
    ] = strict_json.optional(())
    fill: Annotated[
        tuple[float, ...],
        meta("elements of a missing value, training means; left out: not scored", optional=True),
    ] = strict_json.optional(())
    indicator: Annotated[
        bool, meta("one more element: 1 where the value is missing", optional=True)
    ] = strict_json.optional(False)

    @property
    def elements(self) -> tuple[str, ...]:
        """Names of the elements."""
        names = tuple(f"{self.name}={category}" for category in self.categories)
        more = (f"{self.name} is missing",) if self.indicator else ()
        return (*(names if self.kind == "category" else (self.name,)), *more)

    def read(self, cells: Cells, decimal: Decimal = ".") -> tuple[NDArray[np.float64], list[int]]:
        """Return numbers, or codes of categories, of cells; and which cells are neither.

        A missing number is NaN, a cell that is no number infinity. Codes are positions in
        `categories`, `MISSING` or `UNKNOWN`.
        """
        if self.kind == "category":
            codes = self._codes(to_texts(cells))
            return codes, np.flatnonzero(codes == UNKNOWN).tolist()
        numbers = to_numbers(cells, decimal)
        if self.kind == "number":
            values, bad = numbers, words(cells, numbers)
        else:
            values = to_booleans(cells, numbers)
            wrong = np.flatnonzero(np.isnan(values) & ~np.isnan(numbers)).tolist()
            bad = sorted({*words(cells, values), *wrong})
        if bad:
            values = values.copy()  # cells of an array may be the user's
            values[bad] = np.inf
        return values, bad

    def write(
        self, values: NDArray[np.float64], x: NDArray[np.float32], unknown: UnknownCategory
    ) -> None:
        """Write the elements, shape `(rows, len(elements))`, of what `read` returned into `x`."""
        if self.kind == "category":
            missing = values == MISSING
            x[:] = 0
            rows = np.flatnonzero(values >= 0)
            x[rows, values[rows].astype(np.intp)] = 1
            if unknown == "error":
                x[values == UNKNOWN] = np.nan
        else:
            missing = np.isnan(values)
            with np.errstate(over="ignore"):
                x[:, 0] = values
        width = len(self.categories) if self.kind == "category" else 1
        x[missing, :width] = self.fill or np.nan
        if self.indicator:
            x[:, width] = missing

    def _codes(self, texts: Sequence[str]) -> NDArray[np.float64]:
        known = {text: code for code, text in enumerate(self.categories)}
        numbers = {same_number(text): code for text, code in known.items()}
        found = {"": MISSING}
        for text in {*texts} - {""}:
            found[text] = known.get(text, numbers.get(same_number(text), UNKNOWN))
        return np.array([found[text] for text in texts], np.float64)

    def faults(self) -> Iterator[str]:
        """Yield a description of each contradiction."""
        if (self.kind == "category") != bool(self.categories):
            yield f"column {self.name!r} of kind {self.kind} has {len(self.categories)} categories"
        if len({*self.categories}) != len(self.categories) or "" in self.categories:
            yield f"column {self.name!r} has a category twice, or an empty one"
        width = max(1, len(self.categories))
        if len(self.fill) not in (0, width):
            yield f"column {self.name!r} has {len(self.fill)} values to fill in, expected {width}"
        if self.indicator and not self.fill:
            yield f"column {self.name!r} has an indicator and nothing to fill in"


@dataclass(frozen=True)
class TableEncoding:
    """Encoding of the rows of a table as samples."""

    columns: Annotated[tuple[ColumnEncoding, ...], meta("columns of the table, in order")]
    missing: Annotated[
        Missing, meta("missing values; error, drop: not scored; mean, indicator: filled in")
    ] = "error"
    unknown_category: Annotated[
        UnknownCategory, meta("error: a sample with an unknown category is not scored")
    ] = "error"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that a table needs."""
        return tuple(column.name for column in self.columns)

    @property
    def elements(self) -> tuple[str, ...]:
        """Names of the elements of a sample."""
        return tuple(name for column in self.columns for name in column.elements)

    @property
    def sources(self) -> tuple[str, ...]:
        """Column of the table that each element of a sample comes from."""
        return tuple(column.name for column in self.columns for _ in column.elements)

    @property
    def is_plain(self) -> bool:
        """Whether samples are the numbers of the table, and no rule about gaps was chosen."""
        numbers = all(column.kind == "number" for column in self.columns)
        return numbers and self.missing == "error"

    def apply(self, values: Sequence[NDArray[np.float64]]) -> NDArray[np.float32]:
        """Return samples, shape `(rows, elements)`, from what `read` returned for each column."""
        x = np.empty((len(values[0]), len(self.elements)), np.float32)
        start = 0
        for column, own in zip(self.columns, values, strict=True):
            stop = start + len(column.elements)
            column.write(own, x[:, start:stop], self.unknown_category)
            start = stop
        return x

    def faults(self) -> Iterator[str]:
        """Yield a description of each contradiction."""
        if not self.columns or len({*self.names}) != len(self.columns):
            yield "columns is empty or names one twice"
        for column in self.columns:
            yield from column.faults()
            if bool(column.fill) != (self.missing in ("mean", "indicator")):
                yield f"column {column.name!r} does not fit missing {self.missing!r}"


def plain_encoding(names: Sequence[str]) -> TableEncoding:
    """Return the encoding of a table of numbers."""
    return TableEncoding(tuple(ColumnEncoding(name, "number") for name in names))


def fit_columns(
    columns: Sequence[tuple[ColumnEncoding, NDArray[np.float64]]],
    missing: Missing,
    unknown_category: UnknownCategory,
    training: NDArray[np.intp] | None = None,
) -> TableEncoding:
    """Fit what is filled in, and the indicators, on the rows `training`, by default all rows.

    `columns` are encodings without these, with what `read` returned for all rows.
    """
    if missing in ("error", "drop"):
        return TableEncoding(tuple(c for c, _ in columns), missing, unknown_category)
    fitted = []
    for column, values in columns:
        own = values if training is None else values[training]
        gaps = own == MISSING if column.kind == "category" else np.isnan(own)
        present = own[~gaps]
        if column.kind == "category":
            counts = np.bincount(present.astype(np.intp), minlength=len(column.categories))
            fill = tuple(map(float, counts / max(1, len(present))))
        else:
            finite = present[np.isfinite(present)]
            fill = (float(finite.mean()) if len(finite) else 0.0,)
        indicator = missing == "indicator" and bool(gaps.any())
        fitted.append(ColumnEncoding(column.name, column.kind, column.categories, fill, indicator))
    return TableEncoding(tuple(fitted), missing, unknown_category)
