"""Edge forms: each graph with a fixed batch size, and test data that other runtimes' tools read.

    GRAPH/model.onnx                     the graph; the dimension `batch` is a number
    GRAPH/model.ort                      the same graph in ONNX Runtime's own format
    GRAPH/required_operators.config      the operators that a minimal ONNX Runtime needs for it
    GRAPH/test_data_set_N/input_I.pb     inputs from `parity.npz`, in the order of the graph
    GRAPH/test_data_set_N/output_I.pb    TensorFlow's values for them; p-values of its scores
    README.md                            inputs, outputs and preprocessing of each graph

A graph's folder has the layout of ONNX's own model tests. ONNX's backend tests and
`onnx_test_runner` can therefore check parity without build-vae.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.tools import convert_onnx_models_to_ort as ort_tool

from vae_export.edge_forms.proof_data import read_proof_data
from vae_export.edge_forms.readme import edge_readme
from vae_export.graphs.convert import muted_logging, one_line
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.publishing import publishing_new_folder
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.errors import ExportError, OptionError
from vae_runtime.files.paths import absolute
from vae_runtime.inference.loading import check_precision


@dataclass(frozen=True)
class EdgeForms:
    """The edge forms that were written.

    Attributes:
        path: the folder, an absolute path.
        batch: number of samples in one run.
        sets: number of test data sets of a graph; the score graph may have fewer.
    """

    path: Path
    batch: int
    sets: int


def edge(
    bundle: str | Path, output: str | Path, *, batch: int = 1, precision: str = FLOAT32
) -> EdgeForms:
    """Write the edge forms of a bundle's graphs.

    Args:
        bundle: path of the bundle, a folder or a single file.
        output: path of a new or empty folder.
        batch: number of samples in one run.
        precision: `float32`, or the name of a variant of the bundle.

    Returns:
        The folder, the batch size, and the number of test data sets.

    Raises:
        BundleError: the bundle is damaged.
        ExportError: the folder is not empty or cannot be written, or a graph cannot be converted.
        OptionError: the batch is below 1, or the bundle does not have the precision.
    """
    if batch < 1:
        raise OptionError(f"batch is {batch}, expected 1 or more")
    source, output = Bundle(bundle), absolute(output)
    check_precision(source, precision)
    source.check_files()
    data = read_proof_data(source, precision, batch)
    with publishing_new_folder(output) as folder:
        for name, spec in source.manifest.graphs_of(precision).items():
            (folder / name).mkdir()
            model = fix_batch(source.read(spec.file), batch, spec.file)
            (folder / name / "model.onnx").write_bytes(model)
            data[name].write(folder / name, spec)
            _write_ort_format(folder / name, spec.file)
        text = edge_readme(source.manifest, precision, batch, data)
        (folder / "README.md").write_text(text, "utf-8")
    return EdgeForms(output, batch, max(len(graph.sets) for graph in data.values()))


def fix_batch(data: bytes, batch: int, where: str) -> bytes:
    """Return an ONNX file with a fixed batch size, checked by ONNX's checker.

    Raises `ExportError`, which names `where`, if the graph does not allow it.
    """
    model = onnx.load_from_string(data)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ExportError(f"{where} cannot have a batch of {batch}: {one_line(error)}") from error
    result: bytes = model.SerializeToString(deterministic=True)
    return result


def _write_ort_format(folder: Path, where: str) -> None:
    """Write `model.ort` and the list of its operators beside `model.onnx`."""
    try:
        with (  # the tool logs, prints, and leaves files for Python to close
            muted_logging(),
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(action="ignore", category=ResourceWarning),
        ):
            ort_tool.convert_onnx_models_to_ort(
                folder / "model.onnx", folder, [ort_tool.OptimizationStyle.Fixed]
            )
        config = next(folder.glob("*.config"))
        if not (folder / "model.ort").is_file():
            raise FileNotFoundError("no model.ort was written")
    except (Exception, SystemExit) as error:  # the tool raises any kind of error
        reason = one_line(Exception(error))
        message = f"{where} cannot be converted to ONNX Runtime's format: {reason}"
        raise ExportError(message) from error
    lines = config.read_text("utf-8").splitlines()
    config.unlink()
    kept = [line for line in lines if not line.startswith("#")]  # comments hold local paths
    text = "\n".join(["# domain;opset;operators", *kept, ""])
    (folder / "required_operators.config").write_text(text, "utf-8")
