"""The three functions that are exported, as TensorFlow functions with named tensors.

    encoder   x        -> z_mean, z_log_var
    decoder   z        -> logits (where the decoder gives them), reconstruction
    loss      x, eps   -> reconstruction_loss, kl_loss, loss

Noise is an argument: no random operator is ever exported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from vae_runtime.loss import LossSpec, draw, losses
from vae_runtime.manifest import TensorSpec, graph_tensors


def exported_functions(
    encoder: keras.Model, decoder: keras.Model, loss: LossSpec
) -> dict[str, Any]:
    """Builds the functions.

    Args:
        encoder: x to a dict of z_mean and z_log_var.
        decoder: z to what `loss.decoder` says.
        loss: which loss.

    Returns:
        For `encoder`, `decoder` and `loss`, a `tf.function` that returns a dict of tensors.
    """

    def encode(x: Any) -> dict[str, Any]:
        code = encoder(x, training=False)
        return {"z_mean": code["z_mean"], "z_log_var": code["z_log_var"]}

    def decode(z: Any) -> dict[str, Any]:
        return decoded(loss, decoder(z, training=False))

    def compute_loss(x: Any, eps: Any) -> dict[str, Any]:
        code = encode(x)
        output = decoder(draw(keras.ops, **code, eps=eps), training=False)
        return loss_outputs(loss, x, output, **code)

    functions: dict[str, Callable[..., dict[str, Any]]] = {
        "encoder": encode,
        "decoder": decode,
        "loss": compute_loss,
    }
    tensors = graph_tensors(encoder.input_shape[1:], decoder.input_shape[-1], loss)
    return {
        name: tf.function(function, input_signature=_signature(tensors[name][0]))
        for name, function in functions.items()
    }


def decoded(loss: LossSpec, output: Any) -> dict[str, Any]:
    """The decoder's outputs by name, from the tensor that its last layer gives."""
    if loss.decoder == "logits":
        return {"logits": output, "reconstruction": keras.ops.sigmoid(output)}
    # A function may not hand on a layer's tensor under another name, so copy it.
    return {"reconstruction": tf.identity(output)}


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
    return [tf.TensorSpec((None, *t.shape[1:]), tf.float32, name=t.name) for t in inputs]
