"""Data sets by name: the digits that come with build-vae, and two that Keras downloads."""

from __future__ import annotations

import importlib
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.numpy_files import KERAS_LAYOUT, read_npz
from vae_runtime.errors import InputError, MissingExtraError

EMBEDDED = "digits"
KERAS_NAMES = ("mnist", "fashion_mnist")
NAMES = (EMBEDDED, *KERAS_NAMES)
"""All names that a source may have."""


def read_digits(split: str) -> NDArray[np.generic]:
    """Reads the embedded digits: 12,000 images of MNIST.

    Args:
        split: "train" (10,000 images) or "test" (2,000).

    Returns:
        Pixels, uint8, shape `(n, 28, 28)`.

    Raises:
        InputError: the installed file is damaged.
    """
    resource = resources.files("vae_runtime.data") / "digits" / "digits.npz"
    with resources.as_file(resource) as path:
        return read_npz(path, KERAS_LAYOUT[split][0])


def read_keras(name: str) -> dict[str, NDArray[np.generic]]:
    """Reads a data set with Keras's own loader, which downloads it once.

    Args:
        name: one of `KERAS_NAMES`.

    Returns:
        "train" and "test", uint8, shape `(n, 28, 28)`.

    Raises:
        InputError: it could not be downloaded.
        MissingExtraError: Keras is not installed.
    """
    try:
        loader = importlib.import_module(f"keras.datasets.{name}")
    except ImportError as error:
        raise MissingExtraError(f"the data set {name}", "keras", "build") from error
    try:
        (train, _), (test, _) = loader.load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{name} could not be downloaded ({reason}): connect to the network, or download it "
            "elsewhere and give the file"
        ) from error
    return {"train": train, "test": test}
