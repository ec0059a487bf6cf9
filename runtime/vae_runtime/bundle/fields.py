"""Fields of the manifest. The parser, the JSON Schema and the README's table are made from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.graph_fields import Graphs, InputSpec
from vae_runtime.bundle.scalars import Count, Digest, RelativePath, Size, Text
from vae_runtime.bundle.scores import SCORE, ScoreSpec
from vae_runtime.bundle.variants import (
    FLOAT32,
    PRECISIONS,
    Drift,
    Latency,
    RelativeTolerance,
    allowed_difference,
)
from vae_runtime.data.samples.conditions import ConditionSpec
from vae_runtime.data.tables.encoding import TableEncoding
from vae_runtime.files import strict_json
from vae_runtime.files.strict_json import meta
from vae_runtime.latents import Latents
from vae_runtime.loss import Losses, LossSpec

FORMAT_VERSION: Final = 2
"""Version that is written. Version 1 has fewer fields, all optional here, so it is read as well."""
NAME_PATTERN = "[^\x00-\x1f\x7f-\x9f/]{1,200}"
"""Regular expression of a model's name."""

Precision = Annotated[str, meta(pattern="|".join(PRECISIONS))]

OptionValue = None | bool | int | float | Text | tuple[int, ...]
"""Value of one of the builder's options."""


@dataclass(frozen=True)
class SavedModelSpec:
    """One TensorFlow SavedModel."""

    path: Annotated[RelativePath, meta("its folder")]
    signature: Annotated[Literal["serving_default"], meta("same tensor names as in the graph")]
    weights_sha256: Annotated[
        Digest, meta("digest of its variables (dtype, shape, bytes), in the Keras model's order")
    ]


@dataclass(frozen=True)
class SavedModels:
    """Encoder and decoder as TensorFlow SavedModels."""

    encoder: Annotated[SavedModelSpec, meta("x to z_mean and z_log_var")]
    decoder: Annotated[SavedModelSpec, meta("z to logits (if there are any) and reconstruction")]


@dataclass(frozen=True)
class ParitySpec:
    """The reference inputs, and TensorFlow's values for them."""

    file: Annotated[RelativePath, meta("npz with x, eps and every tensor that TensorFlow computed")]
    samples: Annotated[int, meta("number of samples", ge=1, le=2**31)]
    mean: Annotated[Losses[float], meta("means of TensorFlow's losses over these samples")]


@dataclass(frozen=True)
class Tolerances:
    """Largest allowed differences from TensorFlow: `|a - ref| <= atol + rtol * |ref|`.

    Values in the units of the data, such as euros or milliseconds, have a unit `u` and an offset
    `o`: `|a - ref| <= u * atol + rtol * (|ref| + |o|)`; see `InputSpec.units`.
    """

    tensor_atol: Annotated[
        float,
        meta("absolute, for z_mean, ...; in the data's units: times their scale", ge=0, le=1e-3),
    ]
    tensor_rtol: Annotated[float, meta("relative, for the same", ge=0, le=1e-3)]
    loss_atol: Annotated[float, meta("absolute, for each loss of each sample", ge=0, le=1e-2)]
    loss_rtol: Annotated[float, meta("relative, for the same", ge=0, le=1e-2)]

    def allowed(
        self,
        reference: NDArray[np.float64],
        *,
        is_loss: bool,
        units: tuple[Any, Any] = (1.0, 0.0),
    ) -> Any:
        """Return the largest allowed difference for each element of TensorFlow's values.

        `units` are the unit and the offset of tensors, each a number or one for each element.
        """
        if is_loss:
            return self.loss_atol + self.loss_rtol * np.abs(reference)
        unit, offset = units
        return unit * self.tensor_atol + self.tensor_rtol * (np.abs(reference) + np.abs(offset))


@dataclass(frozen=True)
class Variant:
    """The graphs in a lower precision."""

    method: Annotated[
        Literal["weights", "static", "dynamic"],
        meta("weights: float16 weights; static, dynamic: int8 with calibrated or dynamic ranges"),
    ]
    graphs: Annotated[Graphs, meta("same inputs and outputs as in float32")]
    size: Annotated[int, meta("bytes of these graphs", ge=1, le=2**53)]
    drift: Annotated[Drift, meta("difference of its losses from float32's")]
    within_budget: Annotated[
        bool, meta("the drift is within this precision's budget; false: published on request")
    ]
    latency: Annotated[Latency, meta("time of the loss graph on the exporting machine")]
    worth_it: Annotated[
        bool, meta("at most 0.6 of float32's time for one sample (int8) or size (float16)")
    ]
    tolerances: Annotated[
        dict[str, RelativeTolerance],
        meta("by output; relative to its largest value, or to the larger of loss and median loss"),
    ]


@dataclass(frozen=True)
class DataSpec:
    """The data that the model was trained on."""

    name: Annotated[Text, meta("name of the data set, or of the file")]
    sha256: Annotated[Digest, meta("digest of the three splits: dtype, shape and bytes")]
    train: Annotated[Count, meta("number of training samples")]
    validation: Annotated[Count, meta("number of validation samples")]
    test: Annotated[Count, meta("number of test samples")]
    split_seed: Annotated[int | None, meta("seed of the splits; null: the source has its own")]
    columns: Annotated[
        tuple[Text, ...] | None, meta("names of a table's columns, in order; null: no names")
    ]
    binary_uint8: Annotated[
        bool,
        meta("uint8 0 and 1 stand for 0.0 and 1.0; left out: divided by 255", optional=True),
    ] = strict_json.optional(False)
    table: Annotated[
        TableEncoding | None,
        meta(
            "how a table's columns become the elements of a sample; left out: each is a number",
            optional=True,
        ),
    ] = strict_json.optional(None)  # noqa: RUF009
    label: Annotated[
        Text | None,
        meta("column of the labels, which the model does not take; left out: none", optional=True),
    ] = strict_json.optional(None)  # noqa: RUF009


@dataclass(frozen=True)
class TrainingSpec:
    """How the model was trained, and the losses that it reached."""

    options: Annotated[
        dict[Text, OptionValue], meta("the builder's options by name: preset, hidden, epochs, ...")
    ]
    parameters: Annotated[int, meta("trainable weights of encoder and decoder", ge=0)]
    seconds: Annotated[float, meta("wall time of training", ge=0)]
    validation: Annotated[Losses[float], meta("means over the validation samples, one z each")]
    test: Annotated[Losses[float], meta("means over the test samples, one z each")]
    latents: Annotated[Latents, meta("use of the latent dimensions, over the test samples")]


@dataclass(frozen=True)
class AdoptionSpec:
    """How a finished Keras model was brought to the form of the graphs."""

    encoder_outputs: Annotated[
        Literal["separate", "halves"],
        meta("z_mean and z_log_var were outputs of their own, or halves of one's last axis"),
    ]
    scale: Annotated[
        Literal["log_var", "log_std", "std", "var"],
        meta("what the encoder gave for the spread; the graphs convert it to z_log_var"),
    ]
    dtype_policies: Annotated[
        tuple[Text, ...], meta("policies of layers that were rebuilt in float32; mostly none")
    ] = ()
    float32_changes: Annotated[
        dict[Text, float] | None,
        meta("largest change by that, relative to the largest value; null: nothing was rebuilt"),
    ] = None


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle."""

    size: Annotated[int, meta("bytes; less than 2 GiB, ONNX's limit", ge=0, le=2**31 - 1)]
    sha256: Annotated[Digest, meta("digest of its bytes")]


@dataclass(frozen=True)
class PriorSpec:
    """A Gaussian mixture that is fitted to z ~ q(z given x) of training samples."""

    file: Annotated[RelativePath, meta("npz with weights, means, scales, and its proof")]
    components: Annotated[int, meta("number of Gaussians", ge=1, le=1024)]
    covariance: Annotated[Literal["full", "diagonal"], meta("form of their covariances")]
    samples: Annotated[int, meta("training samples that it was fitted to", ge=1, le=2**31)]
    held_out: Annotated[int, meta("other samples that chose `components`", ge=1, le=2**31)]
    log_likelihood: Annotated[float, meta("mean of log p(z) over these, in nats")]
    normal_log_likelihood: Annotated[float, meta("the same of N(0, I)")]


@dataclass(frozen=True)
class Manifest:
    """Description of a bundle: model, loss, graphs, proof, origin and files."""

    format: Annotated[Literal["build-vae"], meta("always `build-vae`")]
    format_version: Annotated[Literal[1, 2], meta("1 or 2; 1 lacks optional fields")]
    name: Annotated[str, meta("name of the model", pattern=NAME_PATTERN)]
    created: Annotated[Text, meta("time of export, UTC, ISO 8601")]
    input: Annotated[InputSpec, meta("a sample")]
    latent_dim: Annotated[int, meta("number L of latent dimensions", ge=1, le=2**31)]
    loss: Annotated[LossSpec, meta("the loss, completely specified")]
    graphs: Annotated[Graphs, meta("the ONNX graphs")]
    saved_models: Annotated[
        SavedModels | None, meta("the TensorFlow SavedModels; null: left out of a pack")
    ]
    parity: Annotated[ParitySpec, meta("the proof")]
    tolerances: Annotated[Tolerances, meta("largest allowed differences from TensorFlow's values")]
    variants: Annotated[dict[Precision, Variant], meta("the graphs in lower precision, by name")]
    data: Annotated[DataSpec | None, meta("training data; null: not known")]
    training: Annotated[TrainingSpec | None, meta("training; null: not known")]
    versions: Annotated[dict[Text, Text], meta("versions of the libraries that made the bundle")]
    packed_from: Annotated[
        Digest | None, meta("digest of the bundle that this file was packed from; null: not packed")
    ]
    files: Annotated[dict[RelativePath, FileEntry], meta("every file except the manifest itself")]
    latent_shape: Annotated[
        tuple[Size, ...] | None,
        meta("shape of z, if it is no vector; its product is latent_dim", optional=True),
    ] = strict_json.optional(None)
    adoption: Annotated[
        AdoptionSpec | None,
        meta("how a finished Keras model was adopted; left out: trained here", optional=True),
    ] = strict_json.optional(None)  # noqa: RUF009  # a field, not a value
    condition: Annotated[
        ConditionSpec | None,
        meta("what a conditional model is given beside x and z; left out: nothing", optional=True),
    ] = strict_json.optional(None)  # noqa: RUF009
    score: Annotated[
        ScoreSpec | None,
        meta("the anomaly score and its calibration; left out: none", optional=True),
    ] = strict_json.optional(None)  # noqa: RUF009
    prior: Annotated[
        PriorSpec | None,
        meta("a mixture to draw z from instead of N(0, I); left out: none", optional=True),
    ] = strict_json.optional(None)  # noqa: RUF009

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions that the bundle can be loaded in, float32 first."""
        return (FLOAT32, *self.variants)

    @property
    def z_shape(self) -> tuple[int, ...]:
        """Shape of z for one sample: `latent_shape`, or `(latent_dim,)` for vectors."""
        return self.latent_shape or (self.latent_dim,)

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Names of the columns of a sample, in order; None if they are not known."""
        return self.data.columns if self.data else None

    @property
    def table(self) -> TableEncoding | tuple[str, ...] | None:
        """What a table needs: its encoding, else the names of its columns, if they are known."""
        return (self.data.table if self.data else None) or self.columns

    @property
    def sources(self) -> tuple[str, ...] | None:
        """Name of the table's column that each element of a sample comes from, if known."""
        table = self.table
        return table.sources if isinstance(table, TableEncoding) else table

    def graphs_of(self, precision: str) -> Graphs:
        """Return the graphs of a precision, one of `precisions`."""
        return self.graphs if precision == FLOAT32 else self.variants[precision].graphs

    def allowed(
        self, precision: str, output: str, reference: NDArray[np.float64], *, is_loss: bool
    ) -> Any:
        """Return the largest allowed difference for each element of an output.

        Args:
            precision: one of `precisions`.
            output: name of the output.
            reference: TensorFlow's values.
            is_loss: whether the output is a loss, one number per sample.

        Returns:
            Differences, in a form that broadcasts to the shape of `reference`.
        """
        if precision == FLOAT32 and output == SCORE and self.score:
            return self.score.tolerance * (1.0 + np.abs(reference))
        if precision == FLOAT32:
            units = self.input.units(output, reference)
            return self.tolerances.allowed(reference, is_loss=is_loss, units=units)
        tolerance = self.variants[precision].tolerances[output]
        return allowed_difference(tolerance, reference, is_loss=is_loss or output == SCORE)
