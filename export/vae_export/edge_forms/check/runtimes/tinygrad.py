"""tinygrad."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


def load(graph: Graph, folder: Path) -> Run:
    """Return a function that runs the graph; `folder` is not used."""
    from tinygrad import Tensor
    from tinygrad.nn.onnx import OnnxRunner

    runner = OnnxRunner(str(graph.path))

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = runner({name: Tensor(value) for name, value in inputs.items()})
        return {name: outputs[name].numpy() for name in graph.outputs}

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    from importlib.metadata import version

    return f"tinygrad {version('tinygrad')}"
