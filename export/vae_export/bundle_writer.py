"""Writing of a bundle's files, before it is verified and published."""

from __future__ import annotations

import datetime
import importlib
import math
import platform
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from vae_export.card.figures import CardFigure, draw_figures
from vae_export.card.plots import Curve
from vae_export.card.readme import model_card
from vae_export.card.score_figures import draw_score_figures
from vae_export.decoder_values import check_decoder_values
from vae_export.graphs.convert import convert
from vae_export.graphs.functions import exported_functions, latent_shape
from vae_export.independence import (
    any_number_of_samples,
    mixing_error,
    require_batch_independence,
)
from vae_export.reference import parity_conditions, parity_inputs, reference_values
from vae_export.saved_models import SIGNATURE, Endpoint, weights_sha256, write_saved_model
from vae_export.scoring.activations import Activations
from vae_export.scoring.fit import FittedScore
from vae_export.scoring.write import provisional_calibration, write_score
from vae_export.tolerances import (
    TOLERANCES,
    failure_message,
)
from vae_runtime.bundle.fields import (
    FORMAT_VERSION,
    AdoptionSpec,
    DataSpec,
    Manifest,
    ParitySpec,
    SavedModels,
    SavedModelSpec,
    TrainingSpec,
)
from vae_runtime.bundle.graph_fields import Graphs, GraphSpec, InputSpec
from vae_runtime.bundle.manifest import FORMAT, MODEL_CARD, graph_tensors
from vae_runtime.bundle.publishing import write_manifest
from vae_runtime.bundle.scores import ACTIVATIONS, SCORE
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.errors import ExportError
from vae_runtime.explained import Explained
from vae_runtime.files.npz import npz_bytes
from vae_runtime.loss import LOSS_NAMES, Losses, LossSpec
from vae_runtime.proof.parity import VerifyReport
from vae_runtime.quality.calibrate import NormalSamples

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


class BundleWriter:
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
        """Write the SavedModels of encoder and decoder."""
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
        """Convert and write the graphs."""
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
        """Compute TensorFlow's values for the first samples, write them, and return them."""
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
        """Raise `ExportError`, which says why, unless a verification of the files passed."""
        if not all(d.agrees for d in report.differences):
            raise ExportError(f"{failure_message(report, self.loss)}; nothing was published")
        for d in report.batch_independence:
            if not d.agrees:
                raise mixing_error(d, self.models, self.input_spec, parity)

    def write_manifest(
        self, folder: Path, name: str, parity: dict[str, NDArray[np.float32]]
    ) -> Manifest:
        """Write the manifest of the files so far, without a calibration, and return it."""
        manifest = self._manifest(name, parity)
        if self.score:
            manifest = replace(manifest, score=self.score.spec)
            manifest = replace(manifest, score=provisional_calibration(folder, manifest))
        return write_manifest(folder, manifest)

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
        """Write the model card with its figures, and the manifest again; return that."""
        of_score: tuple[CardFigure, ...] = ()
        if self.score:
            of_score = draw_score_figures(folder, manifest, self.normal_samples(samples))
        drawn = draw_figures(
            folder, self.functions, manifest, samples, self.provenance.curve, self.conditions
        )
        card = model_card(manifest, drawn, self.provenance.explained, of_score)
        (folder / MODEL_CARD).write_text(card, "utf-8")
        return write_manifest(folder, manifest)

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
