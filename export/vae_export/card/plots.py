"""The plots of a model card: the training curve, the latent dimensions, columns of a table.

All share one style and one size, so that they read alike at the width of a card. Their bytes follow
from what is drawn: nothing of time, machine or Matplotlib's version is written into them.
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

from vae_runtime.latents import ACTIVE_VARIANCE
from vae_runtime.loss import Losses

WIDTH = 9.0
"""Inches of a plot as wide as the card."""
DPI = 120

BLUE, GREY, RULE = "#1a5fb4", "#9aa0a6", "#e0e0e0"
"""What matters, what it is compared with, and lines behind both."""

LABELLED_DIMENSIONS = 40
"""Bars that have room for their number below."""

ELEMENTS = 8
"""Elements of a vector that are drawn, at most four in a row."""


@dataclass(frozen=True)
class Curve:
    """Losses after each epoch.

    Attributes:
        train: means over the training samples, one entry an epoch.
        validation: means over the validation samples.
    """

    train: Sequence[Losses[float]]
    validation: Sequence[Losses[float]]


@contextmanager
def plotting(path: Path, height: float, width: float = WIDTH) -> Iterator[Figure]:
    """A figure in the style of the card, written when the block ends.

    Args:
        path: PNG file to write.
        height: in inches.
        width: in inches.

    Yields:
        The empty figure.
    """
    style = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


def draw_training(curve: Curve, unit: str, path: Path) -> None:
    """Draws the loss and its two parts over the epochs.

    Args:
        curve: what was reached.
        unit: of the reconstruction loss, such as "nats".
        path: PNG file to write.
    """
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
            if len(epochs) == 1:  # ticks around it would be no epochs
                axes.set_xticks(epochs)
            axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.legend(frameon=False)


def draw_kl(kl: Sequence[float], active: NDArray[np.bool_], path: Path) -> None:
    """Draws the KL divergence of each latent dimension, from the largest to the smallest.

    Args:
        kl: mean of each dimension, in nats.
        active: which dimensions are, shape `(L,)`.
        path: PNG file to write.
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
                heights = values[order][at]
                # The edge keeps a bar of no height in sight.
                axes.bar(at, heights, 0.72, color=color, ec=color, label=f"{len(at)} {label}")
        total = f"{values.sum():.2f}" if values.sum() >= 0.1 else f"{values.sum():.2g}"
        axes.set_title(f"KL loss of each latent dimension: {total} nats in all", loc="left")
        axes.set_ylabel("nats")
        axes.set_ylim(0, max(1.25 * values.max(), 0.1))
        axes.set_xlim(-0.7, max(len(values), 6) - 0.3)
        if len(values) <= LABELLED_DIMENSIONS:
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
    x: NDArray[np.float32],
    reconstruction: NDArray[np.float32],
    names: Sequence[str] | None,
    path: Path,
) -> None:
    """Draws the elements of vectors, what was reconstructed over what went in.

    Args:
        x: vectors, shape `(n, D)`; of more than `ELEMENTS` elements, those that vary most.
        reconstruction: the same shape.
        names: of the elements; their numbers are shown where None.
        path: PNG file to write.
    """
    spread = x.astype(np.float64).var(axis=0)
    elements = np.sort(np.argsort(-spread, kind="stable")[:ELEMENTS])
    rows = -(-len(elements) // 4)
    columns = -(-len(elements) // rows)
    with plotting(path, 2.3 * rows + 0.3, width=WIDTH * columns / 4) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).flatten()
        for axes, element in zip(grid, elements, strict=False):
            _draw_element(axes, x[:, element], reconstruction[:, element])
            title = _shortened(names[element]) if names else f"element {element}"
            axes.set_title(title, loc="left", parse_math=False)
        for axes in grid[len(elements) :]:
            axes.remove()
        figure.supxlabel("input", fontsize=9)
        figure.supylabel("reconstruction", fontsize=9)


def _shortened(name: str, length: int = 22) -> str:
    return name if len(name) <= length else f"{name[: length - 3]}..."


def _draw_element(axes: Any, x: NDArray[np.float32], reconstruction: NDArray[np.float32]) -> None:
    low, high = float(min(x.min(), reconstruction.min())), float(max(x.max(), reconstruction.max()))
    margin = 0.05 * (high - low) or 0.5
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=GREY, linewidth=0.8, zorder=1)
    axes.scatter(x, reconstruction, s=4, color=BLUE, alpha=0.5, linewidths=0, zorder=2)
    axes.set(xlim=limits, ylim=limits, box_aspect=1)
    axes.grid(color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
