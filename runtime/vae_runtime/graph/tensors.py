"""Validation of a tensor in an ONNX file: its bytes match its shape and dtype, and are finite.

No library is used: the onnx package copies each tensor and does not refuse NaN or infinity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.graph.operators import DTYPES

MAX_RANK = 16
MAX_INTEGER = 1 << 31
"""Largest length of an axis, and largest absolute value of an integer attribute."""

_MAX_SIZE_ELEMENTS = 64
"""A constant with more elements is not read as a list of sizes."""

_BLOCK_BYTES = 1 << 20
"""Bytes that are checked in one step; blocks beyond the processor's cache are slower."""


class GraphError(ValueError):
    """A graph breaks one of the rules."""


@dataclass(frozen=True)
class Constant:
    """A tensor that is stored in the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    raw: memoryview

    def values(self) -> NDArray[Any] | None:
        """Return the elements, flat; None if they are too many to be sizes."""
        if math.prod(self.shape) > _MAX_SIZE_ELEMENTS:
            return None
        return np.frombuffer(self.raw, self.dtype) if len(self.raw) else np.zeros(0, self.dtype)


def read_tensor(tensor: Mapping[str, Any], what: str) -> Constant:
    """Check the fields of a `TENSOR_PROTO`; `what` names the tensor in a `GraphError`."""
    shape, number = tuple(tensor["dims"]), tensor.get("data_type", 0)
    dtype = DTYPES.get(number)
    if dtype is None:
        raise GraphError(f"{what} has the element type {number}, which is not allowed")
    if len(shape) > MAX_RANK or not all(0 <= size <= MAX_INTEGER for size in shape):
        raise GraphError(f"{what} has the shape {shape!s:.80}")
    raw = tensor.get("raw_data", memoryview(b""))
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise GraphError(
            f"{what} has {len(raw)} bytes, its shape {shape} of {dtype.name} needs "
            f"{math.prod(shape) * dtype.itemsize}"
        )
    blocks = (raw[start : start + _BLOCK_BYTES] for start in range(0, len(raw), _BLOCK_BYTES))
    if dtype.kind in "fb" and not all(_is_valid(block, dtype) for block in blocks):
        raise GraphError(
            f"{what} holds values that are not finite, or booleans that are not 0 or 1"
        )
    return Constant(dtype, shape, raw)


def _is_valid(block: memoryview, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "b":
        return bool(np.frombuffer(block, np.uint8).max() <= 1)
    return bool(np.isfinite(np.frombuffer(block, dtype)).all())


def product_of_sizes(sizes: NDArray[Any]) -> float:
    """Return the product of the absolute sizes, each at least 1; infinity on overflow."""
    return math.prod(max(1.0, abs(float(size))) for size in sizes)
