"""What an ONNX file of a bundle may be made of: messages, element types, operators.

Field numbers are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. What build-vae
never writes is refused here, even where ONNX Runtime would take it: subgraphs, functions, data
outside the file, sparse tensors, stated shapes of inner tensors, numbers outside `raw_data`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from vae_runtime.graph.protobuf import Field, Kind, Message


def _message(name: str, allowed: dict[int, Field], refused: dict[int, str]) -> Message:
    return Message(name, allowed | {n: Field(f, Kind.REFUSED) for n, f in refused.items()})


def _int(name: str, *, repeated: bool = False) -> Field:
    return Field(name, Kind.INT, repeated)


def _text(name: str, *, repeated: bool = False) -> Field:
    return Field(name, Kind.TEXT, repeated)


def _bytes(name: str, *, repeated: bool = False) -> Field:
    return Field(name, Kind.BYTES, repeated)


MODEL = _message(
    "the model",
    {
        1: _int("ir_version"),
        2: _text("producer_name"),
        3: _text("producer_version"),
        4: _text("domain"),
        5: _int("model_version"),
        6: _text("doc_string"),
        7: _bytes("graph"),
        8: _bytes("opset_import", repeated=True),
        14: _bytes("metadata_props", repeated=True),
    },
    {20: "training_info", 25: "functions", 26: "configuration"},
)
OPSET = _message("opset_import", {1: _text("domain"), 2: _int("version")}, {})
PROPERTY = _message("metadata_props", {1: _text("key"), 2: _text("value")}, {})
GRAPH = _message(
    "the graph",
    {
        1: _bytes("node", repeated=True),
        2: _text("name"),
        5: _bytes("initializer", repeated=True),
        10: _text("doc_string"),
        11: _bytes("input", repeated=True),
        12: _bytes("output", repeated=True),
    },
    {
        13: "value_info",
        14: "quantization_annotation",
        15: "sparse_initializer",
        16: "metadata_props",
    },
)
NODE = _message(
    "a node",
    {
        1: _text("input", repeated=True),
        2: _text("output", repeated=True),
        3: _text("name"),
        4: _text("op_type"),
        5: _bytes("attribute", repeated=True),
        6: _text("doc_string"),
        7: _text("domain"),
    },
    {8: "overload", 9: "metadata_props", 10: "device_configurations"},
)
ATTRIBUTE = _message(
    "an attribute",
    {
        1: _text("name"),
        2: Field("f", Kind.FLOAT),
        3: _int("i"),
        4: _bytes("s"),
        5: _bytes("t"),
        7: Field("floats", Kind.FLOAT, repeated=True),
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
ATTRIBUTE_TYPES: Final = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
"""The field that holds an attribute's value, by its `type`."""

LISTS: Final = ("floats", "ints", "strings")
"""Those that may be empty."""

TENSOR = _message(
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
VALUE = _message(
    "an input or output",
    {1: _text("name"), 2: _bytes("type"), 3: _text("doc_string")},
    {4: "metadata_props"},
)
TYPE = _message(
    "a type",
    {1: _bytes("tensor_type"), 6: _text("denotation")},
    {4: "a sequence", 5: "a map", 7: "an opaque type", 8: "a sparse tensor", 9: "an optional"},
)
TENSOR_TYPE = _message("a tensor type", {1: _int("elem_type"), 2: _bytes("shape")}, {})
SHAPE = _message("a shape", {1: _bytes("dim", repeated=True)}, {})
DIMENSION = _message(
    "a dimension", {1: _int("dim_value"), 2: _text("dim_param"), 3: _text("denotation")}, {}
)

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
"""Element types, by their number in ONNX."""

SIZE_INPUTS: Final = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Resize": (2, 3),
    "Tile": (1,),
}
"""Operators whose output is as large as the numbers in these inputs say."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SAME_SIZE: Final = _words(
    "Cast DequantizeLinear Flatten Identity Neg QuantizeLinear Reshape Squeeze Transpose Unsqueeze"
)
"""Operators whose output has as many elements as their first input."""

OPERATORS: Final = SAME_SIZE.union(
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
    # products, convolution, pooling, normalisation
    _words(
        """AveragePool BatchNormalization Conv ConvTranspose Einsum Gemm GlobalAveragePool
        GlobalMaxPool GroupNormalization InstanceNormalization LRN LayerNormalization
        LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization RMSNormalization"""
    ),
    # recurrent layers that need no subgraph
    _words("GRU LSTM RNN"),
    # shapes and places
    _words(
        """Compress Concat Constant DepthToSpace EyeLike Gather GatherElements GatherND GridSample
        ReverseSequence ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Trilu"""
    ),
    # whole numbers
    _words("ConvInteger DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul"),
)
"""Operators of ONNX's own domain that a bundle may use: none runs a subgraph, draws, or trains."""
