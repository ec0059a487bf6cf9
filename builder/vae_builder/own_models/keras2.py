"""Configurations of Keras 2, in the form that Keras 3 reads.

Layers of Keras 2 state options that their successors do not know, such as `groups` of a transposed
convolution, and Keras 3 refuses the whole file. An option that is off is left out.
"""

from __future__ import annotations

import inspect
from typing import Any

import keras

OFF = (None, False, 1)
"""Values of options that change nothing: the layer could do nothing else."""

OLD_OPTIONS = frozenset(
    ("groups", "time_major", "renorm", "fused", "virtual_batch_size", "adjustment", "ragged")
)
"""Options of Keras 2 that some layers of Keras 3 do not know. They are left out if they are off."""

OF_TRAINING = ("_initializer", "_regularizer", "_constraint")
"""Ends of the names of options that matter in training only. They may be left out."""


def modernized(config: Any) -> Any:
    """Return the configuration of a model without options that are off and not known any more."""
    if isinstance(config, list):
        return [modernized(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    own = config.get("config")
    kind = getattr(keras.layers, str(config.get("class_name")), None)
    if isinstance(own, dict) and inspect.isclass(kind):
        known = _parameters(kind)
        own = {
            name: value
            for name, value in own.items()
            if name in known or not _may_be_left_out(name, value)
        }
        config = {**config, "config": own}
    return {name: modernized(value) for name, value in config.items()}


def _may_be_left_out(name: str, value: Any) -> bool:
    return name.endswith(OF_TRAINING) or (name in OLD_OPTIONS and value in OFF)


def _parameters(kind: type[Any]) -> set[str]:
    """Return the names of the arguments of a layer and of its base classes."""
    signatures = (inspect.signature(vars(base)["__init__"]) for base in _with_init(kind))
    return {name for signature in signatures for name in signature.parameters}


def _with_init(kind: type[Any]) -> list[type[Any]]:
    return [base for base in kind.__mro__[:-1] if "__init__" in vars(base)]
