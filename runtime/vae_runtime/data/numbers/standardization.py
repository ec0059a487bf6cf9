"""Standardization between the raw values of a device and the values that the model computes with.

    standardized   (x - mean) / scale
    restored       values * scale + mean

The exported graphs contain both steps: they take raw values and return raw reconstructions. The
loss is computed on standardized values. Each function takes an array namespace `xp`, `numpy` or
`keras.ops`, as in `vae_runtime.loss`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.errors import OptionError
from vae_runtime.files.strict_json import meta

MIN_SCALE = 1e-30
"""Smallest scale allowed; with a smaller one the quotient can overflow float32."""


@dataclass(frozen=True)
class Standardization:
    """Constants of `(x - mean) / scale`.

    Each has one number for all elements, or one for each entry of the last axis (the columns of
    vectors, the channels of images).
    """

    mean: Annotated[tuple[float, ...], meta("one number, or one for each entry of the last axis")]
    scale: Annotated[
        tuple[Annotated[float, meta(ge=MIN_SCALE)], ...],
        meta("standard deviations, as many as means"),
    ]

    @classmethod
    def of_range(cls, low: float, high: float) -> Standardization:
        """Return the standardization of a range of values to [0, 1].

        Both ends are rounded to float32, so that a sample may reach them. `OptionError` is raised
        unless `low` is less than `high` and both are finite.
        """
        first, last = (float(np.float32(end)) for end in (low, high))
        if not (math.isfinite(first) and math.isfinite(last) and last - first >= MIN_SCALE):
            raise OptionError(
                f"range is {low:g},{high:g}, expected a lower and a higher number: give the lowest "
                "and the highest value, such as 0,255"
            )
        return cls((first,), (last - first,))

    def unit_range(self) -> tuple[float, float] | None:
        """Return the raw values of 0 and 1; None if elements have different ones."""
        if len(self.mean) != 1 or len(self.scale) != 1:
            return None
        return self.mean[0], self.mean[0] + self.scale[0]

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise `OptionError` unless the constants are usable for samples of this shape."""
        allowed = {1, *shape[-1:]}
        for name, numbers in (("mean", self.mean), ("scale", self.scale)):
            if len(numbers) not in allowed:
                raise OptionError(
                    f"{name} has {len(numbers)} numbers, expected {' or '.join(map(str, allowed))} "
                    f"for samples of shape {shape}"
                )
            if not all(map(math.isfinite, numbers)):
                raise OptionError(f"{name} has numbers that are not finite: repair them")
        if min(self.scale) < MIN_SCALE:
            raise OptionError(f"scale has {min(self.scale)}, expected {MIN_SCALE:g} or more")

    def constants(self, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and scale of each element of a sample, two arrays of shape `(D,)`."""
        mean, scale = (
            np.broadcast_to(np.asarray(numbers, np.float32), shape).reshape(-1)
            for numbers in (self.mean, self.scale)
        )
        return mean, scale


def standardize(xp: Any, standardization: Standardization | None, x: Any) -> Any:
    """Return `(x - mean) / scale` for raw float32 values of shape `(batch, *input_shape)`.

    Returns `x` itself if `standardization` is None.
    """
    if standardization is None:
        return x
    shape = tuple(x.shape[1:])
    mean, scale = standardization.constants(shape)
    # Flattened: ONNX Runtime is about 50 times slower on a trailing axis of length 1.
    flat = (xp.reshape(x, (-1, mean.size)) - mean) / scale
    return xp.reshape(flat, (-1, *shape))


def restore(xp: Any, standardization: Standardization | None, values: Any) -> Any:
    """Return the raw values `values * scale + mean`: the inverse of `standardize`."""
    if standardization is None:
        return values
    shape = tuple(values.shape[1:])
    mean, scale = standardization.constants(shape)
    return xp.reshape(xp.reshape(values, (-1, mean.size)) * scale + mean, (-1, *shape))
