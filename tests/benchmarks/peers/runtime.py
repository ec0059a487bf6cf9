"""Interface of a runtime in the comparison."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from vae_runtime import Bundle
from vae_runtime.bundle.graph_fields import GraphSpec

Arrays = dict[str, NDArray[Any]]
"""Inputs or outputs of a graph, by name."""

LOSS_NAMES = ("reconstruction_loss", "kl_loss", "loss")
DECISION_NAMES = ("score", "p_value")
OUTPUTS = {"loss": LOSS_NAMES, "score": DECISION_NAMES}
"""The outputs of each graph that are compared."""


class NotAvailableError(Exception):
    """A runtime cannot run on this machine; the message gives the reason or the installation."""


@dataclass(frozen=True)
class Peer:
    """A runtime.

    Attributes:
        name: display name, without a version.
        option: option that it needs to compute TensorFlow's loss, here and in users' code.
        run: runs a graph of a bundle, `loss` or `score`, and returns the version of the runtime and
            the outputs of each batch, at least those of `OUTPUTS`. Raises `NotAvailableError`.
        graphs: graphs that it can run.
        must_agree: whether its differences must be within the tolerance. The other runtimes show
            what happens without the option.
    """

    name: str
    option: str
    run: Callable[[Bundle, str, list[Arrays]], tuple[str, list[Arrays]]]
    graphs: tuple[str, ...] = ("loss", "score")
    must_agree: bool = True


def batches(arrays: Arrays) -> list[Arrays]:
    """Return all samples in one batch, then each alone: runtimes have kernels for one sample."""
    samples = range(len(next(iter(arrays.values()))))
    return [arrays, *({name: a[i : i + 1] for name, a in arrays.items()} for i in samples)]


def graph_spec(bundle: Bundle, graph: str) -> GraphSpec:
    """Return file, inputs and outputs of a graph."""
    return dict(bundle.manifest.graphs.items())[graph]


def graph_bytes(bundle: Bundle, graph: str) -> bytes:
    """Return a graph as an ONNX file."""
    return bundle.read(graph_spec(bundle, graph).file)
