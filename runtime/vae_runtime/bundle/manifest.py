"""The manifest: what a bundle is, in strict JSON (`manifest.json`, format 1).

The dataclasses here are the format: the parser, the JSON Schema (`manifest_schema`) and the table
in the README all follow from their fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle import strict_json
from vae_runtime.bundle.archive import MAX_ENTRIES, PATH
from vae_runtime.bundle.strict_json import Limit, Pattern, StrictJsonError
from vae_runtime.bundle.variants import FLOAT32, PRECISIONS, Drift, Latency, Share, allowed
from vae_runtime.data.standardization import Standardization
from vae_runtime.errors import BundleError, OptionError
from vae_runtime.latents import Latents
from vae_runtime.loss import LOSS_NAMES, Losses, LossSpec

FORMAT: Final = "build-vae"
FORMAT_VERSION: Final = 1
MANIFEST = "manifest.json"

Text = Annotated[str, Pattern("[^\x00-\x1f\x7f-\x9f]{0,1000}")]
RelativePath = Annotated[str, Pattern(PATH)]
Digest = Annotated[str, Pattern("[0-9a-f]{64}")]
Size = Annotated[int, Limit(1, 2**31)]
Count = Annotated[int, Limit(0, 2**53)]


Precision = Annotated[str, Pattern("|".join(PRECISIONS))]

Dtype = Literal["float32", "uint8"]

Option = None | bool | int | float | Text | tuple[int, ...]
"""Value of one of the builder's options."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph."""

    name: Annotated[str, "name of the tensor in the graph", Pattern("[a-z][a-z0-9_]*")]
    dtype: Annotated[Dtype, "element type"]
    shape: Annotated[
        tuple[Literal["batch"] | Size, ...], "`batch` stands for any number of samples"
    ]


@dataclass(frozen=True)
class InputSpec:
    """What a sample is."""

    shape: Annotated[tuple[Size, ...], "(height, width, channels) for images, (D,) for vectors"]
    dtype: Annotated[
        Dtype,
        "what the graphs take; float32: pixels are divided by 255 before; uint8: the graph does it",
    ] = "float32"
    range: Annotated[
        tuple[float, float] | None, "lowest and highest value allowed; null for any finite value"
    ] = None
    standardization: Annotated[
        Standardization | None,
        "the graphs compute with (x - mean) / scale, as does the loss; null for x itself",
    ] = None

    def faults(self, loss: LossSpec) -> Iterator[str]:
        """What does not go together with a loss, or in itself."""
        expected = None if self.dtype == "uint8" else loss.value_range
        if self.range != expected:
            yield (
                f"input.range is {self.range}, the {loss.reconstruction} loss of {self.dtype} "
                f"needs {expected}"
            )
        if self.standardization:
            if loss.value_range:
                yield f"input.standardization does not go with the {loss.reconstruction} loss"
            try:
                self.standardization.check(self.shape)
            except OptionError as error:
                yield f"input.standardization: {error}"


@dataclass(frozen=True)
class GraphSpec:
    """One ONNX graph."""

    file: Annotated[RelativePath, "the ONNX file"]
    opset: Annotated[int, "version of the ONNX operator set", Limit(13, 30)]
    inputs: Annotated[tuple[TensorSpec, ...], "in the order of the graph"]
    outputs: Annotated[tuple[TensorSpec, ...], "in the order of the graph"]


@dataclass(frozen=True)
class Graphs:
    """The three ONNX graphs."""

    encoder: Annotated[GraphSpec, "x to z_mean and z_log_var"]
    decoder: Annotated[
        GraphSpec,
        "z to what the loss takes (logits; values, where standardised) and reconstruction",
    ]
    loss: Annotated[GraphSpec, "x and eps to the loss in its parts"]


@dataclass(frozen=True)
class SavedModelSpec:
    """One TensorFlow SavedModel."""

    path: Annotated[RelativePath, "its folder"]
    signature: Annotated[Literal["serving_default"], "signature with the graph's tensor names"]
    weights_sha256: Annotated[
        Digest, "digest of its variables: dtype, shape and bytes, in the order of the Keras model"
    ]


@dataclass(frozen=True)
class SavedModels:
    """Encoder and decoder as TensorFlow SavedModels."""

    encoder: Annotated[SavedModelSpec, "x to z_mean and z_log_var"]
    decoder: Annotated[SavedModelSpec, "z to logits (if it gives them) and reconstruction"]


@dataclass(frozen=True)
class ParitySpec:
    """The reference inputs and TensorFlow's values for them."""

    file: Annotated[RelativePath, "npz with x, eps and every tensor that TensorFlow computed"]
    samples: Annotated[int, "number of samples", Limit(1, 2**31)]
    mean: Annotated[Losses[float], "means of TensorFlow's losses over these samples"]


@dataclass(frozen=True)
class Tolerances:
    """Largest differences from TensorFlow's values: `|a - ref| <= atol + rtol * |ref|`."""

    tensor_atol: Annotated[float, "absolute, for z_mean, z_log_var, z, logits, ...", Limit(0, 1e-3)]
    tensor_rtol: Annotated[float, "relative, for the same", Limit(0, 1e-3)]
    loss_atol: Annotated[float, "absolute, for each loss of each sample", Limit(0, 1e-2)]
    loss_rtol: Annotated[float, "relative, for the same", Limit(0, 1e-2)]

    def allowed(self, reference: NDArray[np.float64], *, is_loss: bool) -> Any:
        """Largest difference allowed for each element of an output.

        Args:
            reference: TensorFlow's values.
            is_loss: whether the output is a loss, one number a sample.
        """
        if is_loss:
            return self.loss_atol + self.loss_rtol * np.abs(reference)
        return self.tensor_atol + self.tensor_rtol * np.abs(reference)


@dataclass(frozen=True)
class Variant:
    """The graphs in a lower precision."""

    method: Annotated[
        Literal["weights", "static", "dynamic"],
        "weights: stored in float16; int8 with activations' ranges static (calibrated) or dynamic",
    ]
    graphs: Annotated[Graphs, "the same inputs and outputs as float32's"]
    size: Annotated[int, "bytes of these graphs", Limit(1, 2**53)]
    drift: Annotated[Drift, "what it costs, against float32"]
    within_budget: Annotated[
        bool, "whether the drift is what this precision may cost; false: asked for all the same"
    ]
    latency: Annotated[Latency, "what it brings, where it was exported"]
    worth_it: Annotated[
        bool,
        "int8: one sample in at most 0.6 of float32's time; float16: at most 0.6 of its size",
    ]
    tolerances: Annotated[
        dict[str, Share],
        "when a difference is a failure, by output: as a share of the output's largest value, "
        "signs aside; for each loss of each sample, of it, or of the median where that is larger",
    ]


@dataclass(frozen=True)
class DataSpec:
    """The data that the model was trained on."""

    name: Annotated[Text, "name of the data set, or of the file"]
    sha256: Annotated[Digest, "digest of the three splits: dtype, shape and bytes"]
    train: Annotated[Count, "number of training samples"]
    validation: Annotated[Count, "number of validation samples"]
    test: Annotated[Count, "number of test samples"]
    split_seed: Annotated[int | None, "seed of the splits; null where the source has its own"]
    columns: Annotated[
        tuple[Text, ...] | None,
        "what a table calls the elements of a sample, in their order; null where it does not",
    ]


@dataclass(frozen=True)
class TrainingSpec:
    """How the model was trained and what it reached."""

    options: Annotated[
        dict[Text, Option],
        "the builder's options by name: preset, hidden, epochs, learning_rate, seed, ...",
    ]
    parameters: Annotated[int, "trainable weights of encoder and decoder", Limit(0)]
    seconds: Annotated[float, "wall time of training", Limit(0)]
    validation: Annotated[Losses[float], "means over the validation samples, one z per sample"]
    test: Annotated[Losses[float], "means over the test samples, one z per sample"]
    latents: Annotated[Latents, "what the latent dimensions carry, over the test samples"]


@dataclass(frozen=True)
class FileEntry:
    """One file of the bundle."""

    size: Annotated[int, "bytes; less than 2 GiB, as an ONNX file must be", Limit(0, 2**31 - 1)]
    sha256: Annotated[Digest, "digest of its bytes"]


@dataclass(frozen=True)
class Manifest:
    """All that a bundle says of itself."""

    format: Annotated[Literal["build-vae"], "always `build-vae`"]
    format_version: Annotated[Literal[1], "version of this format"]
    name: Annotated[str, "name of the model", Pattern("[^\x00-\x1f\x7f-\x9f/]{1,200}")]
    created: Annotated[Text, "time of export, UTC, ISO 8601"]
    input: Annotated[InputSpec, "what a sample is"]
    latent_dim: Annotated[int, "length L of z", Limit(1, 2**31)]
    loss: Annotated[LossSpec, "the loss, exactly"]
    graphs: Annotated[Graphs, "the ONNX graphs"]
    saved_models: Annotated[
        SavedModels | None, "the TensorFlow SavedModels; null where they were left out of a pack"
    ]
    parity: Annotated[ParitySpec, "the proof"]
    tolerances: Annotated[Tolerances, "when a difference is a failure"]
    variants: Annotated[dict[Precision, Variant], "the graphs in lower precision, by its name"]
    data: Annotated[DataSpec | None, "training data; null where it is not known"]
    training: Annotated[TrainingSpec | None, "training; null where it is not known"]
    versions: Annotated[dict[Text, Text], "libraries that made the bundle"]
    packed_from: Annotated[
        Digest | None, "SHA-256 of the manifest of the bundle that this is a part of; null if whole"
    ]
    files: Annotated[dict[RelativePath, FileEntry], "every file but the manifest itself"]

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that the bundle can be loaded in, float32 first."""
        return (FLOAT32, *self.variants)

    def graphs_of(self, precision: str) -> Graphs:
        """The graphs of one of `precisions`."""
        return self.graphs if precision == FLOAT32 else self.variants[precision].graphs

    def allowed(
        self, precision: str, output: str, reference: NDArray[np.float64], *, is_loss: bool
    ) -> Any:
        """Largest difference allowed for each element of an output of one of `precisions`.

        Args:
            precision: of the graphs.
            output: its name.
            reference: TensorFlow's values.
            is_loss: whether the output is a loss.
        """
        if precision == FLOAT32:
            return self.tolerances.allowed(reference, is_loss=is_loss)
        return allowed(self.variants[precision].tolerances[output], reference, is_loss=is_loss)


def read_manifest(data: bytes, where: str) -> Manifest:
    """Parses and checks a manifest.

    Args:
        data: the bytes of `manifest.json`.
        where: its path, for messages.

    Returns:
        The manifest, consistent in itself: graphs, shapes and loss agree.

    Raises:
        BundleError: it is not strict JSON, not of this format or version, or contradicts itself.
    """
    try:
        value = strict_json.decode(data)
        _check_version(value, where)
        manifest = strict_json.parse(Manifest, value)
    except StrictJsonError as error:
        raise BundleError(
            f"{where}: {error}: the manifest is damaged or was edited; export the bundle again"
        ) from None
    _check_consistency(manifest, where)
    return manifest


def manifest_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `manifest.json`."""
    return strict_json.json_schema(Manifest, f"build-vae bundle manifest, format {FORMAT_VERSION}")


def graph_tensors(
    sample: InputSpec, latent_dim: int, loss: LossSpec
) -> dict[str, tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]]:
    """Inputs and outputs of each graph: the one place where their names and shapes stand.

    Args:
        sample: what a sample is.
        latent_dim: length of z.
        loss: which loss.

    Returns:
        For `encoder`, `decoder` and `loss`, the inputs and the outputs.
    """

    def named(shape: tuple[int, ...], *names: str) -> tuple[TensorSpec, ...]:
        return tuple(TensorSpec(name, "float32", ("batch", *shape)) for name in names)

    x, latent = (TensorSpec("x", sample.dtype, ("batch", *sample.shape)),), (latent_dim,)
    return {
        "encoder": (x, named(latent, "z_mean", "z_log_var")),
        "decoder": (named(latent, "z"), named(sample.shape, *decoder_outputs(sample, loss))),
        "loss": (
            x + named(latent, "eps"),
            named((), *LOSS_NAMES),
        ),
    }


def decoder_outputs(sample: InputSpec, loss: LossSpec) -> tuple[str, ...]:
    """The decoder's outputs: first the one that the loss is computed from."""
    if loss.decoder == "logits":
        return ("logits", "reconstruction")
    return ("values", "reconstruction") if sample.standardization else ("reconstruction",)


def _check_version(value: Any, where: str) -> None:
    version = value.get("format_version") if isinstance(value, dict) else None
    if type(version) is int and version > FORMAT_VERSION:
        raise BundleError(
            f"{where} has format version {version}, this build-vae reads up to {FORMAT_VERSION}: "
            "pip install --upgrade build-vae"
        )


def _check_consistency(manifest: Manifest, where: str) -> None:
    for fault in _faults(manifest):
        raise BundleError(f"{where}: {fault}: the manifest was edited; export the bundle again")


def _faults(m: Manifest) -> Iterator[str]:
    """What a manifest contradicts itself in; what no schema can say."""
    if not m.input.shape:
        yield "input.shape is empty"
    yield from (f"loss.{fault}" for fault in m.loss.faults())
    for precision in m.precisions:
        yield from _graph_faults(m, precision)
    graphs = graph_tensors(m.input, m.latent_dim, m.loss).values()
    outputs = {tensor.name for pair in graphs for side in pair for tensor in side} - {"x", "eps"}
    for name, variant in m.variants.items():
        if variant.tolerances.keys() != outputs:
            yield f"variants.{name}.tolerances is not of {', '.join(sorted(outputs))}"
    for name in ("encoder", "decoder") if m.saved_models else ():
        path = getattr(m.saved_models, name).path
        if f"{path}/saved_model.pb" not in m.files:
            yield f"saved_models.{name}.path {path!r} is not among files"
    if m.parity.file not in m.files:
        yield f"parity.file {m.parity.file!r} is not among files"
    yield from m.input.faults(m.loss)
    if m.data and m.data.columns is not None and (len(m.data.columns),) != m.input.shape:
        yield f"data.columns names {len(m.data.columns)} elements of samples {m.input.shape}"
    if len({name.casefold() for name in m.files} | {MANIFEST}) != len(m.files) + 1:
        yield "files has names that differ in case only, or the manifest itself"
    if len(m.files) >= MAX_ENTRIES:
        yield f"files has {len(m.files)} entries, at most {MAX_ENTRIES - 1} are allowed"


def _graph_faults(m: Manifest, precision: str) -> Iterator[str]:
    where = "graphs" if precision == FLOAT32 else f"variants.{precision}.graphs"
    for name, expected in graph_tensors(m.input, m.latent_dim, m.loss).items():
        graph: GraphSpec = getattr(m.graphs_of(precision), name)
        if (graph.inputs, graph.outputs) != expected:
            yield (
                f"{where}.{name} does not fit input {m.input.shape} {m.input.dtype}, latent_dim "
                f"{m.latent_dim} and loss {m.loss.reconstruction} of {m.loss.decoder}"
            )
        if graph.file not in m.files:
            yield f"{where}.{name}.file {graph.file!r} is not among files"
