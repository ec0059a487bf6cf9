"""The training objective: the loss, with optional KL warm-up and free bits.

    objective = reconstruction_loss + kl_weight * warmth(step) * sum over L of max(kl, free_bits)

All terms are means over the batch. `kl` is the KL divergence of one latent dimension. `warmth`
rises linearly from 0 to 1 over the warm-up. Without warm-up and free bits, the objective is the
loss. Reports always state the loss, never the objective. Input dropout hides elements from the
encoder but not from the loss: an encoder that has to guess elements overfits less.

Sources: Bowman and others, Generating Sentences from a Continuous Space (2016), for the warm-up;
Kingma and others, Improved Variational Inference with Inverse Autoregressive Flow (2016), for the
free bits, in nats per dimension here; Rybkin, Daniilidis and Levine, Simple and Effective VAE
Training with Calibrated Decoders (2021), for the optimal variance; Shu and others, Amortized
Inference Regularization (2018), for noise in the encoder's input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from vae_runtime.loss import Losses


@dataclass(frozen=True)
class Objective:
    """Weights of the loss terms in training; the defaults leave the loss as it is.

    `free_bits` is in nats. `input_dropout` is the fraction of a sample's elements that is hidden
    from the encoder in each step.
    """

    kl_weight: float = 1.0
    warmup_steps: int = 0
    free_bits: float = 0.0
    input_dropout: float = 0.0

    def __call__(
        self, means: Losses[Any], kl_units: Any, step: Any, whole_kl_units: Any = None
    ) -> Any:
        """Return the scalar to minimize at a step, counted from 0.

        Args:
            means: mean losses of the batch, or the part of a share in them.
            kl_units: mean KL divergence of each latent dimension, shape `latent_shape`, or the part
                of a share in it.
            step: number of the step.
            whole_kl_units: with a share, the means of the whole batch; None without free bits.

        Returns:
            The objective. For a share it is a scalar whose gradients, added up over the shares, are
            those of the objective.
        """
        if not self.warmup_steps and not self.free_bits:
            return means.loss
        kl = means.kl_loss
        if self.free_bits and whole_kl_units is not None:
            kl = tf.reduce_sum(tf.where(whole_kl_units >= self.free_bits, kl_units, 0.0))
        elif self.free_bits:
            kl = tf.reduce_sum(tf.maximum(kl_units, self.free_bits))
        if self.warmup_steps:
            done = tf.cast(step + 1, tf.float32)
            kl *= tf.minimum(1.0, done / float(self.warmup_steps))
        return means.reconstruction_loss + self.kl_weight * kl
