"""Decoders that give a normal distribution for each element: two heads, or one of double width.

    {"mean": m, "log_var": s}     by names; the scale of s may follow from its name
    [m, s]                        in this order
    one tensor of width 2 C       m and s side by side on the last axis, for data of C channels

s is a log variance, unless another scale is stated. What is never negative (softplus, exp, relu),
or has the name of another scale, is refused unless the scale is stated. s may have axes of length 1
where m has more: it is then the same for all elements along them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers, ops

from vae_export.adoption.tracing.layers import producing_layer
from vae_export.adoption.tracing.origins import origin
from vae_export.adoption.tracing.readings import (
    DESCRIPTIONS,
    SCALES,
    Scale,
    kind_of_name,
    to_log_var,
)
from vae_runtime.errors import ExportError, OptionError
from vae_runtime.loss import LossSpec

STATE_IT = "say what it is by --decoder-scale log_var, log_std, std or var (decoder_scale=)"
USE_GAUSSIAN = (
    'use the gaussian loss with the decoder\'s variance, LossSpec("gaussian", '
    'decoder="mean_log_var") (--loss gaussian --variance decoder)'
)


def with_heads(
    model: keras.Model, shape: tuple[int, ...], loss: LossSpec, scale: Scale | None
) -> keras.Model | None:
    """Return a decoder from z to a dict of mean and log_var; None if `model` has one head.

    Args:
        model: a functional decoder.
        shape: shape of one sample.
        loss: the requested loss.
        scale: the stated scale of the second head.

    Raises:
        ExportError: the heads are not a mean and a spread, or the loss does not take them.
        OptionError: a scale is stated for a decoder with one head.
    """
    found = _heads(model, shape)
    if found is None:
        if loss.has_two_heads or scale:
            raise OptionError(
                f"decoder {model.name!r} has one output of shape {tuple(model.output.shape[1:])}, "
                "expected mean and log variance of each element: leave out --variance decoder and "
                "--decoder-scale, or return both"
            )
        return None
    mean, spread, labels, keyed = found
    if not loss.has_two_heads and (loss.reconstruction, loss.variance) != ("gaussian", 1.0):
        of = f" of variance {loss.variance}" if loss.variance else ""
        raise ExportError(
            f"decoder {model.name!r} has 2 outputs ({', '.join(map(repr, labels))}), expected one "
            f"for the {loss.reconstruction} loss{of}: if they are mean and log variance of each "
            f"element, {USE_GAUSSIAN}; if not, give a decoder that ends in the reconstruction"
        )
    scale = scale or _scale(model, spread, labels, keyed)
    log_var = _broadcast(to_log_var(spread, scale), mean, model.name)
    return keras.Model(model.inputs[0], {"mean": mean, "log_var": log_var}, name="decoder")


def _heads(
    model: keras.Model, shape: tuple[int, ...]
) -> tuple[Any, Any, tuple[str, str], bool] | None:
    """Return mean, spread, their names, and whether these are keys."""
    outputs = model.outputs if isinstance(model, keras.Sequential) else model.output
    if isinstance(outputs, Mapping):
        if len(outputs) == 1:
            return None
        spreads = [key for key in outputs if kind_of_name(key) in SCALES]
        others = [key for key in outputs if key not in spreads]
        if len(spreads) != 1 or len(others) != 1:
            raise _unclear(model, list(outputs))
        return outputs[others[0]], outputs[spreads[0]], (others[0], spreads[0]), True
    tensors = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    if len(tensors) == 1:
        packed = tuple(tensors[0].shape[1:])
        if packed != (*shape[:-1], 2 * shape[-1]):
            return None
        mean, spread = ops.split(tensors[0], 2, axis=-1)
        return mean, spread, ("first half", "second half"), False
    names = [producing_layer(tensor).name for tensor in tensors]
    kinds = [kind_of_name(name) for name in names]
    if len(tensors) != 2 or kinds[0] in SCALES or kinds[1] == "mean":
        raise _unclear(model, names)
    return tensors[0], tensors[1], (names[0], names[1]), False


def _unclear(model: keras.Model, names: list[str]) -> ExportError:
    return ExportError(
        f"decoder {model.name!r} has {len(names)} outputs ({', '.join(map(repr, names))}), "
        "expected one, or mean and log variance of each element: return the reconstruction alone, "
        "or the two in this order, or as a dict with the keys mean and log_var"
    )


def _scale(model: keras.Model, spread: Any, labels: tuple[str, str], keyed: bool) -> Scale:
    """Return log_var, unless the name or the last layer of the head shows another scale."""
    names = [labels[1]] if keyed else [labels[1], producing_layer(spread).name]
    kind = next((kind for kind in map(kind_of_name, names) if kind), None)
    what = f"decoder {model.name!r} gives {labels[1]!r}"
    expected = "expected a log variance"
    if kind in SCALES and kind != "log_var":
        raise ExportError(f"{what}, by its name a {DESCRIPTIONS[kind]}, {expected}: {STATE_IT}")
    end = origin(keras.Model(model.inputs[0], spread))
    if end.lower_bound >= 0:
        raise ExportError(
            f"{what}, which ends in {end.operator} and is never negative, {expected}: {STATE_IT}"
        )
    return "log_var"


def _broadcast(log_var: Any, mean: Any, name: str) -> Any:
    """Return log_var in the shape of the mean."""
    given, wanted = tuple(log_var.shape[1:]), tuple(mean.shape[1:])
    if given == wanted:
        return log_var
    if given == (1,):
        given = (1,) * len(wanted)
        log_var = layers.Reshape(given)(log_var)
    if len(given) != len(wanted) or any(a not in (1, b) for a, b in zip(given, wanted)):  # noqa: B905
        raise ExportError(
            f"decoder {name!r} gives a mean of shape {wanted} and a log variance of shape {given}, "
            "expected the same shape, or axes of length 1: let both end alike"
        )
    return log_var + ops.zeros_like(mean)
