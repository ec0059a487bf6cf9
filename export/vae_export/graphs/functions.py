"""The three exported functions, as TensorFlow functions with named tensors.

    encoder   x        -> z_mean, z_log_var
    decoder   z        -> logits or values (if the graph has either), reconstruction, and log_var
                          (if the decoder has two heads)
    loss      x, eps   -> reconstruction_loss, kl_loss, loss
    all       condition as well, if the model is conditional

The noise eps is an argument, so that no random operator is exported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from vae_runtime.bundle.graph_fields import InputSpec, TensorSpec
from vae_runtime.bundle.manifest import decoder_outputs, graph_tensors
from vae_runtime.data.numbers.standardization import restore, standardize
from vae_runtime.data.samples.conditions import ConditionSpec
from vae_runtime.loss import LossSpec, losses, reparameterize

Function = Callable[..., dict[str, Any]]
"""Function from tensors to tensors by name."""


def exported_functions(
    encoder: keras.Model,
    decoder: keras.Model,
    loss: LossSpec,
    input_spec: InputSpec,
    condition: ConditionSpec | None = None,
) -> dict[str, Any]:
    """Return a `tf.function` that returns a dict of tensors for `encoder`, `decoder` and `loss`.

    `encoder` maps float32, standardized x to a dict of z_mean and z_log_var; `decoder` maps z to
    what `loss.decoder` says. The functions take x in the dtype of `input_spec` and standardize it.
    With `condition`, each model takes a list of x or z and the condition.
    """

    def encode(x: Any, *given: Any) -> dict[str, Any]:
        code = call_model(encoder, model_input(input_spec, x), *given)
        return {"z_mean": code["z_mean"], "z_log_var": code["z_log_var"]}

    def decode(z: Any, *given: Any) -> dict[str, Any]:
        return _decoder_outputs(input_spec, loss, call_model(decoder, z, *given))

    def compute_loss(x: Any, eps: Any, *given: Any) -> dict[str, Any]:
        x = model_input(input_spec, x)
        code = call_model(encoder, x, *given)
        z_mean, z_log_var = code["z_mean"], code["z_log_var"]
        output = call_model(decoder, reparameterize(keras.ops, z_mean, z_log_var, eps), *given)
        return vars(losses(keras.ops, loss, x, output, z_mean, z_log_var))

    functions = _named(encode, decode, compute_loss, is_conditional=condition is not None)
    tensors = graph_tensors(input_spec, latent_shape(decoder), loss, condition)
    return {
        name: tf.function(function, input_signature=signature(tensors[name][0]))
        for name, function in functions.items()
    }


def _named(
    encode: Function, decode: Function, compute_loss: Function, *, is_conditional: bool
) -> dict[str, Function]:
    """Return the functions with arguments that have the names of the graphs' inputs."""

    def encoder(x: Any) -> Any:
        return encode(x)

    def decoder(z: Any) -> Any:
        return decode(z)

    def loss(x: Any, eps: Any) -> Any:
        return compute_loss(x, eps)

    def conditional_encoder(x: Any, condition: Any) -> Any:
        return encode(x, condition)

    def conditional_decoder(z: Any, condition: Any) -> Any:
        return decode(z, condition)

    def conditional_loss(x: Any, eps: Any, condition: Any) -> Any:
        return compute_loss(x, eps, condition)

    if is_conditional:
        functions: tuple[Function, ...] = conditional_encoder, conditional_decoder, conditional_loss
    else:
        functions = encoder, decoder, loss
    return dict(zip(("encoder", "decoder", "loss"), functions, strict=True))


def latent_shape(decoder: keras.Model) -> tuple[int, ...]:
    """Return the shape of z for one sample."""
    return tuple(map(int, decoder.inputs[0].shape[1:]))


def call_model(model: keras.Model, first: Any, *given: Any, training: bool = False) -> Any:
    """Call an encoder or a decoder with x or z, and the condition if there is one."""
    return model([first, *given] if given else first, training=training)


def model_input(input_spec: InputSpec, x: Any) -> Any:
    """Return the standardized float32 values that the encoder and the loss compute with."""
    if input_spec.dtype == "uint8":
        # Flat: elementwise work on a trailing axis of length 1 is slow in ONNX Runtime.
        flat = tf.cast(tf.reshape(x, (-1, math.prod(input_spec.shape))), tf.float32) / 255.0
        x = tf.reshape(flat, (-1, *input_spec.shape))
    return standardize(keras.ops, input_spec.standardization, x)


def _decoder_outputs(input_spec: InputSpec, loss: LossSpec, output: Any) -> dict[str, Any]:
    """Return the decoder's outputs by name, from the tensor that its last layer gives."""
    log_var: tuple[Any, ...] = ()
    if loss.has_two_heads:
        output, log_var = output["mean"], (tf.identity(output["log_var"]),)
    values = keras.ops.sigmoid(output) if loss.decoder == "logits" else output
    reconstruction = restore(keras.ops, input_spec.standardization, values)
    # A function cannot return a layer's tensor under another name, so copy both.
    tensors = (tf.identity(output), tf.identity(reconstruction), *log_var)
    names = decoder_outputs(input_spec, loss)
    return dict(zip(names, tensors[-len(names) :], strict=True))


def signature(inputs: tuple[TensorSpec, ...]) -> list[Any]:
    """Return the input signature of a `tf.function` with the inputs of a graph."""
    return [tf.TensorSpec((None, *t.shape[1:]), t.dtype, name=t.name) for t in inputs]
