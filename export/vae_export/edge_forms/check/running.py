"""Runs of a written graph in a runtime, in a process of its own; see `worker`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from vae_export.edge_forms.check import worker
from vae_export.edge_forms.check.worker import Graph
from vae_export.edge_forms.script import packages
from vae_export.edge_forms.targets import TARGETS
from vae_runtime.errors import MissingExtraError, OptionError

MODULES: Final[dict[str, tuple[str, ...]]] = {
    "c_code": ("emx_onnx_cgen",),
    "coreml": ("onnx2coreml", "coremltools"),
    "fpga": ("hls4ml", "qonnx"),
    "iree": ("iree.compiler", "iree.runtime"),
    "litert": ("onnx2tf", "ai_edge_litert"),
    "mnn": ("MNN",),
    "ncnn": ("ncnn", "pnnx"),
    "onnx_runtime": ("onnxruntime",),
    "opencv": ("cv2",),
    "tinygrad": ("tinygrad",),
    "torch": ("torch", "onnx2torch"),
    "tract": ("tract",),
    "tvm": ("tvm",),
    "zk": ("ezkl",),
}
"""Modules that each runtime needs, by its module in `runtimes`."""

PROGRAMS: Final = {"c_code": "gcc", "fpga": "g++", "tinygrad": "clang"}
"""Compilers that a runtime starts."""

ONLY_ON: Final = {"coreml": "darwin"}
"""Runtimes of one system only, as `sys.platform` names it."""

INSTEAD: Final = "onnx_runtime"
"""Runtime for graphs whose own runtime is not one of this system."""

OPEN_BATCHES: Final = (1, 3)
"""Sizes of the first batches of a graph with an open batch. The rest follows in one."""

MAX_SECONDS: Final = 900
"""Time that a runtime has for one graph."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of the samples in one run; the first `kept` are not repetitions."""

    rows: NDArray[np.intp]
    kept: int


@dataclass(frozen=True, eq=False)
class Answer:
    """What a runtime gave.

    Attributes:
        values: outputs by name, over all samples; empty if it failed.
        version: name and version of the runtime; empty if its process ended early.
        error: error message; empty if it ran.
    """

    values: Arrays
    version: str = ""
    error: str = ""


def require_runtime(name: str) -> str:
    """Check that the runtime of a target is installed.

    Args:
        name: name of the target, one of `TARGETS`.

    Returns:
        The module of `runtimes` that runs its graphs here.

    Raises:
        MissingExtraError: the runtime, or a compiler that it needs, is not installed.
        OptionError: there is no such target.
    """
    if name not in TARGETS:
        raise OptionError(f"target is {name!r}, expected one of {', '.join(TARGETS)}")
    target = TARGETS[name]
    runtime = target.runtime or target.name
    if runtime in ONLY_ON and ONLY_ON[runtime] != sys.platform:
        runtime = INSTEAD
    for module in MODULES[runtime]:
        if not _is_installed(module):
            raise MissingExtraError(
                f"checking {name}", module, remedy=f"pip install {packages(target)}"
            )
    program = PROGRAMS.get(runtime, sys.executable)
    if which(program) is None:
        remedy = "install it with the system's package manager"
        raise MissingExtraError(f"checking {name}", program, remedy=remedy)
    return runtime


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def read_graph(path: Path) -> tuple[Graph, int | None]:
    """Return a written graph, and its batch size; None if that is open."""
    model = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in model.initializer}
    inputs, outputs = (
        {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in side}
        for side in ([v for v in model.input if v.name not in constants], model.output)
    )
    batch = next(iter(inputs.values()))[0] or None
    sides = ({k: (batch or 1, *shape[1:]) for k, shape in s.items()} for s in (inputs, outputs))
    return Graph(path, *sides), batch


def choose_batches(batch: int | None, samples: int, *, alone: bool = False) -> list[Batch]:
    """Return the batches that cover all samples.

    Args:
        batch: batch size of the graph; None if it is open.
        samples: number of samples.
        alone: whether values depend on the other samples of a batch: each batch then holds one
            sample only, repeated.
    """
    if alone:
        return [Batch(np.full(batch or 1, i), 1) for i in range(samples)]
    if batch is None:
        sizes = [*OPEN_BATCHES, max(1, samples - sum(OPEN_BATCHES))]
    else:
        sizes = [batch] * -(-samples // batch)
    ends = np.cumsum(sizes)
    return [
        Batch(np.arange(end - size, end) % samples, int(min(size, samples - end + size)))
        for end, size in zip(ends, sizes, strict=True)
        if samples > end - size
    ]


def run_graph(runtime: str, graph: Graph, batches: list[Batch], inputs: Arrays) -> Answer:
    """Run a graph on batches of samples.

    Args:
        runtime: name of its module in `runtimes`.
        graph: the graph.
        batches: the batches.
        inputs: all samples, by input of the graph.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = {**vars(graph), "path": str(graph.path.resolve()), "batches": len(batches)}
        (folder / "job.json").write_text(json.dumps(job), "utf-8")
        for i, batch in enumerate(batches):
            arrays = {key: np.ascontiguousarray(inputs[key][batch.rows]) for key in graph.inputs}
            np.savez(folder / f"inputs_{i}.npz", allow_pickle=False, **arrays)
        answer, error = _run_process(runtime, folder)
        if error := error or answer["error"]:
            return Answer({}, answer.get("version", ""), error)
        found: dict[str, list[NDArray[Any]]] = {key: [] for key in graph.outputs}
        for i, batch in enumerate(batches):
            with np.load(folder / f"outputs_{i}.npz") as arrays:
                for key, values in found.items():
                    expected = (len(batch.rows), *graph.outputs[key][1:])
                    if arrays[key].shape != expected:
                        error = f"{key} has shape {arrays[key].shape}, expected {expected}"
                        return Answer({}, answer["version"], error)
                    values.append(arrays[key][: batch.kept])
    return Answer({key: np.concatenate(v) for key, v in found.items()}, answer["version"])


def _run_process(runtime: str, folder: Path) -> tuple[dict[str, Any], str]:
    """Return the worker's answer, or an error message if it gave none."""
    words = [sys.executable, worker.__file__, runtime, str(folder)]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=MAX_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {}, f"no answer in {MAX_SECONDS} seconds"
    if (folder / "answer.json").is_file() and done.returncode == 0:
        return json.loads((folder / "answer.json").read_text("utf-8")), ""
    lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
    return {}, f"the runtime ended with exit status {done.returncode}: {lines[-1]}"
