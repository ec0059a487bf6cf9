"""Samples of a data set for the anomaly score of its model."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vae_builder.data.dataset import MAX_HELD_OUT_VALUES, Dataset
from vae_export.scoring.plan import MAX_TRAINING_SAMPLES, MIN_TRAINING_SAMPLES, ScorePlan
from vae_runtime.data.samples.conditions import Conditions


def score_samples(dataset: Dataset) -> ScorePlan:
    """Return training samples, and which held-out samples are normal.

    Held-out samples with a label that no training sample has are not normal.
    """
    affordable = MAX_HELD_OUT_VALUES // math.prod(dataset.input_shape)
    count = min(len(dataset.train), MAX_TRAINING_SAMPLES, max(MIN_TRAINING_SAMPLES, affordable))
    rows = np.linspace(0, len(dataset.train) - 1, count).astype(np.intp)
    conditions = dataset.conditions_of("train")
    return ScorePlan(
        training=np.asarray(dataset.train[rows]),
        training_conditions=(
            None if conditions is None else Conditions(conditions.spec, conditions.values[rows])
        ),
        normal=_normal(dataset),
    )


def _normal(dataset: Dataset) -> NDArray[np.bool_] | None:
    labels = dataset.labels
    if not labels or "train" not in labels or "test" not in labels:
        return None
    normal = np.isin(labels["test"][: len(dataset.held_out())], labels["train"])
    return None if normal.all() else normal
