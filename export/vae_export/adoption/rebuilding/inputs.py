"""Models with other inputs than the user's: sizes that were left open are fixed, noise is drawn.

The layers are those of the user, with the same weights.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from vae_export.adoption.tracing.subgraph import subgraph_of_model
from vae_runtime.errors import ExportError, InputError


class Noise(layers.Layer):
    """Draws the noise that a user's encoder takes as an input."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__(name="noise", trainable=False)
        self.noise_shape = shape

    def call(self, x: Any) -> Any:
        """Return standard normal numbers, shape `(batch, *shape)`."""
        return tf.random.normal((tf.shape(x)[0], *self.noise_shape))

    def compute_output_spec(self, x: Any) -> Any:
        """Return the shape for symbolic tensors."""
        return keras.KerasTensor((x.shape[0], *self.noise_shape), "float32")


def with_fixed_sizes(model: keras.Model, shape: tuple[int, ...], role: str) -> keras.Model:
    """Return a functional model whose first input has a shape, where its own leaves sizes open.

    The model itself is returned if it leaves none open. An `InputError` says that the shape does
    not fit, and an `ExportError` that a layer does not take it.
    """
    x = model.inputs[0]
    own = tuple(x.shape[1:])
    if None not in own:
        return model
    if len(own) != len(shape) or any(n not in (None, m) for n, m in zip(own, shape, strict=True)):
        raise InputError(
            f"{role} {model.name!r} takes {x.name!r} of shape (batch, {', '.join(map(str, own))}), "
            f"which {shape} does not fit: give the shape of one sample by --input-shape "
            "(input_shape= in Python)"
        )
    fixed = [keras.Input(shape, dtype=x.dtype, name=x.name), *model.inputs[1:]]
    return _on(model, fixed, f"{role} {model.name!r} does not take an input of shape {shape}")


def without_noise_inputs(model: keras.Model) -> keras.Model:
    """Return a functional encoder without the inputs that z_mean and z_log_var do not depend on.

    These are inputs that no output depends on, or one output only, a z of three: they are drawn.
    The model itself is returned if there are none.
    """
    if len(model.inputs) == 1:
        return model
    part = subgraph_of_model(model)
    uses = [part.between(part.inputs, [output]).used for output in part.outputs]
    counts = [sum(used) for used in zip(*uses, strict=True)]
    is_noise = [n == 0 or (n == 1 and len(uses) == 3) for n in counts]
    if not any(is_noise) or all(is_noise):
        return model
    pairs = list(zip(model.inputs, is_noise, strict=True))
    kept = [keras.Input(x.shape[1:], dtype=x.dtype, name=x.name) for x, noise in pairs if not noise]
    left = iter(kept)
    given = [Noise(tuple(x.shape[1:]))(kept[0]) if noise else next(left) for x, noise in pairs]
    return _on(model, given, f"encoder {model.name!r} does not take drawn noise", kept)


def _on(
    model: keras.Model, inputs: list[Any], problem: str, ends: list[Any] | None = None
) -> keras.Model:
    """Return a model that computes the same from other tensors, which start at `ends`."""
    outputs = model.outputs if isinstance(model, keras.Sequential) else model.output
    plain = keras.Model(model.inputs, outputs)
    try:
        computed = plain._run_through_graph(inputs, operation_fn=lambda operation: operation)
    except Exception as error:  # whatever a layer raises
        raise ExportError(f"{problem}: {' '.join(str(error).split())[:300]}") from error
    ends = inputs if ends is None else ends
    return keras.Model(ends[0] if len(ends) == 1 else ends, computed, name=model.name)
