"""IREE, for the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


def load(graph: Graph, folder: Path) -> Run:
    """Compile the graph in `folder`, and return a function that runs it."""
    import iree.compiler
    import iree.runtime

    imported = folder / "graph.mlir"
    words = [sys.executable, "-m", "iree.compiler.tools.import_onnx", graph.path, "-o", imported]
    subprocess.run(list(map(str, words)), check=True, capture_output=True)
    compiled = iree.compiler.compile_file(
        str(imported),
        input_type="onnx",
        target_backends=["llvm-cpu"],
        extra_args=["--iree-llvmcpu-target-cpu=host"],
    )
    module = iree.runtime.load_vm_flatbuffer(compiled, driver="local-task")
    names = module.vm_module.function_names  # __init, NAME and NAME$async
    function = module[next(n for n in names if not n.startswith("__") and "$" not in n)]

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = function(*inputs.values())
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        return {n: np.asarray(v.to_host()) for n, v in zip(graph.outputs, outputs, strict=True)}

    return run


def version() -> str:
    """Return the name and version of the runtime."""
    from importlib.metadata import version

    return f"IREE {version('iree-base-runtime')}"
