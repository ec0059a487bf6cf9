"""Checks that a decoder's values are what the loss takes them for: probabilities, logits or values.

A wrong kind gives a loss that is finite, reproducible and wrong. The decoder is tried on the
reference samples, at z = z_mean, and on draws from the prior. How much of the samples' variance its
outputs explain, as they are and through a sigmoid, tells values from logits without any name.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from vae_export.adoption.tracing.origins import last_operator
from vae_export.graphs.functions import call_model, latent_shape
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.data.numbers.standardization import standardize
from vae_runtime.data.samples.inputs import to_scaled_float32
from vae_runtime.errors import ExportError
from vae_runtime.loss import LossSpec

MADE_SAMPLES = 3
"""Samples at the end of the reference that are no data: zeros, ones and noise."""

PRIOR_DRAWS, MAX_PRIOR_BYTES, SEED = 256, 16 << 20, 20140503
"""Draws from the prior: number, largest size of the decoder's outputs, and seed."""

ROUNDING = 1e-6
"""A probability may be outside [0, 1] by so much."""

MIN_EXPLAINED = 0.5
"""Share of the variance that outputs must explain to show what they are."""

MAX_OUT_OF_REACH = 0.05
"""Share of the samples' elements that a bounded decoder may be unable to reach."""

BOUNDS = {
    "Sigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "Tanh": (-1.0, 1.0),
    "Relu": (0.0, math.inf),
    "Relu6": (0.0, 6.0),
    "Softplus": (0.0, math.inf),
}
"""Lowest and highest value of operators that may end a decoder."""


def check_decoder_values(
    decoder: keras.Model,
    loss: LossSpec,
    input_spec: InputSpec,
    reference: dict[str, NDArray[np.float32]],
) -> None:
    """Refuse a decoder whose values are not of the kind that the loss takes.

    `reference` are TensorFlow's values for the reference samples, the made ones last. An
    `ExportError` says what was found. A decoder that cannot reach the samples is named in the
    log.
    """
    real = slice(len(reference["x"]) - MADE_SAMPLES)
    x = to_scaled_float32(reference["x"][real])
    x = standardize(np, input_spec.standardization, x).astype(np.float64)
    given = [reference["condition"]] if "condition" in reference else []
    code = [reference["z_mean"], *given]
    outputs = _decode(decoder, code)
    swapped = _decode(decoder, code, "log_var") if loss.has_two_heads else None
    prior = _prior(decoder, math.prod(input_spec.shape))
    drawn = [prior, *(np.resize(a, (len(prior), *a.shape[1:])) for a in given)]
    tried = {
        "at the reference samples": outputs,
        "at draws from the prior": _decode(decoder, drawn),
    }
    for where, values in tried.items():
        _require_finite(values, where)
        if loss.decoder == "probabilities":
            _require_probabilities(values, where)
    if not len(x):
        return
    outputs = outputs[real]
    as_they_are, through_sigmoid = _explained(x, outputs), _explained(x, _sigmoid(outputs))
    if loss.decoder == "logits" and as_they_are > max(MIN_EXPLAINED, through_sigmoid):
        raise ExportError(
            f"the decoder's outputs are no logits: they explain {as_they_are:.0%} of the variance "
            f"of the reference samples as they are, and {max(through_sigmoid, 0):.0%} through a "
            "sigmoid: use the mse loss if the model was trained with it, or state "
            'LossSpec("bce", decoder="probabilities") (--keep-sigmoid) if they are probabilities'
        )
    if swapped is not None and _explained(x, swapped[real]) > max(MIN_EXPLAINED, as_they_are):
        raise ExportError(
            "the decoder's heads are swapped: the log variance explains the reference samples, and "
            "the mean does not, expected the mean first: return them in the order mean, log_var"
        )
    if loss.decoder in ("values", "mean_log_var"):
        if through_sigmoid > max(MIN_EXPLAINED, as_they_are):
            raise ExportError(
                "the decoder's outputs are logits: through a sigmoid they explain "
                f"{through_sigmoid:.0%} of the variance of the reference samples, and "
                f"{max(as_they_are, 0):.0%} as they are: use the bce loss, or end the decoder in a "
                "sigmoid"
            )
        _warn_if_out_of_reach(decoder, x)


def _decode(
    decoder: keras.Model, inputs: list[NDArray[np.float32]], head: str = "mean"
) -> NDArray[np.float64]:
    output = call_model(decoder, *inputs)
    return np.asarray(output[head] if isinstance(output, dict) else output, np.float64)


def _prior(decoder: keras.Model, elements: int) -> NDArray[np.float32]:
    draws = min(PRIOR_DRAWS, max(4, MAX_PRIOR_BYTES // (8 * elements)))
    shape = (draws, *latent_shape(decoder))
    return np.random.default_rng(SEED).standard_normal(shape, dtype=np.float32)


def _require_finite(values: NDArray[np.float64], where: str) -> None:
    finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if not finite.all():
        raise ExportError(
            f"the decoder gives values that are not finite {where} ({int((~finite).sum())} of "
            f"{len(values)}): bound what its layers compute, and train it again"
        )


def _require_probabilities(values: NDArray[np.float64], where: str) -> None:
    low, high = values.min(), values.max()
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise ExportError(
            f"the decoder gives {low:.3g} to {high:.3g} {where}, expected probabilities from 0 to "
            '1: leave out decoder="probabilities" (--keep-sigmoid) if these are logits, use the '
            "mse loss if they are values, or end the decoder in a sigmoid"
        )


def _explained(x: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Return the share of the variance around one number for all elements; 0 if there is none."""
    spread = float(np.square(x - x.mean()).sum())
    return 1 - float(np.square(x - predicted).sum()) / spread if spread else 0.0


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * values))


def _warn_if_out_of_reach(decoder: keras.Model, x: Any) -> None:
    if isinstance(decoder.output, dict):
        decoder = keras.Model(decoder.inputs, decoder.output["mean"])
    last = last_operator(decoder)
    low, high = BOUNDS.get(last, (-math.inf, math.inf))
    share = float(np.mean((x < low) | (x > high)))
    if share > MAX_OUT_OF_REACH:
        logging.getLogger("vae_export").warning(
            f"the decoder ends in a {last.lower()}, which gives {low:g} to {high:g}, but "
            f"{share:.0%} of the values that it is to reconstruct lie outside: end it in a linear "
            "layer, or scale the data as in training"
        )
