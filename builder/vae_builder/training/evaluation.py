"""Losses and latent statistics of a model on a set of samples, computed by TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_builder.data import Dataset, Samples
from vae_builder.model.vae import VAE
from vae_runtime.data.inputs import to_scaled_float32
from vae_runtime.errors import TrainingError
from vae_runtime.explained import Explained, mean_sample, measure_explained
from vae_runtime.latents import Latents, measure_latents
from vae_runtime.loss import Losses

MAX_BATCH_SAMPLES = 500
"""Maximum number of samples in one batch."""
MAX_BATCH_ELEMENTS = 500 * 784
"""Maximum number of elements of x in one batch, which bounds memory for large samples."""


def evaluate(vae: VAE, x: Samples, *, seed: tuple[int, ...]) -> Losses[float]:
    """Return the mean losses of samples, with one z drawn for each sample.

    Args:
        vae: the model.
        x: samples, shape `(n, *input_shape)`, uint8 or float32.
        seed: seed of the noise. The noise of a sample does not depend on the batch size.

    Returns:
        Means over the samples.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for batch in _batches(x):
        eps = rng.standard_normal((len(batch), *vae.latent_shape), dtype=np.float32)
        parts.append(vae.test_losses(tf.constant(batch), tf.constant(eps)).numpy())
    return Losses(*np.concatenate(parts, axis=1)).mean()


def describe_latents(vae: VAE, x: Samples) -> Latents:
    """Return the active units and the KL divergence of each latent dimension."""
    parts = [vae.encoder(vae.prepared(tf.constant(batch))) for batch in _batches(x)]
    z_mean, z_log_var = (
        np.concatenate([part[name].numpy() for part in parts]) for name in ("z_mean", "z_log_var")
    )
    return measure_latents(z_mean, z_log_var)


def explain(vae: VAE, dataset: Dataset, test: Losses[float]) -> Explained:
    """Return the test reconstruction loss beside that of predicting the mean training sample."""
    mean, parts = mean_sample(_batches(dataset.train)), _batches(dataset.test)
    return measure_explained(vae.spec, vae.standardization, parts, mean, test.reconstruction_loss)


def require_finite(means: Losses[float], step: int) -> None:
    """Check the mean losses after a step; raise TrainingError if they are not finite."""
    if not math.isfinite(means.loss):
        raise TrainingError(
            f"the loss is {means.loss} at step {step} (reconstruction_loss "
            f"{means.reconstruction_loss:.6g}, kl_loss {means.kl_loss:.6g}): lower the learning "
            "rate or scale the data"
        )


def _batches(x: Samples) -> Iterator[NDArray[np.float32]]:
    size = max(1, min(MAX_BATCH_SAMPLES, MAX_BATCH_ELEMENTS // math.prod(x.shape[1:])))
    return (to_scaled_float32(x[start : start + size]) for start in range(0, len(x), size))
