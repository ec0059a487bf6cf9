"""OpenCV's dnn module.

The new engine of OpenCV 5 reads a graph with an operator that it does not know as an empty net,
without an exception. OpenCV 4 has no vectors: it gives (n, 1), or (1, n).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


def load(graph: Graph, folder: Path) -> Run:
    """Return a function that runs the graph; `folder` is not used."""
    import cv2

    net = cv2.dnn.readNetFromONNX(str(graph.path))
    if net.empty():
        raise ValueError("OpenCV reads an empty net: an operator is unknown")
    outputs = list(graph.outputs)

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        for name, value in inputs.items():
            net.setInput(value, name)
        pairs = zip(graph.outputs.items(), net.forward(outputs), strict=True)
        return {name: value.reshape(shape) for (name, shape), value in pairs}

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    import cv2

    return f"OpenCV {cv2.__version__}"
