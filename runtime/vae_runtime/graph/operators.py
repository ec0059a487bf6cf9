"""Lists of what an ONNX file of a bundle may contain: messages, element types, operators.

The messages are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. What build-vae
never writes is refused, even if ONNX Runtime accepts it: subgraphs, functions, external data,
sparse tensors, shapes of inner tensors, numbers outside `raw_data`. They are declared here and not
taken from the onnx package, which is too heavy for devices.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

import numpy as np

from vae_runtime.graph.protobuf import Field, FieldKind, Message

_int = partial(Field, kind=FieldKind.INT)
_float = partial(Field, kind=FieldKind.FLOAT)
_text = partial(Field, kind=FieldKind.TEXT)
_bytes = partial(Field, kind=FieldKind.BYTES)


def _message(name: str, allowed: dict[int, Field], refused: dict[int, str]) -> Message:
    return Message(name, allowed | {n: Field(f, FieldKind.REFUSED) for n, f in refused.items()})


DIMENSION_PROTO = _message(
    "a dimension", {1: _int("dim_value"), 2: _text("dim_param"), 3: _text("denotation")}, {}
)
TENSOR_SHAPE_PROTO = _message("a shape", {1: Field("dim", DIMENSION_PROTO, repeated=True)}, {})
TENSOR_TYPE_PROTO = _message(
    "a tensor type", {1: _int("elem_type"), 2: Field("shape", TENSOR_SHAPE_PROTO)}, {}
)
TYPE_PROTO = _message(
    "a type",
    {1: Field("tensor_type", TENSOR_TYPE_PROTO), 6: _text("denotation")},
    {4: "a sequence", 5: "a map", 7: "an opaque type", 8: "a sparse tensor", 9: "an optional"},
)
VALUE_INFO_PROTO = _message(
    "an input or output",
    {1: _text("name"), 2: Field("type", TYPE_PROTO), 3: _text("doc_string")},
    {4: "metadata_props"},
)
TENSOR_PROTO = _message(
    "a tensor",
    {
        1: _int("dims", repeated=True),
        2: _int("data_type"),
        8: _text("name"),
        9: _bytes("raw_data"),
        12: _text("doc_string"),
    },
    {
        3: "segment",
        **dict.fromkeys((4, 5, 7, 10, 11), "numbers outside raw_data"),
        6: "strings",
        13: "external_data",
        14: "data_location",
        16: "metadata_props",
    },
)
ATTRIBUTE_PROTO = _message(
    "an attribute",
    {
        1: _text("name"),
        2: _float("f"),
        3: _int("i"),
        4: _bytes("s"),
        5: Field("t", TENSOR_PROTO),
        7: _float("floats", repeated=True),
        8: _int("ints", repeated=True),
        9: _bytes("strings", repeated=True),
        13: _text("doc_string"),
        20: _int("type"),
    },
    {
        6: "a subgraph",
        10: "tensors",
        11: "subgraphs",
        14: "a type",
        15: "types",
        21: "ref_attr_name",
        22: "a sparse tensor",
        23: "sparse tensors",
    },
)
NODE_PROTO = _message(
    "a node",
    {
        1: _text("input", repeated=True),
        2: _text("output", repeated=True),
        3: _text("name"),
        4: _text("op_type"),
        5: _bytes("attribute", repeated=True),  # read later: its errors name the operator
        6: _text("doc_string"),
        7: _text("domain"),
    },
    {8: "overload", 9: "metadata_props", 10: "device_configurations"},
)
GRAPH_PROTO = _message(
    "the graph",
    {
        1: Field("node", NODE_PROTO, repeated=True),
        2: _text("name"),
        5: Field("initializer", TENSOR_PROTO, repeated=True),
        10: _text("doc_string"),
        11: Field("input", VALUE_INFO_PROTO, repeated=True),
        12: Field("output", VALUE_INFO_PROTO, repeated=True),
    },
    {
        13: "value_info",
        14: "quantization_annotation",
        15: "sparse_initializer",
        16: "metadata_props",
    },
)
OPERATOR_SET_ID_PROTO = _message("opset_import", {1: _text("domain"), 2: _int("version")}, {})
STRING_STRING_ENTRY_PROTO = _message("metadata_props", {1: _text("key"), 2: _text("value")}, {})
MODEL_PROTO = _message(
    "the model",
    {
        1: _int("ir_version"),
        2: _text("producer_name"),
        3: _text("producer_version"),
        4: _text("domain"),
        5: _int("model_version"),
        6: _text("doc_string"),
        7: Field("graph", GRAPH_PROTO),
        8: Field("opset_import", OPERATOR_SET_ID_PROTO, repeated=True),
        14: Field("metadata_props", STRING_STRING_ENTRY_PROTO, repeated=True),
    },
    {20: "training_info", 25: "functions", 26: "configuration"},
)

ATTRIBUTE_FIELDS: Final = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
"""`type` of an attribute -> name of the field that holds its value."""

LIST_FIELDS: Final = ("floats", "ints", "strings")
"""Fields of an attribute that may be empty."""

DTYPES: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    4: np.dtype("<u2"),
    5: np.dtype("<i2"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    9: np.dtype("?"),
    10: np.dtype("<f2"),
    11: np.dtype("<f8"),
    12: np.dtype("<u4"),
    13: np.dtype("<u8"),
}
"""Number of an element type in ONNX -> NumPy dtype."""

SIZE_INPUTS: Final = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (2, 3),
    "Tile": (1,),
}
"""Operator -> indices of the inputs whose values set the size of its output."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SIZE_PRESERVING_OPERATORS: Final = _words(
    "Cast DequantizeLinear Flatten Identity Neg QuantizeLinear Reshape Squeeze Transpose Unsqueeze"
)
"""Operators whose output has as many elements as the first input."""

OPERATORS: Final = SIZE_PRESERVING_OPERATORS.union(
    SIZE_INPUTS,
    # element by element
    _words(
        """Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr
        BitwiseXor CastLike Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater
        GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean
        Min Mish Mod Mul Not Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus
        Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor"""
    ),
    # along axes
    _words(
        """ArgMax ArgMin CumSum Hardmax LogSoftmax ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
        ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax TopK"""
    ),
    # matrix products, convolution, pooling, normalization
    _words(
        """AveragePool BatchNormalization Conv ConvTranspose Einsum Gemm GlobalAveragePool
        GlobalMaxPool GroupNormalization InstanceNormalization LRN LayerNormalization
        LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization RMSNormalization"""
    ),
    # recurrent layers that need no subgraph
    _words("GRU LSTM RNN"),
    # shapes and indexing
    _words(
        """Compress Concat Constant DepthToSpace EyeLike Gather GatherElements GatherND GridSample
        ReverseSequence ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Trilu"""
    ),
    # integer arithmetic
    _words("ConvInteger DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul"),
)
"""Allowed operators of ONNX's default domain; none runs a subgraph, draws randomly or trains."""
