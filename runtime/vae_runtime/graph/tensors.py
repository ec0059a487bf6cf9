"""A tensor that stands in an ONNX file: as many bytes as its shape and dtype say, all finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.graph.operators import DTYPES

MAX_RANK = 16
MAX_NUMBER = 1 << 31
"""Largest size, and largest whole number in an attribute, either sign."""

_SIZES_READ = 64
"""A constant of more elements is no list of sizes."""

_BLOCK = 1 << 20
"""Bytes that are looked at in one step; what is beyond the processor's cache is slower."""


class GraphError(ValueError):
    """A graph breaks one of the rules."""


@dataclass(frozen=True)
class Constant:
    """A tensor that stands in the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    raw: memoryview

    def values(self) -> NDArray[Any] | None:
        """Its elements, flat; None where they are too many to be sizes."""
        if math.prod(self.shape) > _SIZES_READ:
            return None
        return np.frombuffer(self.raw, self.dtype) if len(self.raw) else np.zeros(0, self.dtype)


def read_tensor(tensor: Mapping[str, Any], what: str) -> Constant:
    """Checks a tensor.

    Args:
        tensor: its fields, as `onnx_format.TENSOR` names them.
        what: what it is, for messages.

    Raises:
        GraphError: its bytes are not what its shape and dtype say, or not finite.
    """
    shape, number = tuple(tensor["dims"]), tensor.get("data_type", 0)
    dtype = DTYPES.get(number)
    if dtype is None:
        raise GraphError(f"{what} has the element type {number}, which is not allowed")
    if len(shape) > MAX_RANK or not all(0 <= size <= MAX_NUMBER for size in shape):
        raise GraphError(f"{what} has the shape {shape!s:.80}")
    raw = tensor.get("raw_data", memoryview(b""))
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise GraphError(
            f"{what} has {len(raw)} bytes, its shape {shape} of {dtype.name} needs "
            f"{math.prod(shape) * dtype.itemsize}"
        )
    if dtype.kind in "fb" and not all(_fit(block, dtype) for block in _blocks(raw)):
        raise GraphError(f"{what} holds values that are not finite, or no booleans")
    return Constant(dtype, shape, raw)


def _blocks(raw: memoryview) -> Iterator[memoryview]:
    return (raw[start : start + _BLOCK] for start in range(0, len(raw), _BLOCK))


def _fit(block: memoryview, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "b":
        return bool(np.frombuffer(block, np.uint8).max() <= 1)
    return bool(np.isfinite(np.frombuffer(block, dtype)).all())


def product(sizes: NDArray[Any]) -> float:
    """The product of sizes, none below 1; infinite where it is too large for a float."""
    return math.prod(max(1.0, abs(float(size))) for size in sizes)
