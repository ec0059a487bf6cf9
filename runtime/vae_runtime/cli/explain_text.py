"""Findings of `build-vae explain` as text for people, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from vae_runtime.explanation.columns import Cell
from vae_runtime.explanation.report import Finding

SHOWN_COLUMNS = 5
"""Columns of a row that the text names; CSV and JSON have all."""
AXES = {
    2: ("time", "channel"),
    3: ("row", "column"),
    4: ("slice", "row", "column"),
}
"""Names of a sample's axes by their number, without those of which a box has everything."""
MAX_WIDTH = 32
"""Longest name or cell in a text."""


def to_text(found: Sequence[Finding]) -> str:
    """Return a paragraph for each finding."""
    return "".join(f"{line}\n" for finding in found for line in _lines(finding))


def to_csv(found: Sequence[Finding], name_column: str) -> str:
    """Return CSV: of tables a line for each column of a sample, else a line for each sample."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for number, finding in enumerate(found):
        rows = list(_rows(finding, name_column))
        if number == 0:
            writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)
    return text.getvalue()


def _rows(finding: Finding, name_column: str) -> Iterator[dict[str, Any]]:
    name = {} if finding.name is None else {name_column: finding.name}
    common = {"index": finding.index, **name, "p_value": finding.p_value, "score": finding.score}
    if finding.columns is None:
        parts = {
            f"{part}_{key}": value
            for part, values in finding.parts.items()
            for key, value in values.items()
        }
        nearest = {} if finding.nearest is None else {"nearest": finding.nearest}
        box = " ".join(f"{start}:{stop}" for start, stop in finding.box or ())
        yield {**common, **parts, **nearest, "box": box}
        return
    for rank, column in enumerate(finding.columns, 1):
        low, high = column.usual or ("", "")
        yield {
            **common,
            "rank": rank,
            "column": column.name,
            "value": column.value,
            "reconstruction": column.reconstruction,
            "usual_low": low,
            "usual_high": high,
            "unusual": column.unusual,
        }


def _lines(finding: Finding) -> Iterator[str]:
    name = "" if finding.name is None else f" ({finding.name})"
    yield f"sample {finding.index}{name}: p-value {finding.p_value:.2g}, score {finding.score:.4g}"
    if finding.parts:
        shares = (f"{part} {values['share']:.0%}" for part, values in finding.parts.items())
        yield f"  the score is {', '.join(shares)}"
    if finding.box is not None:
        axes = AXES.get(len(finding.box), [f"axis {i}" for i in range(len(finding.box))])
        pairs = zip(axes, finding.box, strict=False)
        places = (f"{axis} {start} to {stop - 1}" for axis, (start, stop) in pairs)
        yield f"  most unusual: {', '.join(places)}"
    if finding.columns is not None:
        yield from _table(finding)
    yield ""


def _table(finding: Finding) -> Iterator[str]:
    header = ("column", "value", "reconstruction", "usual range", "unusual")
    rows = [
        (
            _short(column.name),
            _cell(column.value),
            _cell(column.reconstruction),
            "" if column.usual is None else f"{column.usual[0]:.4g} to {column.usual[1]:.4g}",
            f"{column.unusual:.3g}",
        )
        for column in (finding.columns or ())[:SHOWN_COLUMNS]
    ]
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, *rows):
        first, *others = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join(("", row[0].ljust(len(first)), *others))


def _cell(value: Cell) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return _short(value) if isinstance(value, str) else f"{value:.4g}"


def _short(text: str) -> str:
    return text if len(text) <= MAX_WIDTH else f"{text[: MAX_WIDTH - 3]}..."
