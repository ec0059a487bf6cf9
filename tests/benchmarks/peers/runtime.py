"""Interface of a runtime in the comparison."""

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


class NotAvailableError(Exception):
    """A runtime cannot run on this machine; the message gives the reason or the installation."""


@dataclass(frozen=True)
class Peer:
    """A runtime.

    Attributes:
        name: display name, without a version.
        option: option that it needs to compute TensorFlow's loss, here and in users' code.
        score: returns its version and the losses of each batch. Raises `NotAvailableError`.
        must_agree: whether its differences must be within the tolerance. The other runtimes show
            what happens without the option.
    """

    name: str
    option: str
    score: Callable[[Bundle, list[Arrays]], tuple[str, list[Arrays]]]
    must_agree: bool = True


def batches(x: NDArray[Any], eps: NDArray[np.float32]) -> list[Arrays]:
    """Return all samples in one batch, then each alone: runtimes have kernels for one sample."""
    alone = [{"x": x[i : i + 1], "eps": eps[i : i + 1]} for i in range(len(x))]
    return [{"x": x, "eps": eps}, *alone]
