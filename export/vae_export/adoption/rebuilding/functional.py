"""A user's encoder or decoder as a functional model of x or z, and maybe a condition."""

from __future__ import annotations

from typing import Any

import keras

from vae_export.adoption.rebuilding.conditional import GIVE_CONDITIONS
from vae_export.adoption.rebuilding.inputs import Noise, with_fixed_sizes, without_noise_inputs
from vae_export.adoption.tracing.layers import is_functional
from vae_runtime.data.samples.conditions import ConditionSpec
from vae_runtime.errors import ExportError


def functional_model(
    model: Any,
    role: str,
    shape: tuple[int, ...] | None,
    spec: ConditionSpec | None = None,
    latent: tuple[int | None, ...] | None = None,
) -> keras.Model:
    """Return a functional model; a subclassed model becomes its only layer.

    Args:
        model: the user's model.
        role: `encoder` or `decoder`.
        shape: shape of x or z, for subclassed models and for sizes that are left open.
        spec: what a condition is; None if the model takes none.
        latent: shape of z, for an encoder that takes noise of this shape.

    Raises:
        ExportError: names the model that is no built Keras model of such inputs.
        InputError: `shape` does not fit the sizes that are left open.
    """
    if not isinstance(model, keras.Model):
        raise ExportError(
            f"{role} is a {type(model).__name__}, expected a Keras model: wrap it in keras.Model"
        )
    if not model.built:
        raise ExportError(
            f"{role} {model.name!r} has no weights yet: train it, or call it on data, first"
        )
    if not is_functional(model):
        return _wrapped(model, role, shape, spec, latent)
    if role == "encoder":
        model = without_noise_inputs(model)
    inputs = model.inputs
    if len(inputs) > 1 and spec is None:
        raise ExportError(
            f"{role} {model.name!r} has {len(inputs)} inputs ({names_of(inputs)}), expected one: "
            f"join them in one tensor, fix all but one, or, if the second is a condition, "
            f"{GIVE_CONDITIONS}"
        )
    if shape is not None:
        rank = len(inputs[0].shape) - 1  # the data may have a channel axis of length 1
        fixed = shape[:-1] if len(shape) == rank + 1 and shape[-1] == 1 else shape
        model = with_fixed_sizes(model, fixed, role)
    for tensor in model.inputs:
        what = f"{role} {model.name!r} takes {tensor.name!r}"
        if len(inputs) > 1 and "int" in tensor.dtype and None not in tensor.shape[1:]:
            continue  # a condition may be a label
        check_tensor(tensor, what)
    return model


def _wrapped(
    model: keras.Model,
    role: str,
    shape: tuple[int, ...] | None,
    spec: ConditionSpec | None,
    latent: tuple[int | None, ...] | None,
) -> keras.Model:
    """Return a functional model around a subclassed one, which may also take noise for z."""
    if shape is None:
        raise ExportError(
            f"{role} {model.name!r} is a subclassed model, whose input shape is not known: give "
            "input_shape"
        )
    x = keras.Input(shape)
    noise = tuple(n for n in latent or () if n is not None)
    problems = []
    for inputs in (x, [x, Noise(noise)(x)]) if noise == latent and spec is None else (x,):
        try:
            if spec is not None:
                condition = keras.Input(spec.shape, name="condition")
                return _wrapped_conditional(model, x, condition, role)
            return keras.Model(x, model(inputs, training=False), name=role)
        except Exception as error:  # whatever its `call` raises
            problems.append(error)
    raise ExportError(
        f"{role} {model.name!r} does not take an input of shape {shape}: "
        f"{' '.join(str(problems[0]).split())[:300]}"
    ) from problems[0]


def _wrapped_conditional(model: keras.Model, x: Any, condition: Any, role: str) -> keras.Model:
    """Wrap a subclassed model that takes a list, two arguments, or x or z alone."""
    try:
        outputs = model([x, condition], training=False)
    except Exception:  # whatever its `call` raises
        try:
            outputs = model(x, condition, training=False)
        except Exception:
            return keras.Model(x, model(x, training=False), name=role)
    return keras.Model([x, condition], outputs, name=role)


def check_tensor(tensor: Any, what: str) -> None:
    """Refuse a tensor that is no floating-point one, or whose sizes are not fixed."""
    if None in tensor.shape[1:]:
        raise ExportError(
            f"{what} of shape {shape_of(tensor)}, expected fixed sizes after the batch dimension: "
            "give the shape of one sample by --input-shape (input_shape= in Python)"
        )
    if tensor.dtype.startswith("int"):
        raise ExportError(
            f"{what} as {tensor.dtype}, integer tokens, expected float32: a loss of tokens "
            "(--loss categorical) is not offered; give the model one-hot vectors and the bce loss"
        )
    if "float" not in tensor.dtype:
        raise ExportError(
            f"{what} as {tensor.dtype}, expected float32: build the model with a float32 "
            "keras.Input, and cast what its layers give to float32"
        )


def names_of(tensors: list[Any]) -> str:
    """Return the names of tensors, for a message."""
    return ", ".join(repr(tensor.name) for tensor in tensors)


def shape_of(tensor: Any) -> str:
    """Return the shape of a tensor, for a message."""
    return f"({', '.join(['batch', *map(str, tensor.shape[1:])])})"
