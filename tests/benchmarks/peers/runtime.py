"""What a runtime must be able to do to be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime import Bundle

Arrays = dict[str, NDArray[Any]]
"""`x` and `eps`, or the three parts of the loss, by name."""

LOSS_NAMES = ("reconstruction_loss", "kl_loss", "loss")


class NotHereError(Exception):
    """A runtime cannot run on this machine; the message says why, or what installs it."""


@dataclass(frozen=True)
class Peer:
    """A runtime.

    Attributes:
        name: for people, without a version.
        told: what it is told so that its loss is TensorFlow's; what a user must tell it, too.
        score: the losses of each batch, by this runtime, and its version. Raises `NotHereError`.
        held: whether its differences must be within the tolerance. Those that are not show what
            comes of not telling.
    """

    name: str
    told: str
    score: Callable[[Bundle, list[Arrays]], tuple[str, list[Arrays]]]
    held: bool = True


def batches(x: NDArray[Any], eps: NDArray[np.float32]) -> list[Arrays]:
    """All samples at once, then each alone: runtimes choose other kernels for a single one."""
    alone = [{"x": x[i : i + 1], "eps": eps[i : i + 1]} for i in range(len(x))]
    return [{"x": x, "eps": eps}, *alone]
