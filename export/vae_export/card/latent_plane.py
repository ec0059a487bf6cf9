r"""The latent plane: where held-out samples lie in it, and what its points are decoded to.

Two dimensions are their own plane. Of more, the plane is that of the two directions in which z_mean
varies most: the eigenvectors of its covariance with the largest eigenvalues, through its mean. The
share of a direction is its eigenvalue's share of the trace. One dimension is a line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from vae_export.card.figure_data import Float32, HeldOut
from vae_export.card.mosaics import shrunk
from vae_export.card.plots import BLUE, GREY, RULE, WIDTH, plotting
from vae_runtime.data import picture_grid as picture
from vae_runtime.latents import ACTIVE_VARIANCE

Float64 = NDArray[np.float64]
Decode = Callable[[Float32], Float32]

PANEL = 480
"""Pixels of a panel that decoded pictures are counted and shrunk to fill."""
FEWEST, MOST = 5, 13
"""Decoded pictures along an axis of the plane."""
INNER = (0.02, 0.98)
"""Quantiles of the samples' coordinates that the decoded part of the plane reaches between."""
REACH = 2.0
"""Standard deviations of the prior that it reaches to each side where an axis is not active."""


@dataclass(frozen=True)
class Plane:
    """A plane (or, of one latent dimension, a line) in the latent space.

    Attributes:
        origin: the point with coordinates 0, shape `(L,)`.
        axes: orthonormal directions, shape `(k, L)`, k 2 or 1.
        labels: what each axis is.
    """

    origin: Float64
    axes: Float64
    labels: tuple[str, ...]

    def project(self, z: NDArray[np.floating[Any]]) -> Float64:
        """Coordinates in the plane, shape `(n, k)`, of points of shape `(n, L)`."""
        return (z - self.origin) @ self.axes.T

    def points(self, coordinates: Float64) -> Float32:
        """The points of the latent space, shape `(n, L)`, at coordinates of shape `(n, k)`."""
        return (self.origin + coordinates @ self.axes).astype(np.float32)


def fit(z_mean: Float32) -> Plane:
    """The plane in which codes are seen best.

    Args:
        z_mean: shape `(n, L)`, n at least 1.

    Returns:
        The dimensions themselves where L is 1 or 2; otherwise the principal axes, each of the sign
        that makes its largest component positive.
    """
    size = z_mean.shape[1]
    if size <= 2:
        return Plane(np.zeros(size), np.eye(size), tuple(f"z_mean[{i}]" for i in range(size)))
    mean = z_mean.mean(axis=0, dtype=np.float64)
    centred = z_mean - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    axes = vectors.T[[-1, -2]]
    largest = np.abs(axes).argmax(axis=1)
    axes = axes * np.sign(axes[[0, 1], largest])[:, np.newaxis]
    shares = np.maximum(values[[-1, -2]], 0) / max(float(values.sum()), np.finfo(np.float32).tiny)
    labels = (
        f"principal axis {i}, {100 * share:.0f} % of the variance"
        for i, share in enumerate(shares, 1)
    )
    return Plane(mean, axes, tuple(labels))


def frame(coordinates: Float64) -> tuple[Float64, Float64]:
    """The part of the plane that is decoded.

    Args:
        coordinates: of the samples, shape `(n, k)`.

    Returns:
        Lowest and highest coordinates, each of shape `(k,)`: quantiles of the samples; along an
        axis that is not active, `REACH` standard deviations of the prior around their mean.
    """
    active = coordinates.var(axis=0) > ACTIVE_VARIANCE
    middle = coordinates.mean(axis=0)
    low, high = np.quantile(coordinates, INNER, axis=0)
    return np.where(active, low, middle - REACH), np.where(active, high, middle + REACH)


def lattice(low: Float64, high: Float64, counts: tuple[int, int]) -> Float64:
    """Centres of the cells of a frame, row by row from its top.

    Args:
        low: lowest coordinates, shape `(2,)`.
        high: highest coordinates, shape `(2,)`.
        counts: cells along the first axis and along the second.

    Returns:
        Coordinates, shape `(columns * rows, 2)`.
    """
    first, second = (
        np.linspace(a, b, 2 * count + 1)[1::2]
        for a, b, count in zip(low, high, counts, strict=True)
    )
    return np.stack([a.ravel() for a in np.meshgrid(first, second[::-1])], axis=1)


def draw_plane(seen: HeldOut, decode: Decode | None, unit: str, path: Path) -> None:
    """Draws where samples lie in the latent plane and, beside it, what the plane is decoded to.

    Args:
        seen: the samples; the range of their values is taken for black to white.
        decode: z, shape `(n, L)`, to pictures; None where samples are no pictures.
        unit: of the reconstruction loss, such as "nats".
        path: PNG file to write.
    """
    plane = fit(seen.z_mean)
    coordinates = plane.project(seen.z_mean)
    if len(plane.axes) == 1:
        _draw_line(plane, coordinates, decode, seen.x, path)
        return
    low, high = frame(coordinates)
    height, width = _tile(seen.x) if decode else (1, 1)
    rows, columns = _count(height, PANEL), _count(width, PANEL)
    # Pictures far from square are stretched, so that the labels keep their room.
    shape = min(1.6, max(0.6, rows * height / (columns * width))) if decode else 1
    size = (0.7 + 3.5 * shape, WIDTH if decode else WIDTH * 0.55)
    with plotting(path, *size) as figure:
        panels = figure.subplots(1, 2 if decode else 1, squeeze=False)[0]
        _draw_codes(panels[0], coordinates, seen.reconstruction_loss, unit)
        for axes in panels:
            axes.set(xlabel=plane.labels[0], ylabel=plane.labels[1], box_aspect=shape)
        if decode:
            corners = low.tolist(), *(high - low).tolist()
            panels[0].add_patch(Rectangle(*corners, fill=False, edgecolor="black", linewidth=0.8))
            panels[0].autoscale_view()
            decoded = decode(plane.points(lattice(low, high, (columns, rows))))
            _draw_decoded(panels[1], decoded, seen.x, columns, (low[0], high[0], low[1], high[1]))
            panels[1].set_title("what the framed part is decoded to", loc="left")


def _draw_codes(axes: Any, coordinates: Float64, loss: Float32, unit: str) -> None:
    """Scatters samples, coloured by their loss where it differs between them."""
    x, y = coordinates.T
    axes.set_title(f"z_mean of {_samples(len(x))}", loc="left")
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
    plane: Plane, coordinates: Float64, decode: Decode | None, like: Float32, path: Path
) -> None:
    """One latent dimension: how often its values occur, above what they are decoded to."""
    low, high = (float(end[0]) for end in frame(coordinates))
    low, high = min(low, float(coordinates.min())), max(high, float(coordinates.max()))
    with _line_panels(like if decode else None, path) as (upper, lower, count):
        z = np.linspace(low, high, 200)
        prior = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        options = {"bins": 60, "range": (low, high), "density": True, "histtype": "stepfilled"}
        upper.hist(coordinates[:, 0], color=BLUE, label="z_mean", **options)
        upper.plot(z, prior, color=GREY, linewidth=1.5, label="the prior, N(0, 1)")
        below = ", and what it is decoded to" if decode else ""
        upper.set_title(f"z_mean of {_samples(len(coordinates))}{below}", loc="left")
        upper.set(ylabel="density", xlim=(low, high))
        upper.legend(frameon=False)
        if decode:
            centres = np.linspace(low, high, 2 * count + 1)[1::2, np.newaxis]
            decoded = decode(plane.points(centres))
            _draw_decoded(lower, decoded, like, count, (low, high, 0.0, 1.0))
            lower.set(yticks=[], xlim=(low, high))
            upper.tick_params(labelbottom=False)
        lower.set_xlabel(plane.labels[0])


@contextmanager
def _line_panels(pictures: Float32 | None, path: Path) -> Iterator[tuple[Any, Any, int]]:
    """A wide panel above a strip that a whole number of pictures fills, undistorted; inches."""
    left, across, bottom, gap, panel, top = 0.6, WIDTH - 0.75, 0.5, 0.12, 2.0, 0.3
    if pictures is None:
        count, strip, gap = 0, 0.0, 0.0
    else:
        height, width = _tile(pictures)
        count = _count(width, round(PANEL * across / (WIDTH / 2)))
        strip = across / count * height / width
    whole = bottom + strip + gap + panel + top
    with plotting(path, whole) as figure:
        figure.set_layout_engine("none")

        def axes(low: float, high: float) -> Any:
            return figure.add_axes((left / WIDTH, low / whole, across / WIDTH, high / whole))

        upper = axes(bottom + strip + gap, panel)
        yield upper, axes(bottom, strip) if pictures is not None else upper, count


def _draw_decoded(
    axes: Any,
    decoded: Float32,
    like: Float32,
    columns: int,
    extent: tuple[float, float, float, float],
) -> None:
    """Pictures side by side, where their coordinates are on the axes."""
    tiles = picture.to_unit_range(shrunk(decoded, PANEL // FEWEST), like=like)
    mosaic = picture.grid(tiles, columns=columns, padding=1)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if mosaic.shape[-1] == 1 else {}
    axes.imshow(mosaic.squeeze(-1) if grey else mosaic, extent=extent, aspect="auto", **grey)


def _tile(images: Float32) -> tuple[int, int]:
    height, width = shrunk(images[:1], PANEL // FEWEST).shape[1:3]
    return height, width


def _count(side: int, panel: int) -> int:
    """How many tiles fill a panel: an odd number, so that one lies in its middle."""
    return max(FEWEST, min(round(MOST * panel / PANEL), panel // side)) // 2 * 2 + 1


def _samples(count: int) -> str:
    return f"{count:,} held-out sample{'' if count == 1 else 's'}"
