"""The figures of the anomaly score on a model card: its calibration, and an explained anomaly.

They show the calibration of the export, in float32. A device that calibrates anew has thresholds of
its own, which the card's text then states.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_export.card import score_plots
from vae_export.card.figures import FOLDER, CardFigure
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.data.samples.inputs import to_graph_input, to_scaled_float32
from vae_runtime.inference.loading import load
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.quality.calibrate import NormalSamples

CALIBRATION = f"{FOLDER}/calibration.png"
ANOMALY = f"{FOLDER}/anomaly.png"

SQUARE = 4
"""A made square has a quarter of the picture's sides."""
DEVIATIONS = 6
"""A changed value is so many standard deviations away from the mean of its element."""


def draw_score_figures(
    folder: Path, manifest: Manifest, normal: NormalSamples
) -> tuple[CardFigure, ...]:
    """Draw the figures of a calibrated bundle in its `folder`, and return them in card order.

    `normal` are the samples that it was calibrated with. The folder must be a complete bundle.
    """
    vae = load(folder, threads=1, tuned=False)
    (folder / FOLDER).mkdir(exist_ok=True)
    assert manifest.score is not None
    x, condition = normal.rows(normal.check)
    scores = vae.per_sample.score_alone(x, condition)
    spec = manifest.score.calibrations[FLOAT32]
    score_plots.draw_calibration(vae.calibration, spec, scores, folder / CALIBRATION)
    caption = (
        "The calibration of the export. Left: rates of false alarms that were promised and found; "
        "the band holds the true rate of 95 % of calibrations with so many samples. Right: scores "
        "of the calibration samples; a score beyond a red line is an alarm."
    )
    calibration = CardFigure(CALIBRATION, "false-alarm rates and calibration scores", caption)
    return (calibration, *_anomaly(folder, vae, _as_graphs_take(vae, x), condition, scores))


def _anomaly(
    folder: Path,
    vae: VAERuntime,
    samples: NDArray[Any],
    condition: NDArray[Any] | None,
    scores: NDArray[np.float32],
) -> Iterator[CardFigure]:
    """Draw the sample of the median score with a made change, and how unusual its elements are."""
    shape = vae.manifest.input.shape
    is_picture = len(shape) in (3, 4) and shape[-1] in (1, 3)
    if not (is_picture or len(shape) in (1, 2)):
        return
    row = int(np.argsort(scores, kind="stable")[len(scores) // 2])
    before = samples[row]
    changed = _with_square(before, samples) if is_picture else _with_value(before, samples, vae)
    given = None if condition is None else condition[[row, row]]
    explanation = vae.explain(np.stack([before, changed]), condition=given)
    before_p, after_p = map(float, explanation.scores.p_value)
    arrays = [to_scaled_float32(before), to_scaled_float32(changed)]
    arrays += [explanation.reconstruction[1], explanation.unusual_elements[1]]
    if len(shape) == 4:
        arrays = [array[len(array) // 2] for array in arrays]
    shown, altered, reconstruction, unusual = arrays
    anomaly = score_plots.Anomaly(
        shown, altered, reconstruction, unusual, p_values=(before_p, after_p)
    )
    path, kind = folder / ANOMALY, "square"
    if is_picture:
        score_plots.draw_picture_anomaly(anomaly, path)
    elif len(shape) == 1:
        score_plots.draw_vector_anomaly(anomaly, vae.manifest.columns, path)
        kind = "value (red)"
    else:
        score_plots.draw_series_anomaly(anomaly, path)
        kind = "value"
    yield CardFigure(
        ANOMALY,
        "a made anomaly and its explanation",
        f"A held-out sample with a made {kind}, with the p-values of the export's calibration. "
        "`vae.explain` says which elements are unusual: their part of the score, in standard "
        "deviations of normal samples.",
    )


def _as_graphs_take(vae: VAERuntime, x: NDArray[Any]) -> NDArray[Any]:
    spec, data = vae.manifest.input, vae.manifest.data
    binary = bool(data and data.binary_uint8)
    return to_graph_input(x, spec.dtype, spec.range, binary_uint8=binary, raw_range=spec.raw_range)


def _with_square(picture: NDArray[Any], samples: NDArray[Any]) -> NDArray[Any]:
    """Return a picture or a volume with a square where it changes most, black or white."""
    *depth, height, width, _ = picture.shape
    rows, columns = (max(1, round(side / SQUARE)) for side in (height, width))
    ends = (samples.min(), samples.max())
    plane = picture[depth[0] // 2] if depth else picture
    best: tuple[float, Any, Any] | None = None
    for i in range(rows // 2, height - rows + 1, rows):
        for j in range(columns // 2, width - columns + 1, columns):
            at = (..., slice(i, i + rows), slice(j, j + columns), slice(None))
            for value in ends:
                change = float(np.abs(plane[at].astype(np.float64) - value).sum())
                if best is None or change > best[0]:
                    best = change, at, value
    assert best is not None
    changed = picture.copy()
    changed[best[1]] = best[2]
    return changed


def _with_value(sample: NDArray[Any], samples: NDArray[Any], vae: VAERuntime) -> NDArray[Any]:
    """Return a vector or a series with one changed value, in the element that varies most."""
    spec, values = vae.manifest.input, samples.astype(np.float64)
    std = values.std(axis=0)
    at = np.unravel_index(int(std.argmax()), std.shape)
    mean = float(values.mean(axis=0)[at])
    far = DEVIATIONS * float(std[at])
    allowed = (0, 255) if spec.dtype == "uint8" else spec.range
    possible = [
        float(end if allowed is None else np.clip(end, *allowed))
        for end in (mean + far, mean - far)
    ]
    changed = sample.copy()
    changed[at] = max(possible, key=lambda value: abs(value - float(sample[at])))
    return changed
