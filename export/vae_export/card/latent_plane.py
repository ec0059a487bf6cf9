"""The latent plane: the positions of held-out samples, and the decoded points between them.

Two latent dimensions are the axes of the plane, one is a line. With more, the axes are the two
directions in which z_mean varies most: the eigenvectors of its covariance with the largest
eigenvalues, through its mean. The stated share of an axis is its eigenvalue over the trace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from vae_export.card.figure_data import Float32, HeldOut
from vae_export.card.mosaics import shrunk
from vae_export.card.plots import BLUE, GREY, RULE, WIDTH, plotting
from vae_runtime.data.pictures import picture_grid
from vae_runtime.latents import ACTIVE_VARIANCE

Float64 = NDArray[np.float64]
Decode = Callable[[Float32], Float32]

PANEL = 480
"""Side of a panel in pixels, from which the number of decoded pictures follows."""
MIN_PICTURES, MAX_PICTURES = 5, 13
"""Number of decoded pictures along an axis of the plane."""
MAX_TILE = PANEL // MIN_PICTURES
"""Longer side of a decoded picture in pixels, to which larger ones are shrunk."""
INNER_QUANTILES = (0.02, 0.98)
"""Quantiles of the samples' coordinates that bound the decoded area."""
MAX_COVARIANCE = 256
"""Latent dimensions up to which the covariance is computed even from fewer samples."""
PRIOR_REACH = 2.0
"""Half the decoded range of an inactive axis, in standard deviations of the prior."""


@dataclass(frozen=True)
class Plane:
    """A plane, or a line, in the latent space.

    `origin`, shape `(L,)`, has coordinates 0. `axes` are orthonormal directions, shape `(k, L)`
    with k = 2 or 1; `labels` name them.
    """

    origin: Float64
    axes: Float64
    labels: tuple[str, ...]

    def project(self, z: NDArray[np.floating[Any]]) -> Float64:
        """Return coordinates, shape `(n, k)`, of points of shape `(n, L)`."""
        return (z - self.origin) @ self.axes.T

    def points(self, coordinates: Float64) -> Float32:
        """Return points of the latent space, shape `(n, L)`, at coordinates of shape `(n, k)`."""
        return (self.origin + coordinates @ self.axes).astype(np.float32)


def fit_plane(z_mean: Float32) -> Plane:
    """Return the plane, or the line if L is 1, in which codes of shape `(n, L)` vary most.

    Principal axes have the sign that makes their largest component positive.
    """
    size = z_mean.shape[1]
    if size <= 2:
        return Plane(np.zeros(size), np.eye(size), tuple(f"z_mean[{i}]" for i in range(size)))
    mean = z_mean.mean(axis=0, dtype=np.float64)
    centred = z_mean - mean
    if size <= max(MAX_COVARIANCE, len(centred)):
        values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        axes = vectors.T[[-1, -2]]
    elif len(centred) == 1:
        values, axes = np.zeros(2), np.eye(2, size)
    else:  # the same axes from the smaller matrix of products between samples
        values, vectors = np.linalg.eigh(centred @ centred.T / len(centred))
        axes = np.linalg.qr((vectors.T[[-1, -2]] @ centred).T)[0].T
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[[0, 1], largest])[:, np.newaxis]
    shares = np.maximum(values[[-1, -2]], 0) / max(float(values.sum()), np.finfo(np.float32).tiny)
    labels = (
        f"principal axis {i}, {100 * share:.0f} % of the variance"
        for i, share in enumerate(shares, 1)
    )
    return Plane(mean, axes, tuple(labels))


def decoded_range(coordinates: Float64) -> tuple[Float64, Float64]:
    """Return lowest and highest decoded coordinates, each of shape `(k,)`.

    These are quantiles of the samples' coordinates, shape `(n, k)`. Along an inactive axis they are
    `PRIOR_REACH` standard deviations of the prior around the samples' mean.
    """
    active = coordinates.var(axis=0) > ACTIVE_VARIANCE
    middle = coordinates.mean(axis=0)
    low, high = np.quantile(coordinates, INNER_QUANTILES, axis=0)
    return np.where(active, low, middle - PRIOR_REACH), np.where(active, high, middle + PRIOR_REACH)


def cell_centres(low: Float64, high: Float64, counts: tuple[int, ...]) -> Float64:
    """Return the centres of the cells of an area, shape `(cells, k)`, row by row from its top.

    `counts` has the number of cells along each of the k axes.
    """
    first, *others = (
        np.linspace(a, b, 2 * count + 1)[1::2]
        for a, b, count in zip(low, high, counts, strict=True)
    )
    grid = np.meshgrid(first, *(centres[::-1] for centres in others))
    return np.stack([a.ravel() for a in grid], axis=1)


def draw_plane(held_out: HeldOut, decode: Decode | None, unit: str, path: Path) -> None:
    """Draw samples in the latent plane and, beside them, what points of the plane decode to.

    `decode` maps z to pictures, or is None if samples are not pictures. The samples' range of
    values is shown as black to white. `unit` is that of the reconstruction loss.
    """
    plane = fit_plane(held_out.z_mean)
    coordinates = plane.project(held_out.z_mean)
    if len(plane.axes) == 1:
        _draw_line(plane, coordinates, decode, held_out.x, path)
        return
    low, high = decoded_range(coordinates)
    height, width = shrunk(held_out.x[:1], MAX_TILE).shape[1:3] if decode else (1, 1)
    rows, columns = _picture_count(height, PANEL), _picture_count(width, PANEL)
    # Pictures far from square are stretched, so that the labels keep their room.
    aspect = min(1.6, max(0.6, rows * height / (columns * width))) if decode else 1
    size = (0.7 + 3.5 * aspect, WIDTH if decode else WIDTH * 0.55)
    with plotting(path, *size) as figure:
        panels = figure.subplots(1, 2 if decode else 1, squeeze=False)[0]
        _draw_codes(panels[0], coordinates, held_out.reconstruction_loss, unit)
        for axes in panels:
            axes.set(xlabel=plane.labels[0], ylabel=plane.labels[1], box_aspect=aspect)
        if decode:
            corners = low.tolist(), *(high - low).tolist()
            panels[0].add_patch(Rectangle(*corners, fill=False, edgecolor="black", linewidth=0.8))
            panels[0].autoscale_view()
            decoded = decode(plane.points(cell_centres(low, high, (columns, rows))))
            extent = (low[0], high[0], low[1], high[1])
            _draw_decoded(panels[1], decoded, held_out.x, columns, extent)
            panels[1].set_title("images decoded from the framed part", loc="left")


def _draw_codes(axes: Any, coordinates: Float64, loss: Float32, unit: str) -> None:
    """Scatter samples. They are coloured by their loss, unless all have the same."""
    x, y = coordinates.T
    axes.set_title(f"z_mean of {_sample_count(x)}", loc="left")
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    low, high = np.quantile(loss, [0.02, 0.98])
    if not high > low:
        axes.scatter(x, y, s=9, color=BLUE, linewidths=0)
        return
    drawn = axes.scatter(
        x, y, s=9, c=loss, cmap="viridis", vmin=low, vmax=high, alpha=0.8, linewidths=0
    )
    bar = axes.figure.colorbar(drawn, ax=axes, extend="both", aspect=30, pad=0.02)
    bar.set_label(f"reconstruction loss, {unit}")
    bar.outline.set_visible(False)
    bar.solids.set_alpha(1)


def _draw_line(
    plane: Plane, coordinates: Float64, decode: Decode | None, data: Float32, path: Path
) -> None:
    """Draw one latent dimension: its histogram above the pictures that its values decode to."""
    low, high = decoded_range(coordinates)
    low, high = np.minimum(low, coordinates.min()), np.maximum(high, coordinates.max())
    # In inches. A whole number of pictures fills the strip below the histogram undistorted.
    left, across, bottom, panel, top = 0.6, WIDTH - 0.75, 0.5, 2.0, 0.3
    count, strip, gap = 0, 0.0, 0.0
    if decode:
        height, width = shrunk(data[:1], MAX_TILE).shape[1:3]
        count = _picture_count(width, round(PANEL * across / (WIDTH / 2)))
        strip, gap = across / count * height / width, 0.12
    total = bottom + strip + gap + panel + top
    with plotting(path, total) as figure:
        figure.set_layout_engine("none")
        bounds = (left / WIDTH, (bottom + strip + gap) / total, across / WIDTH, panel / total)
        upper = lower = figure.add_axes(bounds)
        _draw_histogram(upper, coordinates[:, 0], float(low[0]), float(high[0]))
        if decode:
            upper.set_title(f"{upper.get_title('left')}, and what it is decoded to", loc="left")
            upper.tick_params(labelbottom=False)
            bounds = (left / WIDTH, bottom / total, across / WIDTH, strip / total)
            lower = figure.add_axes(bounds)
            decoded = decode(plane.points(cell_centres(low, high, (count,))))
            _draw_decoded(lower, decoded, data, count, (low[0], high[0], 0.0, 1.0))
            lower.set(yticks=[], xlim=(low[0], high[0]))
        lower.set_xlabel(plane.labels[0])


def _draw_histogram(axes: Any, z_mean: Float64, low: float, high: float) -> None:
    z = np.linspace(low, high, 200)
    prior = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    options = {"bins": 60, "range": (low, high), "density": True, "histtype": "stepfilled"}
    axes.hist(z_mean, color=BLUE, label="z_mean", **options)
    axes.plot(z, prior, color=GREY, linewidth=1.5, label="the prior, N(0, 1)")
    axes.set_title(f"z_mean of {_sample_count(z_mean)}", loc="left")
    axes.set(ylabel="density", xlim=(low, high))
    axes.legend(frameon=False)


def _draw_decoded(
    axes: Any, decoded: Float32, data: Float32, columns: int, extent: tuple[float, ...]
) -> None:
    """Draw pictures side by side at their coordinates; `data` sets the range of values."""
    tiles = picture_grid.to_unit_range(shrunk(decoded, MAX_TILE), like=data)
    mosaic = picture_grid.grid(tiles, columns=columns, padding=1)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if mosaic.shape[-1] == 1 else {}
    axes.imshow(mosaic.squeeze(-1) if grey else mosaic, extent=extent, aspect="auto", **grey)


def _picture_count(side: int, panel: int) -> int:
    """Return how many pictures fill a panel: an odd number, so that one lies in its middle."""
    most = round(MAX_PICTURES * panel / PANEL)
    return max(MIN_PICTURES, min(most, panel // side)) // 2 * 2 + 1


def _sample_count(samples: Float64) -> str:
    return f"{len(samples):,} held-out sample{'' if len(samples) == 1 else 's'}"
