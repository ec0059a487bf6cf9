"""The training loop around `VAE.update`, which can stop anywhere and resume.

The loop trains on one block of steps at a time (see `steps.py`), whose samples NumPy reads. Memory
use does not grow with the data, and Python is idle while a block is trained on.

Everything random is a pure function of the seed and a position: initial weights of (seed), the
order of samples of (seed, epoch), noise of (seed, step, position in the batch). The same seed,
machine, versions and number of replicas give the same weights, whether the run was interrupted or
not. Another number of replicas gives the same gradients up to rounding.
"""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_builder.config import Schedule, TrainConfig
from vae_builder.data import Dataset
from vae_builder.data.statistics import moments
from vae_builder.model.architectures import build_models
from vae_builder.model.objective import Objective
from vae_builder.model.table_model import start_from_factor_analysis
from vae_builder.model.vae import VAE
from vae_builder.training.averaging import MovingAverage
from vae_builder.training.checkpoint import (
    Checkpoint,
    Epoch,
    Position,
    load_checkpoint,
    save_checkpoint,
)
from vae_builder.training.evaluation import evaluate, require_finite
from vae_builder.training.shared_steps import compile_shared_block
from vae_builder.training.steps import ALL_ROWS, compile_block, read_blocks
from vae_builder.workers.replicas import ONE, Replicas
from vae_runtime.data.numbers.standardization import Standardization, standardize
from vae_runtime.data.samples.inputs import to_scaled_float32
from vae_runtime.errors import InputError
from vae_runtime.loss import MAX_VARIANCE, MIN_VARIANCE, Losses

WARMUP_FRACTION = 0.04
"""Fraction of all steps in which the learning rate rises from 0 to its peak."""

CHECKPOINT_SECONDS = 15.0
"""Minimum time between checkpoints within an epoch. Each epoch ends with a checkpoint too."""

MAX_EPOCH_CHECKPOINTS = 200
"""Epochs that end with a checkpoint. If there are more epochs, only every second, third, ... does:
with few samples an epoch takes less time than its checkpoint."""

VARIANCE_SAMPLES = 1000
"""Training samples that give the initial variance of a Gaussian likelihood."""

ORDER, VALIDATION_NOISE, TEST_NOISE = range(3)
"""Second word of the seed of each random stream, so that streams are independent."""


@dataclass(frozen=True)
class Progress:
    """Progress of training, reported after each block of steps.

    Attributes:
        epoch: the current epoch, from 1.
        step: steps done in all epochs.
        steps: total number of steps.
        train: mean training losses of the current epoch so far.
        validation: losses of the last finished epoch; None in the first.
    """

    epoch: int
    step: int
    steps: int
    train: Losses[float]
    validation: Losses[float] | None


class Trainer:
    """A training run: the model, its optimizer and the position.

    With several replicas, `models` are those of this worker, which are equal, and `vae` is the
    first. A share of each batch, and in turn the batches of an evaluation, are this worker's.

    The model holds the weights that steps update. With `ema_momentum` it holds their average while
    it is evaluated and after the last step. No checkpoint is written meanwhile.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: TrainConfig,
        on_progress: Callable[[Progress], None] | None,
        on_checkpoint: Callable[[Checkpoint], None] | None,
        replicas: Replicas = ONE,
    ) -> None:
        self.dataset, self.config, self.replicas = dataset, config, replicas
        self.on_progress, self.on_checkpoint = on_progress, on_checkpoint
        self.steps_per_epoch = len(dataset.train) // config.batch_size
        assert config.epochs is not None, "TrainConfig.for_samples sets it"
        self.epochs = config.epochs
        self.steps = self.steps_per_epoch * self.epochs
        self.schedule = _learning_rate(config.learning_rate, self.steps, config.schedule)
        self.models = [self._build_on(device) for device in replicas.devices]
        self.vae, self.average = self.models[0]
        self.conditions = dataset.conditions_of("train")
        self.rows = ALL_ROWS
        self.run_block = self._compile()
        self.position = Position()
        self.history: tuple[Epoch, ...] = ()
        self.best: list[NDArray[Any]] = []

    def _compile(self) -> Callable[..., NDArray[np.float32]]:
        config, dataset, given = self.config, self.dataset, self.conditions
        batch_shape, dtype = (config.batch_size, *dataset.input_shape), dataset.train.dtype
        condition_shape = (given.spec.shape,) if given else ()
        if self.replicas.count == 1:
            return compile_block(self.vae, batch_shape, dtype, self.average, *condition_shape)
        self.rows = self.replicas.rows(config.batch_size)
        return compile_shared_block(
            self.models, self.replicas, batch_shape, dtype, *condition_shape
        )

    def _build_on(self, device: str | None) -> tuple[VAE, MovingAverage]:
        """Return the model of a replica and the average of its weights."""
        with tf.device(device) if device else contextlib.nullcontext():
            vae = self._build()
            return vae, MovingAverage(vae.trainable_variables, self.config.ema_momentum)

    def _build(self) -> VAE:
        config, dataset, given = self.config, self.dataset, self.dataset.conditions_of("train", 0)
        standardization = dataset.standardization() if config.standardize else None
        if config.value_range:
            standardization = Standardization.of_range(*config.value_range)
        loss, variance = config.loss, config.variance or "fixed"
        if loss.has_two_heads:
            variance = "fixed"
        if variance != "fixed":
            x = to_scaled_float32(dataset.train[:VARIANCE_SAMPLES])
            initial = float(np.var(standardize(np, standardization, x)))
            initial = float(np.clip(initial, MIN_VARIANCE, MAX_VARIANCE))
            loss = replace(loss, variance=initial)
        shape, hidden = dataset.input_shape, config.hidden
        encoder, decoder = build_models(
            config.preset,
            shape,
            config.latent_dim,
            hidden,
            seed=config.seed,
            two_heads=loss.has_two_heads,
            condition_shape=given.spec.shape if given else None,
        )
        if config.preset == "table" and loss.value_range is None:
            start_from_factor_analysis(encoder, decoder, *moments(dataset.train, standardization))
        vae = VAE(
            encoder,
            decoder,
            loss,
            seed=config.seed,
            objective=Objective(
                kl_weight=config.loss.kl_weight,
                warmup_steps=round(config.kl_warmup * self.steps_per_epoch),
                free_bits=config.free_bits,
                input_dropout=config.input_dropout,
            ),
            variance=variance,
            standardization=standardization,
        )
        vae.compile(keras.optimizers.Adam(self.schedule, global_clipnorm=config.clip_norm))
        vae.optimizer.build(vae.trainable_variables)
        return vae

    @property
    def validation(self) -> Losses[float]:
        """Validation losses of the weights that the model ends with."""
        epoch = self.position.best_epoch if self.config.patience else len(self.history)
        return self.history[epoch - 1].validation

    def run(self) -> None:
        """Train all epochs, or until the validation loss has not fallen for `patience` epochs."""
        interval = math.ceil(self.epochs / MAX_EPOCH_CHECKPOINTS)
        while self.position.epoch <= self.epochs and not self._is_stale():
            self._run_epoch()
            done = len(self.history)
            if done % interval == 0 or done == self.epochs or self._is_stale():
                self._checkpoint()
        if self.config.patience:
            _assign(self.vae.weights, self.best)
        else:
            self.average.assign()

    def _is_stale(self) -> bool:
        epochs_since_best = len(self.history) - self.position.best_epoch
        return self.config.patience is not None and epochs_since_best >= self.config.patience

    def _run_epoch(self) -> None:
        before, x = self.position, self.dataset.train
        checkpointed = time.perf_counter()
        start = checkpointed - before.seconds  # as if nothing had interrupted the epoch
        order = _sample_order(self.config.seed, before.epoch, len(x))
        for block in read_blocks(order, x, self.config.batch_size, before.step, self.rows):
            given = self._given(order, self.position.step, len(block))
            sums = zip(self.position.sums, self.run_block(block, *given), strict=True)
            reconstruction, kl, loss = (float(total + more) for total, more in sums)
            now = time.perf_counter()
            self.position = replace(
                self.position,
                step=self.position.step + len(block),
                sums=(reconstruction, kl, loss),
                seconds=now - start,
            )
            self._report()
            if now - checkpointed > CHECKPOINT_SECONDS:
                self._checkpoint()
                checkpointed = time.perf_counter()
        self._end_epoch(start)

    def _given(
        self, order: NDArray[np.int64], step: int, steps: int
    ) -> tuple[NDArray[np.float32], ...]:
        """Return the conditions of a block, shape `(steps, samples, ...)`, if there are any."""
        if self.conditions is None:
            return ()
        size = self.config.batch_size
        rows = order[step * size : (step + steps) * size].reshape(steps, size)
        return (self.conditions.values[rows[:, self.rows]],)

    def _end_epoch(self, start: float) -> None:
        """Evaluate and record an epoch; `start` is on the clock of `time.perf_counter`."""
        epoch = self.position.epoch
        with self.average.in_place():
            seed = (self.config.seed, VALIDATION_NOISE)
            given = self.dataset.conditions_of("validation")
            validation = evaluate(
                self.vae,
                self.dataset.validation,
                seed=seed,
                conditions=given,
                replicas=self.replicas,
            )
            require_finite(validation, epoch * self.steps_per_epoch)
            best = min((e.validation.loss for e in self.history), default=math.inf)
            improved = validation.loss < best
            if improved and self.config.patience:
                self.best = _values(self.vae.weights)
        rate = float(self.schedule(epoch * self.steps_per_epoch))
        seconds = time.perf_counter() - start
        self.history += (Epoch(epoch, self._means(), validation, rate, seconds),)
        best_epoch = epoch if improved else self.position.best_epoch
        self.position = Position(epoch + 1, best_epoch=best_epoch)

    def _means(self) -> Losses[float]:
        return Losses(*(total / self.position.step for total in self.position.sums))

    def _report(self) -> None:
        epoch, means = self.position.epoch, self._means()
        step = (epoch - 1) * self.steps_per_epoch + self.position.step
        require_finite(means, step)
        if self.on_progress:
            validation = self.history[-1].validation if self.history else None
            self.on_progress(Progress(epoch, step, self.steps, means, validation))

    def _checkpoint(self) -> None:
        if self.on_checkpoint:
            self.on_checkpoint(self.state())

    def state(self) -> Checkpoint:
        """Return the state, which `restore` restores."""
        return Checkpoint(
            self.position,
            self.history,
            weights=_values(self.vae.weights),
            optimizer=_values(self.vae.optimizer.variables),
            best=self.best,
            average=_values(self.average.values),
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore the state that a checkpoint holds, on each replica of this worker."""
        for vae, average in self.models:
            _assign(vae.weights, checkpoint.weights)
            _assign(vae.optimizer.variables, checkpoint.optimizer)
            _assign(average.values, checkpoint.average)
        self.position, self.history = checkpoint.position, checkpoint.history
        self.best = checkpoint.best

    def follow_chief(self) -> None:
        """Take the state of worker 0; all workers call this before `run`."""
        if self.replicas.workers > 1:
            content = io.BytesIO()
            if self.replicas.is_chief:
                save_checkpoint(self.state(), content)
            content = io.BytesIO(self.replicas.from_chief(content.getvalue()))
            self.restore(load_checkpoint(content))


def _sample_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, ORDER, epoch)).permutation(count)


def _values(variables: list[Any]) -> list[NDArray[Any]]:
    return [variable.numpy() for variable in variables]


def _assign(variables: list[Any], values: list[NDArray[Any]]) -> None:
    if [tuple(v.shape) for v in variables] != [value.shape for value in values]:
        raise InputError(
            "the checkpoint is not one of this model: its weights have other shapes; train again"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _learning_rate(
    peak: float, steps: int, schedule: Schedule = "cosine"
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return a linear warm-up from 0 to the peak, then cosine decay to 0 or a constant rate.

    The rate of the first step is 0: it changes Adam's moments, but no weight that has a gradient.
    """
    warmup = max(1, round(WARMUP_FRACTION * steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, steps - warmup),
        warmup_target=peak,
        warmup_steps=warmup,
        alpha=1.0 if schedule == "constant" else 0.0,
    )
