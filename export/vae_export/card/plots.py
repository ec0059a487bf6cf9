"""The plots of a model card: training curve, latent dimensions, elements of vectors.

All plots share one style and size, so that they look alike on a card. The files contain no time,
machine or Matplotlib version: the same data gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_export.card.figure_data import Float32
from vae_runtime.latents import ACTIVE_VARIANCE
from vae_runtime.loss import Losses

WIDTH = 9.0
"""Width of a plot as wide as the card, in inches."""
DPI = 120

BLUE, GREY, RULE = "#1a5fb4", "#9aa0a6", "#e0e0e0"
"""Colours of the main values, of what they are compared with, and of grid lines."""

MAX_LABELLED_BARS = 40
"""Largest number of bars that have room for a label."""
MAX_ELEMENTS = 8
"""Largest number of vector elements drawn, at most four in a row."""
MAX_SERIES, MAX_CHANNELS = 4, 4
"""Largest number of series drawn, and of their channels."""
MAX_BARS = 400
"""Largest number of latent dimensions that get a bar of their own; more become one area."""


@dataclass(frozen=True)
class Curve:
    """Losses after each epoch.

    Attributes:
        train: means over the training samples, one entry per epoch.
        validation: means over the validation samples, one entry per epoch.
    """

    train: Sequence[Losses[float]]
    validation: Sequence[Losses[float]]


@contextmanager
def plotting(path: Path, height: float, width: float = WIDTH) -> Iterator[Figure]:
    """Yield an empty figure in the card's style, size in inches; write it when the block ends."""
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


def draw_training(curve: Curve, unit: str, path: Path) -> None:
    """Draw the loss and its two parts over the epochs. `unit` is that of the loss."""
    epochs = np.arange(1, len(curve.train) + 1)
    titles = {"loss": "loss", "reconstruction_loss": "reconstruction loss", "kl_loss": "KL loss"}
    with plotting(path, 2.8) as figure:
        for axes, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
            for label, points, style in (
                ("training", curve.train, {"color": GREY, "linewidth": 1.5}),
                ("validation", curve.validation, {"color": BLUE, "linewidth": 1.8}),
            ):
                values = [getattr(point, name) for point in points]
                marker = "o" if len(values) < 3 else ""
                axes.plot(epochs, values, label=label, marker=marker, **style)
            axes.set_title(title, loc="left")
            axes.set_xlabel("epoch")
            axes.set_ylabel("nats" if name == "kl_loss" else unit)
            axes.xaxis.get_major_locator().set_params(integer=True)
            if len(epochs) == 1:  # by default there are ticks at fractions of an epoch
                axes.set_xticks(epochs)
            axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.legend(frameon=False)


def draw_kl(kl: Sequence[float], active: NDArray[np.bool_], path: Path) -> None:
    """Draw the mean KL divergence of each latent dimension, in nats, the largest first.

    `active` is a mask of the active dimensions, shape `(L,)`.
    """
    values = np.asarray(kl, np.float64)
    order = np.argsort(-values, kind="stable")
    with plotting(path, 2.6, width=min(WIDTH, max(5.0, 1.2 + 0.38 * len(values)))) as figure:
        axes = figure.subplots()
        for group, color, label in (
            (active, BLUE, f"active: variance of z_mean above {ACTIVE_VARIANCE:g}"),
            (~active, GREY, f"inactive: variance at most {ACTIVE_VARIANCE:g}"),
        ):
            at = np.flatnonzero(group[order])
            if at.size:
                # The edge keeps a bar of height 0 visible.
                bars = values[order][at]
                legend: dict[str, Any] = {
                    "color": color,
                    "ec": color,
                    "label": f"{len(at)} {label}",
                }
                if len(values) <= MAX_BARS:
                    axes.bar(at, bars, 0.72, **legend)
                else:
                    heights = np.where(group[order], values[order], 0)
                    axes.fill_between(range(len(values)), heights, step="mid", **legend)
        total = f"{values.sum():.2f}" if values.sum() >= 0.1 else f"{values.sum():.2g}"
        axes.set_title(f"KL loss of each latent dimension: {total} nats in all", loc="left")
        axes.set_ylabel("nats")
        axes.set_ylim(0, max(1.25 * values.max(), 0.1))
        axes.set_xlim(-0.7, max(len(values), 6) - 0.3)
        if len(values) <= MAX_LABELLED_BARS:
            axes.set_xticks(range(len(values)), [str(i) for i in order])
            for number, is_active in zip(axes.get_xticklabels(), active[order], strict=True):
                number.set_color("black" if is_active else GREY)
            axes.tick_params("x", length=0)
            axes.set_xlabel("number of the dimension, from 0")
        else:
            axes.set_xlabel("dimensions, from the one that carries most")
        axes.set_axisbelow(True)
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.legend(frameon=False, loc="upper right")


def draw_elements(
    x: Float32, reconstruction: Float32, names: Sequence[str] | None, path: Path
) -> None:
    """Draw the elements of vectors, shape `(n, D)`: reconstruction over input.

    At most `MAX_ELEMENTS` are drawn, those that vary most. If `names` is None, they are numbered.
    """
    spread = x.astype(np.float64).var(axis=0)
    elements = np.sort(np.argsort(-spread, kind="stable")[:MAX_ELEMENTS])
    rows = -(-len(elements) // 4)
    columns = -(-len(elements) // rows)
    with plotting(path, 2.3 * rows + 0.3, width=WIDTH * columns / 4) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, element in zip(grid, elements, strict=False):
            _draw_element(axes, x[:, element], reconstruction[:, element])
            name = names[element] if names else f"element {element}"
            title = name if len(name) <= 22 else f"{name[:19]}..."
            axes.set_title(title, loc="left", parse_math=False)
        for axes in grid[len(elements) :]:
            axes.remove()
        figure.supxlabel("input", fontsize=9)
        figure.supylabel("reconstruction", fontsize=9)


def draw_series(x: Float32, reconstruction: Float32, path: Path) -> None:
    """Draw series, shape `(n, steps, channels)`, and their reconstructions over the steps.

    Each column is a series, each row one of the channels that vary most, at most `MAX_CHANNELS`.
    """
    spread = x.astype(np.float64).var(axis=1).mean(axis=0)
    channels = np.sort(np.argsort(-spread, kind="stable")[:MAX_CHANNELS])
    width = max(0.5 * WIDTH, WIDTH * len(x) / MAX_SERIES)
    with plotting(path, 1.4 * len(channels) + 0.6, width=width) as figure:
        grid = figure.subplots(len(channels), len(x), squeeze=False, sharex=True, sharey="row")
        for row, channel in zip(grid, channels, strict=True):
            for axes, given, decoded in zip(row, x, reconstruction, strict=True):
                axes.plot(given[:, channel], color=GREY, linewidth=1.5)
                axes.plot(decoded[:, channel], color=BLUE, linewidth=1.2)
                axes.grid(color=RULE, linewidth=0.6)
            row[0].set_ylabel(f"channel {channel}")
        figure.supxlabel("step", fontsize=9)


def _draw_element(axes: Any, x: Float32, reconstruction: Float32) -> None:
    low, high = float(min(x.min(), reconstruction.min())), float(max(x.max(), reconstruction.max()))
    margin = 0.05 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=GREY, linewidth=0.8, zorder=1)
    axes.scatter(x, reconstruction, s=4, color=BLUE, alpha=0.5, linewidths=0, zorder=2)
    axes.set(xlim=limits, ylim=limits, box_aspect=1)
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
