"""Encoder and decoder in one VAE: an object that holds both, or one functional model.

    attributes          vae.encoder and vae.decoder, or other usual names; an encoder that gives
                        neither mean nor variance is a part of vae.encode
    layers, methods     vae.encoder(x) and vae.decoder(z), or vae.encode(x) and vae.decode(z)
    functional model    x -> ... z ... -> reconstruction: it is cut at z, where random numbers come
                        in; without random numbers, it calls an encoder and a decoder

What may be meant in several ways is refused, by the names of the candidates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from vae_export.adoption.rebuilding.precision import in_float32
from vae_export.adoption.tracing.graph_part import GraphPart
from vae_export.adoption.tracing.layers import is_functional, layer_inputs, producing_layer
from vae_export.adoption.tracing.subgraph import subgraph, subgraph_of_model
from vae_runtime.errors import ExportError

WORDS = {
    "encoder": "encoder enc encode inference recognition",
    "decoder": "decoder dec decode generative generator generation",
}
"""Words in the names of the two parts."""

QUANTIZERS = re.compile(r"vector_?quanti[sz]|codebook|^vq", re.IGNORECASE)
"""Class names of layers that replace a code by the nearest of a codebook."""

REMEDY = "give the two by encoder and decoder (--encoder and --decoder)"


def find_parts(
    vae: Any, input_shape: Sequence[int] | None = None
) -> tuple[keras.Model, keras.Model]:
    """Return the encoder and the decoder of a VAE.

    Args:
        vae: a Keras model, or any object or dict with an encoder and a decoder.
        input_shape: shape of one sample; methods `encode` and `decode` need it.

    Raises:
        ExportError: the two are not found, or there are several candidates.
    """
    refuse_quantized(vae)
    found = _by_name(vae)
    if found is None and is_functional(vae):
        found = _cut(vae) or _by_layers(vae)
    calls = _callables(vae)
    encode = getattr(vae, "encode", None)
    if found is not None and callable(encode) and _states_no_spread(*found):
        calls, found = (encode, getattr(vae, "decode", found[1])), None
    if found is None and calls and input_shape is not None:
        found = _by_calls(vae, *calls, tuple(input_shape))
    if found is None:
        raise ExportError(
            f"{_name(vae)} has no encoder and decoder among its attributes (.encoder, .decoder), "
            f"its layers or its methods (encode, decode): {REMEDY}"
        )
    return found


def _by_name(vae: Any) -> tuple[keras.Model, keras.Model] | None:
    """Return the two models whose names say what they are; None if there is not one of each."""
    named = dict(vae) if isinstance(vae, Mapping) else _attributes(vae)
    models = {name: model for name, model in named.items() if isinstance(model, keras.Model)}
    found = {role: _named(models, role) for role in WORDS}
    for role, candidates in found.items():
        if len({id(models[name]) for name in candidates}) > 1 and all(found.values()):
            raise ExportError(
                f"{_name(vae)} has several models that may be the {role} "
                f"({', '.join(map(repr, candidates))}): {REMEDY}"
            )
    if not all(found.values()):
        return None
    return models[found["encoder"][0]], models[found["decoder"][0]]


def _states_no_spread(encoder: keras.Model, decoder: keras.Model) -> bool:
    """Tell whether an encoder gives one output that cannot hold both z_mean and z_log_var."""
    if not (is_functional(encoder) and is_functional(decoder)):
        return False
    outputs, z = encoder.outputs, decoder.inputs[0].shape
    return len(outputs) == 1 and outputs[0].shape != (*z[:-1], 2 * (z[-1] or 0))


def _attributes(vae: Any) -> dict[str, Any]:
    values = vars(vae) if hasattr(vae, "__dict__") else {}
    names = [*values, *(n for n in dir(type(vae)) if isinstance(getattr(type(vae), n), property))]
    wanted = (name for name in names if any(_has_word(name, role) for role in WORDS))
    return {name: getattr(vae, name, None) for name in wanted}


def _named(models: Mapping[str, Any], role: str) -> list[str]:
    """Return the names with the role's word; exactly that word is preferred."""
    names = [name for name in models if _has_word(name, role)]
    exact = [name for name in names if name.strip("_").lower() in WORDS[role].split()[:2]]
    return exact or names


def _has_word(name: str, role: str) -> bool:
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}
    return bool(words & set(WORDS[role].split()))


def _by_layers(vae: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Return the ways from the input to the encoder's outputs, and from the decoder's input on."""
    found = _by_name({layer.name: layer for layer in vae.layers})
    if found is None:
        return None
    depths = sorted(vae._nodes_by_depth)
    nodes = [node for depth in depths for node in vae._nodes_by_depth[depth]]
    ends = [[node for node in nodes if node.operation is layer] for layer in found]
    if any(len(calls) != 1 for calls in ends):
        return None
    ((encoding,), (decoding,)) = ends
    if len(decoding.input_tensors) != 1 or len(vae.outputs) != 1:
        return None
    encoder = keras.Model(vae.input, list(encoding.output_tensors), name="encoder")
    return encoder, keras.Model(decoding.input_tensors[0], vae.outputs[0], name="decoder")


def _callables(vae: Any) -> tuple[Any, Any] | None:
    """Return the layers `encoder` and `decoder` of an object, or its methods of such names."""
    for names in (("encoder", "decoder"), ("enc", "dec"), ("encode", "decode")):
        encode, decode = (getattr(vae, name, None) for name in names)
        if callable(encode) and callable(decode):
            return encode, decode
    return None


def _by_calls(
    vae: Any, encode: Any, decode: Any, shape: tuple[int, ...]
) -> tuple[keras.Model, keras.Model]:
    """Return models of two functions, x -> mean, spread, ... and z -> reconstruction."""
    with in_float32([vae]):
        x = keras.Input(shape, name="x")
        encoder = keras.Model(x, _part(vae, encode, shape)(x), name="encoder")
        outputs = keras.tree.flatten(encoder.output)
        first = tuple(outputs[0].shape[1:])
        latent = first if len(outputs) > 1 else _half(first)
        z = keras.Input(latent, name="z")
        return encoder, keras.Model(z, _part(vae, decode, latent)(z), name="decoder")


def _part(vae: Any, call: Any, shape: tuple[int, ...]) -> Any:
    try:
        signature = [tf.TensorSpec((None, *shape), tf.float32)]
        return GraphPart(subgraph(call, signature, loops=False))
    except ExportError:
        raise
    except Exception as error:  # whatever the call raises
        name = getattr(call, "name", getattr(call, "__name__", "a part"))
        raise ExportError(
            f"{name!r} of {_name(vae)} does not take an input of shape {shape} "
            f"({' '.join(str(error).split())[:200]}): {REMEDY}"
        ) from error


def _half(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-1], shape[-1] // 2)


def _cut(vae: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Cut a functional VAE at z, the first random tensor that the reconstruction depends on."""
    random = _random_tensors(vae)
    if not random:
        return None
    ends = _reconstructions(vae, random)
    found = [(end, _first_on_every_way(vae, random, end)) for end in ends]
    cuts = [(end, z) for end, z in found if z is not None and z is not end]
    if len(cuts) != 1:
        names = ", ".join(repr(producing_layer(end).name) for end, _ in cuts) or "none"
        raise ExportError(
            f"model {vae.name!r} has {len(cuts)} outputs that depend on a random z and on nothing "
            f"else ({names}), expected the reconstruction: {REMEDY}"
        )
    ((end, z),) = cuts
    encoder = keras.Model(vae.input, _moments(random, z), name="encoder")
    given = [z, *_inputs_beside(vae, end, z)]
    return encoder, keras.Model(given if len(given) > 1 else z, end, name="decoder")


def _reconstructions(vae: keras.Model, random: dict[int, Any]) -> list[Any]:
    """Return the outputs that depend on z.

    A last layer that only adds the loss may return x instead; what it takes counts then.
    """
    ends = [end for end in vae.outputs if id(end) in random]
    if ends:
        return ends
    taken = (tensor for end in vae.outputs for tensor in layer_inputs(end))
    return list({id(tensor): tensor for tensor in taken if id(tensor) in random}.values())


def _random_tensors(vae: keras.Model) -> dict[int, Any]:
    """Return the tensors between layers that random numbers enter into, in order, by identity."""
    depths = sorted(vae._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in vae._nodes_by_depth[depth]]
    tensors = [tensor for node in nodes if not node.is_input for tensor in node.output_tensors]
    part = subgraph_of_model(keras.Model(vae.input, tensors))
    pairs = zip(tensors, part.outputs, strict=True)
    return {id(t): t for t, name in pairs if part.between(part.inputs, [name]).random_nodes()}


def _first_on_every_way(model: keras.Model, random: dict[int, Any], end: Any) -> Any:
    """Return the first random tensor that every way from x to `end` leads through.

    Other inputs of a model, which are conditions, may have ways beside it. x is the one that has
    the reconstruction's shape, if only one has it.
    """
    alike = [tensor for tensor in model.inputs if tensor.shape == end.shape]
    x = model.inputs if len(alike) != 1 else alike
    for tensor in random.values():
        beside = {id(given) for given in _inputs_beside(model, end, tensor)}
        if not all(id(given) in beside for given in x):
            return tensor
    return None


def _inputs_beside(model: keras.Model, end: Any, z: Any) -> list[Any]:
    """Return the inputs that `end` depends on by ways beside z; all if it does not depend on z."""
    left, seen, met = [end], {id(z)}, end is z
    while left:
        tensor = left.pop()
        met = met or tensor is z
        if id(tensor) not in seen:
            seen.add(id(tensor))
            left.extend(layer_inputs(tensor))
    return [tensor for tensor in model.inputs if id(tensor) in seen or not met]


def _moments(random: dict[int, Any], z: Any) -> list[Any]:
    """Return what z is drawn from, and z."""
    history = z._keras_history
    layer = history.operation
    siblings = list(layer._inbound_nodes[history.node_index].output_tensors)
    if len(siblings) > 1:  # an encoder that samples gives its z beside the two
        return siblings
    if is_functional(layer):
        nested = keras.Model(layer.input, layer.outputs[0])
        inside = _random_tensors(nested)
        first = _first_on_every_way(nested, inside, layer.outputs[0])
        encoder = keras.Model(layer.input, _moments(inside, first))
        return list(keras.tree.flatten(encoder(*layer_inputs(z))))
    causes, left = {}, [z]
    while left:
        for tensor in layer_inputs(left.pop()):
            if id(tensor) in random:
                left.append(tensor)
            else:
                causes[id(tensor)] = tensor
    if len(causes) > 2:
        names = ", ".join(repr(producing_layer(tensor).name) for tensor in causes.values())
        raise ExportError(
            f"layer {layer.name!r} gives what the reconstruction depends on alone, from random "
            f"numbers and {names}, expected mean and log variance only: {REMEDY}"
        )
    return [*causes.values(), z]


def refuse_quantized(vae: Any) -> None:
    """Raise `ExportError` if a model has a layer that quantizes its code, as in a VQ-VAE."""
    layers = vae._flatten_layers() if isinstance(vae, keras.layers.Layer) else iter(())
    for layer in layers:
        if QUANTIZERS.search(type(layer).__name__):
            raise ExportError(
                f"{_name(vae)} is a VQ-VAE (layer {layer.name!r} is a {type(layer).__name__}), "
                "whose code has no mean and variance: a bundle holds VAEs with a Gaussian posterior"
            )


def _name(vae: Any) -> str:
    if isinstance(vae, keras.layers.Layer):
        return f"model {vae.name!r}"
    return f"the {type(vae).__name__}"
