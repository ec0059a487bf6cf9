"""Training: from a data set and choices to a model and how it came about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vae_builder.config import TrainConfig
from vae_builder.data import Dataset
from vae_builder.model.vae import VAE
from vae_builder.training.checkpoint import Checkpoint, Epoch
from vae_builder.training.evaluation import describe_latents, evaluate, require_finite
from vae_builder.training.loop import TEST_NOISE, Progress, Trainer
from vae_runtime.bundle.fields import DataSpec
from vae_runtime.latents import Latents
from vae_runtime.loss import Losses

LONGEST_COLUMNS = 200_000
"""Characters of all columns' names that a manifest has room for."""


@dataclass(frozen=True)
class Trained:
    """A trained model and how it came about.

    Attributes:
        vae: the model, with the weights that were evaluated: the best, the averaged or the last.
        config: the choices as they were used: no batch beyond the data,
            the variance that was reached.
        data: what it was trained on.
        held_out: test samples for the proof and the card, shape `(m, *input_shape)`, uint8 or
            float32.
        history: one entry an epoch.
        validation: losses of the validation samples, one z per sample.
        test: losses of the test samples, one z per sample.
        latents: what the latent dimensions carry.
        seconds: wall time of training.
    """

    vae: VAE
    config: TrainConfig
    data: DataSpec
    held_out: NDArray[np.generic]
    history: tuple[Epoch, ...]
    validation: Losses[float]
    test: Losses[float]
    latents: Latents
    seconds: float


def train(
    dataset: Dataset,
    config: TrainConfig | None = None,
    *,
    resume: Checkpoint | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
) -> Trained:
    """Trains a VAE.

    Args:
        dataset: samples in their splits; uint8 is divided by 255.
        config: choices; the defaults where left out.
        resume: go on from here, with the same data and choices as before.
        on_progress: called after each block of steps.
        on_checkpoint: called after each epoch, and every `CHECKPOINT_SECONDS` within one.

    Returns:
        The trained model with its history.

    Raises:
        InputError: the data is out of the range that the loss needs, or not finite; or the
            checkpoint is not one of this model.
        OptionError: the preset is unknown or cannot take the data's shape.
        TrainingError: the loss is no longer a finite number. The last checkpoint is good.
        KeyboardInterrupt: from Ctrl-C, between two blocks.
    """
    config = config or TrainConfig()
    config = replace(config, batch_size=min(config.batch_size, len(dataset.train)))
    dataset.require_range(config.loss.value_range)
    trainer = Trainer(dataset, config, on_progress, on_checkpoint)
    if resume is not None:
        trainer.restore(resume)
    trainer.run()
    vae = trainer.vae
    history = trainer.history
    test = evaluate(vae, dataset.test, seed=(config.seed, TEST_NOISE))
    require_finite(test, int(vae.optimizer.iterations))
    return Trained(
        vae=vae,
        config=replace(config, loss=vae.spec),
        data=data_spec(dataset),
        held_out=dataset.held_out(),
        history=history,
        validation=trainer.validation,
        test=test,
        latents=describe_latents(vae, dataset.test),
        seconds=sum(epoch.seconds for epoch in history),
    )


def data_spec(dataset: Dataset) -> DataSpec:
    """What a manifest says of a data set."""
    columns = dataset.columns
    return DataSpec(
        name=dataset.name,
        sha256=dataset.digest,
        train=len(dataset.train),
        validation=len(dataset.validation),
        test=len(dataset.test),
        split_seed=dataset.split_seed,
        columns=columns if sum(map(len, columns or ())) <= LONGEST_COLUMNS else None,
    )
