"""The score of a model: chosen, and fitted to training samples and held-out samples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from vae_export.graphs.functions import model_input
from vae_export.scoring.activations import Activations, hidden_activations
from vae_export.scoring.gaussians import PROTOTYPES, fit_gaussian
from vae_export.scoring.graph import FIT, ScoreModel
from vae_export.scoring.plan import (
    MAX_TRAINING_SAMPLES,
    MIN_TRAINING_SAMPLES,
    PART_SAMPLES,
    Division,
    ScorePlan,
    divide,
)
from vae_export.tolerances import SCORE_TOLERANCE
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.bundle.scores import (
    ACTIVATIONS,
    ActivationSpec,
    NoveltySpec,
    PartSpec,
    ScoreName,
    ScoreSpec,
    combined_part,
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
MIN_PICTURE_ELEMENTS = 200
"""Vectors of so many elements are taken for pictures or series that were flattened."""

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
        OptionError: the score needs training samples, and there are too few.
    """
    training = _training_samples(plan, input_spec)
    name = _choose(plan.name, loss, training)
    normal = np.flatnonzero(np.ones(len(held_out), bool) if plan.normal is None else plan.normal)
    uses_novelty = name in ("novelty", "combined")
    division = divide(normal, with_parts=uses_novelty, limit=MAX_SCORES)
    scorer = Scorer(name, loss, {}, ())
    spec = ScoreSpec(
        name=name,
        novelty=None,
        parts={},
        part_samples=len(division.parts),
        tolerance=SCORE_TOLERANCE,
        tails=plan.tails,
        data="",
        data_sha256="0" * 64,
        file=CALIBRATION_FILE,
        calibrations={},
    )
    model = ScoreModel(**models, input_spec=input_spec, scorer=scorer, activations=None)
    if training is None or not uses_novelty:
        return FittedScore(model, spec, None, division)

    hidden = hidden_activations(models["encoder"], unit_length=has_unit_length(input_spec))
    given = plan.training_conditions.values if plan.training_conditions else None
    values, z_mean = _computed(hidden, input_spec, training, given)
    novelty = _novelty(hidden, values, z_mean, given)
    model = replace(model, scorer=replace(scorer, gaussians=novelty.gaussians), activations=hidden)
    x, rows, own = held_out, division.parts, None if conditions is None else conditions.values
    if not len(rows):
        x, rows, own = training, np.arange(min(len(training), PART_SAMPLES)), given
    parts = _part_specs(model, x[rows], None if own is None else own[rows])
    described = NoveltySpec(
        activations=tuple(
            ActivationSpec(layer, *gaussian.axes.shape)
            for layer, gaussian in zip(hidden.names, novelty.gaussians, strict=True)
        ),
        unit_length=hidden.unit_length,
        training_samples=len(training),
        prototypes=len(novelty.z_mean),
        file=NOVELTY_FILE,
    )
    model = replace(model, scorer=replace(model.scorer, parts=parts))
    return FittedScore(model, replace(spec, novelty=described, parts=parts), novelty, division)


def has_unit_length(input_spec: InputSpec) -> bool:
    """Return whether activations are scaled to length 1: for pictures and series, not for tables.

    Bold and faint strokes make activations of other lengths. In a table, the length is information.
    """
    return len(input_spec.shape) > 1 or input_spec.shape[0] >= MIN_PICTURE_ELEMENTS


def _choose(name: ScoreName | None, loss: LossSpec, training: NDArray[Any] | None) -> ScoreName:
    if name is None:
        return combined_part(loss.reconstruction) if training is None else "combined"
    if name in ("novelty", "combined") and training is None:
        raise OptionError(
            f"score {name} compares a sample with training samples, and there are fewer than "
            f"{MIN_TRAINING_SAMPLES}: choose squared_error, excess_loss or loss"
        )
    return name


def _training_samples(plan: ScorePlan, input_spec: InputSpec) -> NDArray[Any] | None:
    if plan.training is None or len(plan.training) < MIN_TRAINING_SAMPLES:
        return None
    x = plan.training[:MAX_TRAINING_SAMPLES]
    return to_graph_input(x, input_spec.dtype, input_spec.range, raw_range=input_spec.raw_range)


def _part_specs(model: ScoreModel, x: NDArray[Any], given: Float32 | None) -> dict[str, PartSpec]:
    """Return mean and standard deviation of each part's logarithm, over some samples."""
    pieces = model.pieces(x, *([] if given is None else [keras.ops.convert_to_tensor(given)]))
    parts = model.scorer.part_values(keras.ops, pieces.get(FIT), pieces[ACTIVATIONS])
    return {part: _part_spec(np.asarray(found)) for part, found in parts.items()}


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
        gaussian = fit_gaussian(tensor)
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
