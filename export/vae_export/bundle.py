"""Export of a trained encoder and decoder as a bundle that is verified before publication."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import keras
import numpy as np
from numpy.typing import NDArray

from vae_export.bundle_writer import BundleWriter, Provenance
from vae_export.graphs.convert import OPSETS
from vae_export.scoring.fit import fit_score
from vae_export.scoring.plan import ScorePlan
from vae_export.tolerances import (
    TOLERANCES,
    widened_score_tolerance,
    widened_tolerances,
)
from vae_export.variants.plan import VariantOutcome, VariantPlan
from vae_export.variants.quantize import add_variants
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import NAME_PATTERN, Manifest
from vae_runtime.bundle.graph_fields import Dtype, InputSpec
from vae_runtime.bundle.publishing import publishing, write_manifest
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.data.samples.inputs import as_batch, to_float32, to_graph_input
from vae_runtime.decision.calibration import MIN_HELD_OUT_SAMPLES
from vae_runtime.errors import OptionError
from vae_runtime.files.paths import absolute
from vae_runtime.inference.loading import load
from vae_runtime.loss import LossSpec
from vae_runtime.proof.parity import VerifyReport
from vae_runtime.quality.calibrate import recalibrate


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
    writer = BundleWriter(
        models, loss, input_spec, conditions, provenance or Provenance(), opset, score
    )
    with publishing(path, force=force) as folder:
        say("SavedModels")
        writer.write_saved_models(folder)
        say("ONNX graphs")
        writer.write_graphs(folder)
        say("reference values by TensorFlow")
        parity = writer.write_reference(folder, samples)
        manifest = writer.write_manifest(folder, name, parity)
        if score:
            say("calibration of the anomaly score")
            manifest = recalibrate(folder, writer.normal_samples(samples))
        say("model card")
        manifest = writer.write_card(folder, manifest, samples)
        say("verification by ONNX Runtime")
        report = load(folder).verify()
        tolerances, own = widened_tolerances(report, loss), manifest.score
        if own:
            own = replace(own, tolerance=widened_score_tolerance(report))
        if (tolerances, own) != (TOLERANCES, manifest.score):
            write_manifest(folder, replace(manifest, tolerances=tolerances, score=own))
            report = load(folder).verify()
        writer.require_passed(report, parity)
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
