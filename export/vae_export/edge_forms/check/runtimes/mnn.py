"""MNN. Its converter is called directly: the command `mnnconvert` installs a package by itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


def load(graph: Graph, folder: Path) -> Run:
    """Convert the graph to `folder / "model.mnn"`, and return a function that runs it."""
    import MNN
    from _tools import mnnconvert

    path = folder / "model.mnn"
    words = ["-f", "ONNX", "--modelFile", graph.path, "--MNNModel", path, "--bizCode", "vae"]
    mnnconvert(["mnnconvert", *map(str, words)])
    names = list(graph.outputs)
    module = MNN.nn.load_module_from_file(str(path), list(graph.inputs), names)

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        variables = [MNN.expr.const(v, list(v.shape), MNN.expr.NCHW) for v in inputs.values()]
        outputs, samples = module.forward(variables), len(next(iter(inputs.values())))
        return {  # a matrix may come as (n, k, 1, 1)
            name: np.array(MNN.expr.convert(value, MNN.expr.NCHW).read()).reshape(
                samples, *graph.outputs[name][1:]
            )
            for name, value in zip(names, outputs, strict=True)
        }

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    import MNN

    return f"MNN {MNN.version()}"
