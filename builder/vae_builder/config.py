"""How to train: every choice with its default, checked before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from vae_runtime.errors import OptionError
from vae_runtime.loss import LossSpec

Variance = Literal["fixed", "optimal", "learned"]
"""Where the variance of the Gaussian likelihood comes from while training."""

Schedule = Literal["cosine", "constant"]
"""What the learning rate does after its warm-up."""


@dataclass(frozen=True)
class TrainConfig:
    """Choices of a training run.

    Attributes:
        preset: architecture, a name in `vae_builder.models.PRESETS`.
        hidden: sizes of the encoder's hidden layers; the preset's own where None.
        latent_dim: length of z.
        loss: reconstruction loss and KL weight.
        epochs: passes over the training samples.
        batch_size: samples per step; what is left over at an epoch's end waits for the next.
        learning_rate: peak of Adam's, reached after a warm-up and followed by a cosine decay.
        schedule: of the learning rate after its warm-up: `cosine` decay to 0, or `constant`.
        seed: of the weights, the noise and the order of samples.
        kl_warmup: epochs in which the KL term rises from 0 to its weight.
        free_bits: nats of KL divergence that each latent dimension may have at no cost.
        clip_norm: bound of the gradient's norm over all weights; None for no bound.
        patience: epochs without a better validation loss after which training ends, with the
            best weights; None to train all epochs and keep the last.
        variance: of the gaussian loss: `fixed` at the loss's own; `optimal`, the mean squared
            error of each batch; or `learned` like a weight. `optimal` where None.
        standardize: train on (x - mean) / scale, with means and standard deviations of the
            training samples by column or channel.
    """

    preset: str = "dense"
    hidden: tuple[int, ...] | None = None
    latent_dim: int = 20
    loss: LossSpec = field(default_factory=LossSpec)
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 2e-3
    schedule: Schedule = "cosine"
    seed: int = 0
    kl_warmup: float = 0.0
    free_bits: float = 0.0
    clip_norm: float | None = None
    patience: int | None = None
    variance: Variance | None = None
    standardize: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot train.

        Raises:
            OptionError: names the option, its value and what is expected.
        """
        self.loss.check()
        for name in ("latent_dim", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if self.hidden is not None and (not self.hidden or min(self.hidden) < 1):
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
        if self.schedule not in get_args(Schedule):
            choices = ", ".join(get_args(Schedule))
            raise OptionError(f"schedule is {self.schedule!r}, expected one of {choices}")
        if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
            raise OptionError(f"clip_norm is {self.clip_norm}, expected more than 0")
        if self.variance not in (None, *get_args(Variance)):
            choices = ", ".join(get_args(Variance))
            raise OptionError(f"variance is {self.variance!r}, expected one of {choices}")
        if self.variance and self.loss.variance is None:
            raise OptionError(
                f"variance is {self.variance!r} with the {self.loss.reconstruction} loss, which "
                "has none: leave it out, or use the gaussian loss"
            )
        if self.standardize and self.loss.value_range:
            raise OptionError(
                f"standardize does not go with the {self.loss.reconstruction} loss, which needs "
                f"values in {list(self.loss.value_range)}: use the mse or the gaussian loss"
            )
        if self.patience is not None and self.patience < 1:
            raise OptionError(f"patience is {self.patience}, expected 1 or more")
