"""The figures of a model card: data, drawing, alternative text and caption of each.

The training curve is drawn if it is known. The other figures follow from the model and its held-out
samples, with fixed seeds: the same model gives the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_export.card import mosaics, plots
from vae_export.card.figure_data import BatchedModel, Float32, HeldOut, middle_slices
from vae_export.card.latent_plane import draw_plane
from vae_runtime.bundle.fields import Manifest
from vae_runtime.latents import measure_latents

FOLDER = "figures"
TRAINING = f"{FOLDER}/training.png"
RECONSTRUCTIONS = f"{FOLDER}/reconstructions.png"
SAMPLES = f"{FOLDER}/samples.png"
LATENT_PLANE = f"{FOLDER}/latent_plane.png"
LATENT_KL = f"{FOLDER}/latent_kl.png"

MAX_SAMPLES = 2000
"""Largest number of held-out samples in the figures; more make a scatter plot no clearer."""

PRIOR_SEED = 0
"""Seed of the samples from the prior. You can repeat them with `VAERuntime.sample`."""


@dataclass(frozen=True)
class CardFigure:
    """A figure: path of its PNG file in the bundle, alternative text, and a caption of one line."""

    path: str
    alt: str
    caption: str


def draw_figures(
    folder: Path,
    functions: Mapping[str, Any],
    manifest: Manifest,
    samples: NDArray[np.generic],
    curve: plots.Curve | None,
    conditions: Float32 | None = None,
) -> tuple[CardFigure, ...]:
    """Draw the figures of a model into the bundle's `folder`, and return them in card order.

    `functions` come from `exported_functions`. `samples` are held out, uint8 or float32, shape
    `(n, *input_shape)`, and `conditions` theirs. If none has finite codes, only
    the training curve is drawn.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    drawn = [_training(folder, manifest, curve)] if curve else []
    if len(samples) == 0:
        return tuple(drawn)
    model = BatchedModel(functions, manifest.loss, manifest.input)
    given = None if conditions is None else conditions[:MAX_SAMPLES]
    held_out = model.encode(samples[:MAX_SAMPLES], given)
    if len(held_out.x) == 0:
        return tuple(drawn)
    shape = manifest.input.shape
    pictures = len(shape) in (3, 4) and shape[-1] in (1, 3)
    if pictures:
        shown = replace(held_out, x=middle_slices(held_out.x))
        drawn += [_reconstructions(folder, model, shown), _samples(folder, model, shown)]
        # Points of the plane have no condition.
        drawn += [_plane(folder, manifest, model if given is None else None, shown)]
    else:
        if len(shape) == 1:
            drawn += [_elements(folder, manifest, model, held_out)]
        elif len(shape) == 2:
            drawn += [_series(folder, model, held_out)]
        drawn += [_plane(folder, manifest, None, held_out)]
    return (*drawn, _kl(folder, manifest, held_out))


def _training(folder: Path, manifest: Manifest, curve: plots.Curve) -> CardFigure:
    plots.draw_training(curve, manifest.loss.unit, folder / TRAINING)
    caption = "The loss and its two parts after each epoch."
    return CardFigure(TRAINING, "loss and its parts over the epochs", caption)


def _reconstructions(folder: Path, model: BatchedModel, held_out: HeldOut) -> CardFigure:
    x, z_mean = (a[: mosaics.MAX_COLUMNS] for a in (held_out.x, held_out.z_mean))
    decoded = middle_slices(model.decode(z_mean, _conditions(held_out, len(x))))
    mosaics.draw_reconstructions(x, decoded, folder / RECONSTRUCTIONS)
    alt = "held-out inputs above their reconstructions"
    caption = "Top row: held-out inputs. Bottom row: their reconstructions at z = z_mean."
    return CardFigure(RECONSTRUCTIONS, alt, caption)


def _conditions(held_out: HeldOut, count: int) -> Float32 | None:
    """Return the first `count` conditions of the samples, over again if there are fewer."""
    condition = held_out.condition
    return None if condition is None else condition[np.arange(count) % len(condition)]


def _elements(
    folder: Path, manifest: Manifest, model: BatchedModel, held_out: HeldOut
) -> CardFigure:
    columns = manifest.data.columns if manifest.data else None
    decoded = model.decode(held_out.z_mean, held_out.condition)
    plots.draw_elements(held_out.x, decoded, columns, folder / RECONSTRUCTIONS)
    alt = "reconstructed values against input values"
    caption = (
        "Reconstructions (at z = z_mean) against held-out inputs; on the line, both are equal."
    )
    return CardFigure(RECONSTRUCTIONS, alt, caption)


def _series(folder: Path, model: BatchedModel, held_out: HeldOut) -> CardFigure:
    z_mean = held_out.z_mean[: plots.MAX_SERIES]
    decoded = model.decode(z_mean, _conditions(held_out, len(z_mean)))
    plots.draw_series(held_out.x[: len(decoded)], decoded, folder / RECONSTRUCTIONS)
    alt = "held-out series and their reconstructions"
    caption = (
        "Held-out series (grey) and their reconstructions at z = z_mean (blue): a column for each "
        "series, a row for each of the channels that vary most."
    )
    return CardFigure(RECONSTRUCTIONS, alt, caption)


def _samples(folder: Path, model: BatchedModel, held_out: HeldOut) -> CardFigure:
    count = math.prod(mosaics.layout(held_out.x.shape[1:]))
    z = np.random.default_rng(PRIOR_SEED).standard_normal((count, held_out.z_mean.shape[1]))
    given = _conditions(held_out, count)
    decoded = middle_slices(model.decode(z.astype(np.float32), given))
    mosaics.draw_samples(decoded, held_out.x, folder / SAMPLES)
    caption = f"Samples from the prior, z ~ N(0, I): `vae.sample({count}, seed={PRIOR_SEED})`."
    if given is not None:
        caption = "Samples from the prior, z ~ N(0, I), with the conditions of held-out samples."
    return CardFigure(SAMPLES, "samples from the prior", caption)


def _plane(
    folder: Path, manifest: Manifest, model: BatchedModel | None, held_out: HeldOut
) -> CardFigure:
    def decode_pictures(z: Float32) -> Float32:
        assert model is not None
        return middle_slices(model.decode(z))

    decode = decode_pictures if model else None
    draw_plane(held_out, decode, manifest.loss.unit, folder / LATENT_PLANE)
    alt = "held-out samples in the latent plane" + (", and decoded points of it" if model else "")
    caption = "z_mean of held-out samples" + (
        ", and decoded points between them." if model else "."
    )
    return CardFigure(LATENT_PLANE, alt, caption)


def _kl(folder: Path, manifest: Manifest, held_out: HeldOut) -> CardFigure:
    known = manifest.training.latents if manifest.training else None
    latents = known or measure_latents(held_out.z_mean, held_out.z_log_var)
    # The manifest only counts the active dimensions. The samples here tell which ones they are.
    order = np.argsort(-held_out.z_mean.var(axis=0, dtype=np.float64), kind="stable")
    active = np.isin(np.arange(len(order)), order[: latents.active_units])
    plots.draw_kl(latents.kl_per_dimension, active, folder / LATENT_KL)
    caption = (
        f"Mean KL loss of each latent dimension over {'test' if known else 'held-out'} samples."
    )
    return CardFigure(LATENT_KL, "KL loss of each latent dimension", caption)
