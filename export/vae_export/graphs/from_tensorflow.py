"""Conversion of a TensorFlow function by tf2onnx, with rewriters for what it lacks.

Recurrent layers: tf2onnx makes one operator of an LSTM with its default activations. Other
recurrent layers would become loops, which no bundle may hold. The function is then traced again
with their steps written out.
"""

from __future__ import annotations

import logging
from typing import Any

import tf2onnx
from onnx import ModelProto

from vae_export.graphs.folding import fold_constants
from vae_export.graphs.inlining import readable
from vae_export.graphs.operators.einsum import write_out_einsums
from vae_export.graphs.operators.elements import write_out_elements
from vae_export.graphs.operators.fourier import write_out_transforms
from vae_export.graphs.operators.resizing import write_out_resizing
from vae_export.graphs.operators.sizes import fix_sizes
from vae_runtime.errors import ExportError
from vae_runtime.graph.check import MAX_NODES

SILENT = logging.CRITICAL + 1
"""Level of tf2onnx's log: whatever is wrong with a graph becomes one `ExportError`."""

LOOPS = ("Loop", "Scan", "CudnnRNN")
"""Prefixes of operators that recurrent layers become, the last one where TensorFlow has a GPU."""

REWRITERS = (
    fix_sizes,
    write_out_einsums,
    write_out_elements,
    write_out_resizing,
    write_out_transforms,
)

TENSORFLOW_SHARE = 1.5
"""For one operator of ONNX, a step of a recurrent layer has at least so many of TensorFlow."""


def from_tensorflow(function: Any, opset: int, name: str) -> ModelProto:
    """Convert a `tf.function` with an input signature; `name` names the graph in an `ExportError`.

    tf2onnx raises whatever its handlers raise.
    """
    model = _converted(readable(function), opset)
    loops = [node.name for node in model.graph.node if node.op_type.startswith(LOOPS)]
    if loops:
        written_out = readable(function, loops=False)
        nodes = written_out.get_concrete_function().graph.as_graph_def().node
        # tf2onnx needs minutes for so many; do not wait for it.
        count = sum(node.op != "Const" for node in nodes)
        _check_size(int(count / TENSORFLOW_SHARE), name, loops[0])
        model = _converted(written_out, opset)
        _check_size(len(model.graph.node), name, loops[0])
    return model


def _converted(function: Any, opset: int) -> ModelProto:
    logging.getLogger("tf2onnx").setLevel(SILENT)
    failures: list[Exception] = []

    def rewrite(graph: Any, nodes: list[Any]) -> list[Any]:
        try:
            for rewriter in REWRITERS:
                nodes = rewriter(graph, nodes)
        except Exception as error:  # tf2onnx would go on with a graph that is half rewritten
            failures.append(error)
        return nodes

    model: ModelProto
    model, _ = tf2onnx.convert.from_function(
        function,
        input_signature=list(function.input_signature),
        opset=opset,
        custom_rewriter=[rewrite],
    )
    if failures:
        raise failures[0]
    fold_constants(model)
    return model


def _check_size(operators: int, name: str, loop: str) -> None:
    if operators > MAX_NODES:
        raise ExportError(
            f"{name} has {operators} operators after the steps of its recurrent layers ({loop}) "
            f"are written out, at most {MAX_NODES} are allowed: give it shorter sequences, or use "
            "LSTM layers with their default activations, which become one operator each"
        )
