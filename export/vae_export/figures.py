"""The pictures of a model card: the training curve, and inputs beside their reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vae_runtime import picture, png
from vae_runtime.loss import Losses

PAIRS = 10
"""Inputs shown beside their reconstructions."""

MIN_SIDE, MAX_SIDE = 28 * 3, 256
"""Pixels that a small picture is enlarged to, and a large one is thinned to, to be seen."""


@dataclass(frozen=True)
class Curve:
    """Losses after each epoch.

    Attributes:
        train: means over the training samples, one entry an epoch.
        validation: means over the validation samples.
    """

    train: Sequence[Losses[float]]
    validation: Sequence[Losses[float]]


def draw_training(curve: Curve, unit: str, path: Path) -> None:
    """Draws the loss and its two parts over the epochs.

    Args:
        curve: what was reached.
        unit: of the reconstruction loss, such as "nats".
        path: PNG file to write.
    """
    epochs = np.arange(1, len(curve.train) + 1)
    titles = {"loss": "loss", "reconstruction_loss": "reconstruction loss", "kl_loss": "KL loss"}
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(9, 2.8), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
            for label, points, style in (
                ("training", curve.train, {"color": "#9aa0a6", "linewidth": 1.5}),
                ("validation", curve.validation, {"color": "#1a5fb4", "linewidth": 1.8}),
            ):
                values = [getattr(point, name) for point in points]
                marker = "o" if len(values) < 3 else ""
                axes.plot(epochs, values, label=label, marker=marker, **style)
            axes.set_title(title, loc="left")
            axes.set_xlabel("epoch")
            axes.set_ylabel("nats" if name == "kl_loss" else unit)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(axis="y", color="#e0e0e0", linewidth=0.6)
        axes.legend(frameon=False)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, dpi=120, metadata={"Software": None})


def draw_reconstructions(
    x: NDArray[np.float32], reconstruction: NDArray[np.float32], path: Path
) -> None:
    """Draws inputs in the upper row and their reconstructions in the lower.

    Args:
        x: images, shape `(n, height, width, channels)`, channels 1 or 3.
        reconstruction: images of the same shape.
        path: PNG file to write.
    """
    count = min(PAIRS, len(x))
    every = -(-max(x.shape[1:3]) // MAX_SIDE)
    x, reconstruction = (images[:, ::every, ::every] for images in (x, reconstruction))
    both = np.concatenate([x[:count], reconstruction[:count]])
    zoom = max(1, -(-MIN_SIDE // max(x.shape[1:3])))
    enlarged = np.repeat(np.repeat(picture.to_unit_range(both, like=x), zoom, axis=1), zoom, axis=2)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(png.encode(picture.grid(enlarged, columns=count, padding=2)))
