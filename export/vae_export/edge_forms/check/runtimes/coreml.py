"""Core ML, by onnx2coreml in float32. The conversion runs anywhere, the model on macOS only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


def load(graph: Graph, folder: Path) -> Run:
    """Write `folder / "model.mlpackage"`, and return a function that runs it."""
    import onnx2coreml

    model = onnx2coreml.convert(str(graph.path), compute_precision="fp32")
    model.save(str(folder / "model.mlpackage"))

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        found = model.predict(dict(inputs))
        return {name: np.reshape(found[name], shape) for name, shape in graph.outputs.items()}

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    from importlib.metadata import version

    return f"Core ML by onnx2coreml {version('onnx2coreml')}"
