"""Graphs of lower precision, made of the float32 ones by ONNX Runtime's own tools.

What is lowered is what weighs: weight tensors of products and convolutions. All else, and with it
the arithmetic of the loss, stays in float32, where 1 - 1e-7 is not 1.

    weights   float16: weights are stored so and become float32 when the graph is loaded
    static    int8 products and convolutions: ranges come from calibration samples
    dynamic   int8 products: ranges are those of the batch as it comes, so that a score depends on
              the samples beside it

int8 weights have 7 bits: the sums of processors without VNNI overflow with 8, and a variant would
score otherwise there than where it was measured.
"""

from __future__ import annotations

import contextlib
import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationDataReader, QuantType

from vae_export.graphs.convert import DOMAINS, canonicalize, check
from vae_runtime.bundle.fields import GraphSpec
from vae_runtime.errors import ExportError

Method = Literal["weights", "dynamic", "static"]

METHODS: dict[str, tuple[Method, ...]] = {"float16": ("weights",), "int8": ("static", "dynamic")}
"""The ways to each precision."""

OPERATORS: dict[Method, tuple[str, ...]] = {
    "weights": ("MatMul", "Gemm", "Conv", "ConvTranspose"),
    "dynamic": ("MatMul",),
    "static": ("MatMul", "Conv"),
}
"""Operators that each way lowers: those that ONNX Runtime then runs faster, or that take space."""

MIN_SHARE = 0.02
"""Of all weights of the graph: the least that a tensor holds if lowering it to int8 is to pay."""

FLOAT16_MAX = 65504.0
CALIBRATION_BATCH = 64


@dataclass(frozen=True)
class Feeds:
    """Inputs of one graph that calibration runs it on.

    Attributes:
        arrays: by name of the input, as many rows each.
    """

    arrays: dict[str, NDArray[Any]]

    def batches(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Parts of `CALIBRATION_BATCH` rows."""
        rows = len(next(iter(self.arrays.values())))
        for start in range(0, rows, CALIBRATION_BATCH):
            part = slice(start, start + CALIBRATION_BATCH)
            yield {name: array[part] for name, array in self.arrays.items()}


def lower(
    data: bytes, spec: GraphSpec, name: str, method: Method, feeds: Feeds | None = None
) -> bytes:
    """Makes a graph of lower precision.

    Args:
        data: the float32 ONNX file.
        spec: what the manifest will say of the result.
        name: of the graph: `encoder`, `decoder` or `loss`.
        method: how; see the module's text.
        feeds: what `static` is calibrated on.

    Returns:
        An ONNX file in canonical form that was checked as every graph is; `data` itself where there
        is nothing in it that this way lowers.

    Raises:
        ExportError: the tools cannot lower this graph, or a weight is too large for float16.
    """
    model = onnx.load_from_string(data)
    nodes = weighted_nodes(model, method)
    if not nodes:
        return data
    properties = {entry.key: entry.value for entry in model.metadata_props}
    try:
        with quietly():
            lowered = _LOWER[method](model, nodes, feeds)
    except ExportError:
        raise
    except Exception as error:  # the tools raise whatever they meet
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"{name} cannot be lowered ({method}): {reason}") from error
    if foreign := [n.op_type for n in lowered.graph.node if n.domain not in DOMAINS]:
        raise ExportError(
            f"{name} lowered ({method}) needs {foreign[0]}, which is not part of ONNX: keep float32"
        )
    canonical = canonicalize(
        lowered, name, spec.inputs, spec.outputs, opset=spec.opset, metadata=properties
    )
    result: bytes = canonical.SerializeToString(deterministic=True)
    check(result, spec)
    return result


def weighted_nodes(model: ModelProto, method: Method) -> list[str]:
    """Names of the nodes whose weights a way lowers.

    A product with a constant whose elements are all the same is a sum, written as a product, and
    belongs to the loss.
    """
    tensors = {t.name: t for t in model.graph.initializer if len(t.dims) > 1}
    sizes = {name: math.prod(t.dims) for name, t in tensors.items()}
    least = 0 if method == "weights" else MIN_SHARE * sum(sizes.values())

    def weighs(name: str) -> bool:
        if name not in tensors or sizes[name] < least:
            return False
        values = numpy_helper.to_array(tensors[name])
        return bool((values != values.flat[0]).any())

    return [
        node.name
        for node in model.graph.node
        if node.op_type in OPERATORS[method] and any(map(weighs, node.input[:2]))
    ]


def _float16_weights(model: ModelProto, nodes: list[str], feeds: Feeds | None) -> ModelProto:
    chosen = {source for n in model.graph.node if n.name in nodes for source in n.input[:2]}
    casts: list[NodeProto] = []
    for tensor in model.graph.initializer:
        if tensor.name not in chosen or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        if np.abs(values).max() > FLOAT16_MAX:
            raise ExportError(
                f"a weight is {np.abs(values).max():.3g}, float16 ends at {FLOAT16_MAX:g}: keep "
                "float32"
            )
        stored = f"{tensor.name}/float16"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
    rest = list(model.graph.node)
    model.graph.ClearField("node")
    model.graph.node.extend([*casts, *rest])
    return model


def _static_int8(model: ModelProto, nodes: list[str], feeds: Feeds | None) -> ModelProto:
    assert feeds, "static needs samples"
    # A scale for each column of a product costs time and gains little; convolutions need theirs.
    per_channel = any(n.op_type == "Conv" for n in model.graph.node if n.name in nodes)
    return _through_file(
        lambda target: quantization.quantize_static(
            model,
            target,
            _Reader(feeds),
            nodes_to_quantize=nodes,
            per_channel=per_channel,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    )


def _dynamic_int8(model: ModelProto, nodes: list[str], feeds: Feeds | None) -> ModelProto:
    return _through_file(
        lambda target: quantization.quantize_dynamic(
            model,
            target,
            op_types_to_quantize=list(OPERATORS["dynamic"]),
            nodes_to_quantize=nodes,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
    )


_LOWER: dict[Method, Callable[[ModelProto, list[str], Feeds | None], ModelProto]] = {
    "weights": _float16_weights,
    "dynamic": _dynamic_int8,
    "static": _static_int8,
}


def _through_file(write: Callable[[Path], None]) -> ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "lowered.onnx"
        write(target)
        return onnx.load(target)


class _Reader(CalibrationDataReader):
    """Hands the calibration samples to ONNX Runtime's tool."""

    def __init__(self, feeds: Feeds) -> None:
        self._batches = feeds.batches()

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch; None at the end."""
        return next(self._batches, None)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps the advice that ONNX Runtime's tools log to themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
