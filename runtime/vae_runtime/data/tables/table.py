"""`read_table`: a table to train on, its features, labels, and the encoding of its columns.

Columns of text become categories if they have at most `MAX_CATEGORIES` different values, and at
most half as many as rows. Other text is left out, with a note. `columns` has the rule which columns
are no features. The categories are those of all rows. What is filled in for missing values is
fitted on the training rows only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.numbers.rounding import warn_of_rounding
from vae_runtime.data.tables.cells import Cells, holds_numbers, to_numbers, to_texts, words
from vae_runtime.data.tables.collect import Collected, collect
from vae_runtime.data.tables.columns import COUNTS, find_no_features
from vae_runtime.data.tables.encoding import ColumnEncoding, TableEncoding, fit_columns
from vae_runtime.data.tables.faults import Faults, drop_remedy
from vae_runtime.data.tables.features import (
    TAKE_AS_CATEGORIES,
    Feature,
    LeftOut,
    extended,
    feature_of,
)
from vae_runtime.data.tables.files.chunks import TableFile, read_head
from vae_runtime.data.tables.names import MAX_LISTED, quoted
from vae_runtime.data.tables.options import TableOptions
from vae_runtime.errors import InputError, OptionError

MAX_LISTED_CATEGORIES = 6
"""Most categories of a column that a note names."""

_LABEL_NAMES = ("label", "labels", "class", "classes", "target", "y", "species", "outcome")


@dataclass(frozen=True, eq=False)
class Table:
    """Samples from a table.

    Attributes:
        features: the encodings of its columns, without what is fitted, and their values.
        names: names of the elements; None if the file has none and all its columns are plain.
        notes: what was left out or encoded and why; a line each.
        label: column of the labels, if there are any.
        labels: label of each row.
        options: how the table was read.
    """

    features: tuple[Feature, ...]
    named: bool
    notes: tuple[str, ...]
    label: str | None = None
    labels: NDArray[Any] | None = None
    options: TableOptions = field(default_factory=TableOptions)

    def fit(self, training: NDArray[np.intp] | None = None) -> TableEncoding:
        """Return the encoding, fitted on the rows `training`, by default on all rows."""
        options = self.options
        return fit_columns(self.features, options.missing, options.unknown_category, training)

    def samples(self, encoding: TableEncoding) -> NDArray[np.float32]:
        """Return all rows, encoded."""
        return encoding.apply([values for _, values in self.features])

    def with_categories(self, files: Sequence[TableFile]) -> Table:
        """Return the table with the categories of other splits as well.

        Where these would be too many, the column stays as it is.
        """
        return replace(self, features=tuple(_with_texts(f, files) for f in self.features))

    @property
    def x(self) -> NDArray[np.float32]:
        """All rows, encoded by an encoding that is fitted on all rows."""
        return self.samples(self.fit())

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the elements of `x`; None if they have no names."""
        return self.fit().elements if self.named else None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.features[0][1])


def read_table(file: TableFile, options: TableOptions | None = None) -> Table:
    """Read the columns that are features.

    Raises:
        InputError: cells that are neither numbers nor missing among numbers, missing values where
            `options.missing` is "error", or no features at all. One line names all columns.
        OptionError: the options contradict each other, or name a column that is not there.
    """
    options = options or TableOptions()
    options.check(file)
    return _Reading(file, options).table()


class _Reading:
    """One reading of a table: the choice of its columns, and the notes about it."""

    def __init__(self, file: TableFile, options: TableOptions) -> None:
        self._file, self._options = file, options
        self._position = {name: i for i, name in enumerate(file.names)}
        self._notes = list(file.notes)
        self._left_out: dict[int, str] = {}
        self._remedies: dict[str, list[str]] = {}
        self._faults = Faults(file.path)
        self._has_words = False

    def table(self) -> Table:
        file, options = self._file, self._options
        label = self._position[options.label] if options.label is not None else None
        if label is None and options.columns is None and file.label is not None:
            other = file.names[file.label] in (*options.keep_columns, *options.drop)
            label = None if other else file.label
            if label is not None:
                self._notes.append(
                    f"{file.names[label]!r} holds the labels, by the layout of the file: train on "
                    f"it too with --keep-columns {quoted([file.names[label]])}"
                )
        heads = read_head(file)
        chosen = self._choose(heads, label)
        forced = {self._position[name] for name in options.categorical} | file.categories
        texts = [i for i in chosen if i in forced or _has_words(heads[i], file)]
        wanted = chosen if label is None else [*chosen, label]
        found = collect(file, wanted, [*texts, *([] if label is None else [label])])
        features = {i: self._feature(i, found[i], forced=i in forced) for i in chosen}
        kept = {i: feature for i, feature in features.items() if feature}
        if not kept and not self._faults:
            raise self._nothing_left()
        if options.columns is not None and self._left_out:
            raise self._cannot_take()
        gaps = {i: found[i] for i in chosen if found[i].gap and i not in self._left_out}
        self._raise_for_faults(gaps)
        keep = self._rows_to_keep(gaps, len(next(iter(found.values())).values))
        self._describe(kept)
        self._warn_of_rounding(kept, found)
        plain = len(kept) == len(file.names) and all(f[0].kind == "number" for f in kept.values())
        labels = found[label].labels(file.decimal)[keep] if label is not None else None
        return Table(
            tuple((column, values[keep]) for column, values in kept.values()),
            named=file.has_header or not plain or options.missing != "error",
            notes=tuple(self._notes),
            label=file.names[label] if label is not None else None,
            labels=labels,
            options=options,
        )

    def _choose(self, heads: list[Cells], label: int | None) -> list[int]:
        """Return the columns to read, in order, and note those that are no features."""
        file, options = self._file, self._options
        if options.columns is not None:
            chosen = [self._position[name] for name in options.columns]
            return [i for i in chosen if not self._is_unreadable(i)]
        excluded = {self._position[name] for name in options.drop} | {label}
        kept = {self._position[name] for name in (*options.keep_columns, *options.categorical)}
        reasons = {
            i: reason
            for i, reason in find_no_features(file, heads).items()
            if i not in excluded and i not in kept
        }
        counting = [file.names[i] for i, reason in reasons.items() if reason == COUNTS]
        reasons = {i: reason for i, reason in reasons.items() if reason != COUNTS}
        others = [i for i in range(len(file.names)) if i not in excluded]
        if not others:
            raise OptionError(f"{file.path}: --drop names all columns: leave some to train on")
        if all(i in reasons for i in others):  # these columns are all that there is
            reasons = {}
        for i, reason in reasons.items():
            numbers = holds_numbers(heads[i], file.decimal)
            self._leave_out(i, reason, "keep with --keep-columns {}" if numbers else None)
        if counting:
            shown = quoted(counting)
            self._notes.append(
                f"{shown} counts up by one and is kept: if it numbers rows, give --drop {shown}"
            )
        return [i for i in others if i not in reasons and not self._is_unreadable(i)]

    def _is_unreadable(self, i: int) -> bool:
        if i in self._file.unreadable:
            self._leave_out(i, self._file.unreadable[i])
        return i in self._file.unreadable

    def _leave_out(self, i: int, reason: str, remedy: str | None = None) -> None:
        self._left_out[i] = reason
        if remedy:
            self._remedies.setdefault(remedy, []).append(self._file.names[i])

    def _feature(self, i: int, column: Collected, *, forced: bool) -> Feature | None:
        """Return the feature of a column; None if it is left out or has faults."""
        name = self._file.names[i]
        found = feature_of(name, column, self._file.decimal, forced=forced)
        if isinstance(found, LeftOut):
            self._leave_out(i, found.reason, found.remedy)
            return None
        if isinstance(found, list):
            self._has_words = True
            for code in found:
                place, text = column.first_places[code], (column.texts or ())[code]
                self._faults.add_cell(place, name, text, int(column.counts()[code]))
            return None
        with np.errstate(over="ignore"):
            infinite = np.isinf(found[1].astype(np.float32))
        if infinite.any():
            self._add_infinite(i, infinite)
        return found

    def _add_infinite(self, i: int, infinite: NDArray[np.bool_]) -> None:
        for chunk in self._file.chunks([i]):
            rows = np.flatnonzero(infinite[chunk.first : chunk.first + chunk.rows]).tolist()
            for row in rows:
                text = str(chunk.columns[0][row])
                self._faults.add_cell(chunk.place(row), self._file.names[i], text)

    def _raise_for_faults(self, gaps: dict[int, Collected]) -> None:
        """Raise `InputError` for cells that are no numbers, and for gaps if they are an error."""
        if self._options.missing == "error":
            for i, column in gaps.items():
                place, text = column.gap or ("", "")
                count = int(column.is_gap.sum())
                self._faults.add_cell(place, self._file.names[i], text, count)
        remedies = []
        if names := self._faults.names(missing=False):
            own = [drop_remedy(names)]
            if self._has_words:
                own.append(f"make categories with --categorical {quoted(names)}")
            remedies.append(", ".join([*own, "or repair these cells"]))
        if names := self._faults.names(missing=True):
            is_gap = np.logical_or.reduce([column.is_gap for column in gaps.values()])
            complete = f"{int((~is_gap).sum())} of {len(is_gap)}"
            remedies.append(
                f"for the missing values give --missing mean or indicator to fill them in, "
                f"--missing drop to leave out their rows ({complete} are complete), or --drop "
                f"{quoted(names)}"
            )
        self._faults.raise_if_any(*remedies)

    def _rows_to_keep(self, gaps: dict[int, Collected], rows: int) -> NDArray[np.intp]:
        """Return the rows to keep, and note what is done about gaps."""
        everything = np.arange(rows)
        if not gaps:
            return everything
        names = quoted([self._file.names[i] for i in gaps])
        if self._options.missing != "drop":
            self._notes.append(f"filled in the missing values of {names} with means")
            return everything
        keep = np.flatnonzero(~np.logical_or.reduce([c.is_gap for c in gaps.values()]))
        if not len(keep):
            raise InputError(
                f"{self._file.path}: each of the {rows} rows has a missing value, in {names}: give "
                f"--missing mean, or leave these columns out with --drop {names}"
            )
        self._notes.append(
            f"left out {rows - len(keep)} of {rows} rows, which have missing values in {names}"
        )
        return keep

    def _cannot_take(self) -> InputError:
        texts = self._remedies.get(TAKE_AS_CATEGORIES)
        more = f", or {TAKE_AS_CATEGORIES.format(quoted(texts))}" if texts else ""
        return InputError(
            f"{self._file.path}: --columns names {self._reasons()}, expected numbers or few "
            f"different texts: leave them out of it{more}"
        )

    def _nothing_left(self) -> InputError:
        found, texts = self._reasons(), self._remedies.get(TAKE_AS_CATEGORIES)
        more = f", or {TAKE_AS_CATEGORIES.format(quoted(texts))}" if texts else ""
        return InputError(
            f"{self._file.path} has no columns of numbers or categories, expected at least one; it "
            f"has {found}: give another table{more}"
        )

    def _describe(self, kept: dict[int, Feature]) -> None:
        """Add notes about what was left out, and what became categories."""
        if self._left_out:
            remedies = [text.format(quoted(names)) for text, names in self._remedies.items()]
            note = f"left out {self._reasons()}"
            self._notes.append(f"{note}: {'; '.join(remedies)}" if remedies else note)
        categories = [c for c, _ in kept.values() if c.kind == "category"]
        if new := [c for c in categories if c.name not in self._options.categorical]:
            shown = ", ".join(map(_describe_categories, new[:MAX_LISTED]))
            names = quoted([c.name for c in new])
            self._notes.append(
                f"{shown}: one 0/1 element for each category; leave out with --drop {names}"
            )
        if self._options.label is None:
            labels = [c.name for c, _ in kept.values() if c.name.lower() in _LABEL_NAMES]
            if len(labels) == 1 and self._options.columns is None:
                self._notes.append(
                    f"{labels[0]!r} is trained on: if it is the label, give --label "
                    f"{quoted(labels)}"
                )

    def _reasons(self) -> str:
        reasons = sorted(self._left_out.items())
        shown = [f"{self._file.names[i]!r} ({reason})" for i, reason in reasons][:MAX_LISTED]
        rest = len(reasons) - len(shown)
        return f"{', '.join(shown)}{f' and {rest} more' if rest else ''}"

    def _warn_of_rounding(
        self,
        kept: dict[int, Feature],
        found: dict[int, Collected],
    ) -> None:
        rounded = [k for k, i in enumerate(kept) if found[i].rounds]
        names = [self._file.names[i] for i in kept]
        warn_of_rounding(rounded, names, what=str(self._file.path), stacklevel=5)


def _with_texts(feature: Feature, files: Sequence[TableFile]) -> Feature:
    """Return a category with the texts of files that have its column and texts of their own."""
    column, codes = feature
    if column.kind != "category":
        return feature
    new = set[str]()
    for file in files:
        if column.name in file.names:
            for chunk in file.chunks([file.names.index(column.name)]):
                texts = to_texts(chunk.columns[0])
                new.update(texts[i] for i in column.read(texts)[1])
    return extended(feature, new) if new else (column, codes)


def _describe_categories(column: ColumnEncoding) -> str:
    categories = column.categories
    shown = ", ".join(text[:40] for text in categories[:MAX_LISTED_CATEGORIES])
    more = ", ..." if len(categories) > MAX_LISTED_CATEGORIES else ""
    return f"{column.name!r} ({len(categories)} categories: {shown}{more})"


def _has_words(cells: Cells, file: TableFile) -> bool:
    """Return whether the first cells of a column hold text, so that it is read as text."""
    return bool(words(cells, to_numbers(cells, file.decimal)))
