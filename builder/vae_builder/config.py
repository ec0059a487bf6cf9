"""How to train: every choice with its default, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass, field

from vae_runtime.errors import OptionError
from vae_runtime.loss import LossSpec


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
        seed: of the weights, the noise and the order of samples.
    """

    preset: str = "dense"
    hidden: tuple[int, ...] | None = None
    latent_dim: int = 20
    loss: LossSpec = field(default_factory=LossSpec)
    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what cannot train.

        Raises:
            OptionError: names the option, its value and what is expected.
        """
        for name in ("latent_dim", "epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}, expected 1 or more")
        if any(size < 1 for size in self.hidden or ()):
            raise OptionError(f"hidden is {self.hidden}, expected sizes of 1 or more")
        if not 0 < self.learning_rate <= 1:
            raise OptionError(f"learning_rate is {self.learning_rate}, expected 0 < rate <= 1")
        if not 0 <= self.seed < 2**31:
            raise OptionError(f"seed is {self.seed}, expected 0 to 2147483647")
        self.loss.check()
