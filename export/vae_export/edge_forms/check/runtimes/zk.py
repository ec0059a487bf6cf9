"""ezkl: the circuit of a zero-knowledge proof, and its witness, in fixed point."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run

SCALE = 13
"""Binary digits after the point. With the default of 7, a loss is wrong by 1e-2."""


def load(graph: Graph, folder: Path) -> Run:
    """Compile the circuit in `folder`, and return a function that computes a witness."""
    import ezkl

    model, settings, circuit, data, witness = (
        str(folder / name)
        for name in ("model.onnx", "settings.json", "model.compiled", "data.json", "witness.json")
    )
    Path(model).write_bytes(graph.path.read_bytes())
    arguments = ezkl.PyRunArgs()
    arguments.input_scale = arguments.param_scale = SCALE
    ezkl.gen_settings(model, settings, py_run_args=arguments)
    ezkl.compile_circuit(model, circuit, settings)

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        values = [np.ravel(value).tolist() for value in inputs.values()]
        Path(data).write_text(json.dumps({"input_data": values}))
        ezkl.gen_witness(data, circuit, witness)
        found = json.loads(Path(witness).read_text())["pretty_elements"]["rescaled_outputs"]
        pairs = zip(graph.outputs.items(), found, strict=True)
        return {name: np.array(value, np.float32).reshape(shape) for (name, shape), value in pairs}

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    from importlib.metadata import version

    return f"ezkl {version('ezkl')}"
