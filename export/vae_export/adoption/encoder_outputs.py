"""Outputs of an encoder: two that state the distribution of z, and maybe a z that is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from vae_export.adoption.decoder_end import producing_layer
from vae_export.adoption.readings import SCALES, kind_of_name
from vae_export.adoption.tracing import random_nodes
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
        z: a sample drawn from the two; None if there is none.
    """

    model: keras.Model
    first: Any
    second: Any
    labels: tuple[str, str]
    keyed: bool
    z: Any


def find_outputs(model: keras.Model) -> Outputs:
    """Return the outputs of an encoder; raise `ExportError` if they are not such two or three."""
    outputs = model.outputs if isinstance(model, keras.Sequential) else model.output
    if isinstance(outputs, Mapping):
        return _by_key(model, dict(outputs))
    tensors = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    names = [producing_layer(tensor).name for tensor in tensors]
    if len(tensors) not in (2, 3):
        raise unclear(model, names)
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
    return bool(random_nodes(keras.Model(model.inputs[0], tensor)))


def unclear(model: keras.Model, names: list[str], problem: str = "") -> ExportError:
    """Return the error for outputs that are not z_mean, z_log_var and maybe z."""
    return ExportError(
        f"encoder {model.name!r} gives {', '.join(names)}, expected z_mean and z_log_var, or the "
        f"two and a z drawn from them: {problem + ': ' if problem else ''}return them in this "
        "order, or as a dict with the keys z_mean and z_log_var"
    )
