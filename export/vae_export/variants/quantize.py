"""Variants of a bundle in lower precision: made, measured, calibrated, verified and published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from vae_export.scoring.plan import divide
from vae_export.variants.building import VariantBuilder, require_verified
from vae_export.variants.feeds import calibration_feeds, given_conditions, graph_samples
from vae_export.variants.manifest import update_manifest, write_card
from vae_export.variants.plan import (
    MAX_CALIBRATION_SAMPLES,
    MAX_HELD_OUT_SAMPLES,
    VariantOutcome,
    VariantPlan,
)
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.publishing import copy_files, publishing, write_manifest
from vae_runtime.bundle.variants import PRECISIONS
from vae_runtime.decision.calibration import MAX_SCORES
from vae_runtime.errors import BundleError
from vae_runtime.inference.loading import load
from vae_runtime.quality.calibrate import NormalSamples, recalibrate


def quantize(
    path: str | Path, plan: VariantPlan, *, on_step: Callable[[str], None] | None = None
) -> tuple[VariantOutcome, ...]:
    """Add variants to a bundle. They replace variants of the same precision.

    Args:
        path: folder of the bundle. It is replaced in one step.
        plan: the variants, and the samples for them.
        on_step: called with a short text before each step.

    Returns:
        The result for each precision, in the order of the plan.

    Raises:
        BundleError: there is no bundle, it is damaged, or it is a single file.
        ExportError: the folder cannot be written, or the new bundle does not verify. The old
            bundle is still there, unchanged.
        InputError: the samples do not fit the model, or are too few.
        OptionError: a precision is unknown, or `allow_drift` names one that is not made.
    """
    plan.check()
    source = Bundle(path)
    path = source.path
    if not path.is_dir():
        raise BundleError(f"{path} is a single file: quantize the folder that it was packed from")
    source.check_files()
    with publishing(path, force=True) as folder:
        copy_files(source, folder)
        return add_variants(folder, plan, on_step=on_step)


def add_variants(
    folder: Path, plan: VariantPlan, *, on_step: Callable[[str], None] | None = None
) -> tuple[VariantOutcome, ...]:
    """Write variants of a checked plan into the folder of a bundle that is not yet published."""
    say = on_step or (lambda step: None)
    asked = [name for name in dict.fromkeys(plan.precisions) if name in PRECISIONS]
    if not asked:
        return ()
    update_manifest(folder, dict.fromkeys(asked))
    base = load(folder, threads=1)
    calibration = graph_samples(base, plan.calibration, "calibration samples")
    calibration = calibration[:MAX_CALIBRATION_SAMPLES]
    held_out = graph_samples(base, plan.held_out, "held-out samples")[:MAX_HELD_OUT_SAMPLES]
    builder = VariantBuilder(
        folder,
        base,
        calibration_feeds(
            base, calibration, given_conditions(base, plan.calibration_conditions, calibration)
        ),
        held_out,
        given_conditions(base, plan.held_out_conditions, held_out),
    )
    outcomes = []
    for precision in asked:
        say(f"{precision} variant")
        outcomes.append(builder.build(precision, allow_drift=precision in plan.allow_drift))
    if base.manifest.score:
        say("calibration of the anomaly score")
        manifest = _calibrate(folder, base.manifest, plan)
        for precision in manifest.precisions:
            require_verified(folder, precision)
        outcomes = [replace(o, variant=manifest.variants.get(o.precision)) for o in outcomes]
    return tuple(outcomes)


def _calibrate(folder: Path, base: Manifest, plan: VariantPlan) -> Manifest:
    """Calibrate every precision with the held-out samples that `export` calibrates with.

    The new manifest and the model card state the new sizes and thresholds.
    """
    assert base.score is not None
    x = plan.held_out
    normal = np.ones(len(x), bool) if plan.normal is None else plan.normal
    conditions = plan.held_out_conditions
    rows = divide(np.flatnonzero(normal), with_parts=bool(base.score.parts), limit=MAX_SCORES)
    given = None if conditions is None else conditions.values
    source = base.score.data
    manifest = recalibrate(folder, NormalSamples(x, given, rows.calibration, rows.check, source))
    write_card(folder, manifest)
    return write_manifest(folder, manifest)
