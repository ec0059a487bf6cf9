"""Import TensorFlow for a command, without its start-up messages."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vae_runtime.errors import MissingExtraError, OptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vae_runtime.bundle.bundle import Bundle


def import_tensorflow(purpose: str = "training and exporting", *, start: bool = True) -> None:
    """Import TensorFlow and the packages that export needs, without their messages.

    Args:
        purpose: what they are needed for, for the error message.
        start: start its devices too. Choosing devices and connecting workers comes before that.

    Raises:
        MissingExtraError: a package of the `build` extra is not installed.
        OptionError: Keras is set to another backend.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if (backend := os.environ.get("KERAS_BACKEND", "tensorflow")) != "tensorflow":
        raise OptionError(
            f"KERAS_BACKEND is {backend!r}, build-vae needs tensorflow: unset it for this command"
        )
    try:
        with _quiet_stderr():
            import tensorflow as tf

            import vae_export.bundle  # noqa: F401

            if start:
                tf.constant(0.0)  # device libraries print with the first tensor
            tf.get_logger().setLevel("ERROR")  # its warnings are for whoever writes the layers
    except ModuleNotFoundError as error:
        raise MissingExtraError(purpose, str(error.name).partition(".")[0], "build") from None


def recompute(bundle: Bundle) -> dict[str, NDArray[Any]]:
    """Compute a bundle's reference values anew from its SavedModels, for `build-vae verify`."""
    import_tensorflow("computing the SavedModels")
    from vae_export.reference import recompute as by_tensorflow

    return by_tensorflow(bundle)


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back standard error, also of C++ code; show it only if the block raises."""
    if sys.stderr is None:  # closed by the caller
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        original = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            os.dup2(original, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
