"""From a trained encoder and decoder to a published bundle that has been verified."""

from __future__ import annotations

import datetime
import importlib
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TypedDict

import keras
import numpy as np
from numpy.typing import NDArray

from vae_export.card.figures import draw_figures
from vae_export.card.plots import Curve
from vae_export.card.readme import model_card
from vae_export.graphs.convert import OPSETS, convert
from vae_export.graphs.functions import exported_functions
from vae_export.publish import file_entries, publishing
from vae_export.reference import parity_inputs, reference_values
from vae_export.saved_models import SIGNATURE, weights_sha256, write_saved_model
from vae_export.tolerances import TOLERANCES, verdict, with_headroom
from vae_export.variants.quantize import VariantOutcome, VariantPlan, add_variants
from vae_runtime import strict_json
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import (
    FORMAT_VERSION,
    NAME,
    DataSpec,
    Dtype,
    Graphs,
    GraphSpec,
    InputSpec,
    Manifest,
    ParitySpec,
    SavedModels,
    SavedModelSpec,
    TrainingSpec,
)
from vae_runtime.bundle.manifest import FORMAT, MANIFEST, graph_tensors
from vae_runtime.bundle.npz import npz_bytes
from vae_runtime.data.inputs import as_batch, to_input
from vae_runtime.data.standardization import Standardization
from vae_runtime.errors import ExportError, OptionError
from vae_runtime.inference.loading import load
from vae_runtime.loss import LOSS_NAMES, Losses, LossSpec
from vae_runtime.proof.parity import VerifyReport

MODULES = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")
"""Libraries whose versions the manifest states."""


@dataclass(frozen=True)
class Provenance:
    """Where a model comes from, as far as it is known.

    Attributes:
        data: what it was trained on.
        training: how it was trained and what it reached.
        curve: losses after each epoch, for the card.
    """

    data: DataSpec | None = None
    training: TrainingSpec | None = None
    curve: Curve | None = None


class ExportOptions(TypedDict, total=False):
    """What `export` takes of how a bundle is made, whatever the model comes from.

    Attributes:
        input_dtype: what the graphs take: `float32` (default), or `uint8` for raw pixels.
        variants: graphs in lower precision to add; one that is not good enough is left out.
        name: of the model; the folder's where left out.
        opset: ONNX operator set, 17 or 18 (default).
        force: replace a bundle that is there.
        on_step: called with a few words before each step.
    """

    input_dtype: Dtype
    variants: VariantPlan | None
    name: str | None
    opset: int
    force: bool
    on_step: Callable[[str], None] | None


@dataclass(frozen=True)
class Exported:
    """A published bundle.

    Attributes:
        path: its folder.
        manifest: what it says of itself.
        report: ONNX Runtime held against TensorFlow, before it was published.
        variants: what became of each precision that was asked for.
    """

    path: Path
    manifest: Manifest
    report: VerifyReport
    variants: tuple[VariantOutcome, ...] = ()


def export(
    encoder: keras.Model,
    decoder: keras.Model,
    samples: NDArray[np.generic],
    path: str | Path,
    *,
    loss: LossSpec | None = None,
    input_dtype: Dtype = "float32",
    standardization: Standardization | None = None,
    provenance: Provenance | None = None,
    variants: VariantPlan | None = None,
    name: str | None = None,
    opset: int = 18,
    force: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> Exported:
    """Exports a model as a bundle.

    Args:
        encoder: x, shape `(batch, *input_shape)`, float32 and standardised, to a dict of `z_mean`
            and `z_log_var`.
        decoder: z, shape `(batch, latent_dim)`, to what `loss.decoder` says.
        samples: held-out samples, shape `(n, *input_shape)`, uint8 or float32; the first ones are
            for the proof and for the figures of the card.
        path: folder of the bundle.
        loss: which loss; bce of logits with kl_weight 1 where left out.
        input_dtype: what the graphs take: `float32`, or `uint8` for raw pixels.
        standardization: what the graphs do to their input before the encoder sees it, and undo
            in the reconstruction; the encoder's inputs were standardised so in training.
        provenance: data and training, for the manifest and the card.
        variants: graphs in lower precision to add; one that is not good enough is left out.
        name: of the model; the folder's where left out.
        opset: ONNX operator set, 17 or 18.
        force: replace a bundle that is there.
        on_step: called with a few words before each step.

    Returns:
        The published bundle, verified.

    Raises:
        ExportError: the model cannot be exported, ONNX Runtime does not agree with TensorFlow, or
            the folder cannot be written. What was at `path` is still there, unchanged.
        InputError: the samples do not fit the model, or are not what the loss takes.
        OptionError: an unknown opset, a loss that is none, or a name that a manifest cannot hold.
    """
    if opset not in OPSETS:
        raise OptionError(f"opset is {opset}, expected one of {', '.join(map(str, OPSETS))}")
    path = Path(path)
    name = check_name(path, name)
    loss = loss or LossSpec()
    loss.check()
    sample = _input_spec(encoder, loss, input_dtype, standardization)
    if variants:
        variants.check()
    job = _Job(encoder, decoder, loss, sample, provenance or Provenance(), opset)
    samples = as_batch(samples, sample.shape, name="samples")
    to_input(samples, sample.dtype, sample.range)
    say = on_step or (lambda step: None)
    with publishing(path, force=force) as folder:
        say("SavedModels")
        job.write_saved_models(folder)
        say("ONNX graphs")
        job.write_graphs(folder)
        say("reference values by TensorFlow")
        parity = job.write_reference(folder, samples)
        say("model card")
        manifest = job.write_card_and_manifest(folder, name, samples, parity)
        say("verification by ONNX Runtime")
        report = load(folder).verify()
        if (tolerances := with_headroom(report, loss)) != TOLERANCES:
            manifest = replace(manifest, tolerances=tolerances)
            (folder / MANIFEST).write_bytes(strict_json.encode(manifest))
            report = load(folder).verify()
        if not report.passed:
            raise ExportError(f"{verdict(report, loss)}; nothing was published")
        outcomes = add_variants(folder, variants, on_step=say) if variants else ()
        manifest = Bundle(folder).manifest
    return Exported(path, manifest, report, outcomes)


def _input_spec(
    encoder: keras.Model, loss: LossSpec, dtype: Dtype, standardization: Standardization | None
) -> InputSpec:
    value_range = None if dtype == "uint8" else loss.value_range
    shape = tuple(int(n) for n in encoder.input_shape[1:])
    sample = InputSpec(shape, dtype, value_range, standardization)
    for fault in sample.faults(loss):
        raise OptionError(f"{fault}: change one of the two")
    return sample


def check_name(path: Path, name: str | None) -> str:
    """The name of a model: the one given, or that of its bundle's folder.

    Raises:
        OptionError: a manifest cannot hold it.
    """
    name = path.absolute().name if name is None else name
    if not re.fullmatch(NAME, name):
        raise OptionError(
            f"name is {name!r}, expected 1 to 200 characters, none of them a slash or a control "
            "character: give another name"
        )
    return name


class _Job:
    """One export: what is known before the first file is written."""

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        loss: LossSpec,
        sample: InputSpec,
        provenance: Provenance,
        opset: int,
    ) -> None:
        self.models = {"encoder": encoder, "decoder": decoder}
        self.loss = loss
        self.provenance = provenance
        self.opset = opset
        self.sample = sample
        self.latent_dim = int(decoder.input_shape[-1])
        self.functions = exported_functions(encoder, decoder, loss, sample)
        self.tensors = graph_tensors(sample, self.latent_dim, loss)

    def write_saved_models(self, folder: Path) -> None:
        for name, model in self.models.items():
            write_saved_model(model, self.functions[name], folder / "saved_model" / name)

    def write_graphs(self, folder: Path) -> None:
        properties = {
            "build_vae.format_version": str(FORMAT_VERSION),
            "build_vae.input_shape": str(list(self.sample.shape)),
            "build_vae.input_dtype": self.sample.dtype,
            "build_vae.latent_dim": str(self.latent_dim),
            "build_vae.reconstruction": self.loss.reconstruction,
            "build_vae.decoder": self.loss.decoder,
            "build_vae.kl_weight": repr(float(self.loss.kl_weight)),
        }
        for name, (inputs, outputs) in self.tensors.items():
            data = convert(
                self.functions[name], name, inputs, outputs, opset=self.opset, metadata=properties
            )
            (folder / f"{name}.onnx").write_bytes(data)

    def write_reference(
        self, folder: Path, samples: NDArray[np.generic]
    ) -> dict[str, NDArray[np.float32]]:
        x, eps = parity_inputs(samples, self.latent_dim, self.sample)
        encoder, decoder = (folder / "saved_model" / name for name in self.models)
        values = reference_values(encoder, decoder, self.loss, self.sample, x, eps)
        (folder / "parity.npz").write_bytes(npz_bytes(values))
        return values

    def write_card_and_manifest(
        self,
        folder: Path,
        name: str,
        samples: NDArray[np.generic],
        parity: dict[str, NDArray[np.float32]],
    ) -> Manifest:
        manifest = self._manifest(name, parity)
        drawn = draw_figures(folder, self.functions, manifest, samples, self.provenance.curve)
        (folder / "README.md").write_text(model_card(manifest, drawn), "utf-8")
        manifest = replace(manifest, files=file_entries(folder))
        (folder / MANIFEST).write_bytes(strict_json.encode(manifest))
        return manifest

    def _manifest(self, name: str, parity: dict[str, NDArray[np.float32]]) -> Manifest:
        graphs = {
            graph: GraphSpec(f"{graph}.onnx", self.opset, inputs, outputs)
            for graph, (inputs, outputs) in self.tensors.items()
        }
        saved = {
            model: SavedModelSpec(f"saved_model/{model}", SIGNATURE, weights_sha256(keras_model))
            for model, keras_model in self.models.items()
        }
        mean = Losses(*(parity[part] for part in LOSS_NAMES)).mean()
        return Manifest(
            format=FORMAT,
            format_version=FORMAT_VERSION,
            name=name,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            input=self.sample,
            latent_dim=self.latent_dim,
            loss=self.loss,
            graphs=Graphs(**graphs),
            saved_models=SavedModels(**saved),
            parity=ParitySpec("parity.npz", len(parity["x"]), mean),
            tolerances=TOLERANCES,
            variants={},
            data=self.provenance.data,
            training=self.provenance.training,
            versions=_versions(),
            packed_from=None,
            files={},
        )


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        # The modules' own versions: onnxruntime-gpu and tensorflow-cpu are other distributions.
        **{name: str(importlib.import_module(name).__version__) for name in MODULES},
        "build-vae": metadata.version("build-vae"),
    }
