"""Calibration: scores of normal samples, which turn any score into a p-value.

`calibration.npz` of a bundle holds, for each precision, the sorted scores, and mean and standard
deviation of each element's share of the reconstruction loss. The score graph holds the same scores,
and the manifest the thresholds that follow from them. All three must agree, or the calibration is
refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.scores import CalibrationSpec, LevelSpec, ScoreSpec, Tails
from vae_runtime.decision.conformal import (
    ALPHAS,
    MIN_ALPHA,
    Bounds,
    alarms,
    p_values,
    required_samples,
    smallest_p,
    threshold,
)
from vae_runtime.decision.rates import rate_bounds
from vae_runtime.errors import BundleError, OptionError
from vae_runtime.files.npz import NpzError, read_npz
from vae_runtime.graph.p_value import with_p_value, without_p_value

Float32 = NDArray[np.float32]

CALIBRATION_FILE = "calibration.npz"
MAX_SCORES = 2000
"""Largest number of calibration scores: the graph compares every sample with each of them."""

MIN_HELD_OUT_SAMPLES = 8
"""Fewer held-out samples than this calibrate nothing: the export leaves the score out."""

MAX_LEVELS = 20
"""Largest number of false-alarm rates whose thresholds a manifest states."""

REMEDY = "the bundle was edited; export or calibrate it again"


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of normal samples, in one precision.

    Attributes:
        scores: the calibration scores, sorted, shape `(n,)`, float32.
        tails: "upper" if high scores are unusual, "both" if low ones are as well.
        element_mean: mean share of each element in the reconstruction loss of these samples, shape
            `input_shape`.
        element_std: its standard deviation, same shape.
    """

    scores: Float32
    tails: Tails
    element_mean: Float32
    element_std: Float32

    def threshold(self, alpha: float) -> float | Bounds[float]:
        """Return the threshold of a false-alarm rate, in the score's units.

        Args:
            alpha: the largest rate of alarms among normal samples.

        Returns:
            The score above which a sample is an alarm; for both tails, `lower` and `upper`.

        Raises:
            OptionError: `alpha` is out of range, or needs more calibration samples.
        """
        return threshold(alpha, self.scores, self.tails)

    def p_values(self, scores: ArrayLike) -> Float32:
        """Return the p-value of each score, shape `(batch,)`, float32."""
        return p_values(scores, self.scores, self.tails)

    @property
    def smallest_p_value(self) -> float:
        """The smallest p-value that there is."""
        return smallest_p(len(self.scores), self.tails)


def describe(
    scores: Float32,
    tails: Tails,
    graph: bytes,
    held_out: Float32 | None = None,
    alphas: Iterable[float] = (),
) -> CalibrationSpec:
    """Return what the manifest says of a calibration.

    Args:
        scores: sorted calibration scores, shape `(n,)`.
        tails: as for `Calibration`.
        graph: the score graph, an ONNX file, with or without a p-value.
        held_out: scores of other normal samples, on which the promised rates are checked.
        alphas: false-alarm rates beside `ALPHAS`, each from `MIN_ALPHA` to below 1.
    """
    found = p_values(held_out, scores, tails) if held_out is not None and len(held_out) else None
    return CalibrationSpec(
        samples=len(scores),
        smallest_p_value=smallest_p(len(scores), tails),
        graph_sha256=hashlib.sha256(without_p_value(graph)).hexdigest(),
        checked=0 if found is None else len(found),
        levels=tuple(
            _level(alpha, scores, tails, found)
            for alpha in sorted({*ALPHAS, *alphas}, reverse=True)
            if len(scores) >= required_samples(alpha, tails)
        ),
    )


def _level(alpha: float, scores: Float32, tails: Tails, found: Float32 | None) -> LevelSpec:
    at = threshold(alpha, scores, tails)
    lower, upper = at if isinstance(at, Bounds) else (None, at)
    rate = None if found is None else float(alarms(found, alpha).mean())
    bounds = rate_bounds(alpha, len(scores), tails)
    return LevelSpec(alpha, upper, lower, (bounds.lower, bounds.upper), rate)


def no_score(bundle: Bundle) -> OptionError:
    """Return the error that a bundle has no score."""
    return OptionError(
        f"{bundle.path} has no anomaly score: export the model again with this build-vae and at "
        f"least {MIN_HELD_OUT_SAMPLES} held-out samples"
    )


def arrays_of(manifest: Manifest, spec: ScoreSpec) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return dtype and shape of each array in the calibration file, by name."""
    arrays: dict[str, tuple[str, tuple[int, ...]]] = {}
    for precision, calibration in spec.calibrations.items():
        arrays[f"{precision}_scores"] = "float32", (calibration.samples,)
        for name in ("element_mean", "element_std"):
            arrays[f"{precision}_{name}"] = "float32", manifest.input.shape
    return arrays


def read_calibration(bundle: Bundle, precision: str) -> Calibration:
    """Read the calibration of a precision, and check it against graph and manifest.

    Raises:
        OptionError: the bundle has no score.
        BundleError: the calibration was edited, or belongs to another graph.
    """
    spec = bundle.manifest.score
    graph = bundle.manifest.graphs_of(precision).score
    if spec is None or graph is None:
        raise no_score(bundle)
    where = bundle.path / spec.file
    try:
        arrays = read_npz(bundle.read(spec.file), arrays_of(bundle.manifest, spec))
    except NpzError as error:
        raise BundleError(f"{where}: {error}: {REMEDY}") from None
    scores = arrays[f"{precision}_scores"]
    data, stated = bundle.read(graph.file), spec.calibrations[precision]
    for fault in _faults(scores, spec.tails, data, stated):
        raise BundleError(f"{where}: {fault}: {REMEDY}")
    return Calibration(
        scores,
        spec.tails,
        arrays[f"{precision}_element_mean"],
        arrays[f"{precision}_element_std"],
    )


def _faults(scores: Float32, tails: Tails, graph: bytes, stated: CalibrationSpec) -> Iterator[str]:
    if len(scores) == 0 or (np.diff(scores) < 0).any():
        yield "its scores are not sorted"
        return
    alphas = [level.alpha for level in stated.levels]
    if len(alphas) > MAX_LEVELS or not all(a >= MIN_ALPHA and np.float32(a) < 1 for a in alphas):
        yield "the manifest states false-alarm rates that no calibration gives"
        return
    made = describe(scores, tails, graph, alphas=alphas)
    if made.graph_sha256 != stated.graph_sha256:
        yield "its scores belong to another score graph"
    if graph != with_p_value(graph, scores, both_tails=tails == "both"):
        yield "the score graph has other calibration scores, or another p-value"
    stated_levels, made_levels = (
        [(v.alpha, v.upper, v.lower) for v in spec.levels] for spec in (stated, made)
    )
    stated_rates, made_rates = ([v.rate for v in spec.levels] for spec in (stated, made))
    if stated_levels != made_levels or not np.allclose(
        stated_rates, made_rates, rtol=1e-6, atol=1e-9
    ):
        yield "the manifest states other thresholds than its scores give"
    if stated.smallest_p_value != made.smallest_p_value:
        yield "the manifest states another smallest p-value"
