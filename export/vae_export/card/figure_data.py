"""Codes, losses and reconstructions of held-out samples, for the figures of the model card."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.bundle.manifest import loss_input
from vae_runtime.data.numbers.standardization import standardize
from vae_runtime.data.samples.inputs import to_scaled_float32
from vae_runtime.loss import LossSpec, numpy_losses

Float32 = NDArray[np.float32]

BATCH_SAMPLES, BATCH_VALUES = 500, 1 << 20
"""Largest number of samples, and of input values, in one batch for TensorFlow."""

MAX_SHOWN = np.float32(1e30)
"""Decoded values are clipped to this magnitude, so that their sums are finite too."""


@dataclass(frozen=True)
class HeldOut:
    """Held-out samples, shape `(n, *input_shape)`, and their codes, shape `(n, L)`.

    Pixels are in [0, 1]. `reconstruction_loss` has shape `(n,)` and is computed at z = z_mean.
    `condition` has shape `(n, ...)`; None if the model is not conditional.
    """

    x: Float32
    z_mean: Float32
    z_log_var: Float32
    reconstruction_loss: Float32
    condition: Float32 | None = None


def middle_slices(x: Float32) -> Float32:
    """Return the middle slices of volumes, `(n, depth, height, width, channels)`, else `x`."""
    return x[:, x.shape[1] // 2] if x.ndim == 5 else x


class BatchedModel:
    """An encoder and a decoder from `exported_functions`, called with batches of bounded size."""

    def __init__(self, functions: Mapping[str, Any], loss: LossSpec, sample: InputSpec) -> None:
        self._functions, self._loss, self._sample = functions, loss, sample
        self._z_shape = tuple(functions["decoder"].input_signature[0].shape[1:])
        self._batch = max(1, min(BATCH_SAMPLES, BATCH_VALUES // math.prod(sample.shape)))

    def decode(self, z: Float32, condition: Float32 | None = None) -> Float32:
        """Return reconstructions of at least one z, shape `(n, L)`, with their conditions.

        NaN becomes 0, and large values are clipped.
        """
        batches = self._batches(z, condition)
        parts = [self._decode_batch(*batch)["reconstruction"] for batch in batches]
        decoded: Float32 = np.nan_to_num(np.concatenate(parts)).clip(-MAX_SHOWN, MAX_SHOWN)
        return decoded

    def encode(self, x: NDArray[Any], condition: Float32 | None = None) -> HeldOut:
        """Encode at least one sample, uint8 or float32, and drop those with non-finite results.

        A model that is exact on its parity samples must not be refused because of a figure.
        """
        x = x if self._sample.dtype == "uint8" else to_scaled_float32(x)
        with np.errstate(over="ignore", invalid="ignore"):
            parts = [self._encode_batch(*batch) for batch in self._batches(x, condition)]
            z_mean, z_log_var, loss = (np.concatenate(a) for a in zip(*parts, strict=True))
            z_mean, z_log_var = (a.reshape(len(a), -1) for a in (z_mean, z_log_var))
            numbers = np.column_stack([z_mean, np.exp(z_log_var), loss])
        kept = np.isfinite(numbers).all(axis=1)
        kept_condition = None if condition is None else condition[kept]
        return HeldOut(
            to_scaled_float32(x)[kept], z_mean[kept], z_log_var[kept], loss[kept], kept_condition
        )

    def _encode_batch(
        self, x: NDArray[Any], *condition: Float32
    ) -> tuple[Float32, Float32, Float32]:
        code = self._functions["encoder"](tf.constant(x), *map(tf.constant, condition))
        z_mean, z_log_var = code["z_mean"].numpy(), code["z_log_var"].numpy()
        output = loss_input(self._sample, self._loss, self._decode_batch(z_mean, *condition))
        target = standardize(np, self._sample.standardization, to_scaled_float32(x))
        losses = numpy_losses(self._loss, target, output, z_mean, z_log_var)
        return z_mean, z_log_var, np.asarray(losses.reconstruction_loss, np.float32)

    def _decode_batch(self, z: Float32, *condition: Float32) -> dict[str, Any]:
        z = z.reshape(len(z), *self._z_shape)
        outputs = self._functions["decoder"](tf.constant(z), *map(tf.constant, condition))
        return {name: value.numpy() for name, value in outputs.items()}

    def _batches(
        self, array: NDArray[Any], condition: Float32 | None
    ) -> Iterator[tuple[NDArray[Any], ...]]:
        arrays = (array,) if condition is None else (array, condition)
        for i in range(0, len(array), self._batch):
            yield tuple(a[i : i + self._batch] for a in arrays)
