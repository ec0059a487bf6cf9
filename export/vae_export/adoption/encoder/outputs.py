"""Outputs of an encoder: two that state the distribution of z, and maybe a z that is drawn.

The two may be halves of one output, side by side in its last axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from vae_export.adoption.tracing.layers import producing_layer
from vae_export.adoption.tracing.origins import random_nodes
from vae_export.adoption.tracing.readings import SCALES, kind_of_name
from vae_runtime.errors import ExportError

NOISE_NAMES = frozenset({"eps", "epsilon", "noise"})
"""Keys of random outputs that are no z."""


@dataclass(frozen=True)
class Outputs:
    """Outputs of an encoder.

    Attributes:
        model: the encoder.
        first: z_mean, as far as the order or a key says so.
        second: the output that states the spread.
        labels: names of these two: keys, or layers.
        keyed: whether keys say which is which.
        halves: whether the two are halves of one output.
        z: a sample drawn from the two; None if there is none.
    """

    model: keras.Model
    first: Any
    second: Any
    labels: tuple[str, str]
    keyed: bool
    z: Any
    halves: bool = False


def find_outputs(model: keras.Model, latent: tuple[int | None, ...] | None = None) -> Outputs:
    """Return the outputs of an encoder; raise `ExportError` if they are not such two or three.

    `latent` is the shape of z without the batch, as the decoder takes it; None if it is not known.
    """
    outputs = model.outputs if isinstance(model, keras.Sequential) else model.output
    if isinstance(outputs, Mapping):
        return _by_key(model, dict(outputs))
    tensors = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    names = [producing_layer(tensor).name for tensor in tensors]
    if len(tensors) in (1, 2) and (halves := _halves(model, tensors, names, latent)):
        return halves
    if len(tensors) not in (2, 3):
        raise unclear(model, names, _one_too_few(tensors, latent))
    z = None
    if len(tensors) == 3:  # the z may stand anywhere
        drawn = [index for index, tensor in enumerate(tensors) if _is_random(model, tensor)]
        at = drawn[0] if len(drawn) == 1 else 2
        if at not in drawn:
            raise unclear(
                model, names, f"{names[at]!r} draws no random numbers, so it is not a sampled z"
            )
        z = tensors.pop(at)
        names.pop(at)
    labels = (names[0], names[1]) if names[0] != names[1] else ("output 1", "output 2")
    return Outputs(model, tensors[0], tensors[1], labels, keyed=False, z=z)


def _halves(
    model: keras.Model,
    tensors: list[Any],
    names: list[str],
    latent: tuple[int | None, ...] | None,
) -> Outputs | None:
    """Return the halves of one output that is twice as wide as z; None if there is none such."""
    wide = [i for i, t in enumerate(tensors) if _is_twice_as_wide(t, latent)]
    others = [tensor for i, tensor in enumerate(tensors) if i not in wide[:1]]
    if not wide or not all(_is_random(model, tensor) for tensor in others):
        return None
    both, name = tensors[wide[0]], names[wide[0]]
    width = both.shape[-1] // 2
    labels = (f"{name}[..., :{width}]", f"{name}[..., {width}:]")
    z = others[0] if others else None
    first, second = both[..., :width], both[..., width:]
    return Outputs(model, first, second, labels, keyed=False, z=z, halves=True)


def _is_twice_as_wide(tensor: Any, latent: tuple[int | None, ...] | None) -> bool:
    shape = tuple(tensor.shape[1:])
    if not shape or None in shape or shape[-1] % 2:
        return False
    if latent is None:
        return True
    half = (*shape[:-1], shape[-1] // 2)
    return len(half) == len(latent) and all(
        n in (None, m) for n, m in zip(latent, half, strict=True)
    )


def _one_too_few(tensors: list[Any], latent: tuple[int | None, ...] | None) -> str:
    if len(tensors) != 1 or latent is None:
        return ""
    shape, wanted = tuple(tensors[0].shape[1:]), (*latent[:-1], 2 * (latent[-1] or 0))
    if shape == latent:
        return "its one output is as wide as the z of the decoder, so it states no spread"
    return f"its one output has the shape {shape}, both side by side would have {wanted}"


def _by_key(model: keras.Model, outputs: dict[str, Any]) -> Outputs:
    kinds = {key: kind_of_name(key) for key in outputs}
    means = [key for key, kind in kinds.items() if kind == "mean"]
    log_vars = [key for key, kind in kinds.items() if kind == "log_var"]
    spreads = log_vars or [key for key, kind in kinds.items() if kind in SCALES]
    others = [key for key, kind in kinds.items() if kind is None and key.lower() not in NOISE_NAMES]
    drawn = [key for key in others if _is_random(model, outputs[key])]
    spreads = spreads or [key for key in others if key not in drawn]
    if len(means) != 1 or len(spreads) != 1:
        raise unclear(model, list(outputs))
    labels = (means[0], spreads[0])
    first, second = (outputs[label] for label in labels)
    z = outputs[drawn[0]] if len(drawn) == 1 else None
    return Outputs(model, first, second, labels, keyed=True, z=z)


def _is_random(model: keras.Model, tensor: Any) -> bool:
    return bool(random_nodes(keras.Model(model.inputs, tensor)))


def unclear(model: keras.Model, names: list[str], problem: str = "") -> ExportError:
    """Return the error for outputs that are not z_mean, z_log_var and maybe z."""
    return ExportError(
        f"encoder {model.name!r} gives {', '.join(names)}, expected z_mean and z_log_var, or the "
        f"two and a z drawn from them: {problem + ': ' if problem else ''}return them in this "
        "order, or as a dict with the keys z_mean and z_log_var"
    )
