"""The training loop around `VAE.update`, that can stop anywhere and go on.

A block of steps is one XLA program (`blocks.py`), on samples that NumPy gathered for it, so memory
does not grow with the data and Python is idle while a block runs.

Everything random is a pure function of the seed and a position: initial weights of (seed), the
order of samples of (seed, epoch), noise of (seed, step). Same seed, same machine, same versions:
same weights, whether the run was interrupted or not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from vae_builder.config import Schedule, TrainConfig
from vae_builder.data import Dataset
from vae_builder.model.architectures import build_models
from vae_builder.model.objective import Objective
from vae_builder.model.vae import VAE
from vae_builder.training.averaging import MovingAverage
from vae_builder.training.checkpoint import Checkpoint, Epoch, Position
from vae_builder.training.evaluation import evaluate, require_finite
from vae_builder.training.steps import block_function, blocks
from vae_runtime.data.inputs import to_float
from vae_runtime.data.standardization import Standardization, standardize
from vae_runtime.errors import InputError
from vae_runtime.loss import MAX_VARIANCE, MIN_VARIANCE, Losses

WARMUP = 0.04
"""Share of all steps in which the learning rate rises from 0 to its peak."""

CHECKPOINT_SECONDS = 15.0
"""A checkpoint inside an epoch is due after so long; one is written after every epoch too."""

VARIANCE_SAMPLES = 1000
"""Training samples whose variance a Gaussian likelihood begins with."""

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


class Trainer:
    """One training run: the model, its optimizer, and where it is.

    The model holds the weights that steps move; where they are averaged, it holds the average
    while it is evaluated, when nothing is written, and at the end.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: TrainConfig,
        on_progress: Callable[[Progress], None] | None,
        on_checkpoint: Callable[[Checkpoint], None] | None,
    ) -> None:
        self.dataset, self.config = dataset, config
        self.on_progress, self.on_checkpoint = on_progress, on_checkpoint
        self.batch_size = config.batch_size
        self.steps_per_epoch = len(dataset.train) // self.batch_size
        self.schedule = _learning_rate(
            config.learning_rate, self.steps_per_epoch * config.epochs, config.schedule
        )
        self.vae = self._build()
        self.average = MovingAverage(self.vae.trainable_variables, config.ema_momentum)
        self.run_block = block_function(
            self.vae, (self.batch_size, *dataset.input_shape), dataset.train.dtype, self.average
        )
        self.position = Position()
        self.history: tuple[Epoch, ...] = ()
        self.best: list[NDArray[Any]] = []

    def _build(self) -> VAE:
        config = self.config
        standardization = self.dataset.standardization() if config.standardize else None
        encoder, decoder = build_models(
            config.preset,
            self.dataset.input_shape,
            config.latent_dim,
            config.hidden,
            seed=config.seed,
        )
        objective = Objective(
            kl_weight=config.loss.kl_weight,
            warmup_steps=round(config.kl_warmup * self.steps_per_epoch),
            free_bits=config.free_bits,
            input_dropout=config.input_dropout,
        )
        loss, variance = config.loss, config.variance or "fixed"
        if variance != "fixed":
            loss = replace(loss, variance=self._variance_of_data(standardization))
        vae = VAE(
            encoder,
            decoder,
            loss,
            seed=config.seed,
            objective=objective,
            variance=variance,
            standardization=standardization,
        )
        vae.compile(keras.optimizers.Adam(self.schedule, global_clipnorm=config.clip_norm))
        vae.optimizer.build(vae.trainable_variables)
        return vae

    def _variance_of_data(self, standardization: Standardization | None) -> float:
        """What a variance that is to be found begins at."""
        x = to_float(self.dataset.train[:VARIANCE_SAMPLES])
        variance = float(np.var(standardize(np, standardization, x)))
        return float(np.clip(variance, MIN_VARIANCE, MAX_VARIANCE))

    @property
    def validation(self) -> Losses[float]:
        """Validation losses of the weights that are kept."""
        epoch = self.position.best_epoch if self.config.patience else len(self.history)
        return self.history[epoch - 1].validation

    def run(self) -> None:
        """Trains to the end, or until the validation loss has stopped falling."""
        while self.position.epoch <= self.config.epochs and not self._is_stale():
            self._run_epoch()
            self._checkpoint()
        if self.config.patience:
            _assign(self.vae.weights, self.best)
        else:
            self.average.assign()

    def _is_stale(self) -> bool:
        waited = len(self.history) - self.position.best_epoch
        return self.config.patience is not None and waited >= self.config.patience

    def _run_epoch(self) -> None:
        start, checkpointed = time.perf_counter(), time.perf_counter()
        before = self.position
        x = self.dataset.train
        order = _order(self.config.seed, before.epoch, len(x))
        for block in blocks(order, x, self.batch_size, before.step):
            sums = self.run_block(block)
            now = time.perf_counter()
            at = self.position
            self.position = replace(
                at,
                step=at.step + len(block),
                sums=_added(at.sums, sums),
                seconds=before.seconds + now - start,
            )
            self._report()
            if now - checkpointed > CHECKPOINT_SECONDS:
                self._checkpoint()
                checkpointed = time.perf_counter()
        self._end_epoch(before.seconds - start)

    def _end_epoch(self, offset: float) -> None:
        at = self.position
        seed = (self.config.seed, VALIDATION_NOISE)
        with self.average.in_place():
            validation = evaluate(self.vae, self.dataset.validation, seed=seed)
            require_finite(validation, at.epoch * self.steps_per_epoch)
            best = min((e.validation.loss for e in self.history), default=math.inf)
            improved = validation.loss < best
            if improved and self.config.patience:
                self.best = _values(self.vae.weights)
        rate = float(self.schedule(at.epoch * self.steps_per_epoch))
        seconds = time.perf_counter() + offset
        self.history += (Epoch(at.epoch, self._means(), validation, rate, seconds),)
        self.position = Position(at.epoch + 1, best_epoch=at.epoch if improved else at.best_epoch)

    def _means(self) -> Losses[float]:
        return Losses(*(total / self.position.step for total in self.position.sums))

    def _report(self) -> None:
        at = self.position
        step = (at.epoch - 1) * self.steps_per_epoch + at.step
        means = self._means()
        require_finite(means, step)
        if self.on_progress:
            validation = self.history[-1].validation if self.history else None
            total = self.steps_per_epoch * self.config.epochs
            self.on_progress(Progress(at.epoch, step, total, means, validation))

    def _checkpoint(self) -> None:
        if self.on_checkpoint:
            now = Checkpoint(
                self.position,
                self.history,
                weights=_values(self.vae.weights),
                optimizer=_values(self.vae.optimizer.variables),
                best=self.best,
                average=_values(self.average.values),
            )
            self.on_checkpoint(now)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes to where a checkpoint was written."""
        _assign(self.vae.weights, checkpoint.weights)
        _assign(self.vae.optimizer.variables, checkpoint.optimizer)
        _assign(self.average.values, checkpoint.average)
        self.position, self.history = checkpoint.position, checkpoint.history
        self.best = checkpoint.best


def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, ORDER, epoch)).permutation(count)


def _added(
    sums: tuple[float, float, float], more: NDArray[np.float32]
) -> tuple[float, float, float]:
    first, second, third = (float(a + b) for a, b in zip(sums, more, strict=True))
    return first, second, third


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
    """Linear warm-up from 0 to the peak, then cosine decay to 0 at the last step, or constant.

    The first step's rate is 0: it moves no weight that has a gradient, only Adam's moments.
    """
    warmup = max(1, round(WARMUP * steps))
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(1, steps - warmup),
        warmup_target=peak,
        warmup_steps=warmup,
        alpha=1.0 if schedule == "constant" else 0.0,
    )
