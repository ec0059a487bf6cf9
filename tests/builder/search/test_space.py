"""What a search may choose."""

import pytest
from optuna.distributions import CategoricalDistribution

from quick_training import random_dataset
from vae_builder import LossSpec
from vae_builder.config import PRESETS
from vae_builder.search.space import config_of, search_space, usual_params
from vae_builder.training.defaults import config_for
from vae_runtime import OptionError


@pytest.mark.parametrize(
    ("shape", "presets"),
    [
        ((8, 8, 1), ("dense", "conv", "deep")),
        ((300,), ("dense", "deep")),
        ((6,), ("table", "dense", "deep")),
    ],
)
def test_presets_that_take_the_shape(shape, presets):
    space = search_space(random_dataset(*shape), {}, with_kl_weight=False)
    assert space["preset"] == CategoricalDistribution(presets)


@pytest.mark.parametrize("shape", [(8, 8, 1), (300,), (6,), (3,), (2,)])
@pytest.mark.parametrize("with_kl_weight", [True, False])
def test_default_options_are_a_trial(shape, with_kl_weight):
    dataset = random_dataset(*shape)
    space = search_space(dataset, {}, with_kl_weight=with_kl_weight)
    params = usual_params(space, dataset, {})[0]
    assert all(space[name]._contains(space[name].to_internal_repr(v)) for name, v in params.items())
    usual = config_for(dataset)
    found = config_of(params, dataset, {})
    assert found.for_samples(300) == usual.for_samples(300)


@pytest.mark.parametrize("preset", ["table", "dense", "deep"])
def test_default_options_of_each_preset_are_within_the_bounds(preset):
    dataset = random_dataset(6)
    space = search_space(dataset, {}, with_kl_weight=False)
    all_params = {p["preset"]: p for p in usual_params(space, dataset, {})}
    params = all_params[preset]
    assert params["latent_dim"] <= 5
    assert params["learning_rate"] == PRESETS[preset].learning_rate


def test_options_that_are_given_stay():
    dataset, given = random_dataset(8, 8, 1), {"latent_dim": 5, "hidden": (9,), "preset": "dense"}
    space = search_space(dataset, given, with_kl_weight=False)
    assert set(space) == {"learning_rate", "kl_warmup", "input_dropout"}
    config = config_of(usual_params(space, dataset, given)[0], dataset, given)
    assert (config.latent_dim, config.hidden) == (5, (9,))


def test_all_trials_have_as_many_epochs():
    dataset = random_dataset(8, 8, 1, count=6400)
    for preset in ("dense", "deep"):
        params = {"preset": preset, "width": 2.0}
        assert config_of(params, dataset, {}).epochs == PRESETS["dense"].epochs
        assert config_of(params, dataset, {"epochs": 3}).epochs == 3


def test_widths_are_whole_steps_and_numbers_can_be_typed():
    params = {"preset": "dense", "width": 0.701, "learning_rate": 0.00123456}
    config = config_of(params, random_dataset(8, 8, 1), {})
    assert config.hidden == (360, 176) and config.learning_rate == 0.00123


def test_the_kl_weight_goes_into_a_given_loss():
    params, given = {"kl_weight": 0.25}, {"loss": LossSpec("mse", 1.0)}
    assert config_of(params, random_dataset(8, 8, 1), given).loss == LossSpec("mse", 0.25)
    assert config_of(params, random_dataset(8, 8, 1), {}).loss.kl_weight == 0.25


def test_nothing_left_to_search():
    given = dict.fromkeys(("learning_rate", "kl_warmup", "input_dropout"), 0.1)
    given |= {"preset": "dense", "hidden": (4,), "latent_dim": 3}
    with pytest.raises(OptionError, match="nothing to search"):
        search_space(random_dataset(6), given, with_kl_weight=False)
