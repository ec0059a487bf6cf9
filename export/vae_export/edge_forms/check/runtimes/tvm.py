"""Apache TVM, for the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


def load(graph: Graph, folder: Path) -> Run:
    """Return a function that runs the graph; `folder` is not used."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = from_onnx(onnx.load(graph.path), keep_params_in_input=False)
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        found = machine["main"](*map(tvm.runtime.tensor, inputs.values()))
        outputs = found if len(graph.outputs) > 1 else [found]
        return {n: v.numpy() for n, v in zip(graph.outputs, outputs, strict=True)}

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    import tvm

    return f"Apache TVM {tvm.__version__}"
