"""Edge forms: each graph with a fixed batch, with test data that other runtimes' tools read.

    GRAPH/model.onnx                     the graph, `batch` replaced by a number
    GRAPH/model.ort                      the same in ONNX Runtime's own format
    GRAPH/required_operators.config      the operators that a minimal ONNX Runtime needs for it
    GRAPH/test_data_set_N/input_I.pb     inputs of the proof, in the order of the graph
    GRAPH/test_data_set_N/output_I.pb    TensorFlow's values for them
    README.md                            inputs, outputs and preprocessing of each graph

The layout of a graph's folder is that of ONNX's own model tests, so its backend tests and
`onnx_test_runner` check parity with no code of ours.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.tools.convert_onnx_models_to_ort import (
    OptimizationStyle,
    convert_onnx_models_to_ort,
)

from vae_export.edge_forms.readme import edge_readme
from vae_export.graphs.lowering import quietly
from vae_export.publish import publishing_folder
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Graphs, GraphSpec
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.errors import ExportError, OptionError
from vae_runtime.inference.loading import check_precision
from vae_runtime.proof.parity import read_reference

MAX_SETS = 8
"""Most sets of test data a graph; the last samples of the proof, its outliers, are among them."""


@dataclass(frozen=True)
class EdgeForms:
    """What was written.

    Attributes:
        path: the folder.
        batch: samples in one run.
        sets: of test data, for each graph.
    """

    path: Path
    batch: int
    sets: int


def edge(
    bundle: str | Path, output: str | Path, *, batch: int = 1, precision: str = FLOAT32
) -> EdgeForms:
    """Writes the edge forms of a bundle's graphs.

    Args:
        bundle: a bundle, a folder or a single file.
        output: a folder that is not there yet, or is empty.
        batch: samples in one run.
        precision: `float32`, or a variant of the bundle.

    Returns:
        What was written.

    Raises:
        BundleError: the bundle is damaged.
        ExportError: the folder is there or cannot be written, or a graph cannot be converted.
        OptionError: a batch below 1, or a precision that the bundle does not have.
    """
    if batch < 1:
        raise OptionError(f"batch is {batch}, expected 1 or more")
    source, output = Bundle(bundle), Path(output)
    check_precision(source, precision)
    source.check_files()
    reference = read_reference(source)
    rows = _rows(source.manifest.parity.samples, batch)
    graphs = source.manifest.graphs_of(precision)
    with publishing_folder(output) as folder:
        for field in fields(Graphs):
            spec: GraphSpec = getattr(graphs, field.name)
            place = folder / field.name
            place.mkdir()
            model = with_batch(source.read(spec.file), batch, spec.file)
            (place / "model.onnx").write_bytes(model)
            _write_sets(place, spec, reference, rows)
            _convert(place, spec.file)
        text = edge_readme(source.manifest, precision, batch, len(rows))
        (folder / "README.md").write_text(text, "utf-8")
    return EdgeForms(output, batch, len(rows))


def with_batch(data: bytes, batch: int, where: str) -> bytes:
    """A graph with a number in the place of `batch`.

    Args:
        data: an ONNX file of a bundle.
        batch: samples in one run.
        where: its name, for messages.

    Returns:
        The ONNX file, checked by ONNX's own checker.

    Raises:
        ExportError: the graph does not take a fixed batch.
    """
    model = onnx.load_from_string(data)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"{where} cannot have a batch of {batch}: {reason}") from error
    result: bytes = model.SerializeToString(deterministic=True)
    return result


def _rows(samples: int, batch: int) -> list[NDArray[np.int64]]:
    """Which samples each set holds: whole batches from both ends of the proof."""
    sets = max(1, samples // batch)
    chosen = sorted({*range(sets)} if sets <= MAX_SETS else {*range(5), *range(sets - 3, sets)})
    return [np.arange(i * batch, (i + 1) * batch) % samples for i in chosen]


def _write_sets(
    place: Path, spec: GraphSpec, reference: dict[str, Any], rows: list[NDArray[np.int64]]
) -> None:
    for i, chosen in enumerate(rows):
        target = place / f"test_data_set_{i}"
        target.mkdir()
        for kind, tensors in (("input", spec.inputs), ("output", spec.outputs)):
            for j, tensor in enumerate(tensors):
                array = np.ascontiguousarray(reference[tensor.name][chosen])
                proto = numpy_helper.from_array(array, tensor.name)
                (target / f"{kind}_{j}.pb").write_bytes(proto.SerializeToString())


def _convert(place: Path, where: str) -> None:
    """Adds ONNX Runtime's own format and the list of operators."""
    try:
        with _silence():
            convert_onnx_models_to_ort(
                place / "model.onnx", place, optimization_styles=[OptimizationStyle.Fixed]
            )
        config = next(place.glob("*.config"))
        if not (place / "model.ort").is_file():
            raise FileNotFoundError("no model.ort was written")
    except (Exception, SystemExit) as error:  # the tool raises whatever it meets
        reason = " ".join(str(error).split())[:300]
        raise ExportError(
            f"{where} cannot be converted to ONNX Runtime's format: {reason}"
        ) from error
    lines = config.read_text("utf-8").splitlines()
    config.unlink()
    kept = [line for line in lines if not line.startswith("#")]  # comments name this machine
    text = "\n".join(["# domain;opset;operators", *kept, ""])
    (place / "required_operators.config").write_text(text, "utf-8")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The tool prints and logs what it does, and leaves files for Python to close."""
    with quietly(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
