"""From a trained model to a bundle: the builder's side of the export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vae_builder.data import Dataset
from vae_builder.training import Trained
from vae_export import Curve, Exported, Provenance, VariantPlan, export
from vae_export.variants import CALIBRATION, HELD_OUT
from vae_runtime.manifest import Dtype, TrainingSpec


def export_trained(
    trained: Trained,
    path: str | Path,
    *,
    input_dtype: Dtype = "float32",
    variants: VariantPlan | None = None,
    name: str | None = None,
    opset: int = 18,
    force: bool = False,
    on_step: Callable[[str], None] | None = None,
) -> Exported:
    """Exports a trained model as a bundle.

    Args:
        trained: from `train` or `load_run`.
        path: folder of the bundle.
        input_dtype: what the graphs take: `float32`, or `uint8` for raw pixels.
        variants: graphs in lower precision to add, as `plan_variants` makes it.
        name: of the model; the folder's where left out.
        opset: ONNX operator set, 17 or 18.
        force: replace a bundle that is there.
        on_step: called with a few words before each step.

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
        input_dtype=input_dtype,
        standardization=trained.vae.standardization,
        provenance=_provenance(trained),
        variants=variants,
        name=name,
        opset=opset,
        force=force,
        on_step=on_step,
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
