"""Run one graph in another runtime, in a process of its own.

    python worker.py RUNTIME FOLDER

A runtime may end the process, or not share one with TensorFlow. This program therefore imports
NumPy and the runtime, and nothing of build-vae. FOLDER holds `job.json` and the inputs of each
batch, `inputs_N.npz`. It receives `outputs_N.npz` and `answer.json`.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[dict[str, Any]], dict[str, Any]]
"""Computes the outputs of a graph by name, from its inputs in their order."""


@dataclass(frozen=True)
class Graph:
    """An ONNX file, and the shapes of its inputs and outputs, in their order.

    An open batch counts as one of 1.
    """

    path: Path
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]


def main() -> None:
    """Run the job in FOLDER."""
    runtime, folder = sys.argv[1], Path(sys.argv[2])
    module = importlib.import_module(f"runtimes.{runtime}")
    sys.path.pop(0)  # the folder of this file
    job = json.loads((folder / "job.json").read_text())
    shapes = ({k: tuple(v) for k, v in job[side].items()} for side in ("inputs", "outputs"))
    graph, error = Graph(Path(job["path"]), *shapes), ""
    (folder / "work").mkdir()
    try:
        run = module.load(graph, folder / "work")
        for i in range(job["batches"]):
            with np.load(folder / f"inputs_{i}.npz") as inputs:
                outputs = run({name: inputs[name] for name in graph.inputs})
            np.savez(folder / f"outputs_{i}.npz", **{name: outputs[name] for name in graph.outputs})
    except Exception as caught:
        error = f"{type(caught).__name__}: {caught}"
    answer = {"version": module.version(), "error": error}
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
