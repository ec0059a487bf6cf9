"""Adoption of an existing Keras VAE: brings it to the form that `vae_export.export` takes.

    encoder   x -> a dict of z_mean and z_log_var; a sampled z is left out
    decoder   z -> logits, probabilities or values, as `LossSpec.decoder` says

New functional models are built on the existing layers and share their weights. The given models
are not changed. Only a last layer with its own sigmoid is copied, without the sigmoid. Logits are
also found behind layers that move elements but keep their values (Reshape, Cropping2D, ...).

A model that draws random numbers for other outputs, or computes in another dtype than float32, is
replaced by the part of its TensorFlow graph that the outputs depend on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from vae_export.adoption.decoder.heads import with_heads
from vae_export.adoption.decoder.output import decoder_for_loss
from vae_export.adoption.encoder.moments import moments
from vae_export.adoption.encoder.outputs import find_outputs
from vae_export.adoption.parts import refuse_quantized
from vae_export.adoption.rebuilding.conditional import pack
from vae_export.adoption.rebuilding.functional import (
    check_tensor,
    functional_model,
    names_of,
    shape_of,
)
from vae_export.adoption.rebuilding.precision import in_float32, largest_changes, other_policies
from vae_export.adoption.tracing.graph_part import model_of
from vae_export.adoption.tracing.layers import is_functional, producing_layer
from vae_export.adoption.tracing.origins import layer_of, random_nodes
from vae_export.adoption.tracing.readings import Scale, check_scale
from vae_export.adoption.tracing.subgraph import subgraph_of_model
from vae_runtime.bundle.fields import AdoptionSpec
from vae_runtime.data.samples.conditions import Conditions, ConditionSpec
from vae_runtime.errors import ExportError, InputError
from vae_runtime.loss import LossSpec

TRANSPOSED_CONVOLUTIONS = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)


@dataclass(frozen=True)
class Adopted:
    """Models in the form that `vae_export.export` takes.

    Attributes:
        encoder: model from x, shape `(batch, *input_shape)`, to a dict of z_mean and z_log_var.
        decoder: model from z, shape `(batch, *latent_shape)`, to what `loss.decoder` says.
        loss: the requested loss, with the actual kind of the decoder's output.
        adoption: what was found and changed, for the manifest.
    """

    encoder: keras.Model
    decoder: keras.Model
    loss: LossSpec
    adoption: AdoptionSpec


def adopt(
    encoder: keras.Model,
    decoder: keras.Model,
    loss: LossSpec | None = None,
    input_shape: Sequence[int] | None = None,
    *,
    scale: Scale | None = None,
    decoder_scale: Scale | None = None,
    encoder_shape: Sequence[int] | None = None,
    samples: NDArray[np.float32] | None = None,
    conditions: Conditions | None = None,
) -> Adopted:
    """Bring an encoder and a decoder to the form that is exported.

    Args:
        encoder: any Keras model that returns z_mean and z_log_var: a dict with these keys, or the
            two in this order, or the two side by side in one output, with or without a z sampled
            from them. Such a z is drawn many times: if it shows that the two are swapped or on
            another scale, they are taken as what they are, with a warning in the log. Inputs that
            the two do not depend on, such as noise for z, are left out.
        decoder: any Keras model of z. For bce it ends in logits or in a sigmoid, which is removed.
            If the sigmoid cannot be removed, the loss becomes that of probabilities. State
            `LossSpec("bce", decoder="probabilities")` to leave the decoder as it is.
        loss: loss of the model; by default bce with kl_weight 1.
        input_shape: shape of one sample of the data. Subclassed models need it, because they do
            not state their input shape. Models without a channel axis get one of length 1.
        scale: what the encoder's second output is: `log_var`, `log_std`, `std` or `var`. By
            default it is found by a sampled z, or else it is log_var unless its name or its last
            layer shows that it is not.
        decoder_scale: the same of the second head of a decoder that gives a mean and a variance
            for each element.
        encoder_shape: shape of one sample as the encoder takes it, where it leaves sizes open; by
            default `input_shape`.
        samples: samples as the encoder takes them, to try it on; by default uniform noise.
        conditions: what a conditional model takes beside x and z, and the conditions of `samples`.
            The result takes a list of x or z and the condition. A model that takes no condition
            may stand beside one that does.

    Returns:
        Models that share the weights of the given ones, which are not changed.

    Raises:
        ExportError: names the model or the layer that cannot be exported.
        InputError: the models' shapes do not fit each other or `input_shape`.
        OptionError: the loss or the scale is invalid.
    """
    loss = loss or LossSpec()
    loss.check()
    check_scale(scale)
    check_scale(decoder_scale)
    shape = None if input_shape is None else tuple(map(int, input_shape))
    own_shape = shape if encoder_shape is None else tuple(map(int, encoder_shape))
    spec = conditions.spec if conditions else None
    for model in (encoder, decoder):
        refuse_quantized(model)
    policies = other_policies((encoder, decoder))
    with in_float32((encoder, decoder)):
        hint = _latent_shape(decoder, spec)
        encoder = functional_model(encoder, "encoder", own_shape, spec, hint)
        whole = pack(encoder, "encoder", own_shape, spec)
        packed = samples
        if samples is not None and conditions and whole.model.inputs[0] is not whole.first:
            parts = (samples, conditions.values[: len(samples)])
            packed = np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
        encoder, halves, found = _adopt_encoder(whole.model, hint, scale, packed)
        encoder = whole.unpacked(encoder)
        latent = tuple(encoder.output["z_mean"].shape[1:])
        whole = pack(functional_model(decoder, "decoder", latent, spec), "decoder", latent, spec)
        heads = with_heads(whole.model, tuple(encoder.inputs[0].shape[1:]), loss, decoder_scale)
        decoder = heads or whole.model
        decoder = _in_shape_of_x(encoder, decoder, whole.first)
        if shape is not None:
            encoder, decoder = _fit_to_data(encoder, decoder, shape)
        for model in (encoder, decoder):
            _check_layers(model)
        if heads:
            loss = replace(loss, decoder="mean_log_var", variance=None)
        else:
            decoder, output_kind = decoder_for_loss(decoder, loss)
            loss = replace(loss, decoder=output_kind)
        _require_no_random_layer(decoder, "decoder")
        decoder = whole.unpacked(decoder)
        final = (
            _self_contained(encoder, rebuild=bool(policies)),
            _self_contained(decoder, rebuild=bool(policies)),
        )
    changes = None
    if policies:
        changes = largest_changes((encoder, decoder), final, loss, samples, conditions)
    adoption = AdoptionSpec("halves" if halves else "separate", found, policies, changes)
    return Adopted(*final, loss, adoption)


def _latent_shape(decoder: Any, spec: ConditionSpec | None) -> tuple[int | None, ...] | None:
    """Return the shape of z without the batch, as far as a decoder says it."""
    if not is_functional(decoder):
        return None
    shapes = [tuple(tensor.shape[1:]) for tensor in decoder.inputs]
    others = [shape for shape in shapes if spec is None or shape != spec.shape]
    return others[0] if len(others) == 1 else None


def _self_contained(model: keras.Model, *, rebuild: bool) -> keras.Model:
    """Return a float32 model that draws no random numbers; the model itself if it is such."""
    part = subgraph_of_model(model)
    tensors = (*model.inputs, *model.outputs)
    if not (rebuild or part.draws) and all(tensor.dtype == "float32" for tensor in tensors):
        return model
    return model_of(subgraph_of_model(model, loops=False), model)


def _adopt_encoder(
    model: keras.Model,
    latent: tuple[int | None, ...] | None,
    scale: Scale | None,
    samples: NDArray[np.float32] | None,
) -> tuple[keras.Model, bool, Scale]:
    """Return the part of an encoder that ends in z_mean and z_log_var.

    The second value tells whether these are halves of one output, the third is the scale on which
    the spread was given.
    """
    outputs = find_outputs(model, latent)
    for name, tensor in (("z_mean", outputs.first), ("z_log_var", outputs.second)):
        where = f"encoder {model.name!r} gives {name}"
        check_tensor(tensor, where)
        if len(tensor.shape) < 2:
            raise InputError(
                f"{where} of shape {shape_of(tensor)}, expected (batch, latent_dim) or more axes: "
                "end it in a layer with latent_dim units"
            )
    if outputs.first.shape != outputs.second.shape:
        raise InputError(
            f"encoder {model.name!r} gives z_mean of shape {shape_of(outputs.first)} and z_log_var "
            f"of shape {shape_of(outputs.second)}, expected the same: give both latent_dim units"
        )
    x = model.inputs[0]
    _require_no_random_layer(keras.Model(x, [outputs.first, outputs.second]), "encoder")
    z_mean, z_log_var, found = moments(outputs, scale, samples)
    ends = {"z_mean": z_mean, "z_log_var": z_log_var}
    return keras.Model(x, ends, name="encoder"), outputs.halves, found


def _one_output(model: keras.Model) -> Any:
    outputs = [model.output["mean"]] if _has_heads(model) else list(model.outputs)
    if len(outputs) != 1:
        raise ExportError(
            f"decoder {model.name!r} has {len(outputs)} outputs ({names_of(outputs)}), expected "
            "one: build a keras.Model that ends in the reconstruction"
        )
    layer = producing_layer(outputs[0])
    check_tensor(outputs[0], f"decoder {model.name!r} gives {layer.name!r}")
    return outputs[0]


def _has_heads(decoder: keras.Model) -> bool:
    """Tell whether a decoder is one of `with_heads`."""
    output = None if isinstance(decoder, keras.Sequential) else decoder.output
    return isinstance(output, dict) and set(output) == {"mean", "log_var"}


def _in_shape_of_x(encoder: keras.Model, decoder: keras.Model, z: Any) -> keras.Model:
    """Return a decoder of the encoder's z that ends in the shape of its x."""
    latent = encoder.output["z_mean"]
    if tuple(z.shape[1:]) != tuple(latent.shape[1:]):
        remedy = "pass an encoder and a decoder of the same model"
        if np.prod(z.shape[1:]) == np.prod(latent.shape[1:]):
            remedy = f"end both outputs of the encoder in a Reshape({tuple(z.shape[1:])})"
        raise InputError(
            f"encoder gives z_mean of shape {shape_of(latent)}, decoder takes {shape_of(z)}: "
            f"{remedy}"
        )
    x, output = encoder.inputs[0], _one_output(decoder)
    taken, given = tuple(x.shape[1:]), tuple(output.shape[1:])
    if taken == given:
        return decoder
    if _keep_their_order(given, taken):  # a loss of flat pixels, as in many tutorials
        return _ending_in(decoder, taken)
    remedy = "a Reshape to the encoder's shape"
    if sorted(taken) == sorted(given):  # a Reshape would scramble the elements
        axes = _axes(given, taken)
        remedy = f"a Permute({axes}), which moves the axes; a Reshape would scramble them"
    raise InputError(
        f"encoder takes samples of shape {shape_of(x)}, decoder gives {shape_of(output)}: end "
        f"the decoder in {remedy}"
    )


def _keep_their_order(given: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Tell whether two shapes differ by axes of length 1 only, or one of them is flat."""
    if 1 in (len(given), len(wanted)):
        return math.prod(given) == math.prod(wanted)
    return [n for n in given if n != 1] == [n for n in wanted if n != 1]


def _ending_in(decoder: keras.Model, shape: tuple[int, ...]) -> keras.Model:
    ends = decoder.output if _has_heads(decoder) else decoder.outputs[0]
    image = keras.tree.map_structure(layers.Reshape(shape), ends)
    return keras.Model(decoder.inputs[0], image, name="decoder")


def _axes(given: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return the dims of a Permute; axes of equal length keep their order."""
    left = list(enumerate(given, 1))
    axes = []
    for length in wanted:
        entry = next(entry for entry in left if entry[1] == length)
        left.remove(entry)
        axes.append(entry[0])
    return tuple(axes)


def _fit_to_data(
    encoder: keras.Model, decoder: keras.Model, shape: tuple[int, ...]
) -> tuple[keras.Model, keras.Model]:
    """Let models of flat or grey samples take data with a channel axis of length 1."""
    model_shape = tuple(encoder.inputs[0].shape[1:])
    if model_shape == shape:
        return encoder, decoder
    one_channel = shape[-1] == 1 and len(model_shape) <= 2
    if not one_channel or not _keep_their_order(model_shape, shape) or len(encoder.inputs) > 1:
        raise InputError(
            f"the models take samples of shape {model_shape}, the data has {shape}: give the data "
            "the models' shape, or put a Reshape at the start of the encoder and the end of the "
            "decoder"
        )
    x = keras.Input(shape, name="x")
    code = encoder(layers.Reshape(model_shape)(x))
    return keras.Model(x, code, name="encoder"), _ending_in(decoder, shape)


def _check_layers(model: keras.Model) -> None:
    """Refuse layers that TensorFlow cannot compute, or that were never adapted to data."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, layers.Normalization) and _is_not_adapted(layer):
            raise ExportError(
                f"layer {layer.name!r} is a Normalization of mean 0 and variance 1, expected the "
                "statistics of the training data: call its adapt method on these, or leave it out"
            )
        if isinstance(layer, TRANSPOSED_CONVOLUTIONS) and _output_fits_no_kernel(layer):
            raise ExportError(
                f"layer {layer.name!r} is a {type(layer).__name__} with kernel_size "
                f"{tuple(layer.kernel_size)}, padding same and output_padding "
                f"{layer.output_padding}, which TensorFlow cannot compute: leave output_padding "
                "out, or give 1 where the kernel has an even size"
            )


def _is_not_adapted(layer: Any) -> bool:
    """Tell whether a Normalization that was given no statistics still has those of a new layer."""
    unchanged = np.all(layer.mean == 0) and np.all(layer.variance == 1)
    return layer.input_mean is None and bool(unchanged)


def _output_fits_no_kernel(layer: Any) -> bool:
    """Tell whether an output is one row too small: Keras states its shape, TensorFlow refuses it.

    Its size is (n - 1) * strides + kernel_size % 2 + output_padding, so an even kernel needs 1.
    """
    if layer.padding != "same" or layer.output_padding is None:
        return False
    reach = (np.array(layer.kernel_size) - 1) * np.array(layer.dilation_rate) + 1
    return bool(np.any(reach % 2 + np.array(layer.output_padding) < 1))


def _require_no_random_layer(model: keras.Model, role: str) -> None:
    if nodes := random_nodes(model):
        names = [layer.name for layer in model._flatten_layers(include_self=False)]
        raise ExportError(
            f"{role}: layer {layer_of(nodes[0], names)!r} draws random numbers at inference "
            f"({nodes[0]}), which no runtime reproduces: leave it out, or let it draw only if "
            "training is true"
        )
