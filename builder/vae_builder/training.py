"""Training: the fast loop around `VAE.update`.

One step is one XLA program; a block of steps is one TensorFlow call on samples that NumPy gathered
for it, so memory does not grow with the data and Python is idle while a block runs.

Everything random is a pure function of the seed and a position: initial weights of (seed), the
order of samples of (seed, epoch), noise of (seed, step). Same seed, same machine, same versions:
same weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_builder.config import TrainConfig
from vae_builder.data import Dataset
from vae_builder.models import build_models, find_preset
from vae_builder.vae import VAE
from vae_runtime.errors import TrainingError
from vae_runtime.inputs import to_float
from vae_runtime.loss import Losses
from vae_runtime.manifest import DataSpec

BLOCK_BYTES = 16 << 20
BLOCK_STEPS = 64
"""A block ends at whichever comes first: it bounds memory and the wait after Ctrl-C."""

WARMUP = 0.04
"""Share of all steps in which the learning rate rises from 0 to its peak."""

HELD_OUT = 64
"""Test samples that stay with a trained model."""

ORDER, VALIDATION_NOISE, TEST_NOISE = range(3)
"""Streams of random numbers, told apart by the second word of their seed."""


@dataclass(frozen=True)
class Progress:
    """Where training is, reported after each block of steps.

    Attributes:
        epoch: the current epoch, from 1.
        step: steps done in all epochs.
        steps: steps in all epochs.
        train: mean training losses of the current epoch so far.
        validation: losses of the last finished epoch; None in the first.
    """

    epoch: int
    step: int
    steps: int
    train: Losses[float]
    validation: Losses[float] | None


@dataclass(frozen=True)
class Epoch:
    """What one epoch reached.

    Attributes:
        epoch: its number, from 1.
        train: means over the steps of the epoch, while the weights moved.
        validation: means over the validation samples after it, one z per sample.
        learning_rate: at its end.
        seconds: wall time, validation included.
    """

    epoch: int
    train: Losses[float]
    validation: Losses[float]
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class Trained:
    """A trained model and how it came about.

    Attributes:
        vae: the model.
        config: the choices, with the hidden sizes filled in.
        data: what it was trained on.
        held_out: test samples for the proof, shape `(m, *input_shape)`, uint8 or float32.
        history: one entry an epoch.
        validation: losses of the validation samples, one z per sample.
        test: losses of the test samples, one z per sample.
        seconds: wall time of training.
    """

    vae: VAE
    config: TrainConfig
    data: DataSpec
    held_out: NDArray[np.generic]
    history: tuple[Epoch, ...]
    validation: Losses[float]
    test: Losses[float]
    seconds: float


def train(
    dataset: Dataset,
    config: TrainConfig | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Trains a VAE.

    Args:
        dataset: samples in their splits; uint8 is divided by 255.
        config: choices; the defaults where left out.
        on_progress: called after each block of steps.

    Returns:
        The trained model with its history.

    Raises:
        InputError: the data is out of the range that the loss needs, or not finite.
        OptionError: the preset is unknown or cannot take the data's shape.
        TrainingError: the loss is no longer a finite number.
        KeyboardInterrupt: from Ctrl-C, between two blocks; nothing is left behind.
    """
    config = config or TrainConfig()
    config = replace(config, hidden=config.hidden or find_preset(config.preset).hidden)
    dataset.require_range(config.loss.value_range)
    encoder, decoder = build_models(
        config.preset, dataset.input_shape, config.latent_dim, config.hidden, seed=config.seed
    )
    vae = VAE(encoder, decoder, config.loss, seed=config.seed)
    started = time.perf_counter()
    history = tuple(_run_epochs(vae, dataset, config, on_progress))
    test = evaluate(vae, dataset.test, seed=(config.seed, TEST_NOISE))
    _require_finite(test, int(vae.optimizer.iterations))
    return Trained(
        vae=vae,
        config=config,
        data=data_spec(dataset),
        held_out=dataset.test[:HELD_OUT],
        history=history,
        validation=history[-1].validation,
        test=test,
        seconds=time.perf_counter() - started,
    )


def evaluate(
    vae: VAE, x: NDArray[np.generic], *, seed: tuple[int, ...], batch_size: int = 500
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


def _run_epochs(
    vae: VAE,
    dataset: Dataset,
    config: TrainConfig,
    on_progress: Callable[[Progress], None] | None,
) -> Iterator[Epoch]:
    batch_size = min(config.batch_size, len(dataset.train))
    steps_per_epoch = len(dataset.train) // batch_size
    schedule = _learning_rate(config.learning_rate, steps_per_epoch * config.epochs)
    vae.compile(optimizer=keras.optimizers.Adam(schedule))
    vae.optimizer.build(vae.trainable_variables)
    run_block = _block_function(vae, (batch_size, *dataset.input_shape), dataset.train.dtype)
    validation: Losses[float] | None = None
    for epoch in range(1, config.epochs + 1):
        started = time.perf_counter()
        sums, done = np.zeros(3), 0
        for order in _blocks(config.seed, epoch, dataset.train, batch_size):
            sums += run_block(tf.constant(dataset.train[order])).numpy()
            done += len(order)
            step = (epoch - 1) * steps_per_epoch + done
            means = Losses(*(float(total) / done for total in sums))
            _require_finite(means, step)
            if on_progress:
                total = steps_per_epoch * config.epochs
                on_progress(Progress(epoch, step, total, means, validation))
        validation = evaluate(vae, dataset.validation, seed=(config.seed, VALIDATION_NOISE))
        _require_finite(validation, epoch * steps_per_epoch)
        rate = float(schedule(epoch * steps_per_epoch))
        yield Epoch(epoch, means, validation, rate, time.perf_counter() - started)


def _learning_rate(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up from 0, then cosine decay to 0 at the last step."""
    warmup = max(1, round(WARMUP * steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, steps - warmup),
        warmup_target=peak,
        warmup_steps=warmup,
    )


def _blocks(
    seed: int, epoch: int, x: NDArray[np.generic], batch_size: int
) -> Iterator[NDArray[np.int64]]:
    """The order of an epoch's samples, in blocks of shape `(steps, batch_size)`."""
    order = np.random.default_rng((seed, ORDER, epoch)).permutation(len(x))
    order = order[: len(x) // batch_size * batch_size].reshape(-1, batch_size)
    bytes_per_step = batch_size * math.prod(x.shape[1:]) * x.itemsize
    size = min(BLOCK_STEPS, max(1, BLOCK_BYTES // bytes_per_step))
    return (order[start : start + size] for start in range(0, len(order), size))


def _block_function(vae: VAE, batch_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """A TensorFlow function that takes the steps of a block and returns the sums of the losses."""

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]
    def step(batch: Any) -> Any:
        x = tf.cast(batch, tf.float32)
        parts = vae.update(x / 255.0 if batch.dtype == tf.uint8 else x)
        return tf.stack([parts.reconstruction_loss, parts.kl_loss, parts.loss])

    signature = [tf.TensorSpec((None, *batch_shape), tf.as_dtype(dtype))]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def block(batches: Any) -> Any:
        total = tf.zeros(3)
        for i in tf.range(tf.shape(batches)[0]):
            total += step(tf.ensure_shape(batches[i], batch_shape))
        return total

    return block


def data_spec(dataset: Dataset) -> DataSpec:
    """What a manifest says of a data set."""
    return DataSpec(
        name=dataset.name,
        sha256=dataset.digest,
        train=len(dataset.train),
        validation=len(dataset.validation),
        test=len(dataset.test),
        split_seed=dataset.split_seed,
    )


def _require_finite(means: Losses[float], step: int) -> None:
    if not math.isfinite(means.loss):
        raise TrainingError(
            f"the loss is {means.loss} at step {step} (reconstruction_loss "
            f"{means.reconstruction_loss:.6g}, kl_loss {means.kl_loss:.6g}): lower the learning "
            "rate or scale the data"
        )
