"""Fields of the manifest on a sample, and on the graphs and their tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.scalars import RelativePath, Size
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.data.samples.inputs import UNIT_RANGE
from vae_runtime.errors import OptionError
from vae_runtime.files import strict_json
from vae_runtime.files.strict_json import meta
from vae_runtime.loss import LossSpec

Dtype = Literal["float32", "uint8"]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph."""

    name: Annotated[str, meta("name of the tensor in the graph", pattern="[a-z][a-z0-9_]*")]
    dtype: Annotated[Dtype, meta("element type")]
    shape: Annotated[tuple[Literal["batch"] | Size, ...], meta("`batch`: any number of samples")]


@dataclass(frozen=True)
class InputSpec:
    """Shape, dtype and range of a sample."""

    shape: Annotated[
        tuple[Size, ...], meta("(height, width, channels), (D,) for vectors, or others")
    ]
    dtype: Annotated[
        Dtype, meta("float32: divide pixels by 255 before; uint8: the graph divides them")
    ] = "float32"
    range: Annotated[
        tuple[float, float] | None, meta("lowest and highest value; null: any finite value")
    ] = None
    standardization: Annotated[
        Standardization | None, meta("the graphs compute with (x - mean) / scale; null: with x")
    ] = None
    undivided_uint8: Annotated[
        bool,
        meta("uint8 counts as numbers from 0 to 255; left out: divided by 255", optional=True),
    ] = strict_json.optional(False)

    def faults(self, loss: LossSpec) -> Iterator[str]:
        """Yield a description of each contradiction to the loss, or between two fields."""
        expected = self.range_for(loss)
        if self.range != expected:
            yield (
                f"input.range is {self.range}, the {loss.reconstruction} loss of {self.dtype} "
                f"needs {expected}"
            )
        if self.undivided_uint8 and (self.dtype == "uint8" or not self.standardization):
            yield "input.undivided_uint8 needs float32 and input.standardization"
        if self.standardization:
            if loss.value_range and self.raw_range is None:
                yield f"input.standardization does not fit the {loss.reconstruction} loss"
            try:
                self.standardization.check(self.shape)
            except OptionError as error:
                yield f"input.standardization: {error}"

    def range_for(self, loss: LossSpec) -> tuple[float, float] | None:
        """Return the range that samples must have, so that the loss has values in its own range."""
        if self.dtype == "uint8" or loss.value_range is None:
            return None
        return self.unit_values

    @property
    def raw_range(self) -> tuple[float, float] | None:
        """The raw values that the graphs scale to 0 and 1; None if no range was given."""
        if self.standardization is None or not self.undivided_uint8:
            return None
        return self.standardization.unit_range()

    @property
    def unit_values(self) -> tuple[float, float]:
        """The values of a sample that stand for 0 and 1."""
        return self.raw_range or UNIT_RANGE

    def units(self, output: str, reference: NDArray[np.float64]) -> tuple[Any, Any]:
        """Return the unit and the offset of an output's values, for `Tolerances.allowed`.

        A reconstruction has the scale and the mean of the standardization. Without one, its unit
        is its largest value, or 1 if that is less. All other outputs have no units.
        """
        if output != "reconstruction":
            return 1.0, 0.0
        if self.standardization is None:
            return max(1.0, float(np.abs(reference).max(initial=0))), 0.0
        mean, scale = self.standardization.constants(self.shape)
        return scale.reshape(self.shape), mean.reshape(self.shape)


@dataclass(frozen=True)
class GraphSpec:
    """One ONNX graph."""

    file: Annotated[RelativePath, meta("the ONNX file")]
    opset: Annotated[int, meta("version of the ONNX operator set", ge=13, le=30)]
    inputs: Annotated[tuple[TensorSpec, ...], meta("in the order of the graph")]
    outputs: Annotated[tuple[TensorSpec, ...], meta("in the order of the graph")]


@dataclass(frozen=True)
class Graphs:
    """The ONNX graphs."""

    encoder: Annotated[GraphSpec, meta("x (and condition) to z_mean and z_log_var")]
    decoder: Annotated[
        GraphSpec,
        meta("z (and condition) to the loss's input (logits, values, log_var) and reconstruction"),
    ]
    loss: Annotated[GraphSpec, meta("x and eps (and condition) to the parts of the loss")]
    score: Annotated[
        GraphSpec | None,
        meta(
            "x (and condition) to the loss at z = z_mean, score, p-value; left out: no score",
            optional=True,
        ),
    ] = strict_json.optional(None)  # noqa: RUF009

    def items(self) -> Iterator[tuple[str, GraphSpec]]:
        """Yield name and description of each graph that there is."""
        for name, graph in vars(self).items():
            if graph is not None:
                yield name, graph
