"""The three functions that are exported, as TensorFlow functions with named tensors.

    encoder   x        -> z_mean, z_log_var
    decoder   z        -> logits or values (where there are any), reconstruction
    loss      x, eps   -> reconstruction_loss, kl_loss, loss

Noise is an argument: no random operator is ever exported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from vae_runtime.bundle.fields import InputSpec, TensorSpec
from vae_runtime.bundle.manifest import decoder_outputs, graph_tensors
from vae_runtime.data.standardization import restore, standardize
from vae_runtime.loss import LossSpec, draw, losses


def exported_functions(
    encoder: keras.Model, decoder: keras.Model, loss: LossSpec, sample: InputSpec
) -> dict[str, Any]:
    """Builds the functions.

    Args:
        encoder: x, as float32 and standardised, to a dict of z_mean and z_log_var.
        decoder: z to what `loss.decoder` says.
        loss: which loss.
        sample: what goes in: its dtype, and how it is standardised.

    Returns:
        For `encoder`, `decoder` and `loss`, a `tf.function` that returns a dict of tensors.
    """

    def encode_prepared(x: Any) -> dict[str, Any]:
        code = encoder(x, training=False)
        return {"z_mean": code["z_mean"], "z_log_var": code["z_log_var"]}

    def encode(x: Any) -> dict[str, Any]:
        return encode_prepared(prepared(sample, x))

    def decode(z: Any) -> dict[str, Any]:
        return decoded(sample, loss, decoder(z, training=False))

    def compute_loss(x: Any, eps: Any) -> dict[str, Any]:
        x = prepared(sample, x)
        code = encode_prepared(x)
        output = decoder(draw(keras.ops, **code, eps=eps), training=False)
        return loss_outputs(loss, x, output, **code)

    functions: dict[str, Callable[..., dict[str, Any]]] = {
        "encoder": encode,
        "decoder": decode,
        "loss": compute_loss,
    }
    tensors = graph_tensors(sample, decoder.input_shape[-1], loss)
    return {
        name: tf.function(function, input_signature=_signature(tensors[name][0]))
        for name, function in functions.items()
    }


def prepared(sample: InputSpec, x: Any) -> Any:
    """What the encoder and the loss see of the graph's input."""
    if sample.dtype == "uint8":
        # Flat, as all elementwise work.
        flat = tf.cast(tf.reshape(x, (-1, math.prod(sample.shape))), tf.float32) / 255.0
        x = tf.reshape(flat, (-1, *sample.shape))
    return standardize(keras.ops, sample.standardization, x)


def decoded(sample: InputSpec, loss: LossSpec, output: Any) -> dict[str, Any]:
    """The decoder's outputs by name, from the tensor that its last layer gives."""
    reconstruction = (
        keras.ops.sigmoid(output)
        if loss.decoder == "logits"
        else restore(keras.ops, sample.standardization, output)
    )
    # A function may not hand on a layer's tensor under another name, so copy it.
    tensors = (tf.identity(output), tf.identity(reconstruction))
    names = decoder_outputs(sample, loss)
    return dict(zip(names, tensors[-len(names) :], strict=True))


def loss_outputs(
    loss: LossSpec, x: Any, output: Any, z_mean: Any, z_log_var: Any
) -> dict[str, Any]:
    """The loss by name, computed by TensorFlow; each of shape `(batch,)`."""
    parts = losses(keras.ops, loss, x, output, z_mean, z_log_var)
    return {
        "reconstruction_loss": parts.reconstruction_loss,
        "kl_loss": parts.kl_loss,
        "loss": parts.loss,
    }


def _signature(inputs: tuple[TensorSpec, ...]) -> list[Any]:
    return [tf.TensorSpec((None, *t.shape[1:]), t.dtype, name=t.name) for t in inputs]
