"""Names of a table's columns."""

from __future__ import annotations

import csv
import io
import re
import shlex
from collections.abc import Iterable, Sequence

MAX_NAME_LENGTH = 200
"""Longest name of a column, in characters; the rest is cut off."""

MAX_LISTED = 50
"""Most columns that a message names."""


def unique_names(cells: Iterable[str]) -> tuple[str, ...]:
    """Return one-line names that differ; like pandas, name an empty cell and number a repetition.

    >>> unique_names(["", "a", "a"])
    ('Unnamed: 0', 'a', 'a.1')
    """
    found: dict[str, None] = {}
    for i, cell in enumerate(cells):
        name = re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", cell).strip()[:MAX_NAME_LENGTH]
        name = unique = name or f"Unnamed: {i}"
        repetition = 0
        while unique in found:
            repetition += 1
            unique = f"{name}.{repetition}"
        found[unique] = None
    return tuple(found)


def position_name(i: int) -> str:
    """Return the name of column `i`, from 0, in a table without a header."""
    return f"column_{i + 1}"


def quoted(names: Sequence[str]) -> str:
    r"""Return names as the value of an option, for a shell; at most `MAX_LISTED` of them.

    >>> quoted(["a", "b, c"])
    '\'a,"b, c"\''
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([*names[:MAX_LISTED]])
    rest = len(names) - MAX_LISTED
    return shlex.quote(text.getvalue()) + (f" (and {rest} more)" if rest > 0 else "")
