"""The preset and the loss that suit a data set, if they are not chosen."""

from __future__ import annotations

from typing import Any

from vae_builder.config import OPTIONS_OF_PRESET, TrainConfig
from vae_builder.data import Dataset
from vae_runtime.data.samples.inputs import UNIT_RANGE
from vae_runtime.loss import LossSpec

MAX_TABLE_ELEMENTS = 200
"""Vectors of fewer elements than this get the preset `table`."""

MAX_TABLE_LATENT_DIM = 20
"""Largest default of `latent_dim` for them. It is about three quarters of their length."""


def config_for(
    dataset: Dataset,
    *,
    preset: str | None = None,
    loss: LossSpec | None = None,
    kl_weight: float = 1.0,
    **choices: Any,
) -> TrainConfig:
    """Return training options for a data set.

    Args:
        dataset: the data.
        preset: a name in `vae_builder.config.PRESETS`; by default `table` for vectors of fewer than
            200 elements, otherwise `dense`.
        loss: the loss. By default the gaussian loss of standardized values for a table with other
            values than 0 and 1, and for vectors of fewer than 200 elements with values outside
            [0, 1], because their columns have different units; gaussian with a `variance` or
            `standardize`. Otherwise, and with a `value_range`, bce.
        kl_weight: KL weight of the default loss.
        **choices: other options of `TrainConfig`; None stands for the default.

    Returns:
        The options. Their `latent_dim` fits the number of columns.

    Raises:
        OptionError: as `TrainConfig`.
    """
    is_small = len(dataset.input_shape) == 1 and dataset.input_shape[0] < MAX_TABLE_ELEMENTS
    if preset is None:
        preset = "table" if is_small else "dense"
    if loss is None:
        has_units = not dataset.is_binary if dataset.is_table else not dataset.is_in(UNIT_RANGE)
        if has_units and (dataset.is_table or is_small) and choices.get("value_range") is None:
            loss, choices = LossSpec("gaussian", kl_weight), {**choices, "standardize": True}
        else:
            is_gaussian = choices.get("variance") or choices.get("standardize")
            loss = LossSpec("gaussian" if is_gaussian else "bce", kl_weight)
    if preset == "table" and choices.get("latent_dim") is None:
        columns = dataset.input_shape[-1]
        three_quarters = min(round(0.75 * columns), columns - 1)
        choices["latent_dim"] = max(1, min(three_quarters, MAX_TABLE_LATENT_DIM))
    given = {k: v for k, v in choices.items() if v is not None or k in OPTIONS_OF_PRESET}
    return TrainConfig(preset=preset, loss=loss, **given)
