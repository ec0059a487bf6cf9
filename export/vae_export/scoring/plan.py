"""What a bundle's score is made from: samples, and choices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.scores import SCORE_NAMES, ScoreName, Tails
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.decision.calibration import MIN_HELD_OUT_SAMPLES
from vae_runtime.errors import OptionError

MAX_TRAINING_SAMPLES = 5000
MIN_TRAINING_SAMPLES = 20
"""Fewer training samples than this say nothing about what is novel."""

PART_SAMPLES, MIN_PART_SAMPLES = 200, 10
"""Number of held-out samples that the parts' means and deviations come from, if there are many; if
there are too few, training samples stand in for them."""

SEED = 20260501
"""Seed of the order in which held-out samples are divided. Any number would do."""


@dataclass(frozen=True)
class ScorePlan:
    """Choices for the anomaly score, and the samples for it.

    Attributes:
        name: the score; None for the default, see `vae_runtime.decision.score`.
        training: training samples, shape `(n, *input_shape)`, uint8 or float32, for novelty; None
            if there are none.
        training_conditions: conditions of the training samples of a conditional model.
        normal: which of the held-out samples are normal, shape `(m,)`, bool; None if all are.
        tails: "upper" if high scores are unusual, "both" if low ones are as well.
    """

    name: ScoreName | None = None
    training: NDArray[np.generic] | None = None
    training_conditions: Conditions | None = None
    normal: NDArray[np.bool_] | None = None
    tails: Tails = "upper"

    def with_samples(self, samples: ScorePlan | None) -> ScorePlan:
        """Return these choices with the samples of another plan, where this one has none."""
        if samples is None or self.training is not None:
            return self
        return replace(
            self,
            training=samples.training,
            training_conditions=samples.training_conditions,
            normal=samples.normal if self.normal is None else self.normal,
        )

    def normal_count(self, held_out: int) -> int:
        """Return how many of so many held-out samples are normal."""
        return held_out if self.normal is None else int(self.normal.sum())

    def check_samples(self, held_out: int) -> bool:
        """Return whether so many held-out samples are enough to calibrate a score.

        Raises:
            OptionError: they are not, and this plan names a score.
        """
        if (normal := self.normal_count(held_out)) >= MIN_HELD_OUT_SAMPLES:
            return True
        if self.name is None:
            return False
        raise OptionError(
            f"score is {self.name}, but {normal} held-out samples are normal, expected "
            f"{MIN_HELD_OUT_SAMPLES} or more to calibrate it: give more samples, or no score"
        )

    def check(self) -> None:
        """Check the names.

        Raises:
            OptionError: the score or the tails are unknown.
        """
        if self.name is not None and self.name not in SCORE_NAMES:
            raise OptionError(f"score is {self.name!r}, expected {', '.join(SCORE_NAMES)}")
        if self.tails not in ("upper", "both"):
            raise OptionError(f"tails is {self.tails!r}, expected upper or both")


@dataclass(frozen=True)
class Division:
    """Rows of the held-out samples, in three disjoint groups.

    Attributes:
        parts: for the parts' means and deviations; empty if the score has no parts.
        calibration: about half, for the calibration.
        check: the rest, on which the calibration is checked.
    """

    parts: NDArray[np.intp]
    calibration: NDArray[np.intp]
    check: NDArray[np.intp]


def divide(rows: NDArray[np.intp], *, with_parts: bool, limit: int) -> Division:
    """Divide rows at random, with a fixed seed; `limit` is the largest number for calibration."""
    rows = np.random.default_rng(SEED).permutation(rows)
    count = len(rows)
    parts = min(PART_SAMPLES, max(count // 5, min(20, count // 3))) if with_parts else 0
    parts = parts if parts >= MIN_PART_SAMPLES else 0
    calibration = min(limit, count // 2)
    ends = np.cumsum([parts, calibration])
    return Division(*np.split(rows, ends))
