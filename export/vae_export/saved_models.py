"""SavedModels: written with one named signature, read back from disk, digested by their weights.

A SavedModel's files differ from export to export (the order of its variables does), so what
identifies one is the digest of its weights.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

SIGNATURE: Final = "serving_default"


def write_saved_model(model: keras.Model, function: Any, path: Path) -> None:
    """Writes a SavedModel with `function` as its one signature.

    Args:
        model: owner of the weights.
        function: a `tf.function` with an input signature that returns a dict.
        path: folder to make.

    Raises:
        OSError: it cannot be written.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(SIGNATURE, function)
    with as_os_error(path):
        archive.write_out(str(path), verbose=False)
    shutil.rmtree(path / "assets", ignore_errors=True)  # an empty folder; copies may lose it


@contextlib.contextmanager
def as_os_error(path: Path) -> Iterator[None]:
    """Raises what TensorFlow says of a file that it cannot write as everybody else does.

    Args:
        path: what it writes.

    Raises:
        OSError: it cannot be written.
    """
    try:
        yield
    except tf.errors.OpError as error:
        code = errno.ENOSPC if "No space left" in error.message else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error


def read_saved_model(path: Path) -> Any:
    """Reads a SavedModel.

    Returns:
        Its signature: called with named tensors, it returns a dict of tensors.
    """
    restored = tf.saved_model.load(str(path))
    signature = restored.signatures[SIGNATURE]
    signature.owner = restored  # the signature holds no reference to the variables that it uses
    return signature


def weights_sha256(model: keras.Model) -> str:
    """Digest of a model's weights: dtype, shape and bytes of each, in the model's order."""
    digest = hashlib.sha256()
    for weight in model.weights:
        array = np.ascontiguousarray(weight.numpy())
        digest.update(f"{array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
