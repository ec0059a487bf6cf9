"""What a model makes of held-out samples: the numbers behind the figures of its card."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_runtime.bundle.fields import InputSpec
from vae_runtime.bundle.manifest import decoder_outputs
from vae_runtime.data.inputs import to_float
from vae_runtime.data.standardization import standardize
from vae_runtime.loss import LossSpec, numpy_losses

Float32 = NDArray[np.float32]

BATCH, BATCH_VALUES = 500, 1 << 20
"""Samples that TensorFlow gets at once, and values that these may have in all."""

LARGEST = np.float32(1e30)
"""What a figure shows of larger values."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out samples and what a model makes of them.

    Attributes:
        x: the samples, shape `(n, *input_shape)`; pixels in [0, 1].
        z_mean: shape `(n, L)`.
        z_log_var: shape `(n, L)`.
        reconstruction_loss: of each sample at z = z_mean, shape `(n,)`.
    """

    x: Float32
    z_mean: Float32
    z_log_var: Float32
    reconstruction_loss: Float32


class Look:
    """A model, called with arrays a bounded part at a time."""

    def __init__(self, functions: Mapping[str, Any], loss: LossSpec, sample: InputSpec) -> None:
        """Takes the model.

        Args:
            functions: encoder and decoder, as by `exported_functions`.
            loss: which loss.
            sample: what a sample is.
        """
        self._functions, self._loss, self._sample = functions, loss, sample
        self._batch = max(1, min(BATCH, BATCH_VALUES // math.prod(sample.shape)))

    def decode(self, z: Float32) -> Float32:
        """Decodes points of the latent space.

        Args:
            z: shape `(n, L)`, n at least 1.

        Returns:
            Reconstructions, shape `(n, *input_shape)`, NaN as 0, and within `LARGEST`, so that
            their sums are finite as well.
        """
        parts = [self._decode(part)["reconstruction"] for part in self._parts(z)]
        return np.clip(np.nan_to_num(np.concatenate(parts)), -LARGEST, LARGEST)

    def held_out(self, x: NDArray[Any]) -> HeldOut:
        """Encodes samples, and computes how well they come back.

        Args:
            x: samples, shape `(n, *input_shape)`, n at least 1, uint8 or float32.

        Returns:
            Those samples whose codes and losses are finite: a model that is exact on its parity
            samples is not refused for the sake of a figure.
        """
        x = x if self._sample.dtype == "uint8" else to_float(x)
        with np.errstate(over="ignore", invalid="ignore"):
            found = [self._look(part) for part in self._parts(x)]
            z_mean, z_log_var, loss = (np.concatenate(a) for a in zip(*found, strict=True))
            numbers = np.column_stack([z_mean, np.exp(z_log_var), loss])
        kept = np.isfinite(numbers).all(axis=1)
        return HeldOut(to_float(x)[kept], z_mean[kept], z_log_var[kept], loss[kept])

    def _look(self, x: NDArray[Any]) -> tuple[Float32, Float32, Float32]:
        code = self._functions["encoder"](tf.constant(x))
        z_mean, z_log_var = code["z_mean"].numpy(), code["z_log_var"].numpy()
        output = self._decode(z_mean)[decoder_outputs(self._sample, self._loss)[0]]
        seen = standardize(np, self._sample.standardization, to_float(x))
        losses = numpy_losses(self._loss, seen, output, z_mean, z_log_var)
        return z_mean, z_log_var, np.asarray(losses.reconstruction_loss, np.float32)

    def _decode(self, z: Float32) -> dict[str, Float32]:
        outputs = self._functions["decoder"](tf.constant(z))
        return {name: value.numpy() for name, value in outputs.items()}

    def _parts(self, array: NDArray[Any]) -> Iterator[NDArray[Any]]:
        return (array[i : i + self._batch] for i in range(0, len(array), self._batch))
