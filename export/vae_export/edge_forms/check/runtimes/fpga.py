"""hls4ml: its C++ code for FPGAs, compiled and run on this machine, in fixed point."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run

PRECISION = "fixed<32,12>"


def load(graph: Graph, folder: Path) -> Run:
    """Write and compile the code in `folder`, and return a function that runs it."""
    import hls4ml
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.util.cleanup import cleanup_model

    model = cleanup_model(ModelWrapper(str(graph.path)))
    config = hls4ml.utils.config_from_onnx_model(
        model, granularity="name", default_precision=PRECISION, backend="Vivado"
    )
    compiled = hls4ml.converters.convert_from_onnx_model(
        model, hls_config=config, output_dir=str(folder), backend="Vivado"
    )
    compiled.compile()

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        arrays = [np.ascontiguousarray(value) for value in inputs.values()]
        found = compiled.predict(arrays[0] if len(arrays) == 1 else arrays)
        outputs = found if isinstance(found, list) else [found]
        pairs = zip(graph.outputs.items(), outputs, strict=True)
        return {name: np.reshape(value, shape) for (name, shape), value in pairs}

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    from importlib.metadata import version

    return f"hls4ml {version('hls4ml')}"
