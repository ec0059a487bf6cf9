"""Tables and data frames as splits of encoded samples, with their labels.

What is filled in for missing values is fitted on the training samples. The categories are those of
the whole table: a rare one may be in any split.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_builder.data.splits import draw_rows
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.samples.frames import FrameTable, is_frame
from vae_runtime.data.tables.cells import to_labels
from vae_runtime.data.tables.encoding import TableEncoding
from vae_runtime.data.tables.files.chunks import TableFile
from vae_runtime.data.tables.model_rows import ModelRows
from vae_runtime.data.tables.names import quoted
from vae_runtime.data.tables.options import TableOptions
from vae_runtime.data.tables.table import Table, read_table
from vae_runtime.errors import InputError

MAX_NAMES_LENGTH = 200_000
"""Most characters that the names of the elements have in all."""

_REMEDY = (
    "repair these cells, leave the columns out with --drop, or for missing values give --missing "
    "mean, indicator or drop"
)


@dataclass(frozen=True, eq=False)
class Encoded:
    """Encoded samples of the splits that a source has, their labels, and the encoding.

    `columns` are the names of the elements, None if they have none; `label` is the column of the
    labels.
    """

    splits: dict[str, NDArray[np.float32]]
    labels: dict[str, NDArray[Any]] | None
    encoding: TableEncoding
    columns: tuple[str, ...] | None
    label: str | None
    notes: tuple[str, ...] = ()


def encode_table(
    name: str, table: Table, others: Mapping[str, TableFile], missing: dict[str, float], seed: int
) -> Encoded:
    """Encode a table to train on, and other splits.

    `missing` are the splits that will be drawn from the table with this seed, and their fractions.
    """
    rows = draw_rows(name, table.rows, missing, seed)["train"] if missing else None
    encoding = table.fit(rows)
    splits, labels = {"train": table.samples(encoding)}, {"train": table.labels}
    for split, file in others.items():
        splits[split], labels[split] = _read(file, encoding, table.label)
    known = {split: own for split, own in labels.items() if own is not None}
    _check_length(name, encoding)
    columns = encoding.elements if table.named else None
    return Encoded(splits, known or None, encoding, columns, table.label, table.notes)


def encode_splits(
    name: str,
    files: Mapping[str, TableFile],
    options: TableOptions,
    missing: dict[str, float],
    seed: int,
) -> Encoded:
    """Encode the tables of the splits that a source has.

    A column that only training has, beside all others, is the label.
    """
    train = files["train"]
    others = {split: file for split, file in files.items() if split != "train"}
    options.check(train)
    options, notes = _label_of_splits(train, others, options)
    table = read_table(train, options).with_categories([*others.values()])
    encoded = encode_table(name, table, others, missing, seed)
    return replace(encoded, notes=(*notes, *encoded.notes))


def _label_of_splits(
    train: TableFile, others: Mapping[str, TableFile], options: TableOptions
) -> tuple[TableOptions, tuple[str, ...]]:
    """Return the options with the label that other splits lack; refuse columns that they lack."""
    if not train.has_header:
        return options, ()
    known = {*options.drop, options.label}
    wanted = [n for n in options.columns or train.names if n not in known]
    for split, file in others.items():
        lacks = [name for name in wanted if name not in file.names]
        if not lacks:
            continue
        if len(lacks) == 1 and len(wanted) > 1 and None in known and options.columns is None:
            note = f"{lacks[0]!r} is taken as the label: the {split} split lacks it"
            given = (*options.keep_columns, *options.categorical)
            if lacks[0] not in given:
                return replace(options, label=lacks[0]), (note,)
        raise InputError(
            f"{file.path} lacks {quoted(lacks)}, expected the columns of {train.path.name}: leave "
            f"them out of training with --drop {quoted(lacks)}, or one with --label"
        )
    return options, ()


def encode_frames(
    name: str, frames: dict[str, Any], options: TableOptions, missing: dict[str, float], seed: int
) -> Encoded | None:
    """Encode data frames by split; None if they are arrays, or frames of numbers.

    A warning says which columns were left out.
    """
    if not is_frame(frames["train"]):
        return None
    frame = FrameTable(frames["train"], name)
    if options == TableOptions() and not _needs_encoding(frame):
        return None
    table = read_table(frame, options)
    for note in table.notes:
        if note.startswith("left out '"):
            warnings.warn(f"{name}: {note}", InputWarning, stacklevel=3)
    others = {
        split: FrameTable(x, f"{name}: {split} samples")
        for split, x in frames.items()
        if split != "train" and x is not None
    }
    return encode_table(name, table, others, missing, seed)


def _needs_encoding(frame: FrameTable) -> bool:
    """Return whether a frame holds anything but numbers."""
    if not frame.has_header:
        return False
    columns = range(len(frame.names))
    texts = frame.unreadable or frame.categories
    return bool(texts) or any(
        not isinstance(cells, np.ndarray) for cells in next(frame.chunks(columns)).columns
    )


def _check_length(name: str, encoding: TableEncoding) -> None:
    """Raise `InputError` if a manifest, of at most 1 MiB, cannot hold the encoding."""
    length = sum(map(len, encoding.elements))
    if not encoding.is_plain and length > MAX_NAMES_LENGTH:
        raise InputError(
            f"{name}: the names and categories of {len(encoding.elements)} elements, such as "
            f"{encoding.elements[0][:40]!r}, have {length} characters, expected at most "
            f"{MAX_NAMES_LENGTH}: leave columns out with --drop, or shorten their texts"
        )


def read_encoded(
    files: Mapping[str, TableFile], encoding: TableEncoding, label: str | None
) -> Encoded:
    """Read the tables of splits by the encoding of the table that a model was trained on."""
    read = {split: _read(file, encoding, label) for split, file in files.items()}
    splits = {split: x for split, (x, _) in read.items()}
    known = {split: labels for split, (_, labels) in read.items() if labels is not None}
    return Encoded(splits, known or None, encoding, encoding.elements, label)


def _read(
    file: TableFile, encoding: TableEncoding, label: str | None
) -> tuple[NDArray[np.float32], NDArray[Any] | None]:
    """Read samples by an encoding, and their labels if the file has them.

    Rows with missing values are left out if they were left out there.
    """
    drops = encoding.missing == "drop"
    names = [label] if label is not None and label in file.names else []
    chunks = ModelRows(file, encoding).chunks(strict=not drops, texts=names, remedy=_REMEDY)
    parts = [*chunks]
    x = np.concatenate([part.x for part in parts])
    kept = np.isfinite(x).all(axis=1) if drops else np.ones(len(x), bool)
    texts = [text for part in parts for name in names for text in part.texts[name]]
    return x[kept], to_labels(texts, file.decimal)[kept] if names else None
