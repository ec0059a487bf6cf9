"""What each element adds to the part of a score that the decoder gives.

    loss             the element's term of the reconstruction loss
    excess_loss      the same, less its floor
    squared_error    the element's squared error, also for novelty

The terms of a sample add up to its reconstruction loss, the reconstruction part of its excess loss,
or its squared error. `vae_runtime.bundle.scores.fit_part` says which of them `combined` has.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.scores import ScoreName, fit_part
from vae_runtime.decision.score import LEAST
from vae_runtime.loss import CLIP_EPSILON, LossSpec

Float64 = NDArray[np.float64]


def element_terms(name: ScoreName, loss: LossSpec, x: Any, output: Any) -> Float64:
    """Return what each element adds, shape `(batch, *input_shape)`, float64.

    Args:
        name: the score.
        loss: specification of the loss.
        x: samples, shape `(batch, *input_shape)`, standardized.
        output: decoder output at z_mean, as for `vae_runtime.loss.losses`.
    """
    x = np.asarray(x, np.float64)
    if loss.has_two_heads:
        first, log_var = (np.asarray(output[key], np.float64) for key in ("mean", "log_var"))
    else:
        first, log_var = np.asarray(output, np.float64), np.zeros(())
    part = fit_part(name, loss.reconstruction) or "squared_error"
    if part != "squared_error":
        return _loss_terms(loss, x, first, log_var, excess=part == "excess_loss")
    r = 0.5 + 0.5 * np.tanh(0.5 * first) if loss.decoder == "logits" else first
    terms: Float64 = np.square(x - r)
    return terms


def _loss_terms(
    loss: LossSpec, x: Float64, first: Float64, log_var: Float64, *, excess: bool
) -> Float64:
    if loss.reconstruction == "bce":
        if loss.decoder == "logits":
            terms = np.maximum(first, 0.0) - first * x + np.log1p(np.exp(-np.abs(first)))
        else:
            p = np.clip(first, CLIP_EPSILON, 1.0 - CLIP_EPSILON)
            terms = -(x * np.log(p) + (1.0 - x) * np.log(1.0 - p))
        if not excess:
            return terms
        inside, outside = np.maximum(x, LEAST), np.maximum(1.0 - x, LEAST)
        return terms + x * np.log(inside) + (1.0 - x) * np.log(outside)
    squares = np.square(x - first)
    if loss.reconstruction == "mse":
        return squares
    variance = np.exp(log_var) if loss.has_two_heads else np.float64(loss.variance or 1.0)
    terms = 0.5 * squares / variance
    return terms if excess else terms + 0.5 * np.log(2.0 * math.pi * variance)
