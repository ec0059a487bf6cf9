"""z_mean and z_log_var from the outputs of an encoder: their order, and the second one's scale.

The scale is stated, or found in this order:

    a sampled z     what it is drawn from; see `sampled_z`
    a name          sigma, std, log_sigma, variance, ... are no log variance
    the last layer  what is never negative (softplus, exp, relu) is no log variance
    otherwise       log variance

A z that fits one reading only decides. A name or a layer alone does not: the scale must be stated.
"""

from __future__ import annotations

import logging
import math
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from vae_export.adoption.encoder.outputs import Outputs, unclear
from vae_export.adoption.encoder.sampled_z import Draws, draw
from vae_export.adoption.tracing.layers import producing_layer
from vae_export.adoption.tracing.origins import origin
from vae_export.adoption.tracing.probes import probes
from vae_export.adoption.tracing.readings import (
    DESCRIPTIONS,
    SCALES,
    Kind,
    Scale,
    kind_of_name,
    to_log_var,
)
from vae_runtime.errors import ExportError

VALUES = 512
"""Number of latent values that are drawn at once, which bounds the time; at least one sample."""

STATE_IT = "say what it is by --scale log_var, log_std, std or var (scale= in Python)"


def moments(
    outputs: Outputs, scale: Scale | None, samples: NDArray[np.float32] | None
) -> tuple[Any, Any, Scale]:
    """Return the tensors z_mean and z_log_var, and the scale that the second was given on.

    Args:
        outputs: what `find_outputs` found; neither of the two draws random numbers.
        scale: the stated scale; None if it is to be found.
        samples: samples as the encoder takes them; None if there are none.
    """
    x = outputs.model.inputs[0]
    samples = probes(tuple(x.shape[1:]), samples)
    pair = (outputs.first, outputs.second)
    kinds = tuple(
        _kind(outputs.model, label, tensor)
        for label, tensor in zip(outputs.labels, pair, strict=True)
    )
    if outputs.halves:  # one layer gives both, so its name says nothing of the first
        kinds = (None, kinds[1] if kinds[1] in SCALES else None)
    swapped, found = False, None
    if outputs.z is not None and outputs.z.shape == outputs.first.shape:
        count = max(1, VALUES // math.prod(outputs.first.shape[1:]))
        draws = draw(x, pair, outputs.z, samples[:count])
        swapped, found = _reading(outputs, kinds, scale, draws)
    if swapped:
        pair = (outputs.second, outputs.first)
    elif found is None:
        _check_names(outputs, kinds)
        values = np.asarray(keras.Model(x, outputs.second)(samples, training=False))
        found = scale or _unstated(outputs, kinds[1], values)
        if found in ("std", "var"):
            _check_sign(outputs, found, values)
    found = found or "log_var"
    return pair[0], to_log_var(pair[1], found), found


def _reading(
    outputs: Outputs, kinds: tuple[Kind | None, ...], stated: Scale | None, draws: Draws
) -> tuple[bool, Scale | None]:
    """Return whether the outputs are swapped, and the scale; None if z does not decide it."""
    readings = [(swapped, scale) for swapped in (False, True) for scale in SCALES]
    factors = {r: draws.factor(r[1], swapped=r[0]) for r in readings}
    fits = [reading for reading, factor in factors.items() if factor == 1]
    usual = (False, stated or "log_var")
    if usual in fits and len(fits) > 1:
        return False, None  # near s = 0 the scales do not differ: a name may tell
    if not fits:
        if stated and factors[usual] is not None:
            return usual  # noise of another size, and the user knows the meaning
        raise _misfit(outputs, factors, stated)
    what = f"encoder {outputs.model.name!r} draws a z"
    if len(fits) > 1:
        scales = ", ".join(dict.fromkeys(scale for _, scale in fits))
        raise ExportError(
            f"{what} that fits {scales} as the scale of {outputs.labels[1]!r}: {STATE_IT}"
        )
    _check_fit(outputs, kinds, stated, fits[0])
    return fits[0]


def _check_fit(
    outputs: Outputs,
    kinds: tuple[Kind | None, ...],
    stated: Scale | None,
    fit: tuple[bool, Scale],
) -> None:
    """Refuse what z fits if options or names contradict it; warn if it is not the usual."""
    swapped, scale = fit
    mean, spread = outputs.labels[::-1] if swapped else outputs.labels
    mean_kind, spread_kind = kinds[::-1] if swapped else kinds
    what = f"{mean!r} is the mean and {spread!r} the {DESCRIPTIONS[scale]}"
    says = f"encoder {outputs.model.name!r} draws a z by which {what}"
    if stated and scale != stated:
        raise ExportError(
            f"{says}, but --scale is {stated}: give --scale {scale}, or an encoder without the z"
        )
    if (swapped and outputs.keyed) or mean_kind in SCALES or spread_kind == "mean":
        raise ExportError(
            f"{says}, but their names say the opposite: rename them, or give an encoder without "
            "the z if the names are right"
        )
    if spread_kind == "log_var" != scale and not stated:
        raise ExportError(
            f"{says}, but its name is that of a log variance: give --scale {scale} if z is right, "
            "or an encoder without the z if the name is right"
        )
    if fit != (False, stated or "log_var"):
        logging.getLogger("vae_export").warning(f"{says}: taken as such; --scale {scale} states it")


def _misfit(
    outputs: Outputs, factors: dict[tuple[bool, Scale], float | None], stated: Scale | None
) -> ExportError:
    where = f"encoder {outputs.model.name!r} draws a z"
    first, second = map(repr, outputs.labels)
    near = next(((r, f) for r, f in factors.items() if f is not None and not r[0]), None)
    if near is None:
        return ExportError(
            f"{where} that is not spread around {first} as {second} says, on any scale "
            f"({', '.join(SCALES)}), nor the other way round: return the mean and the log variance "
            "that z is drawn from, or give an encoder without the z and state --scale"
        )
    (_, scale), factor = near
    other = f" and --scale {stated} does not fit" if stated else ""
    return ExportError(
        f"{where} with {factor:.3g} times the standard deviation that {second} gives as a "
        f"{DESCRIPTIONS[scale]}{other}: train with noise of standard deviation 1, or give --scale "
        f"{scale} to export {second} as it is"
    )


def _check_names(outputs: Outputs, kinds: tuple[Kind | None, ...]) -> None:
    if not outputs.keyed and (kinds[0] in SCALES or kinds[1] == "mean"):
        raise unclear(outputs.model, list(outputs.labels))


def _unstated(outputs: Outputs, kind: Kind | None, values: NDArray[np.float32]) -> Scale:
    """Return log_var, unless a name or the last layer shows that it is something else."""
    where = f"encoder {outputs.model.name!r} gives {outputs.labels[1]!r}"
    expected = "expected a log variance"
    if kind in SCALES and kind != "log_var":
        raise ExportError(f"{where}, by its name a {DESCRIPTIONS[kind]}, {expected}: {STATE_IT}")
    end = origin(keras.Model(outputs.model.inputs[0], outputs.second))
    hidden = end.operator.endswith("PartitionedCall")  # a tf.function: only its values are seen
    if end.lower_bound >= 0 or (hidden and values.min() >= 0):
        raise ExportError(
            f"{where}, which ends in {end.operator} and is never negative, {expected}: {STATE_IT}"
        )
    if outputs.keyed and kind is None:
        raise ExportError(f"{where}, a key of unknown meaning, {expected}: {STATE_IT}")
    return "log_var"


def _kind(model: keras.Model, label: str, tensor: Any) -> Kind | None:
    """Return what a key, a layer's name or the name of the layer's attribute says of an output."""
    names = [label, producing_layer(tensor).name]
    layer = origin(keras.Model(model.inputs[0], tensor)).layer
    if layer is not None:
        owners = (model, *model._flatten_layers(include_self=False))
        names.append(layer.name)
        names += [name for o in owners for name, value in vars(o).items() if value is layer]
    return next((kind for kind in map(kind_of_name, names) if kind), None)


def _check_sign(outputs: Outputs, scale: Scale, values: NDArray[np.float32]) -> None:
    """Refuse a stated std or var that is not above 0: its logarithm is no log variance."""
    if not (values > 0).all():
        raise ExportError(
            f"encoder {outputs.model.name!r} gives {outputs.labels[1]!r} down to "
            f"{values.min():.3g}, --scale {scale} takes numbers above 0: give another scale, or "
            "end the layer in softplus(x) + 1e-6"
        )
