"""The rule which columns of a table are no features.

A row number, a row name and a time say where a sample stands, not what it is. A model that learns
them gives the same row another score after it has moved. They are left out unless they are asked
for:

    row numbers   the index of a pandas table; a first column without a name, of whole numbers that
                  differ (or nearly all count up by one), or of numbers that rise or fall; a
                  column whose name says number or id, or the first of a table without a header, of
                  whole numbers that count by one
    identifiers   a column whose name is or ends in id or index, of whole numbers that all differ
    row names     a first column of text that all differs
    times         text or Parquet dates; numbers that rise or fall in every row, if the name says
                  time, or if they are whole numbers in the range of Unix times

Any other column is a feature, whole numbers too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.tables.cells import (
    BOOLEANS,
    Cells,
    holds_numbers,
    is_float,
    is_missing,
    to_numbers,
)
from vae_runtime.data.tables.files.chunks import TableFile
from vae_runtime.data.tables.names import position_name

COUNTS = "counts"
"""What `number_reason` says of numbers that count up by one under another name: perhaps a feature,
which is kept, with a note."""

MIN_COUNTING_ROWS = 3
"""Fewest rows in which numbers can count."""
MIN_TIME_ROWS = 5
"""Fewest rows in which numbers can rise or fall like a time."""
MIN_TIMES, TIME_SHARE = 50, 0.1
"""Fewest times, and their share of the rows, if several rows are of the same time: not years of a
table that is sorted by year."""

_INDEX_NAME = re.compile(r"Unnamed: 0(\.\d+)*|__index_level_\d+__|level_0")
_WORD_END = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_ID_WORD = re.compile(
    "ids?|u?uid|guid|key|pk|index|idx|row(id|names?|num|number)?|no|nr|num|number|sno|serial|"
    "seq|sequence|record|obs|observation|case|sample|instance|entry|subject|patient|person|"
    "participant|respondent|customer|user|#"
)
_LAST_ID_WORD = re.compile(
    "id|u?uid|guid|index|idx|row(id|names?|number)|[pcsrt]id|(user|customer|client|patient|person|"
    "subject|sample|case|record|item|product|order|transaction|session|device|machine|employee|"
    "passenger|student|account|loan|house|movie|store|station)id"
)
_ROW_NAMES = re.compile(r"row[\W_]?(names?|num|number|id)", re.IGNORECASE)
_TIME_WORD = re.compile(
    "((date|unix)?time|timestamp|date|epoch|year|month|week|day|hour|minute|second)s?|ts|utc"
)
_UNIX_TIMES = (6e8, 4.2e9)  # 1989 to 2103, in seconds
_DATE = re.compile(
    r"""(\d{4}([-/.]?)\d{1,2}(\2\d{1,2})?            # 2024-01-31, 2024-01
      |\d{1,2}([-/.])\d{1,2}\4(\d{4}|\d{2})          # 31.01.2024, 1/31/24
      |\d{1,2}[- ][a-z]{3,9}\.?[-, ]+(\d{4}|\d{2})   # 31-Jan-2024
      |[a-z]{3,9}\.?\ \d{1,2},?\ \d{4}               # January 31, 2024
      )?([T ]*\d{1,2}:\d\d(:\d\d([.,]\d+)?)?(\ ?[ap]m)?(\ ?(z|utc|gmt|[-+]\d\d:?\d\d))?)?""",
    re.IGNORECASE | re.VERBOSE,
)


def text_reason(position: int, name: str, cells: Sequence[str]) -> str | None:
    """Say why a column of these first cells is no feature, if it is dates or row names."""
    filled = [cell.strip() for cell in cells if not is_missing(cell)]
    numbers = sum(map(is_float, filled))
    if not filled or numbers == len(filled) or all(cell.lower() in BOOLEANS for cell in filled):
        return None
    if all(map(_DATE.fullmatch, filled)):
        return "dates"
    differ = len({*cells}) == len(cells) > 1
    if position == 0 and differ and not numbers:
        letters_first = sum(cell[0].isalpha() for cell in filled)
        if _INDEX_NAME.fullmatch(name) or letters_first >= 0.9 * len(cells):
            return "row names"
    return None


def number_reason(name: str, values: NDArray[np.float64]) -> str | None:
    """Say why a column of these values is no feature, if it is row numbers or times."""
    filled = values[~np.isnan(values)]  # a gap changes nothing about the others
    if 2 * len(filled) < len(values):
        return None
    values = filled
    if not (len(values) and np.isfinite(values).all()):
        return None
    steps = np.diff(values)
    whole = bool((values == np.floor(values)).all())
    moves = bool((steps > 0).all() or (steps < 0).all())
    differ = moves or len(np.unique(values)) == len(values)
    if _INDEX_NAME.fullmatch(name):
        counts = len(steps) > 0 and (steps == 1).mean() >= 0.9
        return "row numbers" if (whole and (differ or counts)) or (moves and len(steps)) else None
    words = _words(name)
    if whole and len(values) >= MIN_COUNTING_ROWS:
        numbers_rows = any(map(_ID_WORD.fullmatch, words)) or name == position_name(0)
        if numbers_rows and moves and (np.abs(steps) == 1).all():
            return "counts by one"
        if differ and (_LAST_ID_WORD.fullmatch(words[-1]) or _ROW_NAMES.fullmatch(name)):
            return "identifiers, which all differ"
    if len(values) < MIN_TIME_ROWS:
        return None
    says_time = _says_time(name)
    unix = whole and _are_unix_times(values)
    if (says_time and (unix or _passes(values))) or (unix and moves):
        return "times"
    return COUNTS if moves and bool((steps == 1).all()) else None


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD_END.split(name) if word] or [name]


def _says_time(name: str) -> bool:
    return any(map(_TIME_WORD.fullmatch, _words(name)))


def _passes(values: NDArray[np.float64]) -> bool:
    """Return whether values rise, or fall, like a time; several rows may be of the same time."""
    steps = np.diff(values)
    if not ((steps >= 0).all() or (steps <= 0).all()):
        return False
    moving = int((steps != 0).sum())
    return moving == len(steps) or moving >= max(MIN_TIMES, TIME_SHARE * len(steps))


def _are_unix_times(values: NDArray[np.float64]) -> bool:
    low, high = _UNIX_TIMES
    units = (1, 1e3, 1e6, 1e9)
    return any(low * u <= values.min() and values.max() <= high * u for u in units)


def _is_candidate(name: str, head: NDArray[np.float64]) -> bool:
    """Return whether all rows must be looked at; a head may have few times."""
    steps = np.diff(head[~np.isnan(head)])
    never_turns = bool((steps >= 0).all() or (steps <= 0).all())
    return number_reason(name, head) is not None or (_says_time(name) and never_turns)


def _reason_in_parts(name: str, parts: list[NDArray[np.float64]]) -> str | None:
    """Say why a column is no feature: in all rows, or in each file, where it may begin again."""
    if (reason := number_reason(name, np.concatenate(parts))) or len(parts) == 1:
        return reason
    reasons = {number_reason(name, own) for own in parts}
    return reasons.pop() if len(reasons) == 1 else None


def find_no_features(file: TableFile, heads: list[Cells]) -> dict[int, str]:
    """Return the columns that are no features, and why: first by their head, then by all rows."""
    reasons = dict.fromkeys(file.index, "index of a pandas table")
    candidates = []
    for i, (name, cells) in enumerate(zip(file.names, heads, strict=True)):
        if i in reasons or i in file.unreadable:
            continue
        is_numbers = isinstance(cells, np.ndarray)
        if not is_numbers and (reason := text_reason(i, name, [*cells])):
            reasons[i] = reason
        elif holds_numbers(cells, file.decimal) and _is_candidate(
            name, to_numbers(cells, file.decimal)
        ):
            candidates.append(i)
    if candidates:
        parts: list[dict[int, list[NDArray[np.float64]]]] = [{} for _ in candidates]
        for chunk in file.chunks(candidates):
            for own, cells in zip(parts, chunk.columns, strict=True):
                own.setdefault(chunk.part, []).append(to_numbers(cells, file.decimal))
        for i, own in zip(candidates, parts, strict=True):
            if reason := _reason_in_parts(file.names[i], [*map(np.concatenate, own.values())]):
                reasons[i] = reason
    return dict(sorted(reasons.items()))
