"""Load a data set from a name or a path."""

from __future__ import annotations

from pathlib import Path

from vae_builder.data.dataset import TEST_FRACTION, VALIDATION_FRACTION, Dataset
from vae_runtime.data.sources import columns_of, form_of, load_splits
from vae_runtime.errors import InputError


def load_dataset(
    source: str | Path,
    *,
    key: str | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    validation_fraction: float = VALIDATION_FRACTION,
    test_fraction: float = TEST_FRACTION,
    split_seed: int = 0,
) -> Dataset:
    """Load samples, and draw the splits that the source does not bring.

    Args:
        source: as for `vae_runtime.load_array`, except a single picture.
        key: name of the array to use from an `.npz` file.
        image_size: height and width that pictures are resized to.
        channels: 1 to read pictures as grey, 3 as RGB; by default grey if all of them are grey.
        validation_fraction: share of the training samples to draw as validation split.
        test_fraction: share of the training samples to draw as test split.
        split_seed: seed of the draw, at least 0.

    Returns:
        The data set, named after the source. The splits of an `.npy` file, and of pictures that
        take more than 256 MB, stay in a memory-mapped file.

    Raises:
        InputError: the source does not exist, is of no known form, cannot be read or downloaded,
            or its samples cannot be used.
        MissingExtraError: the source needs Pillow, Keras or pyarrow, which is not installed.
        OptionError: an option that the source does not take, or one outside its choices.

    >>> load_dataset("digits").counts
    {'train': 9500, 'validation': 500, 'test': 2000}
    """
    form = form_of(source)
    if form == "picture":
        raise InputError(
            f"{source} is one picture, expected many to train on: give the folder that holds them"
        )
    arrays = load_splits(source, key=key, image_size=image_size, channels=channels)
    return Dataset.from_arrays(
        str(source) if form == "name" else Path(source).resolve().name,
        arrays["train"],
        validation=arrays.get("validation"),
        test=arrays.get("test"),
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        split_seed=split_seed,
        columns=columns_of(source),
    )
