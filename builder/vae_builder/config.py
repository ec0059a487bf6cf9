"""How to train: every choice with its default, checked before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from vae_runtime.errors import OptionError
from vae_runtime.loss import LossSpec

Variance = Literal["fixed", "optimal", "learned"]
"""Where the variance of the Gaussian likelihood comes from while training."""

Schedule = Literal["cosine", "constant"]
"""What the learning rate does after its warm-up."""


@dataclass(frozen=True)
class Preset:
    """An architecture, and the choices that it is trained with unless others are made.

    Attributes:
        hidden: sizes of the encoder's hidden layers; the decoder has them in reverse.
        latent_dim: length of z.
        epochs: passes over the training samples.
        batch_size: samples per step.
        learning_rate: peak of Adam's.
        kl_warmup: epochs in which the KL term rises from 0.
        input_dropout: share of a sample's elements that the encoder does not see in a step.
    """

    hidden: tuple[int, ...]
    latent_dim: int = 20
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 2e-3
    kl_warmup: float = 0.0
    input_dropout: float = 0.0


PRESETS = {
    "dense": Preset((512, 256)),
    "conv": Preset((32, 64)),
    "deep": Preset(
        (512, 512, 512),
        latent_dim=32,
        epochs=110,
        batch_size=128,
        learning_rate=1e-3,
        kl_warmup=10,
        input_dropout=0.15,
    ),
}
"""By name: `dense`, good in a minute; `conv`, small, for images; `deep`, the best in 15 minutes."""

OF_PRESET: Any = None
"""Default of the choices that a preset makes."""


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in PRESETS:
        raise OptionError(f"preset {name!r} is unknown: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True)
class TrainConfig:
    """Choices of a training run; those that a preset makes are its own where left out.

    Attributes:
        preset: a name in `PRESETS`.
        hidden: sizes of the encoder's hidden layers.
        latent_dim: length of z.
        loss: reconstruction loss and KL weight.
        epochs: passes over the training samples.
        batch_size: samples per step; what is left over at an epoch's end waits for the next.
        learning_rate: peak of Adam's, reached after a warm-up and followed by a cosine decay.
        schedule: of the learning rate after its warm-up: `cosine` decay to 0, or `constant`.
        seed: of the weights, the noise and the order of samples.
        kl_warmup: epochs in which the KL term rises from 0 to its weight.
        input_dropout: share of a sample's elements that the encoder does not see in a step; the
            loss is that of the whole sample.
        free_bits: nats of KL divergence that each latent dimension may have at no cost.
        clip_norm: bound of the gradient's norm over all weights; None for no bound.
        ema_momentum: of an exponential moving average of the trainable weights, which is what is
            evaluated and exported: the share of it that stays after a step; None for the weights
            themselves. `vae_builder.training.averaging` states it.
        patience: epochs without a better validation loss after which training ends, with the
            best weights; None to train all epochs and keep the last.
        variance: of the gaussian loss: `fixed` at the loss's own; `optimal`, the mean squared
            error of each batch; or `learned` like a weight. `optimal` where left out; None with
            other losses, which have none.
        standardize: train on (x - mean) / scale, with means and standard deviations of the
            training samples by column or channel.
    """

    preset: str = "dense"
    hidden: tuple[int, ...] = OF_PRESET
    latent_dim: int = OF_PRESET
    loss: LossSpec = field(default_factory=LossSpec)
    epochs: int = OF_PRESET
    batch_size: int = OF_PRESET
    learning_rate: float = OF_PRESET
    schedule: Schedule = "cosine"
    seed: int = 0
    kl_warmup: float = OF_PRESET
    input_dropout: float = OF_PRESET
    free_bits: float = 0.0
    clip_norm: float | None = None
    ema_momentum: float | None = None
    patience: int | None = None
    variance: Variance | None = None
    standardize: bool = False

    def __post_init__(self) -> None:
        """Makes the choices that are left out, and refuses what cannot train.

        Raises:
            OptionError: names the option, its value and what is expected.
        """
        for name, choice in vars(find_preset(self.preset)).items():
            if getattr(self, name) is OF_PRESET:
                object.__setattr__(self, name, choice)
        self.loss.check()
        for name in ("latent_dim", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if not self.hidden or min(self.hidden) < 1:
            raise OptionError(f"hidden is {self.hidden}, expected sizes of 1 or more")
        if not 0 < self.learning_rate <= 1:
            raise OptionError(f"learning_rate is {self.learning_rate}, expected 0 < rate <= 1")
        if not 0 <= self.seed < 2**31:
            raise OptionError(f"seed is {self.seed}, expected 0 to 2147483647")
        for name, value in (
            ("kl_warmup", self.kl_warmup),
            ("free_bits", self.free_bits),
        ):
            if not 0 <= value < math.inf:
                raise OptionError(f"{name} is {value}, expected 0 or more")
        if not 0 <= self.input_dropout < 1:
            raise OptionError(f"input_dropout is {self.input_dropout}, expected 0 <= share < 1")
        if self.schedule not in get_args(Schedule):
            choices = ", ".join(get_args(Schedule))
            raise OptionError(f"schedule is {self.schedule!r}, expected one of {choices}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise OptionError(f"clip_norm is {self.clip_norm}, expected more than 0")
        if self.ema_momentum is not None and not 0 < self.ema_momentum < 1:
            raise OptionError(f"ema_momentum is {self.ema_momentum}, expected 0 < momentum < 1")
        if self.variance not in (None, *get_args(Variance)):
            choices = ", ".join(get_args(Variance))
            raise OptionError(f"variance is {self.variance!r}, expected one of {choices}")
        if self.variance and self.loss.variance is None:
            raise OptionError(
                f"variance is {self.variance!r} with the {self.loss.reconstruction} loss, which "
                "has none: leave it out, or use the gaussian loss"
            )
        if self.variance is None and self.loss.variance is not None:
            object.__setattr__(self, "variance", "optimal")
        if self.standardize and self.loss.value_range:
            raise OptionError(
                f"standardize does not go with the {self.loss.reconstruction} loss, which needs "
                f"values in {list(self.loss.value_range)}: use the mse or the gaussian loss"
            )
        if self.patience is not None and self.patience < 1:
            raise OptionError(f"patience is {self.patience}, expected 1 or more")
