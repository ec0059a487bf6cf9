"""The score of a model: chosen, and fitted to training samples and held-out samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from vae_export.graphs.functions import model_input
from vae_export.scoring.activations import Activations, hidden_activations
from vae_export.scoring.gaussians import PROTOTYPES, fit_gaussian, number_of_axes
from vae_export.scoring.graph import FIT, ScoreModel
from vae_export.scoring.plan import (
    MAX_TRAINING_SAMPLES,
    MIN_TRAINING_SAMPLES,
    Division,
    ScorePlan,
    divide,
)
from vae_export.tolerances import SCORE_TOLERANCE
from vae_runtime.bundle.fields import InputSpec
from vae_runtime.bundle.scores import (
    ACTIVATIONS,
    ActivationSpec,
    NoveltySpec,
    PartSpec,
    ScoreName,
    ScoreSpec,
)
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.data.samples.inputs import to_graph_input
from vae_runtime.decision.calibration import CALIBRATION_FILE, MAX_SCORES
from vae_runtime.decision.score import LEAST
from vae_runtime.decision.scorer import Novelty, Scorer
from vae_runtime.errors import OptionError
from vae_runtime.loss import LossSpec

Float32 = NDArray[np.float32]

NOVELTY_FILE = "novelty.npz"
BATCH = 256
MIN_STD = 1e-3
"""Smallest standard deviation of a part's logarithm."""


@dataclass(frozen=True, eq=False)
class FittedScore:
    """A score, ready to be written.

    Attributes:
        model: the models and the constants.
        spec: the manifest's description, without calibrations.
        novelty: what `novelty.npz` will hold; None if the score does not use it.
        division: which held-out samples serve what.
    """

    model: ScoreModel
    spec: ScoreSpec
    novelty: Novelty | None
    division: Division


def fit_score(
    models: dict[str, keras.Model],
    loss: LossSpec,
    input_spec: InputSpec,
    plan: ScorePlan,
    held_out: NDArray[np.generic],
    conditions: Conditions | None,
) -> FittedScore:
    """Choose and fit the score of a model.

    Args:
        models: `encoder` and `decoder`, as for `vae_export.export`.
        loss: the loss.
        input_spec: a sample.
        plan: choices, and training samples.
        held_out: held-out samples as the graphs take them, at least `MIN_HELD_OUT_SAMPLES` of them
            normal.
        conditions: their conditions; None without a condition.

    Raises:
        OptionError: the score needs hidden activations or training samples, and there are none.
    """
    unit_length = has_unit_length(loss, input_spec)
    training = _training_samples(plan, input_spec)
    hidden = hidden_activations(models["encoder"], unit_length=unit_length)
    name = _choose(plan.name, training, hidden)
    if name not in ("novelty", "combined"):
        hidden = None
    normal = np.flatnonzero(np.ones(len(held_out), bool) if plan.normal is None else plan.normal)
    division = divide(normal, with_parts=hidden is not None, limit=MAX_SCORES)
    model = ScoreModel(
        **models, input_spec=input_spec, scorer=Scorer(name, loss, {}, ()), activations=hidden
    )
    spec = ScoreSpec(
        name=name,
        novelty=None,
        parts={},
        part_samples=0,
        tolerance=SCORE_TOLERANCE,
        tails=plan.tails,
        data="",
        data_sha256="0" * 64,
        file=CALIBRATION_FILE,
        calibrations={},
    )
    if hidden is None or training is None:
        return FittedScore(model, spec, None, division)

    given = plan.training_conditions.values if plan.training_conditions else None
    values, z_mean = _computed(hidden, input_spec, training, given)
    novelty = _novelty(hidden, values, z_mean, given)
    scorer = replace(model.scorer, gaussians=novelty.gaussians)
    rows = division.parts
    pieces = ScoreModel(**models, input_spec=input_spec, scorer=scorer, activations=hidden).pieces(
        held_out[rows], *([] if conditions is None else [conditions.values[rows]])
    )
    parts = scorer.part_values(keras.ops, pieces.get(FIT), pieces[ACTIVATIONS])
    specs = {part: _part_spec(np.asarray(found)) for part, found in parts.items()}
    described = NoveltySpec(
        activations=tuple(
            ActivationSpec(layer, *gaussian.axes.shape)
            for layer, gaussian in zip(hidden.names, novelty.gaussians, strict=True)
        ),
        unit_length=unit_length,
        training_samples=len(training),
        prototypes=len(novelty.z_mean),
        file=NOVELTY_FILE,
    )
    return FittedScore(
        replace(model, scorer=replace(scorer, parts=specs)),
        replace(spec, novelty=described, parts=specs, part_samples=len(rows)),
        novelty,
        division,
    )


def has_unit_length(loss: LossSpec, input_spec: InputSpec) -> bool:
    """Return whether activations are scaled to length 1: for pictures, not for tables."""
    return len(input_spec.shape) > 1 or loss.reconstruction == "bce"


def _choose(
    name: ScoreName | None, training: NDArray[Any] | None, hidden: Activations | None
) -> ScoreName:
    if name is None:
        return "combined" if hidden is not None and training is not None else "squared_error"
    if name in ("novelty", "combined") and (hidden is None or training is None):
        what = (
            "the encoder has no hidden activations"
            if hidden is None
            else (f"there are fewer than {MIN_TRAINING_SAMPLES} training samples")
        )
        raise OptionError(
            f"score {name} compares a sample with training samples, but {what}: choose "
            "squared_error, excess_loss or loss"
        )
    return name


def _training_samples(plan: ScorePlan, input_spec: InputSpec) -> NDArray[Any] | None:
    if plan.training is None or len(plan.training) < MIN_TRAINING_SAMPLES:
        return None
    x = plan.training[:MAX_TRAINING_SAMPLES]
    return to_graph_input(x, input_spec.dtype, input_spec.range, raw_range=input_spec.raw_range)


def _computed(
    hidden: Activations, input_spec: InputSpec, x: NDArray[Any], given: Float32 | None
) -> tuple[Float32, Float32]:
    """Return activations and z_mean of samples."""
    values, means = [], []
    for start in range(0, len(x), BATCH):
        part = slice(start, start + BATCH)
        condition = [] if given is None else [given[part]]
        z_mean, _, activations = hidden(model_input(input_spec, x[part]), *condition)
        values.append(np.asarray(activations))
        means.append(np.asarray(z_mean))
    return np.concatenate(values), np.concatenate(means)


def _novelty(
    hidden: Activations, values: Float32, z_mean: Float32, given: Float32 | None
) -> Novelty:
    gaussians, coordinates, start = [], [], 0
    for size in hidden.sizes:
        tensor = values[:, start : start + size]
        gaussian = fit_gaussian(tensor, number_of_axes(size, len(values)), ridge=0.0)
        gaussians.append(gaussian)
        coordinates.append((tensor[:PROTOTYPES] - gaussian.center) @ gaussian.axes)
        start += size
    return Novelty(
        tuple(gaussians),
        np.concatenate(coordinates, axis=1),
        z_mean[:PROTOTYPES],
        None if given is None else given[: min(PROTOTYPES, len(z_mean))],
    )


def _part_spec(values: NDArray[Any]) -> PartSpec:
    logarithms = np.log(np.maximum(values.astype(np.float64), LEAST))
    std = float(logarithms.std(ddof=1)) if len(logarithms) > 1 else 1.0
    return PartSpec(_rounded(logarithms.mean()), max(MIN_STD, _rounded(std)))


def _rounded(value: float) -> float:
    """Return a number as float32 has it, so that every runtime computes with the same one."""
    return float(np.float32(value))
