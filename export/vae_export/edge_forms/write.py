"""Edge forms: each graph with a fixed batch size, and test data that other runtimes' tools read.

    GRAPH/model.onnx                     the graph; the dimension `batch` is a number
    GRAPH/model.ort                      the same graph in ONNX Runtime's own format
    GRAPH/required_operators.config      the operators that a minimal ONNX Runtime needs for it
    GRAPH/test_data_set_N/input_I.pb     inputs from `parity.npz`, in the order of the graph
    GRAPH/test_data_set_N/output_I.pb    TensorFlow's values for them; p-values of its scores
    README.md                            inputs, outputs and preprocessing of each graph

For a target, one of `TARGETS`, the graphs are rewritten into what that runtime computes rightly.
Instead of the two files of ONNX Runtime there are

    GRAPH/test_data_set_N/allowed_I.npy  the largest allowed difference from output_I
    load.py                              runs the graphs in that runtime, and compares the values
    loss.c, loss.mjs, Loss.swift         the loss from the outputs of encoder and decoder, for a
                                         runtime without a loss graph, and for phones

A graph's folder has the layout of ONNX's own model tests. ONNX's backend tests and
`onnx_test_runner` can therefore check parity without build-vae.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onnxruntime.tools import convert_onnx_models_to_ort as ort_tool

from vae_export.edge_forms.form import choose_form
from vae_export.edge_forms.loss_code import loss_code
from vae_export.edge_forms.proof_data import read_proof_data
from vae_export.edge_forms.readme import edge_readme
from vae_export.edge_forms.script import load_script
from vae_export.graphs.convert import muted_logging, one_line
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.publishing import publishing_new_folder
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.errors import ExportError
from vae_runtime.files.paths import absolute
from vae_runtime.inference.loading import check_precision


@dataclass(frozen=True)
class EdgeForms:
    """The edge forms that were written.

    Attributes:
        path: the folder, an absolute path.
        batch: number of samples in one run; None if it is open.
        sets: number of test data sets of a graph; the score graph may have fewer.
        target: name of the runtime that they are written for, if there is one.
        left_out: graphs that the target does not compute, with the reason.
    """

    path: Path
    batch: int | None
    sets: int
    target: str | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)


def edge(
    bundle: str | Path,
    output: str | Path,
    *,
    batch: int | str = 1,
    precision: str = FLOAT32,
    target: str | None = None,
) -> EdgeForms:
    """Write the edge forms of a bundle's graphs.

    Args:
        bundle: path of the bundle, a folder or a single file.
        output: path of a new or empty folder.
        batch: number of samples in one run; for most targets also `open`, any number.
        precision: `float32`, or the name of a variant of the bundle.
        target: name of the runtime that will run the graphs, one of `TARGETS`, or `portable`, the
            form that most of them compute rightly. By default the bundle's own graphs are written.

    Returns:
        What was written.

    Raises:
        BundleError: the bundle is damaged.
        ExportError: the folder is not empty or cannot be written, or a graph cannot be converted.
        OptionError: the batch is below 1, the bundle does not have the precision, or the target
            does not exist or cannot have the batch or the precision.
    """
    source, output = Bundle(bundle), absolute(output)
    check_precision(source, precision)
    form = choose_form(source.manifest, target, batch, precision)
    source.check_files()
    data = read_proof_data(source, precision, form.samples, form.target)
    graphs = form.graphs_of(source)
    specs = {name: graph.spec for name, graph in graphs.items()}
    with publishing_new_folder(output) as folder:
        for name, graph in graphs.items():
            (folder / name).mkdir()
            (folder / name / "model.onnx").write_bytes(graph.data)
            data[name].write(folder / name, graph.spec, with_allowed=form.target is not None)
            if form.target is None:
                _write_ort_format(folder / name, graph.spec.file)
        text = edge_readme(source.manifest, precision, form, specs, data)
        (folder / "README.md").write_text(text, "utf-8")
        if form.target:
            (folder / "load.py").write_text(load_script(form.target, graphs), "utf-8")
        if form.target and form.target.loss_code:
            for file, code in loss_code(source.manifest).items():
                (folder / file).write_text(code, "utf-8")
    sets = max(len(data[name].sets) for name in graphs)
    return EdgeForms(output, form.batch, sets, target, form.left_out)


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
