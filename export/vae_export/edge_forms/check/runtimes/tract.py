"""tract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


def load(graph: Graph, folder: Path) -> Run:
    """Return a function that runs the graph; `folder` is not used."""
    import tract

    runnable = tract.onnx().load(str(graph.path)).into_model().into_runnable()

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = runnable.run(list(inputs.values()))
        return {n: v.to_numpy() for n, v in zip(graph.outputs, outputs, strict=True)}

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    import tract

    return f"tract {tract.version()}"
