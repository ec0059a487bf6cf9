"""The figures of a model card: which there are, what each is made from, and what it says.

The training curve is drawn where it is known. Everything else follows from the model and its
held-out samples, with fixed seeds: the same model gives the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_export.card import mosaics, plots
from vae_export.card.figure_data import HeldOut, Look
from vae_export.card.latent_plane import draw_plane
from vae_runtime.bundle.fields import Manifest
from vae_runtime.latents import latents

FOLDER = "figures"
TRAINING = f"{FOLDER}/training.png"
RECONSTRUCTIONS = f"{FOLDER}/reconstructions.png"
SAMPLES = f"{FOLDER}/samples.png"
LATENT_PLANE = f"{FOLDER}/latent_plane.png"
LATENT_KL = f"{FOLDER}/latent_kl.png"

LOOKED_AT = 2000
"""Held-out samples that are looked at; more make a cloud no clearer."""

SEED = 0
"""Of the draws from the prior: that of `VAERuntime.sample`, so that a reader can repeat them."""


@dataclass(frozen=True)
class CardFigure:
    """A figure that was drawn.

    Attributes:
        path: of the PNG file, in the bundle.
        alt: what it shows, for who does not see it.
        caption: what to read from it, in one line.
    """

    path: str
    alt: str
    caption: str


def draw_figures(
    folder: Path,
    functions: Mapping[str, Any],
    manifest: Manifest,
    samples: NDArray[np.generic],
    curve: plots.Curve | None,
) -> tuple[CardFigure, ...]:
    """Draws what there is to see of a model.

    Args:
        folder: of the bundle; the figures come into its folder `FOLDER`.
        functions: encoder and decoder, as by `exported_functions`.
        manifest: what the bundle says of itself.
        samples: held-out samples, shape `(n, *input_shape)`, uint8 or float32; the first ones are
            looked at. Without any, only the training curve is drawn.
        curve: losses after each epoch, where they are known.

    Returns:
        The figures, in the order of the card.
    """
    (folder / FOLDER).mkdir()
    drawn = [_training(folder, manifest, curve)] if curve else []
    if len(samples) == 0:
        return tuple(drawn)
    look = Look(functions, manifest.loss, manifest.input)
    seen = look.held_out(samples[:LOOKED_AT])
    if len(seen.x) == 0:
        return tuple(drawn)
    shape = manifest.input.shape
    pictures = len(shape) == 3 and shape[-1] in (1, 3)
    if pictures:
        drawn += [_reconstructions(folder, look, seen), _samples(folder, look, seen)]
    elif len(shape) == 1:
        drawn += [_elements(folder, manifest, look, seen)]
    plane = _plane(folder, manifest, look if pictures else None, seen)
    return (*drawn, plane, _kl(folder, manifest, seen))


def _training(folder: Path, manifest: Manifest, curve: plots.Curve) -> CardFigure:
    plots.draw_training(curve, manifest.loss.unit, folder / TRAINING)
    return CardFigure(
        TRAINING,
        "loss and its parts over the epochs",
        "The loss and its two parts after each epoch.",
    )


def _reconstructions(folder: Path, look: Look, seen: HeldOut) -> CardFigure:
    count = mosaics.MAX_COLUMNS
    decoded = look.decode(seen.z_mean[:count])
    mosaics.draw_reconstructions(seen.x[:count], decoded, folder / RECONSTRUCTIONS)
    return CardFigure(
        RECONSTRUCTIONS,
        "held-out inputs above their reconstructions",
        "Held-out inputs above, their reconstructions (z = z_mean) below.",
    )


def _elements(folder: Path, manifest: Manifest, look: Look, seen: HeldOut) -> CardFigure:
    columns = manifest.data.columns if manifest.data else None
    plots.draw_elements(seen.x, look.decode(seen.z_mean), columns, folder / RECONSTRUCTIONS)
    return CardFigure(
        RECONSTRUCTIONS,
        "reconstructed elements over those of the inputs",
        "Elements of held-out inputs and of their reconstructions (z = z_mean): equal on the line.",
    )


def _samples(folder: Path, look: Look, seen: HeldOut) -> CardFigure:
    count = math.prod(mosaics.layout(seen.x.shape[1:]))
    z = np.random.default_rng(SEED).standard_normal((count, seen.z_mean.shape[1]))
    mosaics.draw_samples(look.decode(z.astype(np.float32)), seen.x, folder / SAMPLES)
    return CardFigure(
        SAMPLES,
        "samples from the prior",
        f"Samples from the prior, z ~ N(0, I): `vae.sample({count}, seed={SEED})`.",
    )


def _plane(folder: Path, manifest: Manifest, look: Look | None, seen: HeldOut) -> CardFigure:
    draw_plane(seen, look.decode if look else None, manifest.loss.unit, folder / LATENT_PLANE)
    decoded = ", and what the decoder makes of such places" if look else ""
    return CardFigure(
        LATENT_PLANE,
        "held-out samples in the latent plane" + (", and the plane decoded" if look else ""),
        f"Where the encoder puts held-out samples{decoded}.",
    )


def _kl(folder: Path, manifest: Manifest, seen: HeldOut) -> CardFigure:
    known = manifest.training.latents if manifest.training else None
    found = known or latents(seen.z_mean, seen.z_log_var)
    # The manifest counts the active dimensions over all test samples; these tell which they are.
    active = _largest(seen.z_mean.var(axis=0, dtype=np.float64), found.active_units)
    plots.draw_kl(found.kl_per_dimension, active, folder / LATENT_KL)
    return CardFigure(
        LATENT_KL,
        "KL loss of each latent dimension",
        f"What each latent dimension carries, on average over {'test' if known else 'held-out'} "
        "samples.",
    )


def _largest(values: NDArray[np.float64], count: int) -> NDArray[np.bool_]:
    """Which of the values are the `count` largest."""
    chosen = np.zeros(len(values), bool)
    chosen[np.argsort(-values, kind="stable")[:count]] = True
    return chosen
