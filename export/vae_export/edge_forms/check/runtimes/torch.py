"""PyTorch, by onnx2torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


def load(graph: Graph, folder: Path) -> Run:
    """Return a function that runs the graph; `folder` is not used."""
    import onnx2torch
    import torch

    module = onnx2torch.convert(str(graph.path)).eval()

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        with torch.inference_mode():
            outputs = module(*map(torch.from_numpy, inputs.values()))
        outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
        return {name: v.numpy() for name, v in zip(graph.outputs, outputs, strict=True)}

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    from importlib.metadata import version

    return f"PyTorch {version('torch')} by onnx2torch {version('onnx2torch')}"
