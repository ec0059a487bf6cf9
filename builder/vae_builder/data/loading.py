"""Loading of a data set from a name or a path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from vae_builder.data.dataset import TEST_FRACTION, VALIDATION_FRACTION, Dataset
from vae_builder.data.samples import Layout
from vae_runtime.data.loaded import LoadedSamples
from vae_runtime.data.sources import format_of, load_splits, load_table
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
    if source_format == "table":
        table = load_table(source, columns=columns, keep_columns=keep_columns, drop=drop, **reading)
        splits = {"train": LoadedSamples(table.x, columns=table.columns, notes=table.notes)}
    elif columns is None and not (keep_columns or drop):
        splits = load_splits(source, **reading)
    else:
        raise OptionError(f"{source} is no table, its columns have no names: name no columns")
    train = splits["train"]
    if source_format == "picture" and len(train.x) == 1:
        raise InputError(
            f"{source} is one picture, expected many to train on: give the folder that holds them"
        )
    given = {split: loaded.x for split, loaded in splits.items() if split != "train"}
    labels = {split: own.labels for split, own in splits.items() if own.labels is not None}
    if condition and not labels:
        raise InputError(
            f"{source} has no labels to condition on: give data with labels, such as y_train in an "
            ".npz file, or Dataset.from_arrays(..., condition=...) in Python"
        )
    return Dataset.from_arrays(
        str(source) if source_format == "name" else Path(source).resolve().name,
        train.x,
        **given,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        columns=train.columns,
        is_table=source_format == "table",
        notes=tuple(note for loaded in splits.values() for note in loaded.notes),
        layout=layout,
        condition=labels if condition else None,
    )
