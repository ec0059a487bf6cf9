"""Runtimes that take graphs in a form of their own, which `build-vae edge --for NAME` writes."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from vae_runtime import Bundle, MissingExtraError

from .runtime import OUTPUTS, Arrays, NotAvailableError, Peer

NAMES = {
    "opencv": "OpenCV",
    "mnn": "MNN",
    "ncnn": "ncnn",
    "tract": "tract",
    "iree": "IREE",
    "tvm": "Apache TVM",
    "tinygrad": "tinygrad",
    "torch": "onnx2torch",
    "c": "C code by emx-onnx-cgen",
}
"""Targets that have a loss graph and run on a computer, with their names for people."""


def edge_form(
    target: str, bundle: Bundle, graph: str, inputs: list[Arrays]
) -> tuple[str, list[Arrays]]:
    """Run a graph as it is written for a target.

    A target whose graphs have a fixed batch runs one sample at a time.
    """
    from vae_export import edge, require_runtime
    from vae_export.edge_forms.check.running import Batch, read_graph, run_graph
    from vae_export.edge_forms.targets import OPEN, TARGETS

    try:
        runtime = require_runtime(target)
    except MissingExtraError as error:
        raise NotAvailableError(str(error)) from None
    together, *alone = inputs
    rows = [np.array([i]) for i in range(len(alone))]
    is_open = TARGETS[target].batch == OPEN
    batches = [Batch(row, 1) for row in rows]
    if is_open:
        batches.insert(0, Batch(np.arange(len(alone)), len(alone)))
    with tempfile.TemporaryDirectory() as folder:
        batch = OPEN if is_open else 1
        forms = edge(bundle.path, Path(folder) / "forms", batch=batch, target=target)
        written, _ = read_graph(forms.path / graph / "model.onnx")
        answer = run_graph(runtime, written, batches, together)
    if answer.error:
        raise RuntimeError(answer.error)
    found = {name: answer.values[name] for name in OUTPUTS[graph]}
    each = [{name: value[-len(alone) :][row] for name, value in found.items()} for row in rows]
    return answer.version, [{k: value[: len(alone)] for k, value in found.items()}, *each]


EDGE_PEERS = tuple(
    Peer(name, f"graphs of `build-vae edge --for {target}`", partial(edge_form, target))
    for target, name in NAMES.items()
)
"""These runtimes, in the order of the table."""
