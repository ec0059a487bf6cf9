"""The loss of a data set, if none is asked for."""

from __future__ import annotations

from dataclasses import replace

from vae_builder.config import TrainConfig
from vae_builder.data import Dataset
from vae_runtime.data.inputs import UNIT_RANGE
from vae_runtime.loss import LossSpec


def with_loss_for(dataset: Dataset, config: TrainConfig | None = None) -> TrainConfig:
    """Return training options with the loss that suits a data set.

    Args:
        dataset: the data.
        config: options whose loss was not chosen; by default those of `TrainConfig()`.

    Returns:
        The options with the gaussian loss of standardized values for a table that has values
        outside [0, 1]: its columns have different units. Otherwise `config`.
    """
    config = config or TrainConfig()
    if config.value_range or not dataset.is_table or dataset.is_in(UNIT_RANGE):
        return config
    return replace(config, loss=LossSpec("gaussian", config.loss.kl_weight), standardize=True)
