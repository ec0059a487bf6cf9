"""Losses and latent statistics of a model on a set of samples, computed by TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_builder.data import Dataset, Samples
from vae_builder.model.vae import VAE
from vae_builder.workers.replicas import ONE, Replicas
from vae_export.graphs.functions import call_model
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.data.samples.inputs import to_scaled_float32
from vae_runtime.errors import TrainingError
from vae_runtime.explained import Explained, mean_sample, measure_explained
from vae_runtime.latents import Latents, measure_latents
from vae_runtime.loss import LOSS_NAMES, Losses

MAX_BATCH_SAMPLES = 500
"""Maximum number of samples in one batch."""
MAX_BATCH_ELEMENTS = 500 * 784
"""Maximum number of elements of x in one batch, which bounds memory for large samples."""


def evaluate(
    vae: VAE,
    x: Samples,
    *,
    seed: tuple[int, ...],
    conditions: Conditions | None = None,
    replicas: Replicas = ONE,
) -> Losses[float]:
    """Return the mean losses of samples, with one z drawn for each sample.

    Args:
        vae: the model.
        x: samples, shape `(n, *input_shape)`, uint8 or float32.
        seed: seed of the noise. The noise of a sample does not depend on the batch size.
        conditions: conditions of the samples; None if the model is not conditional.
        replicas: with several workers, which all call this, each evaluates some of the batches.

    Returns:
        Means over the samples.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for i, rows in enumerate(_slices(x)):
        count = rows.stop - rows.start
        eps = rng.standard_normal((count, *vae.latent_shape), dtype=np.float32)
        if replicas.is_mine(i):
            batch, *given = _read(x, conditions, rows)
            inputs = (tf.constant(array) for array in (batch, eps, *given))
            parts.append(vae.test_losses(*inputs).numpy())
        else:
            parts.append(np.zeros((len(LOSS_NAMES), count), np.float32))
    return Losses(*replicas.sum_over_workers(np.concatenate(parts, axis=1))).mean()


def describe_latents(vae: VAE, x: Samples, conditions: Conditions | None = None) -> Latents:
    """Return the active units and the KL divergence of each latent dimension."""
    parts = [
        call_model(vae.encoder, vae.prepared(tf.constant(batch)), *map(tf.constant, given))
        for batch, *given in _batches(x, conditions)
    ]
    z_mean, z_log_var = (
        np.concatenate([part[name].numpy() for part in parts]) for name in ("z_mean", "z_log_var")
    )
    return measure_latents(z_mean, z_log_var)


def explain(vae: VAE, dataset: Dataset, test: Losses[float]) -> Explained:
    """Return the test reconstruction loss beside that of predicting the mean training sample."""
    mean = mean_sample(batch for batch, *_ in _batches(dataset.train))
    parts = (batch for batch, *_ in _batches(dataset.test))
    return measure_explained(vae.spec, vae.standardization, parts, mean, test.reconstruction_loss)


def require_finite(means: Losses[float], step: int) -> None:
    """Check the mean losses after a step; raise TrainingError if they are not finite."""
    if not math.isfinite(means.loss):
        raise TrainingError(
            f"the loss is {means.loss} at step {step} (reconstruction_loss "
            f"{means.reconstruction_loss:.6g}, kl_loss {means.kl_loss:.6g}): lower the learning "
            "rate or scale the data"
        )


def _batches(
    x: Samples, conditions: Conditions | None = None
) -> Iterator[tuple[NDArray[np.float32], ...]]:
    """Yield samples, and their conditions if there are any, in batches of bounded size."""
    return (_read(x, conditions, rows) for rows in _slices(x))


def _slices(x: Samples) -> Iterator[slice]:
    """Yield which samples each batch holds."""
    size = max(1, min(MAX_BATCH_SAMPLES, MAX_BATCH_ELEMENTS // math.prod(x.shape[1:])))
    return (slice(start, min(start + size, len(x))) for start in range(0, len(x), size))


def _read(
    x: Samples, conditions: Conditions | None, rows: slice
) -> tuple[NDArray[np.float32], ...]:
    given = () if conditions is None else (conditions.values[rows],)
    return to_scaled_float32(x[rows]), *given
