"""Training options, with their defaults and their validation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.errors import OptionError
from vae_runtime.files import strict_json
from vae_runtime.loss import LossSpec

Variance = Literal["fixed", "optimal", "learned", "decoder"]
"""How training finds the variance of the Gaussian likelihood."""

Schedule = Literal["cosine", "constant"]
"""Learning-rate schedule after warm-up."""


@dataclass(frozen=True)
class Preset:
    """An architecture with options that suit it. `TrainConfig` describes most of them.

    `min_steps` is the smallest number of training steps if `TrainConfig.epochs` is not set.
    `patience_steps` sets `TrainConfig.patience`, in steps; None leaves it off. `gaussian_variance`
    is the default of `TrainConfig.variance` with the gaussian loss.
    """

    hidden: tuple[int, ...]
    latent_dim: int = 20
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 2e-3
    kl_warmup: float = 0.0
    input_dropout: float = 0.0
    min_steps: int = 1000
    patience_steps: int | None = None
    gaussian_variance: Variance = "optimal"


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
    "table": Preset(
        (64,),
        learning_rate=1e-3,
        min_steps=2000,
        patience_steps=500,
        gaussian_variance="decoder",
    ),
}
"""Presets by name. `dense`: good results in a minute. `conv`: small, for images. `deep`: the best
results, in 15 minutes. `table`: for vectors of few elements."""

DEFAULT_OF_PRESET: Any = None
"""Default of a `TrainConfig` option that takes the preset's value if you do not set it."""

OPTIONS_OF_PRESET = (
    "hidden",
    "latent_dim",
    "batch_size",
    "learning_rate",
    "kl_warmup",
    "input_dropout",
)
"""These options, and `epochs` when the number of samples is known."""


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run.

    The options that `Preset` has too default to the values of the chosen preset.

    Attributes:
        preset: a name in `PRESETS`.
        hidden: sizes of the encoder's hidden layers.
        latent_dim: length of z.
        loss: reconstruction loss and KL weight.
        epochs: passes over the training samples. Defaults to those of the preset, or to more if
            the samples are so few that these would be fewer than the preset's `min_steps`.
        batch_size: samples per step. An epoch skips the samples that do not fill its last batch.
        learning_rate: peak learning rate of Adam, reached after a warm-up.
        schedule: learning-rate schedule after warm-up: `cosine` decay to 0, or `constant`.
        seed: seed of the initial weights, the noise and the order of samples.
        kl_warmup: epochs in which the weight of the KL term rises from 0 to `loss.kl_weight`.
        input_dropout: fraction of a sample's elements that is hidden from the encoder in each
            step. The loss covers the whole sample.
        free_bits: KL divergence that each latent dimension may have at no cost, in nats.
        clip_norm: maximum norm of the gradient over all weights; None for no maximum.
        ema_momentum: momentum of the exponential moving average (EMA) of the trainable weights.
            The averaged weights are evaluated and exported. None to use the weights themselves.
            See `vae_builder.training.averaging`.
        patience: epochs without a better validation loss after which training stops and keeps the
            best weights. None to train all epochs and keep the last weights; with preset `table`,
            None is as many epochs as take 500 steps.
        variance: variance of the gaussian loss: `fixed` at `loss.variance`; `optimal`, the mean
            squared error of each batch; `learned` like a weight; or `decoder`, which gives the log
            variance of each element beside its mean. With the gaussian loss it defaults to
            `optimal`, and with preset `table` to `decoder`. With other losses it is None.
        standardize: train on (x - mean) / scale, with the mean and the standard deviation of each
            column or channel of the training samples.
        value_range: values of the data that stand for 0 and 1, such as (0, 255): train on
            (x - low) / (high - low). bce then takes values in this range, other losses any.
    """

    preset: str = "dense"
    hidden: tuple[int, ...] = DEFAULT_OF_PRESET
    latent_dim: int = DEFAULT_OF_PRESET
    loss: LossSpec = field(default_factory=LossSpec)
    epochs: int | None = None
    batch_size: int = DEFAULT_OF_PRESET
    learning_rate: float = DEFAULT_OF_PRESET
    schedule: Schedule = "cosine"
    seed: int = 0
    kl_warmup: float = DEFAULT_OF_PRESET
    input_dropout: float = DEFAULT_OF_PRESET
    free_bits: float = 0.0
    clip_norm: float | None = None
    ema_momentum: float | None = None
    patience: int | None = None
    variance: Variance | None = None
    standardize: bool = False
    value_range: tuple[float, float] | None = strict_json.optional(None)

    def __post_init__(self) -> None:
        """Fill in the preset's values and validate all options.

        Raises:
            OptionError: names the option, its value and what is expected.
        """
        if self.preset not in PRESETS:
            raise OptionError(
                f"preset {self.preset!r} is unknown: choose one of {', '.join(PRESETS)}"
            )
        preset = PRESETS[self.preset]
        for name in OPTIONS_OF_PRESET:
            if getattr(self, name) is DEFAULT_OF_PRESET:
                object.__setattr__(self, name, getattr(preset, name))
        if not isinstance(self.loss, LossSpec):
            raise OptionError(
                f"loss is {self.loss!r}, expected a LossSpec: give LossSpec({self.loss!r})"
            )
        self.loss.check()
        self._check_numbers()
        for name, choices in (("schedule", get_args(Schedule)), ("variance", get_args(Variance))):
            value = getattr(self, name)
            if value not in choices and (name, value) != ("variance", None):
                raise OptionError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
        if self.variance is None and self.loss.reconstruction == "gaussian":
            by_loss = "decoder" if self.loss.has_two_heads else preset.gaussian_variance
            object.__setattr__(self, "variance", by_loss)
        if self.variance == "decoder" and self.loss.reconstruction == "gaussian":
            heads = LossSpec("gaussian", self.loss.kl_weight, decoder="mean_log_var")
            object.__setattr__(self, "loss", heads)
        elif self.variance and self.loss.has_two_heads:
            raise OptionError(
                f"variance is {self.variance!r}, the loss has decoder 'mean_log_var', which gives "
                "its own: leave one of the two out"
            )
        elif self.variance and self.loss.variance is None:
            raise OptionError(
                f"variance is {self.variance!r} with the {self.loss.reconstruction} loss, which "
                "has none: leave it out, or use the gaussian loss"
            )
        if self.value_range is not None:
            Standardization.of_range(*self.value_range)
            if self.standardize:
                raise OptionError(
                    "standardize and value_range (--range) both scale the data: leave one out"
                )
        if self.standardize and self.loss.value_range:
            raise OptionError(
                f"standardize cannot be combined with the {self.loss.reconstruction} loss, which "
                f"needs values in {list(self.loss.value_range)}: use the mse or the gaussian loss, "
                "or value_range (--range LOW,HIGH)"
            )

    @property
    def sample_range(self) -> tuple[float, float] | None:
        """Range that the loss needs raw samples to have; None for any finite value."""
        if self.loss.value_range is None or self.value_range is None:
            return self.loss.value_range
        return Standardization.of_range(*self.value_range).unit_range()

    def for_samples(self, count: int) -> TrainConfig:
        """Return the options that a number of training samples leads to.

        Args:
            count: number of training samples, at least 1.

        Returns:
            These options, with a batch of at most all samples, a number of epochs, and the preset's
            patience.
        """
        preset, batch_size = PRESETS[self.preset], min(self.batch_size, count)
        steps_per_epoch = count // batch_size
        epochs, patience = self.epochs, self.patience
        if epochs is None:
            epochs = max(preset.epochs, math.ceil(preset.min_steps / steps_per_epoch))
        if patience is None and preset.patience_steps:
            patience = math.ceil(preset.patience_steps / steps_per_epoch)
        return replace(self, batch_size=batch_size, epochs=epochs, patience=patience)

    def _check_numbers(self) -> None:
        clip_norm, momentum, patience = self.clip_norm, self.ema_momentum, self.patience
        for name, is_valid, expected in (
            ("latent_dim", self.latent_dim >= 1, "1 or more"),
            ("epochs", self.epochs is None or self.epochs >= 1, "1 or more"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("hidden", self.hidden and min(self.hidden) >= 1, "sizes of 1 or more"),
            ("learning_rate", 0 < self.learning_rate <= 1, "0 < rate <= 1"),
            ("seed", 0 <= self.seed < 2**31, "0 to 2147483647"),
            ("kl_warmup", 0 <= self.kl_warmup < math.inf, "0 or more"),
            ("free_bits", 0 <= self.free_bits < math.inf, "0 or more"),
            ("input_dropout", 0 <= self.input_dropout < 1, "0 <= share < 1"),
            ("clip_norm", clip_norm is None or 0 < clip_norm < math.inf, "more than 0"),
            ("ema_momentum", momentum is None or 0 < momentum < 1, "0 < momentum < 1"),
            ("patience", patience is None or patience >= 1, "1 or more"),
        ):
            if not is_valid:
                raise OptionError(f"{name} is {getattr(self, name)}, expected {expected}")
