"""The p-value at the end of a score graph: its nodes, added, replaced and read.

    counted = number of calibration scores that are at least as large as the score
    p_value = (1 + counted) / (n + 1)

With both tails, the calibration scores that are at most as large are counted too, and the p-value
is twice the smaller of the two, at most 1. A score of NaN compares as false, so nothing is counted
and its p-value is the smallest.

The nodes are written here, not by the exporter, because a device that calibrates has no onnx
package. All their names begin with `p_value` or `calibration`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.graph.check import MAX_FIELDS
from vae_runtime.graph.operators import ATTRIBUTE_PROTO, DTYPES, MODEL_PROTO
from vae_runtime.graph.protobuf import Reader, encode

SCORES = "calibration.scores"
"""Initializer that holds the sorted calibration scores, float32, shape `(n,)`."""

_SCORE, _P_VALUE = "score", "p_value"
_OWN_NAMES = ("p_value", "calibration.")
_INT, _FLOAT_TYPE, _INT_TYPE = 2, 1, 7


def with_p_value(data: bytes, scores: NDArray[np.float32], *, both_tails: bool) -> bytes:
    """Return a score graph with a p-value, in place of the one that it may have.

    Args:
        data: ONNX file with an output `score`, shape `(batch,)`.
        scores: sorted calibration scores, shape `(n,)`.
        both_tails: whether low scores are unusual as well.

    Returns:
        The ONNX file. `p_value` is its last output, or stands before `activations`.
    """
    model = _read(without_p_value(data))
    graph = model["graph"]
    nodes, constants = _upper_tail(scores)
    if both_tails:
        more_nodes, more_constants = _lower_tail()
        nodes, constants = nodes + more_nodes, constants + more_constants
    nodes[-1]["output"] = [_P_VALUE]
    graph["node"] += nodes
    graph["initializer"] += [_tensor(name, array) for name, array in constants]
    graph["initializer"].sort(key=lambda tensor: tensor["name"])
    position = 1 + [value["name"] for value in graph["output"]].index(_SCORE)
    value = {**graph["output"][position - 1], "name": _P_VALUE}
    graph["output"].insert(position, value)
    return encode(model, MODEL_PROTO)


def without_p_value(data: bytes) -> bytes:
    """Return a score graph without the nodes, constants and output of its p-value."""
    model = _read(data)
    graph = model["graph"]
    for field, key in (("node", "name"), ("initializer", "name"), ("output", "name")):
        graph[field] = [e for e in graph[field] if not e.get(key, "").startswith(_OWN_NAMES)]
    return encode(model, MODEL_PROTO)


def read_constants(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the initializers of an ONNX file that passed `check_graph`, by name."""
    tensors = _read(data)["graph"]["initializer"]
    return {
        tensor["name"]: np.frombuffer(
            tensor.get("raw_data", b""), DTYPES[tensor["data_type"]]
        ).reshape(tensor["dims"])
        for tensor in tensors
    }


def _read(data: bytes) -> dict[str, Any]:
    return Reader(MAX_FIELDS).read(memoryview(data), MODEL_PROTO)


def _upper_tail(scores: NDArray[np.float32]) -> tuple[list[Any], list[Any]]:
    """Return nodes and constants; the last node gives the p-value."""
    constants = [
        (SCORES, np.ascontiguousarray(scores, np.float32)),
        ("calibration.column", np.array([-1, 1], np.int64)),
        ("calibration.axis", np.array([1], np.int64)),
        ("calibration.one", np.array(1, np.float32)),
        ("calibration.total", np.array(len(scores) + 1, np.float32)),
    ]
    column = _node("Reshape", "p_value.column", _SCORE, "calibration.column")
    return [column, *_tail("GreaterOrEqual", "p_value.upper")], constants


def _lower_tail() -> tuple[list[Any], list[Any]]:
    nodes = [
        *_tail("LessOrEqual", "p_value.lower"),
        _node("Min", "p_value.smaller", "p_value.upper", "p_value.lower"),
        _node("Add", "p_value.doubled", "p_value.smaller", "p_value.smaller"),
        _node("Min", "p_value.both", "p_value.doubled", "calibration.one"),
    ]
    return nodes, []


def _tail(comparison: str, name: str) -> list[dict[str, Any]]:
    """Return the nodes that compute the p-value of one tail, `name`."""
    axis_kept = {"name": "keepdims", "i": 0, "type": _INT}
    to_float = {"name": "to", "i": _FLOAT_TYPE, "type": _INT}
    return [
        _node(comparison, f"{name}.compared", SCORES, "p_value.column"),
        _node("Cast", f"{name}.as_numbers", f"{name}.compared", attribute=to_float),
        _node(
            "ReduceSum",
            f"{name}.counted",
            f"{name}.as_numbers",
            "calibration.axis",
            attribute=axis_kept,
        ),
        _node("Add", f"{name}.rank", f"{name}.counted", "calibration.one"),
        _node("Div", name, f"{name}.rank", "calibration.total"),
    ]


def _node(
    operator: str, output: str, *inputs: str, attribute: dict[str, Any] | None = None
) -> dict[str, Any]:
    attributes = [{"floats": [], "ints": [], "strings": [], **attribute}] if attribute else []
    return {
        "input": list(inputs),
        "output": [output],
        "name": output,
        "op_type": operator,
        "attribute": [encode(a, ATTRIBUTE_PROTO) for a in attributes],
    }


def _tensor(name: str, array: NDArray[Any]) -> dict[str, Any]:
    number = {np.dtype(np.float32): _FLOAT_TYPE, np.dtype(np.int64): _INT_TYPE}[array.dtype]
    return {
        "dims": list(array.shape),
        "data_type": number,
        "name": name,
        "raw_data": array.astype(DTYPES[number]).tobytes(),
    }
