"""Kind of a decoder's output: logits, probabilities or values. A last sigmoid is removed.

A functional model states which layer each tensor comes from. The search goes back through layers
that only move elements. An `Activation("sigmoid")` is left out; a layer with its own sigmoid is
copied without it. A layer whose inside is hidden is judged by its last operator and its values.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from vae_export.adoption.tracing.layers import is_functional, layer_inputs, producing_layer
from vae_export.adoption.tracing.origins import last_operator
from vae_runtime.errors import ExportError
from vae_runtime.loss import Decoder, LossSpec

LAYERS_WITH_ACTIVATION = (
    layers.Dense,
    layers.EinsumDense,
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
"""Layers that apply their activation last."""

MOVING_LAYERS = (
    layers.Reshape,
    layers.Flatten,
    layers.Permute,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.RepeatVector,
    layers.UpSampling1D,
    layers.UpSampling3D,
)
"""Layers that move elements but keep their values: a sigmoid gives the same after them."""

TRAINING_ONLY_LAYERS = (
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.GaussianNoise,
    layers.GaussianDropout,
)
"""Layers that do nothing at inference."""

SIGMOIDS = (keras.activations.sigmoid, keras.ops.sigmoid, tf.sigmoid)

ACTIVATION_LAYERS = frozenset(
    ("ReLU", "LeakyReLU", "PReLU", "ELU", "Softmax", "Relu", "Relu6", "Tanh", "HardSigmoid", "Clip")
)
"""Class names of the layers and operations that are nothing but an activation."""

PROBE_COUNT, PROBE_SEED = 64, 20140502
"""Number and seed of the latent vectors that tell probabilities from logits."""


def decoder_for_loss(model: keras.Model, loss: LossSpec) -> tuple[keras.Model, Decoder]:
    """Return the decoder that a loss is computed from, and the kind of its output.

    `model` is functional or sequential, with one input and one output; the result shares its
    weights. `loss.decoder` "probabilities" leaves the model as it is. For bce, an output that is
    neither logits nor a sigmoid's probabilities raises `ExportError`.
    """
    z, output = model.inputs[0], model.outputs[0]
    unchanged = keras.Model(z, output, name="decoder")
    if loss.decoder != "logits":
        return unchanged, loss.decoder
    logits = _logits(output)
    if logits is not None:
        return keras.Model(z, logits, name="decoder"), "logits"
    if last_operator(unchanged) == "Sigmoid" or _activation(output) == "hard_sigmoid":
        return unchanged, "probabilities"  # there is a sigmoid, but hidden in a layer
    _require_logits(unchanged, _last_changed(output))
    return unchanged, "logits"


def _logits(tensor: Any) -> Any:
    """Return the tensor that `tensor` is the sigmoid of; None if no sigmoid was found."""
    layer, inputs = producing_layer(tensor), layer_inputs(tensor)
    if len(inputs) != 1:
        return None
    if _is_sigmoid(layer):
        return inputs[0]
    is_keras = _is_keras(layer)
    if is_keras and isinstance(layer, LAYERS_WITH_ACTIVATION) and layer.activation in SIGMOIDS:
        return _without_activation(layer, inputs[0])
    if type(layer) is layers.TimeDistributed:
        return _of_each_step(layer, inputs[0])
    if _is_nested_model(layer):
        inner = _logits(layer.outputs[0])
        return None if inner is None else keras.Model(layer.inputs[0], inner)(inputs[0])
    passes_values_on = is_keras and isinstance(layer, MOVING_LAYERS + TRAINING_ONLY_LAYERS)
    before = _logits(inputs[0]) if passes_values_on else None
    if before is None or isinstance(layer, TRAINING_ONLY_LAYERS):
        return before
    return type(layer).from_config(layer.get_config())(before)


def _of_each_step(layer: Any, inputs: Any) -> Any:
    """Return what a TimeDistributed layer gives before the sigmoid of its inner layer."""
    step = keras.Input(inputs.shape[2:])
    logits = _logits(layer.layer(step))
    return None if logits is None else layers.TimeDistributed(keras.Model(step, logits))(inputs)


def _is_sigmoid(layer: Any) -> bool:
    if type(layer) is layers.Activation:
        return layer.activation in SIGMOIDS
    return type(layer).__name__ == "Sigmoid" and _is_keras(layer)  # keras.ops.sigmoid


def _without_activation(layer: Any, inputs: Any) -> Any:
    """Return the output of a copy of a layer that has the same weights and no activation.

    None means that the layer is quantized or has LoRA weights, which the copy lacks.
    """
    config = {**layer.get_config(), "activation": None, "name": f"{layer.name}_logits"}
    copy = type(layer).from_config(config)
    logits = copy(inputs)
    weights = layer.get_weights()
    if [w.shape for w in weights] != [tuple(w.shape) for w in copy.weights]:
        return None
    copy.set_weights(weights)
    return logits


def _is_nested_model(layer: Any) -> bool:
    """Tell whether a layer is itself a functional or sequential model of one output."""
    return is_functional(layer) and len(layer.outputs) == 1


def _last_changed(tensor: Any) -> Any:
    """Return the tensor behind `tensor` that a layer computed, rather than moved or passed on."""
    layer, inputs = producing_layer(tensor), layer_inputs(tensor)
    if _is_nested_model(layer):
        return _last_changed(layer.outputs[0])
    if isinstance(layer, MOVING_LAYERS + TRAINING_ONLY_LAYERS) and len(inputs) == 1:
        return _last_changed(inputs[0])
    return tensor


def _activation(tensor: Any) -> str:
    layer = producing_layer(_last_changed(tensor))
    if type(layer).__name__ in ACTIVATION_LAYERS and _is_keras(layer):
        return type(layer).__name__
    function = getattr(layer, "activation", None)
    return "linear" if function is None else getattr(function, "__name__", type(function).__name__)


def _require_logits(model: keras.Model, end: Any) -> None:
    """Refuse a decoder for bce whose output is bounded: bounded values are not logits."""
    layer, activation = producing_layer(end).name, _activation(end)
    remedy = (
        "end it in a sigmoid or in a linear layer, use the mse loss, or state "
        'LossSpec("bce", decoder="probabilities") (--keep-sigmoid)'
    )
    if activation != "linear":
        raise ExportError(
            f"decoder ends in layer {layer!r} with activation {activation}, bce takes logits or "
            f"the probabilities of a sigmoid: {remedy}"
        )
    rng = np.random.default_rng(PROBE_SEED)
    z = rng.standard_normal((PROBE_COUNT, *model.input_shape[1:]))
    values = np.asarray(model(z.astype(np.float32), training=False))
    if values.min() >= 0 and values.max() <= 1:
        raise ExportError(
            f"decoder ends in layer {layer!r}, whose values all lie in [0, 1] as probabilities do, "
            f"but no sigmoid was found: {remedy}"
        )


def _is_keras(layer: Any) -> bool:
    """Tell whether a layer is Keras's own, rather than a subclass, which may do something else."""
    return type(layer).__module__.startswith("keras.")
