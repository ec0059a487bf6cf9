"""What the models of a preset are built from: sizes, and inputs with or without a condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers


@dataclass(frozen=True)
class Sizes:
    """Sizes of an encoder and a decoder; `build_models` describes them.

    `condition` is the shape of the condition, None without one.
    """

    input_shape: tuple[int, ...]
    latent_dim: int
    hidden: tuple[int, ...]
    two_heads: bool
    condition: tuple[int, ...] | None


def condition_input(shape: tuple[int, ...] | None) -> tuple[list[Any], Callable[[Any], Any]]:
    """Return the input of the condition, and a function that joins it to vectors.

    Without a condition there is no input, and the function returns the vectors.
    """
    if shape is None:
        return [], lambda h: h
    condition = keras.Input(shape, name="condition")
    flat = layers.Flatten(name="flat_condition")(condition)
    return [condition], lambda h: layers.Concatenate(name="joined")([h, flat])


def one_or_list(inputs: list[Any]) -> Any:
    """Return the only input, or the list of both, as `keras.Model` takes them."""
    return inputs if len(inputs) > 1 else inputs[0]
