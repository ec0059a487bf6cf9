"""Which elements of the samples moved: errors since the change beside those of calibration.

The error of an element is its part of the reconstruction loss. With m samples since the change and
n calibration samples, an element's change in units of its standard error is

    z = (mean since the change - calibration mean) / (calibration std * sqrt(1/m + 1/n))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.errors import InputError

MAX_ELEMENTS = 1 << 15
"""Samples of more elements are monitored without their elements, to keep the state small."""


@dataclass(frozen=True, eq=False)
class ElementReference:
    """Errors of the elements over the calibration samples.

    Attributes:
        mean: mean error of each element, float64, shape `input_shape`.
        std: standard deviation of each, same shape.
        samples: number n of calibration samples.
        names: names of the elements of a vector; None if they have no names.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    samples: int
    names: tuple[str, ...] | None = None

    def check(self, errors: ArrayLike, count: int) -> NDArray[np.float64]:
        """Return the errors of some samples, shape `(count, *input_shape)`.

        Raises:
            InputError: they have another shape.
        """
        array = np.asarray(errors, np.float64)
        if array.shape != (count, *self.mean.shape):
            raise InputError(
                f"errors has shape {array.shape}, expected {(count, *self.mean.shape)}: give one "
                "error for each element of each sample"
            )
        return array


@dataclass(frozen=True, eq=False)
class ElementChange:
    """Errors of the elements since the change, and before.

    Attributes:
        samples: number m of samples since the change with finite errors.
        calibration_mean: mean error over the calibration samples, shape `input_shape`.
        mean: mean error since the change, same shape.
        z: change in units of its standard error, same shape; infinite where the error was the same
            for all calibration samples and is another now.
        names: names of the elements of a vector; None if they have no names.
    """

    samples: int
    calibration_mean: NDArray[np.float64]
    mean: NDArray[np.float64]
    z: NDArray[np.float64]
    names: tuple[str, ...] | None = None

    def largest(self, count: int = 10) -> list[dict[str, Any]]:
        """Return the elements that moved most, in falling order of abs(z).

        Args:
            count: most elements to return.

        Returns:
            For each `element` (its name, or its position as a list), `calibration_mean`, `mean`
            and `z`.
        """
        order = np.argsort(-np.abs(self.z), axis=None, kind="stable")[:count]
        places = [tuple(map(int, np.unravel_index(i, self.z.shape))) for i in order]
        return [
            {
                "element": self.names[place[0]] if self.names else list(place),
                "calibration_mean": float(self.calibration_mean[place]),
                "mean": float(self.mean[place]),
                "z": float(self.z[place]),
            }
            for place in places
        ]


def element_change(
    reference: ElementReference, sums: NDArray[np.float64], samples: int
) -> ElementChange:
    """Compare errors since the change with those of the calibration samples.

    Args:
        reference: errors over the calibration samples.
        sums: sum of the errors of each element since the change, shape `input_shape`.
        samples: number m of samples in these sums, 1 or more.
    """
    mean = sums / samples
    moved = mean - reference.mean
    error = reference.std * np.sqrt(1 / samples + 1 / reference.samples)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(moved == 0, 0.0, moved / error)
    return ElementChange(samples, reference.mean, mean, z, reference.names)
