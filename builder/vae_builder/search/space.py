"""What a search chooses: options of training, each within bounds that suit the data.

```
preset         those that take samples of this shape
width          factor of the preset's hidden sizes, 0.5 to 2
latent_dim     2 to 64; for vectors at most their length less one
learning_rate  3e-4 to 6e-3
kl_warmup      0 to 10 epochs
input_dropout  0 to 0.4
kl_weight      0.1 to 4, only if detection is the objective: losses of different weights do not
               compare
```

An option that you give is not searched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from vae_builder.config import PRESETS, TrainConfig
from vae_builder.data import Dataset
from vae_builder.model.architectures import build_models
from vae_builder.training.defaults import config_for
from vae_runtime.errors import OptionError

MAX_LATENT_DIM: Final = 64
WIDTH_STEP: Final = 8
"""Hidden sizes are multiples of this, or of 1 below 16."""

Params = dict[str, Any]
"""What a trial has chosen, by name."""


def search_space(
    dataset: Dataset, choices: Mapping[str, Any], *, with_kl_weight: bool
) -> dict[str, BaseDistribution]:
    """Return what there is to choose for a data set.

    Args:
        dataset: the data.
        choices: arguments of `config_for`; None stands for an option that is not given.
        with_kl_weight: whether the KL weight is searched too.

    Raises:
        OptionError: all options are given.
    """
    longest = MAX_LATENT_DIM
    if len(dataset.input_shape) == 1:
        longest = max(1, min(MAX_LATENT_DIM, dataset.input_shape[0] - 1))
    presets = suitable_presets(dataset)
    space: dict[str, BaseDistribution] = {
        "preset": CategoricalDistribution(presets),
        "hidden": FloatDistribution(0.5, 2.0, log=True),
        "latent_dim": IntDistribution(min(2, longest), longest, log=True),
        "learning_rate": FloatDistribution(3e-4, 6e-3, log=True),
        "kl_warmup": FloatDistribution(0.0, 10.0),
        "input_dropout": FloatDistribution(0.0, 0.4),
    }
    free = {name: d for name, d in space.items() if choices.get(name) is None and not d.single()}
    if "hidden" in free:
        free["width"] = free.pop("hidden")
    if with_kl_weight:
        free["kl_weight"] = FloatDistribution(0.1, 4.0, log=True)
    if not free:
        raise OptionError("all options are given, so that there is nothing to search: leave some")
    return free


def suitable_presets(dataset: Dataset) -> tuple[str, ...]:
    """Return the presets that take samples of this shape, the default of the data first."""
    usual, found = config_for(dataset).preset, []
    for name, preset in PRESETS.items():
        if name == "table" and usual != "table":
            continue
        try:
            build_models(name, dataset.input_shape, 1, [1] * len(preset.hidden))
        except OptionError:
            continue
        found.append(name)
    return tuple(sorted(found, key=lambda name: name != usual))


def usual_params(
    space: Mapping[str, BaseDistribution], dataset: Dataset, choices: Mapping[str, Any]
) -> list[Params]:
    """Return the default options of each preset, within the bounds of the search."""
    presets = getattr(space.get("preset"), "choices", [choices.get("preset")])
    found = []
    for preset in presets:
        config = config_for(dataset, **{**choices, "preset": preset})
        usual = {
            "preset": config.preset,
            "width": 1.0,
            "latent_dim": config.latent_dim,
            "learning_rate": config.learning_rate,
            "kl_warmup": float(config.kl_warmup),
            "input_dropout": float(config.input_dropout),
            "kl_weight": config.loss.kl_weight,
        }
        found.append({name: _bounded(usual[name], bounds) for name, bounds in space.items()})
    return found


def config_of(params: Params, dataset: Dataset, choices: Mapping[str, Any]) -> TrainConfig:
    """Return the training options of a trial.

    All trials have as many epochs as training has if no option is given, so that their losses
    compare and a preset of many epochs does not take the time of all others.

    Args:
        params: what the trial has chosen.
        dataset: the data.
        choices: arguments of `config_for`; None stands for an option that is not given.
    """
    given = {name: value for name, value in choices.items() if value is not None}
    given |= {name: _rounded(value) for name, value in params.items() if name != "width"}
    if "kl_weight" in params and "loss" in given:
        given["loss"] = replace(given["loss"], kl_weight=given["kl_weight"])
    given.setdefault(
        "epochs", config_for(dataset, **choices).for_samples(len(dataset.train)).epochs
    )
    config = config_for(dataset, **given)
    if "width" in params:
        hidden = tuple(_scaled(size, params["width"]) for size in config.hidden)
        config = replace(config, hidden=hidden)
    return config


def _bounded(value: Any, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return min(max(value, distribution.low), distribution.high)
    return value


def _scaled(size: int, factor: float) -> int:
    step = WIDTH_STEP if size >= 2 * WIDTH_STEP else 1
    return max(step, step * round(size * factor / step))


def _rounded(value: Any) -> Any:
    """Return a number with three digits, which can be typed again."""
    return float(f"{value:.3g}") if isinstance(value, float) else value
