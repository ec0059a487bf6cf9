"""SavedModels: written with one named signature, read back from disk, digested by their weights.

The files of a SavedModel differ from export to export because the order of its variables does. The
digest of the weights identifies it instead.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

SIGNATURE: Final = "serving_default"


@dataclass(frozen=True)
class Endpoint:
    """A function that a SavedModel holds beside its signature; it uses the model's variables."""

    name: str
    function: Any


def write_saved_model(
    model: keras.Model, function: Any, path: Path, endpoint: Endpoint | None = None
) -> None:
    """Write the SavedModel of `model` to a new folder; raise `OSError` if that fails.

    `function`, a `tf.function` with an input signature that returns a dict, is its only signature
    but that of `endpoint`.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(SIGNATURE, function)
    if endpoint is not None:
        archive.add_endpoint(endpoint.name, endpoint.function)
    with translated_write_errors(path):
        archive.write_out(str(path), verbose=False)
    shutil.rmtree(path / "assets", ignore_errors=True)  # an empty folder, which a copy may lose


@contextlib.contextmanager
def translated_write_errors(path: Path) -> Iterator[None]:
    """Raise TensorFlow's errors as an `OSError` that names `path`, the file being written."""
    try:
        yield
    except tf.errors.OpError as error:
        code = errno.ENOSPC if "No space left" in error.message else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error


def read_saved_model(path: Path, name: str = SIGNATURE) -> Any:
    """Return a signature of a SavedModel: call it with named tensors to get a dict of tensors."""
    restored = tf.saved_model.load(str(path))
    signature = restored.signatures[name]
    signature.owner = restored  # the signature holds no reference to the variables that it uses
    return signature


def weights_sha256(model: keras.Model) -> str:
    """Return the SHA-256 of each weight's dtype, shape and bytes, in the order of the model."""
    digest = hashlib.sha256()
    for weight in model.weights:
        array = np.ascontiguousarray(weight.numpy())
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
