"""`train`: trains a VAE on a data set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vae_builder.config import TrainConfig
from vae_builder.data import Dataset
from vae_builder.data.score_samples import score_samples
from vae_builder.model.vae import VAE
from vae_builder.training.checkpoint import Checkpoint, Epoch
from vae_builder.training.defaults import config_for
from vae_builder.training.evaluation import describe_latents, evaluate, explain, require_finite
from vae_builder.training.loop import TEST_NOISE, Progress, Trainer
from vae_builder.workers.replicas import ONE, Replicas, naming_lost_workers
from vae_export.scoring.plan import ScorePlan
from vae_runtime.bundle.fields import DataSpec
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.explained import Explained
from vae_runtime.latents import Latents
from vae_runtime.loss import Losses

MAX_COLUMNS_LENGTH = 200_000
"""Maximum length of all column names together, in characters, to be written to a manifest."""


@dataclass(frozen=True)
class Trained:
    """A trained model with its history and results.

    Attributes:
        vae: the model, with the weights that were evaluated: the best, the averaged or the last.
        config: the options that were used: `batch_size` is at most the number of training samples,
            `epochs` is a number, and `loss.variance` is the variance that training has reached.
        data: description of the data set.
        held_out: test samples for the proof and the card, shape `(m, *input_shape)`, uint8 or
            float32.
        history: one entry per epoch.
        validation: losses of the validation samples, one z per sample.
        test: losses of the test samples, one z per sample.
        latents: active units and KL divergence of the latent dimensions.
        seconds: wall time of training.
        explained: the test reconstruction loss beside that of predicting the mean training sample;
            None if the model comes from a run folder that lacks it.
        conditions: conditions of `held_out`; None if the model is not conditional.
        scoring: training samples for the anomaly score, and which of `held_out` are normal; None
            if the model comes from a run folder that lacks them.
        search: which trial of a search the model is, for the manifest; None if there was none.
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
    explained: Explained | None = None
    conditions: Conditions | None = None
    scoring: ScorePlan | None = None
    search: str | None = None


def train(
    dataset: Dataset,
    config: TrainConfig | None = None,
    *,
    resume: Checkpoint | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    replicas: Replicas = ONE,
) -> Trained:
    """Train a VAE.

    Args:
        dataset: samples in their splits; uint8 is divided by 255. If it has conditions, the model
            is conditional.
        config: training options; by default those that suit the data, from
            `vae_builder.training.defaults.config_for`.
        resume: checkpoint to resume from, of a run with the same data and options.
        on_progress: called after each block of steps.
        on_checkpoint: called after each epoch, or after every few if there are more than
            `MAX_EPOCH_CHECKPOINTS`, and within an epoch every `CHECKPOINT_SECONDS`.
        replicas: copies of the model that train on shares of each batch; by default one. With
            several workers, worker 0 calls this and the others call `assist`.

    Returns:
        The trained model with its history.

    Raises:
        InputError: the data is not finite or out of the range that the loss needs, or the
            checkpoint is of another model.
        OptionError: the preset cannot take the data's shape, or a batch has fewer samples than
            there are replicas.
        TrainingError: the loss is no longer finite, or another worker has ended. The last
            checkpoint is good.
        KeyboardInterrupt: Ctrl-C was pressed; it is raised between two blocks.
    """
    config = config or config_for(dataset)
    config = config.for_samples(len(dataset.train))
    data = data_spec(dataset)
    dataset = _in_range(dataset, config)
    trainer = Trainer(dataset, config, on_progress, on_checkpoint, replicas)
    if resume is not None:
        trainer.restore(resume)
    test = _run(trainer)
    vae, history, given = trainer.vae, trainer.history, dataset.conditions_of("test")
    return Trained(
        vae=vae,
        config=replace(config, loss=vae.spec),
        data=data,
        held_out=dataset.held_out(),
        history=history,
        validation=trainer.validation,
        test=test,
        latents=describe_latents(vae, dataset.test, given),
        seconds=sum(epoch.seconds for epoch in history),
        explained=explain(vae, dataset, test),
        conditions=dataset.held_out_conditions(),
        scoring=score_samples(dataset),
    )


def assist(dataset: Dataset, config: TrainConfig, replicas: Replicas) -> None:
    """Train as another worker than worker 0, which calls `train` with the same data and options.

    Args:
        dataset: the same data.
        config: the same options.
        replicas: replicas of this worker.

    Raises:
        InputError, OptionError, TrainingError: as `train`.
    """
    config = config.for_samples(len(dataset.train))
    _run(Trainer(_in_range(dataset, config), config, None, None, replicas))


def _in_range(dataset: Dataset, config: TrainConfig) -> Dataset:
    """Return the data set as the model takes it; check the range of its values."""
    if config.value_range:
        dataset = dataset.undivided()
    dataset.require_range(config.sample_range)
    return dataset


def _run(trainer: Trainer) -> Losses[float]:
    """Train from the state of worker 0, and return the losses of the test samples."""
    dataset, seed = trainer.dataset, (trainer.config.seed, TEST_NOISE)
    with naming_lost_workers(trainer.replicas.cluster):
        trainer.follow_chief()
        trainer.run()
        given = dataset.conditions_of("test")
        test = evaluate(
            trainer.vae, dataset.test, seed=seed, conditions=given, replicas=trainer.replicas
        )
    require_finite(test, int(trainer.vae.optimizer.iterations))
    return test


def data_spec(dataset: Dataset) -> DataSpec:
    """Return the description of a data set for a manifest."""
    columns = dataset.columns
    return DataSpec(
        name=dataset.name,
        sha256=dataset.digest,
        train=len(dataset.train),
        validation=len(dataset.validation),
        test=len(dataset.test),
        split_seed=dataset.split_seed,
        columns=columns if sum(map(len, columns or ())) <= MAX_COLUMNS_LENGTH else None,
        binary_uint8=dataset.binary_uint8,
        table=dataset.table,
        label=dataset.label,
    )
