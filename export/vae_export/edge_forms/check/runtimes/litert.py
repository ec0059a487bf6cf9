"""LiteRT, by onnx2tf, which overwrites the file that it converts, and takes NHWC for NCHW."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


def load(graph: Graph, folder: Path) -> Run:
    """Convert a copy of the graph in `folder`, and return a function that runs it."""
    from ai_edge_litert.interpreter import Interpreter

    (folder / "graph.onnx").write_bytes(graph.path.read_bytes())
    converter = str(Path(sys.executable).with_name("onnx2tf"))
    words = [converter, "-i", "graph.onnx", "-o", "tflite", "-kat", *graph.inputs]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or [""]
        raise ValueError(f"onnx2tf returns {done.returncode}: {lines[-1]}")
    interpreter = Interpreter(str(folder / "tflite" / "graph_float32.tflite"))
    interpreter.allocate_tensors()
    entries = {entry["name"]: entry["index"] for entry in interpreter.get_input_details()}

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        for name, value in inputs.items():
            interpreter.set_tensor(entries[name], value)
        interpreter.invoke()
        details = zip(graph.outputs.items(), interpreter.get_output_details(), strict=True)
        return {
            name: interpreter.get_tensor(entry["index"]).reshape(shape)
            for (name, shape), entry in details
        }

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    from importlib.metadata import version

    return f"LiteRT {version('ai-edge-litert')} by onnx2tf {version('onnx2tf')}"
