"""Loading of a data set from a name or a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from vae_builder.data.dataset import Dataset
from vae_builder.data.encoded import encode_splits, read_encoded
from vae_builder.data.samples import Layout
from vae_builder.data.splits import TEST_FRACTION, VALIDATION_FRACTION, check_split_options
from vae_runtime.bundle.fields import Manifest
from vae_runtime.data.sources import format_of, is_table, load_splits, open_source_splits
from vae_runtime.data.tables.encoding import (
    Missing,
    TableEncoding,
    UnknownCategory,
    plain_encoding,
)
from vae_runtime.data.tables.options import TableOptions
from vae_runtime.errors import InputError, OptionError

Condition = Literal["labels"]
"""What a conditional model is conditioned on."""


def load_dataset(
    source: str | Path,
    *,
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    skip_unreadable: bool = False,
    columns: Sequence[str] | None = None,
    keep_columns: Sequence[str] = (),
    drop: Sequence[str] = (),
    label: str | None = None,
    categorical: Sequence[str] = (),
    missing: Missing = "error",
    unknown_category: UnknownCategory = "error",
    encoding: TableEncoding | None = None,
    layout: Layout | None = None,
    condition: Condition | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
    test_fraction: float = TEST_FRACTION,
    split_seed: int = 0,
) -> Dataset:
    """Load samples. If the source has no validation or test split, draw one at random.

    Args:
        source: a source as for `vae_runtime.load_array`, but not a single picture.
        key: name of the array to use from a file of several arrays. If it is the training split,
            the file's other splits are used as well.
        image_size: height and width that pictures are resized to.
        channels: 1 to read pictures as grey, 3 as RGB; by default grey if all of them are grey.
        skip_unreadable: leave out pictures that cannot be read; the notes name them.
        columns: names of all columns to read from a table, in this order. By default all but row
            numbers, row names and times; `vae_runtime.data.tables.columns` has the rule.
        keep_columns: names of columns that this rule leaves out, but that are to be read.
        drop: names of more columns to leave out.
        label: name of the column of labels, which is kept out of training. In the layouts of
            scikit-learn, of the UCR archive and of MNIST as CSV it is known.
        categorical: names of columns whose values are categories, such as codes. Text columns with
            few different values are categories by default.
        missing: what to do about missing values in a table: "error"; "drop" leaves the rows out;
            "mean" fills in the mean of the training samples; "indicator" also adds an element that
            is 1 where a value was missing, for each column with gaps.
        unknown_category: what a device does about a category that this table does not have:
            "error", or "zeros" for all of its elements.
        encoding: encoding of a table that another model was trained on; it replaces the choice of
            columns.
        layout: what samples are: `vectors`, `series`, `images` or `volumes`; by default the number
            of axes says it.
        condition: `labels` to condition the model on the labels of the samples.
        validation_fraction: fraction of the training samples for the validation split.
        test_fraction: fraction of the training samples for the test split.
        split_seed: seed of the split, at least 0.

    Returns:
        The data set, named after the source. The splits of an `.npy` file, and of pictures that
        take more than 256 MB, stay in a memory-mapped file.

    Raises:
        InputError: the source does not exist, has no known format, cannot be read or downloaded,
            or holds unusable samples.
        MissingExtraError: the source needs Pillow, Keras or pyarrow, which is not installed.
        OptionError: an option that this source does not take, a column that it does not have, or a
            value out of range.

    >>> load_dataset("digits").counts
    {'train': 9500, 'validation': 500, 'test': 2000}
    """
    source_format = format_of(source)
    reading: dict[str, Any] = {
        "key": key,
        "image_size": image_size,
        "channels": channels,
        "skip_unreadable": skip_unreadable,
    }
    splitting: dict[str, Any] = {
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
        "split_seed": split_seed,
    }
    name = str(source) if source_format == "name" else Path(source).resolve().name
    options = TableOptions(
        columns=None if columns is None else tuple(columns),
        keep_columns=tuple(keep_columns),
        drop=tuple(drop),
        label=label,
        categorical=tuple(categorical),
        missing=missing,
        unknown_category=unknown_category,
    )
    if source_format == "table":
        tables = open_source_splits(source, **reading)
        check_split_options(**splitting)
        if encoding is not None:
            encoded = read_encoded(tables.files, encoding, label)
        else:
            fractions = {"validation": validation_fraction, "test": test_fraction}
            drawn = {split: own for split, own in fractions.items() if split not in tables.files}
            encoded = encode_splits(name, tables.files, options, drawn, split_seed)
        labels = encoded.labels if condition else None
        if condition and not labels:
            raise _no_labels(source)
        return Dataset.from_encoded(
            name, encoded, notes=tables.notes, layout=layout, condition=labels, **splitting
        )
    if options != TableOptions() or encoding is not None:
        raise OptionError(f"{source} is no table, its columns have no names: name no columns")
    splits = load_splits(source, **reading)
    train = splits["train"]
    if source_format == "picture" and len(train.x) == 1:
        raise InputError(
            f"{source} is one picture, expected many to train on: give the folder that holds them"
        )
    given: dict[str, Any] = {
        split: loaded.x for split, loaded in splits.items() if split != "train"
    }
    labels = {split: own.labels for split, own in splits.items() if own.labels is not None}
    if condition and not labels:
        raise _no_labels(source)
    return Dataset.from_arrays(
        name,
        train.x,
        **given,
        **splitting,
        columns=train.columns,
        notes=tuple(note for loaded in splits.values() for note in loaded.notes),
        layout=layout or ("series" if train.is_series else None),
        labels=labels or None,
        condition=labels if condition else None,
    )


def _no_labels(source: str | Path) -> InputError:
    """Return the error for data that has no labels to condition a model on."""
    return InputError(
        f"{source} has no labels to condition on: give data with labels, such as y_train in an "
        ".npz file or --label NAME for a table, or Dataset.from_arrays(..., condition=...) in "
        "Python"
    )


def load_data_of(manifest: Manifest, source: str, reading: Mapping[str, Any]) -> Dataset:
    """Load the data that a bundle's model was trained on, as training did.

    Args:
        manifest: the bundle's manifest, which holds the encoding of a table and the condition.
        source: as for `load_dataset`.
        reading: other arguments of `load_dataset`.

    Raises:
        InputError: as `load_dataset`.
    """
    options = dict(reading)
    if manifest.data:
        options["split_seed"] = manifest.data.split_seed
    if is_table(source) and (taken := manifest.table):
        options["encoding"] = taken if isinstance(taken, TableEncoding) else plain_encoding(taken)
    if manifest.condition:
        options["condition"] = "labels"
        options["label"] = manifest.data.label if manifest.data else None
    return load_dataset(source, **options)
