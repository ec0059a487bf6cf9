"""What the graphs take, from what a user gives: samples, their conditions, and chunks of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.bundle.fields import Manifest
from vae_runtime.data.numbers.rounding import rounded_columns, warn_of_rounding
from vae_runtime.data.samples.conditions import as_condition
from vae_runtime.data.samples.inputs import as_batch, to_graph_input
from vae_runtime.inference.chunks import Array, Float32


@dataclass(frozen=True)
class GraphInputs:
    """The inputs of a bundle's graphs."""

    manifest: Manifest

    def samples(self, x: ArrayLike) -> NDArray[np.generic]:
        """Return samples as an array, or the columns of a data frame."""
        return as_batch(x, self.manifest.input.shape, columns=self.manifest.table)

    def given(
        self, condition: ArrayLike | None, count: int
    ) -> Callable[[slice], dict[str, Float32]]:
        """Return a function from a slice of the samples to the graphs' input `condition`."""
        rows = as_condition(self.manifest.condition, condition, count)
        return lambda part: {} if rows is None else {"condition": rows[part]}

    def rows(self, condition: ArrayLike | None, count: int) -> dict[str, Float32]:
        """Return the graphs' input `condition` with a row for each sample; empty without it."""
        return self.given(condition, count)(slice(0, count))

    def chunk(
        self, samples: NDArray[np.generic], part: slice, *, first: int = 0, check: bool = True
    ) -> Array:
        """Return a slice of the samples in the graphs' dtype; `first` is the number of sample 0.

        With `check`, an `InputError` names a value that the model cannot take.
        """
        spec, data = self.manifest.input, self.manifest.data
        chunk, columns = samples[part], self.manifest.columns
        if chunk.dtype != np.float32:
            warn_of_rounding(rounded_columns(chunk), columns, what="x")
        return to_graph_input(
            chunk,
            spec.dtype,
            spec.range,
            first=first + part.start,
            binary_uint8=bool(data and data.binary_uint8),
            raw_range=spec.raw_range,
            is_table=self.manifest.table is not None,
            check=check,
            columns=self.manifest.sources,
        )
