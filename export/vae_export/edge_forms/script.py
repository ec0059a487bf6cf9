"""`load.py` beside the edge forms: runs each graph in one runtime, and compares the values.

The code that runs the runtime is that of `check/runtimes/`, so that both do the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from importlib.resources import files
from typing import Final

from vae_export.edge_forms.targets import Target

_HEAD: Final = '''"""Run these graphs in {title}, and compare with TensorFlow's values.

    python -m pip install {packages}
    python load.py

For each graph, the inputs of its test data sets are run. The exit status is 1 if a value differs
by more than `allowed_I.npy` says, or if a graph cannot be run.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

'''
_TAIL: Final = '''

@dataclass(frozen=True)
class Graph:
    """An ONNX file, and the shapes of its inputs and outputs, in their order."""

    path: Path
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]


def read(folder, kind):
    """Return the arrays of a test data set, by tensor."""
    files = sorted(folder.glob(f"{kind}_*.pb"), key=lambda file: int(file.stem.split("_")[1]))
    tensors = [onnx.load_tensor(str(file)) for file in files]
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}


def shapes(arrays):
    return {name: array.shape for name, array in arrays.items()}


def check(folder):
    """Run one graph on its test data; return whether all values are right."""
    sets = sorted(folder.glob("test_data_set_*"))
    inputs, outputs = read(sets[0], "input"), read(sets[0], "output")
    graph, right = Graph(folder / "model.onnx", shapes(inputs), shapes(outputs)), True
    with tempfile.TemporaryDirectory() as work:
        run = load(graph, Path(work))
        for data in sets:
            found = run(read(data, "input"))
            for i, (name, expected) in enumerate(read(data, "output").items()):
                value, allowed = np.asarray(found[name]), np.load(data / f"allowed_{i}.npy")
                if value.shape != expected.shape:
                    print(f"{folder.name}, {name}: shape {value.shape}, expected {expected.shape}")
                    right = False
                    continue
                difference = np.abs(value.astype(np.float64) - expected)
                if not (difference <= allowed).all():  # NaN is wrong too
                    print(f"{folder.name}, {name}, {data.name}: differs by {difference.max():.2g}")
                    right = False
    print(f"{folder.name}: {'right' if right else 'WRONG'}")
    return right


def main():
    here = Path(__file__).resolve().parent
    results = []
    for name in GRAPHS:
        try:
            results.append(check(here / name))
        except Exception as error:
            print(f"{name}: FAILED: {type(error).__name__}: {error}")
            results.append(False)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
'''


def load_script(target: Target, graphs: Iterable[str]) -> str:
    """Return the text of `load.py` for a target."""
    head = _HEAD.format(title=target.title, packages=packages(target))
    imports, code = _parts(runtime_source(target))
    needed = {"import numpy as np", "from pathlib import Path"}
    lines = sorted({*imports, *needed}, key=lambda line: (line.startswith("from"), line))
    names = ", ".join(f'"{name}"' for name in graphs)
    return "\n".join([head + "\n".join(lines), f"\nGRAPHS = [{names}]\n\n", code, _TAIL])


def loading_code(target: Target) -> str:
    """Return the functions that load and run a graph there, for the README."""
    return _parts(runtime_source(target))[1]


def packages(target: Target) -> str:
    """Return what pip installs for `load.py`, in quotes if a shell needs them."""
    return " ".join(f'"{p}"' if {*"<>["} & {*p} else p for p in ("numpy", "onnx", *target.packages))


def runtime_source(target: Target) -> str:
    """Return the module that runs graphs in the target's runtime."""
    module = files("vae_export.edge_forms.check.runtimes") / f"{target.runtime or target.name}.py"
    return module.read_text("utf-8")


def _parts(source: str) -> tuple[list[str], str]:
    """Return imports, and the other definitions of a module without its version."""
    imports, code = [], []
    for node in ast.parse(source).body:
        text = ast.get_source_segment(source, node) or ""
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(text)
        elif not isinstance(node, ast.If | ast.Expr) and getattr(node, "name", "") != "version":
            code.append(text)
    return [line for line in imports if "TYPE_CHECKING" not in line], "\n\n\n".join(code)
