"""The plots of an anomaly score: its calibration, and a sample that is explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_export.card.plots import BLUE, GREY, RULE, plotting
from vae_runtime.bundle.scores import CalibrationSpec, LevelSpec
from vae_runtime.data.pictures import picture_grid
from vae_runtime.decision.calibration import Calibration
from vae_runtime.decision.conformal import alarms
from vae_runtime.decision.rates import rate_bounds

Float32 = NDArray[np.float32]

BAND, RED = "#cfe0f5", "#c01c28"
"""Colours of the band around a promised rate, and of what is unusual."""
POINTS = 60
"""Number of false-alarm rates at which the band is computed."""
MAX_BINS, BIN_SAMPLES = 40, 10
"""Largest number of bars of a histogram, and mean number of samples in a bar."""
MANY = 500
"""Of so many samples, the outermost two are left out of a histogram."""
MAX_ROWS = 8
"""Largest number of elements of a vector that are shown."""


@dataclass(frozen=True, eq=False)
class Anomaly:
    """A normal sample, and the same sample with a change.

    All arrays have the shape of a sample; pictures may be a middle slice.

    Attributes:
        normal: the sample.
        changed: the changed sample.
        reconstruction: the reconstruction of the changed sample.
        unusual: how unusual each of its elements is, in standard deviations of normal samples.
        p_values: p-values of the sample and of the changed sample.
    """

    normal: Float32
    changed: Float32
    reconstruction: Float32
    unusual: Float32
    p_values: tuple[float, float]


def draw_calibration(
    calibration: Calibration, spec: CalibrationSpec, check: Float32, path: Path
) -> None:
    """Draw the rates found among the check samples, and the calibration scores with thresholds.

    Args:
        calibration: the calibration.
        spec: what the manifest says of it.
        check: scores of normal samples that do not calibrate, shape `(m,)`.
        path: the PNG file.
    """
    with plotting(path, 3.2) as figure:
        left, right = figure.subplots(1, 2)
        _draw_rates(left, calibration, check)
        _draw_scores(right, calibration, spec.levels)


def _draw_rates(axes: Any, calibration: Calibration, check: Float32) -> None:
    n = len(calibration.scores)
    lowest = min(calibration.smallest_p_value, 0.5)  # one score and two tails: it is 1
    promised = np.geomspace(lowest, 0.999, POINTS)
    inside = [a for a in promised if a * (n + 1) >= (2 if calibration.tails == "both" else 1)]
    bounds = [rate_bounds(float(a), n, calibration.tails) for a in inside]
    if bounds:
        lower, upper = np.transpose(bounds)
        label = "95 % of calibrations"
        axes.fill_between(inside, lower, upper, color=BAND, linewidth=0, label=label)
    axes.plot([lowest, 1], [lowest, 1], color=GREY, linewidth=1, label="promised")
    if len(check):
        p_value = calibration.p_values(check)
        found = np.array([alarms(p_value, float(a)).mean() for a in promised])
        shown = np.where(found > 0, found, np.nan)
        label = f"found on {len(check):,} other samples"
        axes.step(promised, shown, where="post", color=BLUE, linewidth=1.6, label=label)
    axes.set(xscale="log", yscale="log", xlim=(lowest, 1), ylim=(lowest / 2, 1))
    axes.set_title("false alarms: promised and found", loc="left")
    axes.set_xlabel("alpha, the promised rate of false alarms")
    axes.set_ylabel("rate of false alarms")
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="upper left")


def _draw_scores(axes: Any, calibration: Calibration, levels: Sequence[LevelSpec]) -> None:
    scores = calibration.scores.astype(np.float64)
    ends = [end for v in levels for end in (v.upper, v.lower) if end is not None]
    cut = 1 / len(scores) if len(scores) >= MANY else 0
    low, high = (f([*np.quantile(scores, (cut, 1 - cut)), *ends]) for f in (min, max))
    width = high - low or 1.0
    bins = int(np.clip(len(scores) // BIN_SAMPLES, 5, MAX_BINS))
    counts, *_ = axes.hist(scores, bins=bins, range=(low, low + width), color=BLUE)
    top = counts.max()
    for i, level in enumerate(levels):  # a line is higher than those further out: labels have room
        height = top * (1.05 + 0.11 * (len(levels) - i))
        for end, side in ((level.upper, "left"), (level.lower, "right")):
            if end is not None:
                axes.plot([end, end], [0, height], color=RED, linewidth=1)
                axes.text(end, height, f" alpha {level.alpha:g} ", ha=side, va="top", color=RED)
    left = 0.35 if calibration.tails == "both" and levels else 0.05
    limits = (low - left * width, low + (1.35 if levels else 1.05) * width)
    axes.set(xlim=limits, ylim=(0, top * (1.15 + 0.11 * len(levels))))
    axes.set_title(f"scores of {len(scores):,} calibration samples", loc="left")
    axes.set_xlabel("score")
    axes.set_ylabel("samples")


def draw_picture_anomaly(anomaly: Anomaly, path: Path) -> None:
    """Draw a picture, the changed one, its reconstruction, and where it is unusual."""
    pictures = np.stack([anomaly.normal, anomaly.changed, anomaly.reconstruction])
    shown = picture_grid.to_unit_range(pictures, like=pictures[:2])
    before, after = (f"p = {value:.3g}" for value in anomaly.p_values)
    titles = (f"held-out sample\n{before}", f"with a made square\n{after}", "its reconstruction\n")
    with plotting(path, 2.45) as figure:
        *axes, last = figure.subplots(1, 4)
        for panel, picture, title in zip(axes, shown, titles, strict=True):
            panel.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            panel.set_title(title, loc="left")
        heat = anomaly.unusual.mean(axis=-1)
        image = last.imshow(heat, cmap="inferno", vmin=0, interpolation="nearest")
        last.set_title("how unusual\nin standard deviations", loc="left")
        figure.colorbar(image, ax=last, shrink=0.8)
        for panel in (*axes, last):
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)


def draw_vector_anomaly(anomaly: Anomaly, names: Sequence[str] | None, path: Path) -> None:
    """Draw the most unusual elements of a changed row, with value and reconstruction."""
    order = np.argsort(-anomaly.unusual, kind="stable")[:MAX_ROWS]
    labels = [_short(names[i]) if names else f"element {i}" for i in order]
    before, after = (f"{value:.3g}" for value in anomaly.p_values)
    changed = anomaly.changed != anomaly.normal
    with plotting(path, 0.32 * len(order) + 1.2) as figure:
        axes = figure.subplots()
        values = np.maximum(anomaly.unusual[order], 0)
        colors = [RED if changed[i] else GREY for i in order]
        axes.barh(range(len(order)), values, 0.68, color=colors)
        for row, i in enumerate(order):
            text = f"  {anomaly.changed[i]:.4g}, reconstructed {anomaly.reconstruction[i]:.4g}"
            axes.text(values[row], row, text, va="center", color="black")
        axes.set_yticks(range(len(order)), labels, parse_math=False)
        axes.tick_params("y", length=0)
        axes.invert_yaxis()
        axes.set_xlim(0, max(1.45 * values.max(), 1))
        axes.set_title(f"p = {before} before the change, p = {after} with it", loc="left")
        axes.set_xlabel("how unusual, in standard deviations")
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)


def draw_series_anomaly(anomaly: Anomaly, path: Path) -> None:
    """Draw the changed channel of a series and its reconstruction, and where it is unusual."""
    channel = int(np.argmax((anomaly.changed != anomaly.normal).any(axis=0)))
    before, after = (f"{value:.3g}" for value in anomaly.p_values)
    with plotting(path, 3.2) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        upper.plot(anomaly.changed[:, channel], color=GREY, linewidth=1.5, label="changed")
        upper.plot(anomaly.reconstruction[:, channel], color=BLUE, label="reconstruction")
        upper.set_title(f"p = {before} before the change, p = {after} with it", loc="left")
        upper.set_ylabel(f"channel {channel}")
        upper.legend(frameon=False)
        lower.bar(range(len(anomaly.unusual)), anomaly.unusual[:, channel], 0.8, color=RED)
        lower.set_ylabel("how unusual")
        lower.set_xlabel("step")


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:25]}..."
