"""Lower precision for a float32 graph, by ONNX Runtime's quantization tools.

Only the weight tensors of matrix products and convolutions are lowered. Everything else stays in
float32, also the arithmetic of the loss: in float16 1 - 1e-7 is 1.

    weights   float16: weights are stored in float16 and cast to float32 when the graph is loaded
    static    int8 products and convolutions: ranges come from calibration samples
    dynamic   int8 products: ranges are those of each batch, so that a sample's score depends on
              the other samples of its batch

int8 weights have 7 bits: with 8, sums overflow on processors without VNNI, and a variant would
give other scores there than on the machine that measured it.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime import quantization
from onnxruntime.quantization import CalibrationDataReader, QuantType

from vae_export.graphs.convert import (
    KEPT_PREFIX,
    ONNX_DOMAINS,
    canonicalize,
    check_onnx,
    muted_logging,
    one_line,
)
from vae_export.scoring.graph import PROVISIONAL_SCORES, finished, without_p_value_spec
from vae_runtime.bundle.graph_fields import GraphSpec
from vae_runtime.errors import ExportError
from vae_runtime.graph.p_value import without_p_value

Feeds = dict[str, NDArray[Any]]
"""Inputs of a graph by name, all with the same number of rows."""

Method = Literal["weights", "dynamic", "static"]

METHODS: dict[str, tuple[Method, ...]] = {"float16": ("weights",), "int8": ("static", "dynamic")}
"""Methods that are tried for each precision."""

LOWERED_OPERATORS: dict[Method, tuple[str, ...]] = {
    "weights": ("MatMul", "Gemm", "Conv", "ConvTranspose"),
    "dynamic": ("MatMul",),
    "static": ("MatMul", "Conv"),
}
"""Operators that each method lowers, because ONNX Runtime then runs them faster or for their size.
"""

MIN_INT8_FRACTION = 0.02
"""Fraction of the graph's weights that a tensor must hold for int8 to pay off."""

FLOAT16_MAX = 65504.0
BATCH_ROWS = 64
"""Rows of one calibration batch."""


def batches(feeds: Feeds) -> Iterator[Feeds]:
    """Yield the inputs in batches of `BATCH_ROWS` rows; the last one may be smaller."""
    for start in range(0, len(next(iter(feeds.values()))), BATCH_ROWS):
        yield {name: array[start : start + BATCH_ROWS] for name, array in feeds.items()}


def lower(data: bytes, spec: GraphSpec, method: Method, feeds: Feeds | None = None) -> bytes:
    """Return an ONNX file in lower precision, in canonical form, checked against `spec`.

    `data` is the float32 file; it is returned itself if the method finds nothing to lower. `feeds`
    are the calibration inputs of `static`. An `ExportError` says that the tools cannot lower the
    graph, or that a weight is too large for float16.
    """
    model, name = onnx.load_from_string(data), Path(spec.file).stem
    nodes = weighted_nodes(model, method)
    if not nodes:
        return data
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    try:
        with muted_logging():
            lowered = _LOWER[method](model, nodes, feeds)
    except ExportError:
        raise
    except Exception as error:  # the tools raise any kind of error
        raise ExportError(f"{name} cannot be lowered ({method}): {one_line(error)}") from error
    if foreign := [n.op_type for n in lowered.graph.node if n.domain not in ONNX_DOMAINS]:
        raise ExportError(
            f"{name} lowered ({method}) needs {foreign[0]}, which is not part of ONNX: keep float32"
        )
    canonical = canonicalize(lowered, spec, metadata)
    result: bytes = canonical.SerializeToString(deterministic=True)
    check_onnx(result, spec)
    return result


def lower_score(
    data: bytes, spec: GraphSpec, method: Method, feeds: Feeds, *, both_tails: bool
) -> bytes:
    """Return a score graph in lower precision, with a provisional calibration."""
    lowered = lower(without_p_value(data), without_p_value_spec(spec), method, feeds)
    return finished(lowered, spec, PROVISIONAL_SCORES, both_tails=both_tails)


def weighted_nodes(model: ModelProto, method: Method) -> list[str]:
    """Return the names of the nodes whose weights a method lowers.

    A product with a constant whose elements are all equal is the loss's way to write a sum, so it
    is left out. So are nodes whose name begins with `KEPT_PREFIX`.
    """
    tensors = {t.name: t for t in model.graph.initializer if len(t.dims) > 1}
    sizes = {name: math.prod(t.dims) for name, t in tensors.items()}
    least = 0 if method == "weights" else MIN_INT8_FRACTION * sum(sizes.values())

    def is_weight(name: str) -> bool:
        if name not in tensors or sizes[name] < least:
            return False
        values = numpy_helper.to_array(tensors[name])
        return bool((values != values.flat[0]).any())

    return [
        node.name
        for node in model.graph.node
        if node.op_type in LOWERED_OPERATORS[method]
        and not node.name.startswith(KEPT_PREFIX)
        and any(map(is_weight, node.input[:2]))
    ]


def _float16_weights(model: ModelProto, nodes: list[str], feeds: Feeds | None) -> ModelProto:
    chosen = {source for n in model.graph.node if n.name in nodes for source in n.input[:2]}
    casts = []
    for tensor in model.graph.initializer:
        if tensor.name not in chosen or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        if (largest := np.abs(values).max()) > FLOAT16_MAX:
            raise ExportError(
                f"a weight is {largest:.3g}, float16 ends at {FLOAT16_MAX:g}: keep float32"
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
    return _quantized(
        quantization.quantize_static,
        model,
        calibration_data_reader=_Reader(feeds),
        nodes_to_quantize=nodes,
        # A scale for each column of a product costs time and gains little; a convolution needs it.
        per_channel=any(n.op_type == "Conv" for n in model.graph.node if n.name in nodes),
        activation_type=QuantType.QUInt8,
    )


def _dynamic_int8(model: ModelProto, nodes: list[str], feeds: Feeds | None) -> ModelProto:
    return _quantized(
        quantization.quantize_dynamic,
        model,
        op_types_to_quantize=list(LOWERED_OPERATORS["dynamic"]),
        nodes_to_quantize=nodes,
    )


_LOWER: dict[Method, Callable[[ModelProto, list[str], Feeds | None], ModelProto]] = {
    "weights": _float16_weights,
    "dynamic": _dynamic_int8,
    "static": _static_int8,
}


def _quantized(quantize: Callable[..., None], model: ModelProto, **options: Any) -> ModelProto:
    """Run one of ONNX Runtime's tools, which write their result to a file."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = (Path(folder) / name for name in ("float32.onnx", "lowered.onnx"))
        onnx.save(model, source)  # the tool of ONNX Runtime 1.20 loses the weights of a ModelProto
        quantize(source, target, reduce_range=True, weight_type=QuantType.QInt8, **options)
        return onnx.load(target)


class _Reader(CalibrationDataReader):
    """Source of calibration batches for ONNX Runtime's tool."""

    def __init__(self, feeds: Feeds) -> None:
        self._batches = batches(feeds)

    def get_next(self) -> Feeds | None:
        """Return the next batch, or None at the end."""
        return next(self._batches, None)
