"""ncnn, by pnnx. Both compute in float16 unless told otherwise, and the batch is one sample.

pnnx drops the axis of the batch, but not in every graph. What it writes beside the graph says which
axis an input lacks; 233 stands for none. With another one, ncnn gives wrong values without a word.
"""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from vae_export.edge_forms.check.worker import Graph, Run


NO_AXIS = 233


def load(graph: Graph, folder: Path) -> Run:
    """Convert the graph into `folder`, and return a function that runs it."""
    import ncnn

    _convert(graph, folder)
    net = ncnn.Net()
    for switch in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{switch}", False)
    if net.load_param(str(folder / "model.ncnn.param")) or net.load_model(
        str(folder / "model.ncnn.bin")
    ):
        raise ValueError("ncnn does not load what pnnx wrote: an operator is unknown")

    axes = _batch_axes(folder / "model_ncnn.py")

    def run(inputs: dict[str, Any]) -> dict[str, Any]:
        with net.create_extractor() as extractor:
            for i, value in enumerate(inputs.values()):
                axis = axes[f"in{i}"]
                sample = value if axis == NO_AXIS else value.take(0, axis)
                extractor.input(f"in{i}", ncnn.Mat(np.ascontiguousarray(sample)).clone())
            found = {}
            for i, (name, shape) in enumerate(graph.outputs.items()):
                code, value = extractor.extract(f"out{i}")
                if code:
                    raise ValueError(f"ncnn returns {code} for {name}")
                found[name] = np.array(value).reshape(shape)
            return found

    return run


def _convert(graph: Graph, folder: Path) -> None:
    """Run pnnx. Its program is started itself, because the package imports PyTorch."""
    spec = find_spec("pnnx")
    assert spec and spec.submodule_search_locations
    program = Path(spec.submodule_search_locations[0]) / "pnnx"
    copy = folder / "model.onnx"
    copy.write_bytes(graph.path.read_bytes())
    shapes = ",".join(f"[{','.join(map(str, shape))}]" for shape in graph.inputs.values())
    done = subprocess.run(
        [program, copy.name, f"inputshape={shapes}", "fp16=0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode or not (folder / "model.ncnn.param").is_file():
        last = (done.stdout.strip().splitlines() or [""])[-1]
        raise ValueError(f"pnnx returns {done.returncode}: {last}")


def _batch_axes(script: Path) -> dict[str, int]:
    """Return the axis that each input lacks, as pnnx's own script gives it."""
    pattern = r'"(in\d+)", ncnn\.Mat\(\w+\.numpy\(\), batch_index=(\d+)\)'
    return {name: int(axis) for name, axis in re.findall(pattern, script.read_text())}


def version() -> str:
    """Return the name and version of the runtime."""
    from importlib.metadata import version

    return f"ncnn {version('ncnn')} by pnnx {version('pnnx')}"
