r"""The anomaly score of a sample: one definition for NumPy, TensorFlow and ONNX.

For a sample x of D elements, the reconstruction r of its z_mean, and the hidden activations h of
the encoder, per sample, at z = z_mean; larger is more unusual:

    loss            reconstruction_loss + kl_weight * kl_loss, as in `vae_runtime.loss`
    excess_loss     the loss less the smallest reconstruction loss that any decoder could give:
                    the entropy of x for bce, the constants of the density for gaussian
    squared_error   sum over D of (x - r)^2
    novelty         g of the distance of each tensor of activations, added up
    combined        g of squared_error (bce) or of excess_loss (others), added to novelty

    distance        |P^T c / sqrt(lambda)|^2 + |c - P P^T c|^2 / s2, with c = h - center
    g(part)         softplus(2 u)^2 / 8 with u = (log(part) - mean) / std

The distance is the squared Mahalanobis distance from a Gaussian that was fitted to activations of
training samples, by probabilistic PCA: P are their F principal axes, lambda the variances along
them plus s2, and s2 a tenth of the mean variance along all directions, which keeps the distance
finite where they do not vary. h is scaled to length 1 first, if the manifest says
so. mean and std are those of log(part) over held-out samples of their own. The first part shows
what the decoder cannot draw, the distance what the encoder has never seen. g(part) is about u^2 / 2
for large u, as -log p of a normal u is, and 0 for a part that is smaller than usual: a blank
picture is easy to draw, and that must not make up for its novelty.

Each function takes an array namespace `xp`: `numpy`, or `keras.ops`, which uses NumPy's names.

Sources: Xiao, Yan and Amit, Likelihood Regret (2020), for losses that rank bold strokes; Tipping
and Bishop, Probabilistic Principal Component Analysis (1999); Lee, Lee, Lee and Shin, A Simple
Unified Framework for Detecting Out-of-Distribution Samples (2018), for Mahalanobis distances of
hidden activations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.scores import PartSpec
from vae_runtime.loss import Losses, LossSpec, mse

Float32 = NDArray[np.float32]

LEAST = 1e-6
"""Smallest value of a part whose logarithm is taken."""


@dataclass(frozen=True, eq=False)
class LowRankGaussian:
    """A Gaussian of H dimensions, with variances of its own along F axes.

    Attributes:
        center: its mean, shape `(H,)`, float32.
        axes: orthonormal axes, shape `(H, F)`, float32.
        variances: variance along each axis, shape `(F,)`, float32.
        rest_variance: variance along every other direction.
    """

    center: Float32
    axes: Float32
    variances: Float32
    rest_variance: np.float32


def squared_error(xp: Any, loss: LossSpec, x: Any, output: Any) -> Any:
    """Return the squared error of each sample, shape `(batch,)`.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        loss: specification of the loss.
        x: samples, shape `(batch, *input_shape)`, standardized.
        output: decoder output at z_mean, as for `vae_runtime.loss.losses`.
    """
    x, *outputs = _flat(xp, loss, x, output)
    if loss.decoder == "logits":
        return mse(xp, x, 0.5 + 0.5 * xp.tanh(0.5 * outputs[0]))  # sigmoid without overflow
    return mse(xp, x, outputs[0])


def excess_loss(xp: Any, loss: LossSpec, x: Any, output: Any, losses: Losses[Any]) -> Any:
    """Return the loss less the floor of its reconstruction term, shape `(batch,)`.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        loss: specification of the loss.
        x: samples, as for `squared_error`.
        output: decoder output, as for `squared_error`.
        losses: the losses at z_mean.
    """
    x, *outputs = _flat(xp, loss, x, output)
    if loss.reconstruction == "bce":
        inside = xp.clip(x, LEAST, 1.0)
        outside = xp.clip(1.0 - x, LEAST, 1.0)
        floor = -xp.sum(x * xp.log(inside) + (1.0 - x) * xp.log(outside), axis=1)
    elif loss.has_two_heads:
        floor = 0.5 * xp.sum(outputs[1] + math.log(2.0 * math.pi), axis=1)
    elif loss.variance is not None:
        floor = 0.5 * int(x.shape[1]) * math.log(2.0 * math.pi * loss.variance)
    else:
        floor = 0.0
    return losses.loss - floor


def distance(xp: Any, activations: Any, gaussian: LowRankGaussian) -> Any:
    """Return the squared Mahalanobis distance of activations, `(batch, H)`, shape `(batch,)`."""
    centered = activations - gaussian.center
    along = xp.matmul(centered, gaussian.axes)
    rest = centered - xp.matmul(along, np.ascontiguousarray(gaussian.axes.T))
    inside = xp.sum(xp.square(along * (1.0 / np.sqrt(gaussian.variances))), axis=1)
    return inside + xp.sum(xp.square(rest), axis=1) * (1.0 / gaussian.rest_variance)


def surprises(xp: Any, parts: Mapping[str, Any], specs: Mapping[str, PartSpec]) -> Any:
    """Return g of each part that `specs` names, shape `(batch, number of parts)`.

    g is 0.06 at the mean, and 2 at two standard deviations above it.
    """
    values = xp.stack([parts[name] for name in specs], axis=1)
    mean = np.array([spec.mean for spec in specs.values()], np.float32)
    slope = np.array([2.0 / spec.std for spec in specs.values()], np.float32)
    u = (xp.log(xp.maximum(values, LEAST)) - mean) * slope
    softplus = xp.maximum(u, 0.0) + xp.log(1.0 + xp.exp(-xp.abs(u)))
    return 0.125 * xp.square(softplus)


def distances(xp: Any, activations: Any, gaussians: Sequence[LowRankGaussian]) -> dict[str, Any]:
    """Return the distance of each tensor of activations, by the name of its part.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        activations: the tensors side by side, shape `(batch, size)`.
        gaussians: one for each tensor.
    """
    start, parts = 0, {}
    for i, gaussian in enumerate(gaussians, 1):
        end = start + len(gaussian.center)
        parts[f"novelty_{i}"] = distance(xp, activations[:, start:end], gaussian)
        start = end
    return parts


def _flat(xp: Any, loss: LossSpec, x: Any, output: Any) -> list[Any]:
    outputs = (output["mean"], output["log_var"]) if loss.has_two_heads else (output,)
    elements = int(np.prod(x.shape[1:]))
    return [xp.reshape(array, (-1, elements)) for array in (x, *outputs)]
