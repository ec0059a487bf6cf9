"""What a whole column of a table becomes: a number, a boolean, a category, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.arrays.named_arrays import parse_name
from vae_runtime.data.tables.cells import Decimal, is_float, same_number
from vae_runtime.data.tables.collect import Collected
from vae_runtime.data.tables.encoding import MISSING, ColumnEncoding

MAX_CATEGORIES = 50
"""Most different texts of a column that becomes categories without being asked for."""
MAX_WORDS = 10
"""Numbers with at most so many different words among them are numbers with faults."""
MAX_FORCED_CATEGORIES = 1000
"""Most different values of a column that is asked for as categories."""

TAKE_AS_CATEGORIES = "take as categories with --categorical {}"

Feature = tuple[ColumnEncoding, NDArray[np.float64]]
"""Encoding of a column, without what is fitted, and the values of all its rows."""


@dataclass(frozen=True)
class LeftOut:
    """The reason why a column is no feature, and an option that makes it one."""

    reason: str
    remedy: str | None = None


def feature_of(
    name: str, column: Collected, decimal: Decimal, *, forced: bool
) -> Feature | LeftOut | list[int]:
    """Return what a column becomes; `forced` makes it a category.

    Numbers with a few words among them are no feature: returns the codes of these words.
    """
    if column.is_gap.all():
        return LeftOut("no values")
    if column.texts is None:
        return ColumnEncoding(name, "number"), column.values
    different = len(column.texts)
    if forced:
        if different > MAX_FORCED_CATEGORIES:
            return LeftOut(
                f"{different} different values, at most {MAX_FORCED_CATEGORIES} can be categories"
            )
        return _category(name, column.texts, column.values)
    if (booleans := column.as_booleans()) is not None:
        return ColumnEncoding(name, "boolean"), booleans
    if _names_splits(name, column.texts):
        shown = ", ".join(column.texts)
        return LeftOut(
            f"splits ({shown}): to use them, save a file for each, such as train.csv",
            TAKE_AS_CATEGORIES,
        )
    if words := _words(column, decimal):
        return words
    if different == 1:
        return LeftOut(f"text that is always {column.texts[0][:40]!r}", TAKE_AS_CATEGORIES)
    if different <= min(MAX_CATEGORIES, len(column.values) / 2):
        return _category(name, column.texts, column.values)
    return LeftOut(f"text with {different} different values", TAKE_AS_CATEGORIES)


def _names_splits(name: str, texts: list[str]) -> bool:
    """Return whether a column says of each row to which split it belongs."""
    splits = {parse_name(text).split for text in texts}
    is_name = name.lower() in ("split", "set", "subset", "partition", "dataset")
    return is_name and None not in splits and "train" in splits and len(splits) > 1


def extended(feature: Feature, texts: set[str]) -> Feature:
    """Return a category that has more texts, unless these would be too many."""
    column, codes = feature
    known = [*column.categories, *sorted(texts)]
    if len(known) > MAX_FORCED_CATEGORIES:
        return feature
    return _category(column.name, known, codes)


def _category(name: str, texts: list[str], values: NDArray[np.float64]) -> Feature:
    """Return a category whose elements are sorted, so that they do not depend on the rows."""
    if all(map(is_float, texts)):  # codes: 1 and 1.0 are the same
        texts = [*map(same_number, texts)]
        categories = sorted({*texts}, key=float)
    else:
        categories = sorted({*texts})
    code = {text: i for i, text in enumerate(categories)}
    codes = np.array([*(code[text] for text in texts), MISSING], np.float64)
    return ColumnEncoding(name, "category", tuple(categories)), codes[values.astype(np.intp)]


def _words(column: Collected, decimal: Decimal) -> list[int]:
    """Return the codes of the words of a column that is numbers but for a few words."""
    counts = column.counts()
    words = [code for code, text in enumerate(column.texts or ()) if not is_float(text, decimal)]
    is_numbers = int(counts[words].sum()) * 2 <= counts.sum() and len(words) <= MAX_WORDS
    return words if is_numbers else []
