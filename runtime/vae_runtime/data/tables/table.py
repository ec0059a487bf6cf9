"""`read_table`: the numbers of a table, of all columns that are features or of named ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.rounding import MAX_EXACT, rounded_columns, warn_of_rounding
from vae_runtime.data.tables.columns import (
    COUNTS,
    MAX_LISTED,
    is_float,
    number_reason,
    quoted,
    text_reason,
    to_numbers,
    unique_names,
)
from vae_runtime.data.tables.csv_files import CsvFile
from vae_runtime.data.tables.parquet_files import ParquetFile
from vae_runtime.errors import InputError, OptionError

CSV_EXTENSIONS = (".csv", ".tsv")
PARQUET_EXTENSIONS = (".parquet",)
"""Extensions of files that are read as tables, in lower case."""

_DROP = (
    "leave these columns out with --drop {columns}, encode text as numbers, or fill in or remove "
    "the rows"
)
_REPAIR = "the model needs these columns: fill in, encode or remove these cells"


@dataclass(frozen=True, eq=False)
class Table:
    """Samples from a table.

    Attributes:
        x: samples, float32, shape `(rows, columns)`.
        columns: names of the columns of `x`; None if the file has no names and all its columns are
            in `x`.
        notes: what was left out and why, and what looks like row numbers; a line each.
    """

    x: NDArray[np.float32]
    columns: tuple[str, ...] | None
    notes: tuple[str, ...] = ()


class _TableFile(Protocol):
    """What `CsvFile` and `ParquetFile` have in common; both describe it."""

    path: Path
    names: tuple[str, ...]
    index: frozenset[int]

    @property
    def has_header(self) -> bool: ...
    def head(self) -> list[tuple[str, ...]]: ...
    def numbers(self, columns: Sequence[int]) -> list[NDArray[np.float64]]: ...
    def read(
        self, columns: Sequence[int], remedy: str, *, allow_infinite: bool = False
    ) -> NDArray[np.float32]: ...


def read_table(path: Path, *, keep_columns: Sequence[str] = (), drop: Sequence[str] = ()) -> Table:
    """Read the columns that are features, as `vae_runtime.data.tables.columns` defines them.

    `keep_columns` are read although the rule leaves them out, `drop` are left out as well.
    `OptionError` names those that the table does not have.
    """
    file = _open(path)
    for option, names in (("--keep-columns", keep_columns), ("--drop", drop)):
        if unknown := [name for name in names if name not in file.names]:
            raise OptionError(
                f"{path} has no column {', '.join(map(repr, unknown))}, which {option} names; it "
                f"has {quoted(file.names)}: check the spelling"
            )
    if both := [name for name in drop if name in keep_columns]:
        raise OptionError(
            f"{quoted(both)} is given to --keep-columns and to --drop: leave it out of one"
        )
    dropped = {i for i, name in enumerate(file.names) if name in drop}
    heads = file.head()
    reasons = {
        i: reason
        for i, reason in _find_no_features(file, heads).items()
        if i not in dropped and file.names[i] not in keep_columns
    }
    counting = [file.names[i] for i, reason in reasons.items() if reason == COUNTS]
    reasons = {i: reason for i, reason in reasons.items() if reason != COUNTS}
    if len(dropped | reasons.keys()) == len(file.names):  # these columns are all that there is
        reasons = {}
    chosen = [i for i in range(len(file.names)) if i not in dropped and i not in reasons]
    if not chosen:
        raise OptionError(f"{path}: --drop names all columns: leave some to train on")
    named = file.has_header or len(chosen) < len(file.names)
    columns = tuple(file.names[i] for i in chosen) if named else None
    numbers = [i for i in reasons if is_float(heads[i][0])]
    notes = [_describe(file.names, reasons, numbers)] if reasons else []
    if counting:
        shown = quoted(counting)
        notes.append(
            f"{shown} counts up by one and is kept: if it numbers rows, give --drop {shown}"
        )
    return Table(_read(file, chosen, _DROP), columns, tuple(notes))


def read_model_columns(
    path: Path, columns: Sequence[str] | int, *, allow_infinite: bool = False
) -> NDArray[np.float32]:
    """Read the columns that a model takes, in its order, wherever they are in the table.

    `columns` are the manifest's `data.columns`, or their number if they have no names. A table
    without a header is read as it is if it has as many columns as the model takes. `InputError`
    names all columns that are missing. `allow_infinite` accepts numbers beyond float32.
    """
    file = _open(path)
    everything = range(len(file.names))
    count = columns if isinstance(columns, int) else len(columns)
    if len(file.names) == count and (isinstance(columns, int) or not file.has_header):
        return _read(file, everything, _REPAIR, allow_infinite=allow_infinite)
    if isinstance(columns, int):
        return read_table(path).x
    wanted = unique_names(columns)
    positions = {name: i for i, name in enumerate(file.names)}
    if missing := [name for name in wanted if name not in positions]:
        raise InputError(
            f"{path} lacks {len(missing)} of the {len(wanted)} columns that the model takes, "
            f"{quoted(missing)}; it has {quoted(file.names)}: add or rename them"
        )
    chosen = [positions[name] for name in wanted]
    return _read(file, chosen, _REPAIR, allow_infinite=allow_infinite)


def is_table(path: Path) -> bool:
    """Return whether the extension of a file is that of a table."""
    return path.suffix.lower() in (*CSV_EXTENSIONS, *PARQUET_EXTENSIONS)


def _open(path: Path) -> _TableFile:
    return ParquetFile(path) if path.suffix.lower() in PARQUET_EXTENSIONS else CsvFile(path)


def _read(
    file: _TableFile, columns: Sequence[int], remedy: str, *, allow_infinite: bool = False
) -> NDArray[np.float32]:
    """Read columns, and warn if float32 rounds their integers."""
    x = file.read(columns, remedy, allow_infinite=allow_infinite)
    size = np.maximum(x.max(axis=0), -x.min(axis=0))
    if large := np.flatnonzero(size > MAX_EXACT).tolist():
        values = np.stack(file.numbers([columns[j] for j in large]), axis=1)
        names = [file.names[i] for i in columns]
        rounded = [large[k] for k in rounded_columns(values)]
        warn_of_rounding(rounded, names, what=str(file.path), stacklevel=4)
    return x


def _find_no_features(file: _TableFile, heads: list[tuple[str, ...]]) -> dict[int, str]:
    """Return the columns that are no features, and why: first by their head, then by all rows."""
    reasons = dict.fromkeys(file.index, "index of a pandas table")
    candidates = []
    for i, (name, cells) in enumerate(zip(file.names, heads, strict=True)):
        if i in reasons:
            continue
        if reason := text_reason(i, name, cells):
            reasons[i] = reason
        elif is_float(cells[0]) and number_reason(name, to_numbers(cells)):
            candidates.append(i)
    if candidates:
        for i, values in zip(candidates, file.numbers(candidates), strict=True):
            if reason := number_reason(file.names[i], values):
                reasons[i] = reason
    return dict(sorted(reasons.items()))


def _describe(names: Sequence[str], reasons: dict[int, str], numbers: Sequence[int]) -> str:
    """Say which columns were left out, why, and how to keep those that hold `numbers`."""
    shown = [f"{names[i]!r} ({reason})" for i, reason in reasons.items()][:MAX_LISTED]
    rest = len(reasons) - len(shown)
    text = f"left out {', '.join(shown)}{f' and {rest} more' if rest else ''}"
    kept = quoted([names[i] for i in numbers])
    return f"{text}: keep with --keep-columns {kept}" if numbers else text
