"""What a decoder gives: logits, probabilities or values; its last sigmoid is taken off.

A functional model tells where its last tensor comes from. Layers that only move elements are
passed, an `Activation("sigmoid")` is left out, a layer with a sigmoid of its own is copied without
it. What cannot be looked into is judged by its last operator and by its values.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from vae_export.adoption.tracing import last_operator
from vae_runtime.errors import ExportError
from vae_runtime.loss import Decoder, LossSpec

LAYERS = keras.layers

FUSED = (
    LAYERS.Dense,
    LAYERS.EinsumDense,
    LAYERS.Conv1D,
    LAYERS.Conv2D,
    LAYERS.Conv3D,
    LAYERS.Conv1DTranspose,
    LAYERS.Conv2DTranspose,
    LAYERS.Conv3DTranspose,
    LAYERS.DepthwiseConv1D,
    LAYERS.DepthwiseConv2D,
    LAYERS.SeparableConv1D,
    LAYERS.SeparableConv2D,
)
"""Layers whose activation is the last thing that they do."""

MOVING = (
    LAYERS.Reshape,
    LAYERS.Flatten,
    LAYERS.Permute,
    LAYERS.Cropping1D,
    LAYERS.Cropping2D,
    LAYERS.Cropping3D,
)
"""Layers that keep the values of elements: a sigmoid may as well come after them."""

IDLE = (
    LAYERS.Identity,
    LAYERS.Dropout,
    LAYERS.SpatialDropout2D,
    LAYERS.GaussianNoise,
    LAYERS.GaussianDropout,
)
"""Layers that do nothing at inference."""

SIGMOIDS = (keras.activations.sigmoid, keras.ops.sigmoid, tf.sigmoid)

ACTIVATIONS = frozenset(
    ("ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Relu", "Relu6", "Tanh", "HardSigmoid", "Clip")
)
"""Layers and operations that are an activation by themselves."""

PROBE = (64, 20140502)
"""Number and seed of the latent vectors that tell probabilities from logits."""


def with_loss(model: keras.Model, loss: LossSpec) -> tuple[keras.Model, Decoder]:
    """The decoder that a loss is computed from, and what it gives.

    Args:
        model: functional or sequential model of one input and one output.
        loss: which loss; `decoder="probabilities"` leaves the model as it is.

    Returns:
        A functional model that shares the weights, and the value of `LossSpec.decoder`.

    Raises:
        ExportError: bce, and an end that gives neither logits nor a sigmoid's probabilities.
    """
    z, output = model.inputs[0], model.outputs[0]
    as_it_is = keras.Model(z, output, name="decoder")
    if loss.decoder != "logits":
        return as_it_is, loss.decoder
    logits = _logits(output)
    if logits is not None:
        return keras.Model(z, logits, name="decoder"), "logits"
    if last_operator(as_it_is) == "Sigmoid" or _activation(output) == "hard_sigmoid":
        # A sigmoid that is there, but inside of a layer.
        return as_it_is, "probabilities"
    _require_logits(as_it_is, _end(output))
    return as_it_is, "logits"


def _logits(tensor: Any) -> Any:
    """What a tensor is the sigmoid of; None where it is of nothing, as far as can be seen."""
    layer, inputs = producer(tensor), _sources(tensor)
    if len(inputs) != 1:
        return None
    if _is_sigmoid(layer):
        return inputs[0]
    if isinstance(layer, FUSED) and _is_keras(layer) and layer.activation in SIGMOIDS:
        return _without_activation(layer, inputs[0])
    if _has_one_output(layer):
        within = _logits(layer.outputs[0])
        return None if within is None else keras.Model(layer.inputs[0], within)(inputs[0])
    before = _logits(inputs[0]) if isinstance(layer, MOVING + IDLE) and _is_keras(layer) else None
    if before is None or isinstance(layer, IDLE):
        return before
    return type(layer).from_config(layer.get_config())(before)


def _is_sigmoid(layer: Any) -> bool:
    if type(layer) is LAYERS.Activation:
        return layer.activation in SIGMOIDS
    return type(layer).__name__ == "Sigmoid" and _is_keras(layer)  # keras.ops.sigmoid


def _without_activation(layer: Any, inputs: Any) -> Any:
    """What a layer gives before its activation, by a copy of the layer with the same weights."""
    config = {**layer.get_config(), "activation": None, "name": f"{layer.name}_logits"}
    copy = type(layer).from_config(config)
    logits = copy(inputs)
    weights = layer.get_weights()
    if [w.shape for w in weights] != [tuple(w.shape) for w in copy.weights]:
        return None  # quantized, or with LoRA
    copy.set_weights(weights)
    return logits


def _has_one_output(layer: Any) -> bool:
    """Whether a layer is itself a functional or sequential model of one output."""
    return is_graph(layer) and len(layer.outputs) == 1


def _end(tensor: Any) -> Any:
    """The tensor that the values of a decoder's output come from."""
    layer = producer(tensor)
    if _has_one_output(layer):
        return _end(layer.outputs[0])
    if isinstance(layer, MOVING + IDLE) and len(_sources(tensor)) == 1:
        return _end(_sources(tensor)[0])
    return tensor


def _activation(tensor: Any) -> str:
    layer = producer(_end(tensor))
    if type(layer).__name__ in ACTIVATIONS and _is_keras(layer):
        return type(layer).__name__
    function = getattr(layer, "activation", None)
    return "linear" if function is None else getattr(function, "__name__", type(function).__name__)


def _require_logits(model: keras.Model, end: Any) -> None:
    """Refuses a decoder for bce whose output is bounded: such values are no logits."""
    layer, activation = producer(end).name, _activation(end)
    remedy = (
        "end it in a sigmoid or in a linear layer, use the mse loss, or state "
        'LossSpec("bce", decoder="probabilities")'
    )
    if activation != "linear":
        raise ExportError(
            f"decoder ends in layer {layer!r} with activation {activation}, bce takes logits or "
            f"the probabilities of a sigmoid: {remedy}"
        )
    count, seed = PROBE
    z = np.random.default_rng(seed).standard_normal((count, model.input_shape[-1]))
    values = np.asarray(model(z.astype(np.float32), training=False))
    if values.min() >= 0 and values.max() <= 1:
        raise ExportError(
            f"decoder ends in layer {layer!r}, whose values all lie in [0, 1] as probabilities do, "
            f"but there is no sigmoid to be seen: {remedy}"
        )


def is_graph(model: Any) -> bool:
    """Whether a model is the graph of its layers: functional or sequential, with Keras's `call`."""
    own_call = not type(model).call.__module__.startswith("keras.")
    return isinstance(model, keras.Model) and not own_call and bool(getattr(model, "inputs", None))


def producer(tensor: Any) -> Any:
    """The layer or operation that a symbolic tensor comes from."""
    return tensor._keras_history.operation


def _sources(tensor: Any) -> list[Any]:
    history = tensor._keras_history
    return list(history.operation._inbound_nodes[history.node_index].input_tensors)


def _is_keras(layer: Any) -> bool:
    """Whether a layer is Keras's own, and not a subclass that may do something else."""
    return type(layer).__module__.startswith("keras.")
