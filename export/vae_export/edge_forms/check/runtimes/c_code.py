"""C code by emx-onnx-cgen, compiled by gcc and called through ctypes."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


def load(graph: Graph, folder: Path) -> Run:
    """Write and compile the code in `folder`, and return a function that runs it."""
    generator = [sys.executable, "-m", "emx_onnx_cgen", "compile", "--model-name", "graph"]
    _do([*generator, str(graph.path.resolve()), "graph.c"], folder)
    _do(["gcc", "-O2", "-shared", "-fPIC", "graph.c", "-o", "graph.so", "-lm"], folder)
    library = ctypes.CDLL(str(folder / "graph.so"))
    if (weights := folder / "graph.bin").is_file():
        library.graph_load.restype = ctypes.c_bool
        if not library.graph_load(str(weights).encode()):
            raise ValueError("the code does not load its weights")

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = {n: np.full(shape, np.nan, np.float32) for n, shape in graph.outputs.items()}
        arrays = (*inputs.values(), *outputs.values())
        library.graph(*(a.ctypes.data_as(ctypes.c_void_p) for a in arrays))
        return outputs

    return run


def _do(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [""]
        raise ValueError(f"{' '.join(words[:3])} returns {done.returncode}: {lines[-1]}")


def version() -> str:
    """Return the name and version of the runtime."""
    from importlib.metadata import version

    return f"emx-onnx-cgen {version('emx-onnx-cgen')} and gcc"
