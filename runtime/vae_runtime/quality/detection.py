r"""How well an anomaly score tells anomalous samples from normal ones.

Let s be the scores of n normal samples, t those of m anomalous ones, larger meaning more unusual.

    AUROC                1 / (n m) sum_ij [t_j > s_i] + 1/2 [t_j = s_i]
    average precision    sum_k (R_k - R_k-1) P_k

The k-th point stands for the k-th largest different score, as a threshold at which a sample is
detected. R_k is the share of anomalous samples that are detected, P_k the share of anomalous ones
among the detected. AUROC is the probability that an anomalous sample has a larger score than a
normal one. Average precision also depends on how many anomalies there are; the rate of anomalies is
what chance gives.

Sources: Hanley and McNeil, The Meaning and Use of the Area under a ROC Curve (1982); for average
precision, scikit-learn's `average_precision_score`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.bundle.scores import ScoreName
from vae_runtime.errors import InputError
from vae_runtime.inference.runtime import VAERuntime

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class AlarmRates:
    """What alarms at one alpha did.

    Attributes:
        alpha: the promised rate of false alarms.
        detection_rate: share of anomalous samples that raise an alarm.
        false_alarm_rate: share of normal samples that raise an alarm.
    """

    alpha: float
    detection_rate: float
    false_alarm_rate: float


@dataclass(frozen=True)
class Detection:
    """How well a score tells anomalous samples from normal ones.

    Attributes:
        score: name of the score.
        normal: number of normal samples.
        anomalous: number of anomalous samples.
        auroc: area under the ROC curve.
        average_precision: mean precision over the anomalous samples.
        alarms: what alarms did at each alpha that the manifest states.
        roc: corners of the ROC curve, pairs of false-alarm rate and detection rate.
    """

    score: ScoreName
    normal: int
    anomalous: int
    auroc: float
    average_precision: float
    alarms: tuple[AlarmRates, ...]
    roc: tuple[tuple[float, float], ...]


def measure_detection(
    vae: VAERuntime, x: ArrayLike, is_normal: Bools, condition: ArrayLike | None = None
) -> Detection:
    """Score samples, and compare with which of them are normal.

    With both tails, low scores are unusual too. So samples are ranked by their p-values then.

    Args:
        vae: the loaded bundle.
        x: samples, as for `VAERuntime.score`.
        is_normal: whether each sample is normal, shape `(batch,)`.
        condition: as for `VAERuntime.score`.

    Raises:
        OptionError: the bundle has no score.
        InputError: all samples are normal, or none is; or as for `VAERuntime.score`.
        ProviderError, BundleError: as for `VAERuntime.score`.
    """
    calibration, spec = vae.calibration, vae.manifest.score
    assert spec is not None
    if is_normal.all() or not is_normal.any():
        which = "all" if len(is_normal) and is_normal.all() else "none"
        raise InputError(
            f"{which} of {len(is_normal)} samples are normal, expected normal and anomalous ones: "
            "give data with both, or other labels as normal"
        )
    scores = vae.score(x, condition=condition)
    ranked = scores.score if calibration.tails == "upper" else -scores.p_value
    return Detection(
        score=spec.name,
        normal=int(is_normal.sum()),
        anomalous=int((~is_normal).sum()),
        auroc=auroc(ranked, ~is_normal),
        average_precision=average_precision(ranked, ~is_normal),
        alarms=tuple(
            _alarm_rates(level.alpha, scores.alarms(level.alpha), is_normal)
            for level in spec.calibrations[vae.precision].levels
        ),
        roc=tuple((float(x), float(y)) for x, y in roc_curve(ranked, ~is_normal)),
    )


def _alarm_rates(alpha: float, alarms: Bools, is_normal: Bools) -> AlarmRates:
    return AlarmRates(alpha, float(alarms[~is_normal].mean()), float(alarms[is_normal].mean()))


def auroc(scores: NDArray[np.floating], is_anomalous: Bools) -> float:
    """Return the area under the ROC curve; equal scores count half.

    Args:
        scores: shape `(batch,)`, without NaN.
        is_anomalous: whether each sample is anomalous, same shape; some are, and some are not.
    """
    normal = np.sort(scores[~is_anomalous])
    anomalous = scores[is_anomalous]
    twice = np.searchsorted(normal, anomalous, "left") + np.searchsorted(normal, anomalous, "right")
    return float(twice.sum()) / (2 * len(normal) * len(anomalous))


def average_precision(scores: NDArray[np.floating], is_anomalous: Bools) -> float:
    """Return the average precision; arguments as for `auroc`."""
    normal, anomalous = _detected(scores, is_anomalous)
    gained = np.diff(anomalous, prepend=0)
    precision = anomalous / (normal + anomalous)
    return float((gained * precision).sum() / anomalous[-1])


def roc_curve(scores: NDArray[np.floating], is_anomalous: Bools) -> Float64:
    """Return the corners of the ROC curve, from (0, 0) to (1, 1).

    Arguments are as for `auroc`.

    Returns:
        Pairs of false-alarm rate and detection rate, shape `(corners, 2)`. Points on a straight
        line between two others are left out.
    """
    counts = np.stack([np.append(0, count) for count in _detected(scores, is_anomalous)], axis=1)
    steps = np.diff(counts, axis=0)
    turns = steps[:-1, 0] * steps[1:, 1] != steps[:-1, 1] * steps[1:, 0]
    corners = counts[np.concatenate([[True], turns, [True]])]
    rates: Float64 = corners / counts[-1]
    return rates


def _detected(scores: NDArray[np.floating], is_anomalous: Bools) -> tuple[NDArray[np.intp], ...]:
    """Return how many normal and anomalous samples reach each different score, largest first."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    anomalous = np.cumsum(is_anomalous[order])[last]
    return np.flatnonzero(last) + 1 - anomalous, anomalous
