"""`TrainConfig`: defaults and validation."""

import dataclasses

import pytest

from vae_builder import PRESETS, LossSpec, TrainConfig
from vae_builder.config import OPTIONS_OF_PRESET
from vae_runtime.errors import OptionError


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"latent_dim": 0}, "latent_dim is 0, expected 1 or more"),
        ({"epochs": 0}, "epochs is 0, expected 1 or more"),
        ({"batch_size": -3}, "batch_size is -3, expected 1 or more"),
        ({"hidden": (8, 0)}, "hidden is (8, 0), expected sizes of 1 or more"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0, expected 0 < rate <= 1"),
        ({"learning_rate": 1.5}, "learning_rate is 1.5, expected 0 < rate <= 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected 0 < rate <= 1"),
        ({"seed": -1}, "seed is -1, expected 0 to 2147483647"),
        ({"seed": 2**31}, "seed is 2147483648, expected 0 to 2147483647"),
        ({"kl_weight": -0.5}, "kl_weight is -0.5, expected 0 or more"),
        ({"kl_weight": float("inf")}, "kl_weight is inf, expected 0 or more"),
        ({"kl_warmup": -1.0}, "kl_warmup is -1.0, expected 0 or more"),
        ({"input_dropout": 1.0}, "input_dropout is 1.0, expected 0 <= share < 1"),
        ({"preset": "wide"}, "preset 'wide' is unknown: choose one of dense, conv, deep, table"),
        ({"free_bits": float("inf")}, "free_bits is inf, expected 0 or more"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0, expected more than 0"),
        ({"ema_momentum": 0.0}, "ema_momentum is 0.0, expected 0 < momentum < 1"),
        ({"ema_momentum": 1.0}, "ema_momentum is 1.0, expected 0 < momentum < 1"),
        ({"patience": 0}, "patience is 0, expected 1 or more"),
        ({"schedule": "step"}, "schedule is 'step', expected one of cosine, constant"),
        ({"kl_weight": float("nan")}, "kl_weight is nan, expected 0 or more"),
    ],
)
def test_invalid_options_are_refused(choices, message):
    with pytest.raises(OptionError) as caught:
        if "kl_weight" in choices:
            choices = {"loss": LossSpec(**choices)}
        TrainConfig(**choices)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "choices",
    [
        {"latent_dim": 1, "epochs": 1, "batch_size": 1, "hidden": (1,)},
        {"learning_rate": 1.0, "seed": 2**31 - 1},
        {"seed": 0, "loss": LossSpec("mse", 0.0)},
    ],
)
def test_ends_of_the_ranges_are_valid(choices):
    config = TrainConfig(**choices)
    assert {name: getattr(config, name) for name in choices} == choices


def test_defaults():
    assert dataclasses.asdict(TrainConfig()) == {
        "preset": "dense",
        "hidden": (512, 256),
        "latent_dim": 20,
        "loss": {
            "reconstruction": "bce",
            "kl_weight": 1.0,
            "elements": "sum",
            "samples": "mean",
            "decoder": "logits",
            "variance": None,
        },
        "epochs": None,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "schedule": "cosine",
        "seed": 0,
        "kl_warmup": 0.0,
        "input_dropout": 0.0,
        "free_bits": 0.0,
        "clip_norm": None,
        "ema_momentum": None,
        "patience": None,
        "variance": None,
        "standardize": False,
        "value_range": None,
    }


@pytest.mark.parametrize(
    ("loss", "given", "variance"),
    [
        ("gaussian", None, "optimal"),
        ("gaussian", "fixed", "fixed"),
        ("gaussian", "learned", "learned"),
        ("mse", None, None),
    ],
)
def test_variance_defaults_to_optimal_with_the_gaussian_loss(loss, given, variance):
    config = TrainConfig(loss=LossSpec(loss), variance=given)
    assert config.variance == variance
    assert dataclasses.replace(config, seed=1).variance == variance


def test_a_loss_by_its_name_is_refused_with_the_remedy():
    with pytest.raises(OptionError, match=r"expected a LossSpec: give LossSpec\('mse'\)"):
        TrainConfig(loss="mse")


@pytest.mark.parametrize("preset", PRESETS)
def test_options_default_to_those_of_the_preset(preset):
    config, choices = TrainConfig(preset=preset), PRESETS[preset]
    assert config.for_samples(60_000).epochs == choices.epochs
    for name in OPTIONS_OF_PRESET:
        assert getattr(config, name) == getattr(choices, name)
    own = TrainConfig(preset=preset, epochs=7, kl_warmup=0.5, hidden=(3,))
    assert (own.epochs, own.kl_warmup, own.hidden) == (7, 0.5, (3,))
    assert own.latent_dim == choices.latent_dim


@pytest.mark.parametrize(
    ("options", "samples", "epochs", "batch_size"),
    [
        ({}, 9500, 30, 64),  # the digits: 148 steps an epoch
        ({"preset": "deep"}, 9500, 110, 128),
        ({}, 127, 1000, 64),  # one step an epoch: 63 samples do not fill a batch
        ({}, 640, 100, 64),
        ({}, 2176, 30, 64),  # 34 steps an epoch: 1020 steps
        ({}, 2175, 31, 64),  # 33 steps an epoch: 990 steps in 30 epochs
        ({}, 17, 1000, 17),
        ({"batch_size": 32}, 127, 334, 32),
        ({"epochs": 30}, 127, 30, 64),
    ],
)
def test_few_samples_lead_to_a_thousand_steps(options, samples, epochs, batch_size):
    config = TrainConfig(**options).for_samples(samples)
    assert (config.epochs, config.batch_size) == (epochs, batch_size)
    assert config.for_samples(samples) == config
