"""Export of a model that was trained here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from vae_builder.data import Dataset
from vae_builder.data.score_samples import score_samples
from vae_builder.training.train import Trained
from vae_export import Curve, Exported, ExportOptions, Provenance, ScorePlan, VariantPlan, export
from vae_export.variants.plan import MAX_CALIBRATION_SAMPLES
from vae_runtime.bundle.fields import TrainingSpec


def export_trained(
    trained: Trained, path: str | Path, **options: Unpack[ExportOptions]
) -> Exported:
    """Export a trained model as a bundle.

    Args:
        trained: the model, from `train` or `load_run`.
        path: folder of the bundle.
        **options: see `vae_export.ExportOptions`.

    Returns:
        The published bundle, verified.

    Raises:
        ExportError: as `vae_export.export`.
        InputError: `input_dtype` is uint8 but the model's data is not, or there are too few
            held-out samples for variants.
        OptionError: an unknown opset or precision.
    """
    plan = options.get("scoring") or ScorePlan()
    options["scoring"] = plan.with_samples(trained.scoring)
    return export(
        trained.vae.encoder,
        trained.vae.decoder,
        trained.held_out,
        path,
        loss=trained.config.loss,
        conditions=trained.conditions,
        standardization=None if trained.config.value_range else trained.vae.standardization,
        value_range=trained.config.value_range,
        provenance=_provenance(trained),
        **options,
    )


def plan_variants(
    dataset: Dataset, precisions: Sequence[str], *, allow_drift: Sequence[str] = ()
) -> VariantPlan:
    """Plan variants in lower precision, calibrated on training and measured on test samples.

    Args:
        dataset: the data that the model was trained on.
        precisions: `float16`, `int8` or both.
        allow_drift: precisions to publish even if their drift is over the budget.

    Returns:
        The plan, for `export_trained`, `export_models` and `vae_export.quantize`.

    Raises:
        OptionError: an unknown precision.
        InputError: too few test samples.
    """
    plan = VariantPlan(
        precisions=tuple(precisions),
        calibration=np.asarray(dataset.train[:MAX_CALIBRATION_SAMPLES]),
        held_out=np.asarray(dataset.held_out()),
        allow_drift=tuple(allow_drift),
        calibration_conditions=dataset.conditions_of("train", MAX_CALIBRATION_SAMPLES),
        held_out_conditions=dataset.held_out_conditions(),
        normal=score_samples(dataset).normal,
    )
    plan.check()
    return plan


def _provenance(trained: Trained) -> Provenance:
    options = {
        name: value
        for name, value in vars(trained.config).items()
        if name not in ("loss", "value_range")  # the manifest has them in other places
    }
    if trained.search:
        options["search"] = trained.search
    training = TrainingSpec(
        options=options,
        parameters=trained.vae.count_params(),
        seconds=round(trained.seconds, 2),
        validation=trained.validation,
        test=trained.test,
        latents=trained.latents,
    )
    curve = Curve([e.train for e in trained.history], [e.validation for e in trained.history])
    return Provenance(trained.data, training, curve, trained.explained)
