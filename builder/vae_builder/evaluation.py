"""What a model reaches on samples that it was not trained on, computed by TensorFlow."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from vae_builder.data import Samples
from vae_builder.vae import VAE
from vae_runtime.errors import TrainingError
from vae_runtime.inputs import to_float
from vae_runtime.latents import Latents, latents
from vae_runtime.loss import Losses


def evaluate(
    vae: VAE, x: Samples, *, seed: tuple[int, ...], batch_size: int = 500
) -> Losses[float]:
    """The mean losses of a data set, with one z drawn for each sample.

    Args:
        vae: the model.
        x: samples, shape `(n, *input_shape)`, uint8 or float32.
        seed: of the noise.
        batch_size: samples computed at once.

    Returns:
        Means over the samples.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for start in range(0, len(x), batch_size):
        batch = to_float(x[start : start + batch_size])
        eps = rng.standard_normal((len(batch), vae.latent_dim), dtype=np.float32)
        parts.append(vae.test_losses(tf.constant(batch), tf.constant(eps)).numpy())
    return Losses(*np.concatenate(parts, axis=1)).mean()


def describe_latents(vae: VAE, x: Samples, *, batch_size: int = 500) -> Latents:
    """What the latent dimensions carry.

    Args:
        vae: the model.
        x: samples, shape `(n, *input_shape)`, uint8 or float32.
        batch_size: samples computed at once.

    Returns:
        Active units and the KL divergence of each dimension.
    """
    parts = [
        vae.encoder(vae.prepared(tf.constant(to_float(x[start : start + batch_size]))))
        for start in range(0, len(x), batch_size)
    ]
    z_mean, z_log_var = (
        np.concatenate([part[name].numpy() for part in parts]) for name in ("z_mean", "z_log_var")
    )
    return latents(z_mean, z_log_var)


def require_finite(means: Losses[float], step: int) -> None:
    """Checks the mean losses that a step has led to.

    Raises:
        TrainingError: one of them is not finite.
    """
    if not math.isfinite(means.loss):
        raise TrainingError(
            f"the loss is {means.loss} at step {step} (reconstruction_loss "
            f"{means.reconstruction_loss:.6g}, kl_loss {means.kl_loss:.6g}): lower the learning "
            "rate or scale the data"
        )
