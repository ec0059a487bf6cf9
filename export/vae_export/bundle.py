"""Export of a trained encoder and decoder as a bundle that is verified before publication."""

from __future__ import annotations

import datetime
import importlib
import math
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

from vae_export.card.figures import CardFigure, draw_figures
from vae_export.card.plots import Curve
from vae_export.card.readme import model_card
from vae_export.card.score_figures import draw_score_figures
from vae_export.decoder_values import check_decoder_values
from vae_export.graphs.convert import OPSETS, convert
from vae_export.graphs.functions import exported_functions, latent_shape
from vae_export.independence import (
    any_number_of_samples,
    mixing_error,
    require_batch_independence,
)
from vae_export.reference import parity_conditions, parity_inputs, reference_values
from vae_export.saved_models import SIGNATURE, Endpoint, weights_sha256, write_saved_model
from vae_export.scoring.activations import Activations
from vae_export.scoring.fit import FittedScore, fit_score
from vae_export.scoring.plan import ScorePlan
from vae_export.scoring.write import provisional_calibration, write_score
from vae_export.tolerances import (
    TOLERANCES,
    failure_message,
    widened_score_tolerance,
    widened_tolerances,
)
from vae_export.variants.quantize import VariantOutcome, VariantPlan, add_variants
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import (
    FORMAT_VERSION,
    NAME_PATTERN,
    AdoptionSpec,
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
from vae_runtime.bundle.manifest import FORMAT, MANIFEST_FILE, graph_tensors
from vae_runtime.bundle.publishing import file_entries, publishing
from vae_runtime.bundle.scores import ACTIVATIONS, SCORE
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.data.samples.inputs import as_batch, to_float32, to_graph_input
from vae_runtime.decision.calibration import MIN_HELD_OUT_SAMPLES
from vae_runtime.errors import ExportError, OptionError
from vae_runtime.explained import Explained
from vae_runtime.files import strict_json
from vae_runtime.files.npz import npz_bytes
from vae_runtime.files.paths import absolute
from vae_runtime.inference.loading import load
from vae_runtime.loss import LOSS_NAMES, Losses, LossSpec
from vae_runtime.proof.parity import VerifyReport
from vae_runtime.quality.calibrate import NormalSamples, recalibrate

VERSIONED_MODULES = ("tensorflow", "keras", "tf2onnx", "onnx", "onnxruntime", "numpy")
"""Modules whose versions the manifest states."""


@dataclass(frozen=True)
class Provenance:
    """Origin of a model, as far as it is known.

    Attributes:
        data: the training data.
        training: how the model was trained, and its results.
        curve: losses after each epoch, for the model card.
        explained: the test reconstruction loss beside that of predicting the mean training sample,
            for the model card.
        adoption: how a finished Keras model was adopted.
    """

    data: DataSpec | None = None
    training: TrainingSpec | None = None
    curve: Curve | None = None
    explained: Explained | None = None
    adoption: AdoptionSpec | None = None


class ExportOptions(TypedDict, total=False):
    """Options of `export` that do not depend on where the model comes from.

    Attributes:
        input_dtype: dtype that the graphs take: `float32` (default), or `uint8` for raw pixels.
        variants: graphs in lower precision to add; one that loses too much is left out.
        scoring: the anomaly score, and the training samples for it.
        name: name of the model; by default that of the folder.
        opset: ONNX operator set, 17 or 18 (default).
        force: replace an existing bundle.
        on_step: called with a few words before each step.
    """

    input_dtype: Dtype
    variants: VariantPlan | None
    scoring: ScorePlan | None
    name: str | None
    opset: int
    force: bool
    on_step: Callable[[str], None] | None


@dataclass(frozen=True)
class Exported:
    """A published bundle.

    Attributes:
        path: its folder, an absolute path.
        manifest: its manifest.
        report: comparison of ONNX Runtime with TensorFlow, made before publication.
        variants: the outcome for each requested precision.
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
    conditions: Conditions | None = None,
    input_dtype: Dtype = "float32",
    standardization: Standardization | None = None,
    value_range: tuple[float, float] | None = None,
    provenance: Provenance | None = None,
    variants: VariantPlan | None = None,
    scoring: ScorePlan | None = None,
    name: str | None = None,
    opset: int = 18,
    force: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> Exported:
    """Export a model as a bundle.

    Args:
        encoder: model from x, shape `(batch, *input_shape)`, float32 and standardized, to a dict
            of `z_mean` and `z_log_var`.
        decoder: model from z, shape `(batch, *latent_shape)`, to what `loss.decoder` says.
        samples: held-out samples, shape `(n, *input_shape)`, uint8 or float32. The first ones
            become parity samples; the model card's figures show them.
        path: folder of the bundle.
        loss: loss of the model; by default bce of logits with kl_weight 1.
        conditions: what a conditional model takes, and the conditions of `samples`. Encoder and
            decoder then take a list of x or z and the condition.
        input_dtype: dtype that the graphs take: `float32`, or `uint8` for raw pixels.
        standardization: standardization of the encoder's inputs in training. The graphs apply it
            to their input and undo it in the reconstruction.
        value_range: raw values that stood for 0 and 1 in training, such as (0, 255), instead of
            `standardization`. uint8 then counts as numbers from 0 to 255.
        provenance: data and training, for the manifest and the card.
        variants: graphs in lower precision to add; one that loses too much is left out.
        scoring: the anomaly score, and the training samples for it; by default a score that needs
            none. It is calibrated on half of `samples`. With fewer than `MIN_HELD_OUT_SAMPLES`
            normal ones the bundle has no score.
        name: name of the model; by default that of the folder.
        opset: ONNX operator set, 17 or 18.
        force: replace an existing bundle.
        on_step: called with a few words before each step.

    Returns:
        The published bundle, verified.

    Raises:
        ExportError: the model cannot be exported, an output depends on the other samples of its
            batch, ONNX Runtime does not agree with TensorFlow, or the folder cannot be written.
            Whatever was at `path` is still there, unchanged.
        InputError: the samples do not fit the model or the loss.
        OptionError: an unknown opset, an invalid loss, or a name that a manifest cannot hold.
    """
    if opset not in OPSETS:
        raise OptionError(f"opset is {opset}, expected one of {', '.join(map(str, OPSETS))}")
    path = absolute(path)
    name = check_name(path, name)
    loss = loss or LossSpec()
    loss.check()
    input_spec = _input_spec(encoder, loss, input_dtype, standardization, value_range)
    if variants:
        variants.check()
    scoring = scoring or ScorePlan()
    scoring.check()
    samples = as_batch(samples, input_spec.shape, name="samples")
    if input_spec.undivided_uint8:
        samples = to_float32(samples)
    held_out = to_graph_input(samples, input_spec.dtype, input_spec.range)
    say = on_step or (lambda step: None)
    models, score = {"encoder": encoder, "decoder": decoder}, None
    if scoring.check_samples(len(samples)):
        say("anomaly score")
        score = fit_score(models, loss, input_spec, scoring, held_out, conditions)
    else:
        say(
            f"no anomaly score: {scoring.normal_count(len(samples))} normal held-out samples, "
            f"expected {MIN_HELD_OUT_SAMPLES} or more"
        )
    job = _Job(models, loss, input_spec, conditions, provenance or Provenance(), opset, score)
    with publishing(path, force=force) as folder:
        say("SavedModels")
        job.write_saved_models(folder)
        say("ONNX graphs")
        job.write_graphs(folder)
        say("reference values by TensorFlow")
        parity = job.write_reference(folder, samples)
        manifest = job.write_manifest(folder, name, parity)
        if score:
            say("calibration of the anomaly score")
            manifest = recalibrate(folder, job.normal_samples(samples))
        say("model card")
        manifest = job.write_card(folder, manifest, samples)
        say("verification by ONNX Runtime")
        report = load(folder).verify()
        tolerances, own = widened_tolerances(report, loss), manifest.score
        if own:
            own = replace(own, tolerance=widened_score_tolerance(report))
        if (tolerances, own) != (TOLERANCES, manifest.score):
            manifest = replace(manifest, tolerances=tolerances, score=own)
            (folder / MANIFEST_FILE).write_bytes(strict_json.encode(manifest))
            report = load(folder).verify()
        job.require_passed(report, parity)
        outcomes = add_variants(folder, variants, on_step=say) if variants else ()
        manifest = Bundle(folder).manifest
    return Exported(path, manifest, report, outcomes)


def _input_spec(
    encoder: keras.Model,
    loss: LossSpec,
    dtype: Dtype,
    standardization: Standardization | None,
    value_range: tuple[float, float] | None,
) -> InputSpec:
    shape = tuple(int(n) for n in encoder.inputs[0].shape[1:])
    if value_range is not None:
        if standardization is not None:
            raise OptionError("value_range is given with a standardization: leave one of them out")
        if dtype == "uint8":
            raise OptionError(
                "value_range is given with input_dtype uint8, whose range is 0 to 255: leave one "
                "of them out"
            )
        standardization = Standardization.of_range(*value_range)
    input_spec = InputSpec(
        shape, dtype, None, standardization, undivided_uint8=value_range is not None
    )
    input_spec = replace(input_spec, range=input_spec.range_for(loss))
    for fault in input_spec.faults(loss):
        raise OptionError(f"{fault}: change one of the two")
    return input_spec


def check_name(path: Path, name: str | None) -> str:
    """Return the model's name, by default that of the folder; raise `OptionError` if invalid."""
    name = path.absolute().name if name is None else name
    if not re.fullmatch(NAME_PATTERN, name):
        raise OptionError(
            f"name is {name!r}, expected 1 to 200 characters, none of them a slash or a control "
            "character: give another name"
        )
    return name


class _Job:
    """One export: its checked arguments, and what follows from them before a file is written."""

    def __init__(
        self,
        models: dict[str, keras.Model],
        loss: LossSpec,
        input_spec: InputSpec,
        conditions: Conditions | None,
        provenance: Provenance,
        opset: int,
        score: FittedScore | None,
    ) -> None:
        encoder, decoder = models.values()
        self.models = models
        self.score = score
        self.loss = loss
        self.input_spec = input_spec
        self.provenance = provenance
        self.conditions = conditions.values if conditions else None
        self.condition = conditions.spec if conditions else None
        self.latent_shape = latent_shape(decoder)
        self.functions = exported_functions(encoder, decoder, loss, input_spec, self.condition)
        spec = score.spec if score else None
        tensors = graph_tensors(input_spec, self.latent_shape, loss, self.condition, spec)
        self.graphs = {
            name: GraphSpec(f"{name}.onnx", opset, inputs, outputs)
            for name, (inputs, outputs) in tensors.items()
        }

    def write_saved_models(self, folder: Path) -> None:
        hidden = self.score.model.activations if self.score else None
        for name, model in self.models.items():
            path = folder / "saved_model" / name
            extra = hidden if name == "encoder" else None
            write_saved_model(model, self.functions[name], path, self._endpoint(extra))

    def _endpoint(self, hidden: Activations | None) -> Endpoint | None:
        """Return what a SavedModel holds beside its signature: the hidden activations."""
        if hidden is None:
            return None
        inputs = self.graphs["encoder"].inputs
        function = hidden.function(self.input_spec, inputs)
        return Endpoint(ACTIVATIONS, function)

    def write_graphs(self, folder: Path) -> None:
        metadata = {
            "build_vae.format_version": str(FORMAT_VERSION),
            "build_vae.input_shape": str(list(self.input_spec.shape)),
            "build_vae.input_dtype": self.input_spec.dtype,
            "build_vae.latent_dim": str(math.prod(self.latent_shape)),
            "build_vae.reconstruction": self.loss.reconstruction,
            "build_vae.decoder": self.loss.decoder,
            "build_vae.kl_weight": repr(float(self.loss.kl_weight)),
        }
        for name, function in self.functions.items():
            spec = self.graphs[name]
            (folder / spec.file).write_bytes(convert(function, spec, metadata))
        if self.score:
            write_score(folder, self.score, self.graphs[SCORE], metadata)

    def write_reference(
        self, folder: Path, samples: NDArray[np.generic]
    ) -> dict[str, NDArray[np.float32]]:
        x, eps = parity_inputs(samples, self.latent_shape, self.input_spec)
        condition = parity_conditions(self.conditions, len(x))
        encoder, decoder = (folder / "saved_model" / name for name in self.models)
        with any_number_of_samples(self.models):
            values = reference_values(
                encoder,
                decoder,
                self.loss,
                self.input_spec,
                x,
                eps,
                condition,
                scorer=self.score.model.scorer if self.score else None,
            )
            require_batch_independence(self.models, self.functions, self.input_spec, values)
        check_decoder_values(self.models["decoder"], self.loss, self.input_spec, values)
        (folder / "parity.npz").write_bytes(npz_bytes(values))
        return values

    def require_passed(self, report: VerifyReport, parity: dict[str, NDArray[np.float32]]) -> None:
        if not all(d.agrees for d in report.differences):
            raise ExportError(f"{failure_message(report, self.loss)}; nothing was published")
        for d in report.batch_independence:
            if not d.agrees:
                raise mixing_error(d, self.models, self.input_spec, parity)

    def write_manifest(
        self, folder: Path, name: str, parity: dict[str, NDArray[np.float32]]
    ) -> Manifest:
        manifest = self._manifest(name, parity)
        if self.score:
            manifest = replace(manifest, score=self.score.spec)
            manifest = replace(manifest, score=provisional_calibration(folder, manifest))
        manifest = replace(manifest, files=file_entries(folder))
        (folder / MANIFEST_FILE).write_bytes(strict_json.encode(manifest))
        return manifest

    def normal_samples(self, samples: NDArray[np.generic]) -> NormalSamples:
        """Return the held-out samples that calibrate the score, and those that check it."""
        assert self.score is not None
        data = self.provenance.data
        return NormalSamples(
            samples,
            self.conditions,
            self.score.division.calibration,
            self.score.division.check,
            f"held-out samples of {data.name}" if data else "held-out samples",
        )

    def write_card(
        self, folder: Path, manifest: Manifest, samples: NDArray[np.generic]
    ) -> Manifest:
        of_score: tuple[CardFigure, ...] = ()
        if self.score:
            of_score = draw_score_figures(folder, manifest, self.normal_samples(samples))
        drawn = draw_figures(
            folder, self.functions, manifest, samples, self.provenance.curve, self.conditions
        )
        card = model_card(manifest, drawn, self.provenance.explained, of_score)
        (folder / "README.md").write_text(card, "utf-8")
        manifest = replace(manifest, files=file_entries(folder))
        (folder / MANIFEST_FILE).write_bytes(strict_json.encode(manifest))
        return manifest

    def _manifest(self, name: str, parity: dict[str, NDArray[np.float32]]) -> Manifest:
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
            input=self.input_spec,
            latent_dim=math.prod(self.latent_shape),
            latent_shape=self.latent_shape if len(self.latent_shape) > 1 else None,
            condition=self.condition,
            loss=self.loss,
            graphs=Graphs(**self.graphs),
            saved_models=SavedModels(**saved),
            parity=ParitySpec("parity.npz", len(parity["x"]), mean),
            tolerances=TOLERANCES,
            variants={},
            data=self.provenance.data,
            training=self.provenance.training,
            versions=_versions(),
            packed_from=None,
            files={},
            adoption=self.provenance.adoption,
        )


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        # The modules' own versions: onnxruntime-gpu and tensorflow-cpu are other distributions.
        **{name: str(importlib.import_module(name).__version__) for name in VERSIONED_MODULES},
        "build-vae": metadata.version("build-vae"),
    }
