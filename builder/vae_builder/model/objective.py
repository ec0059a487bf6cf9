"""What training minimises: the loss, with help on the way there that leaves the loss as it is.

    objective = reconstruction_loss + kl_weight * warmth(step) * sum over L of max(kl, free_bits)

with all terms means over the batch, `kl` that of one latent dimension, and `warmth` rising
linearly from 0 to 1 over the warm-up. Without warm-up and free bits this is the loss itself. What
is reported is always the loss. Input dropout hides elements from the encoder, not from the loss:
an encoder that has to guess them overfits less.

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
    """How the terms of the loss are weighed while training.

    Attributes:
        kl_weight: factor of the KL term, as in the loss.
        warmup_steps: steps in which the KL term rises from 0; 0 for none.
        free_bits: floor of the KL divergence of one latent dimension, in nats; 0 for none.
        input_dropout: share of a sample's elements that the encoder does not see; 0 for none.
    """

    kl_weight: float = 1.0
    warmup_steps: int = 0
    free_bits: float = 0.0
    input_dropout: float = 0.0

    def __call__(self, parts: Losses[Any], kl_terms: Any, step: Any) -> Any:
        """The number to minimise.

        Args:
            parts: mean losses of the batch.
            kl_terms: KL divergence per sample and latent dimension, shape `(batch, L)`.
            step: number of the step, from 0.

        Returns:
            A scalar.
        """
        if not self.warmup_steps and not self.free_bits:
            return parts.loss
        kl = parts.kl_loss
        if self.free_bits:
            kl = tf.reduce_sum(tf.maximum(tf.reduce_mean(kl_terms, axis=0), self.free_bits))
        if self.warmup_steps:
            done = tf.cast(step + 1, tf.float32)
            kl *= tf.minimum(1.0, done / float(self.warmup_steps))
        return parts.reconstruction_loss + self.kl_weight * kl
