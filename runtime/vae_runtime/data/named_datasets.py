"""Data sets by name: the digits that come with build-vae, and two that Keras downloads."""

from __future__ import annotations

import importlib
from importlib import resources

from vae_runtime.data.arrays.numpy_files import read_npz_array
from vae_runtime.data.loaded import LoadedSamples, as_labels
from vae_runtime.errors import InputError, MissingExtraError

EMBEDDED_DATASET = "digits"
KERAS_DATASETS = ("mnist", "fashion_mnist")
DATASET_NAMES = (EMBEDDED_DATASET, *KERAS_DATASETS)
"""All names that a source may have."""


def read_digits(split: str) -> LoadedSamples:
    """Read MNIST images from the package: 10,000 for "train", 2,000 for "test".

    Pixels are uint8, shape `(n, 28, 28)`, labels the digits, uint8.
    """
    resource = resources.files("vae_runtime.data") / "digits" / "digits.npz"
    with resources.as_file(resource) as path:
        x, labels = (read_npz_array(path, f"{array}_{split}") for array in "xy")
    return LoadedSamples(x, labels=labels)


def read_keras_dataset(name: str) -> dict[str, LoadedSamples]:
    """Read "train" and "test" with Keras's loader, which downloads them once.

    Pixels are uint8, shape `(n, 28, 28)`, labels the digits or classes. Raises `InputError` if the
    download fails, and `MissingExtraError` if Keras is not installed.
    """
    try:
        loader = importlib.import_module(f"keras.datasets.{name}")
    except ImportError as error:
        raise MissingExtraError(f"the data set {name}", "keras", "build") from error
    try:
        train, test = loader.load_data()
    except Exception as error:  # Keras raises a bare Exception if a download fails
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{name} could not be downloaded ({reason}): connect to the network, or download it "
            "elsewhere and give the file"
        ) from error
    splits = {"train": train, "test": test}
    return {
        split: LoadedSamples(x, labels=as_labels(y, len(x))) for split, (x, y) in splits.items()
    }
