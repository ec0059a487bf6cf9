"""From a trained model to a bundle: the builder's side of the export."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

import numpy as np

from vae_builder.data import Dataset
from vae_builder.training.train import Trained
from vae_export import Curve, Exported, ExportOptions, Provenance, VariantPlan, export
from vae_export.variants.quantize import CALIBRATION, HELD_OUT
from vae_runtime.bundle.fields import TrainingSpec


def export_trained(
    trained: Trained,
    path: str | Path,
    **options: Unpack[ExportOptions],
) -> Exported:
    """Exports a trained model as a bundle.

    Args:
        trained: from `train` or `load_run`.
        path: folder of the bundle.
        **options: how the bundle is made: `vae_export.ExportOptions`.

    Returns:
        The published bundle, verified.

    Raises:
        ExportError: as `vae_export.export`.
        InputError: uint8 graphs of a model whose data is not uint8, or too few held-out samples
            for variants.
        OptionError: an unknown opset or precision.
    """
    return export(
        trained.vae.encoder,
        trained.vae.decoder,
        trained.held_out,
        path,
        loss=trained.config.loss,
        standardization=trained.vae.standardization,
        provenance=_provenance(trained),
        **options,
    )


def plan_variants(
    dataset: Dataset, precisions: Sequence[str], *, allow_drift: Sequence[str] = ()
) -> VariantPlan:
    """Plans variants in lower precision: calibrated on training samples, measured on test samples.

    Args:
        dataset: what the model was trained on.
        precisions: of `float16` and `int8`.
        allow_drift: those to publish even where their drift is over the budget.

    Returns:
        What `export_trained`, `export_models` and `vae_export.quantize` take.

    Raises:
        OptionError: an unknown precision.
        InputError: too few test samples.
    """
    plan = VariantPlan(
        precisions=tuple(precisions),
        calibration=np.asarray(dataset.train[:CALIBRATION]),
        held_out=np.asarray(dataset.test[:HELD_OUT]),
        allow_drift=tuple(allow_drift),
    )
    plan.check()
    return plan


def _provenance(trained: Trained) -> Provenance:
    config = trained.config
    training = TrainingSpec(
        options={name: value for name, value in vars(config).items() if name != "loss"},
        parameters=trained.vae.count_params(),
        seconds=round(trained.seconds, 2),
        validation=trained.validation,
        test=trained.test,
        latents=trained.latents,
    )
    curve = Curve([e.train for e in trained.history], [e.validation for e in trained.history])
    return Provenance(data=trained.data, training=training, curve=curve)
