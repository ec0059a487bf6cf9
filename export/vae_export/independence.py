"""Refusal of models that mix the samples of a batch.

A runtime chooses chunks and threads by its machine, so a score must not depend on the samples
beside it. TensorFlow computes the reference samples alone, in another order and beside strangers,
see `vae_runtime.proof.company`. If an output changes, the layer that mixes is searched for.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_export.adoption.tracing.layers import is_functional
from vae_export.adoption.tracing.origins import layer_of
from vae_export.graphs.functions import call_model, model_input
from vae_export.tolerances import MAX_WIDENING, TOLERANCES
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.errors import ExportError
from vae_runtime.proof.company import Arrays, batch_independence, companies
from vae_runtime.proof.differences import Difference

INPUTS = {"encoder": "x", "decoder": "z"}
"""Name of the input of each model."""

MIXING_RATIO = 1e-5
"""A layer mixes if an output changes by more than this ratio of its largest value."""

REMEDY = (
    "compute each sample by itself, with constants from training in place of statistics of a batch "
    "(no BatchNormalization with training=True)"
)


@contextlib.contextmanager
def any_number_of_samples(models: dict[str, keras.Model]) -> Iterator[None]:
    """Raise `ExportError` by the name of the layer if TensorFlow fails for a number of samples."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        where = "the model"
        node = next(iter(re.findall(r"\{\{node ([^}]+)\}\}", error.message)), "")
        for role, model in models.items():
            layers = [layer.name for layer in model._flatten_layers(include_self=False)]
            if (layer := layer_of(node, layers)) in layers:
                where = f"{role}: layer {layer!r}"
        # The Python lines that built the node stand before the reason, its name stands after it.
        reason = error.message.split("[[{{node")[0].strip().splitlines()[-1][:300]
        raise ExportError(
            f"{where} does not take every number of samples ({reason}): {REMEDY}"
        ) from error


def require_batch_independence(
    models: dict[str, keras.Model],
    functions: dict[str, Any],
    input_spec: InputSpec,
    reference: Arrays,
) -> None:
    """Raise `ExportError` if TensorFlow's outputs of a sample depend on the samples beside it."""
    for name in models:
        run, inputs = partial(_run, functions[name]), _inputs(name, reference)
        allowed = partial(_allowed, input_spec)
        found = batch_independence(
            name, run, inputs, reference, allowed, input_spec, count=len(reference["x"])
        )
        if not found.agrees:
            raise mixing_error(found, models, input_spec, reference)


def _inputs(model: str, reference: Arrays) -> Arrays:
    """Return the inputs of a model in their order: x or z, then the condition if there is one."""
    names = (INPUTS[model], "condition")
    return {name: reference[name] for name in names if name in reference}


def _run(function: Any, inputs: Arrays) -> Arrays:
    outputs = function(**{name: tf.constant(array) for name, array in inputs.items()})
    return {name: np.asarray(value) for name, value in outputs.items()}


def _allowed(input_spec: InputSpec, name: str, expected: NDArray[np.float64]) -> Any:
    units = input_spec.units(name, expected)
    return MAX_WIDENING * TOLERANCES.allowed(expected, is_loss=False, units=units)


def mixing_error(
    difference: Difference,
    models: dict[str, keras.Model],
    input_spec: InputSpec,
    reference: Arrays,
) -> ExportError:
    """Return the error that names the graph and the layer that make an output depend on others."""
    graph, where = difference.graph, "the graph"
    if model := models.get(graph):
        chosen = companies(_inputs(graph, reference), input_spec, count=len(reference["x"]))
        batches = [
            tf.constant(np.concatenate([samples, chosen.strangers[name]]))
            for name, samples in chosen.samples.items()
        ]
        if graph == "encoder":
            batches[0] = model_input(input_spec, batches[0])
        count = len(chosen.samples[INPUTS[graph]])
        layer = mixing_layer(model, batches, count) or model
        kind = "model" if isinstance(layer, keras.Model) else "layer"
        where = f"{kind} {layer.name!r}"
    change = f"changes by {difference.max_absolute:.3g}"
    if difference.max_absolute > 1e38:  # what stands for a value that is not finite
        change = "is finite or not"
    return ExportError(
        f"{graph}: {where} mixes the samples of a batch: {difference.output} of a sample {change} "
        f"with the samples beside it ({difference.of_tolerance:.3g} times what rounding explains), "
        f"and so would its score: {REMEDY}"
    )


def mixing_layer(model: keras.Model, batches: list[Any], count: int) -> Any:
    """Return the first layer or operation whose output for a sample depends on the other samples.

    `batches` are the inputs of the model. The first `count` samples are compared with the same
    samples alone. None means that the model is not a graph of layers, or that no layer was found.
    """
    if not is_functional(model):
        return None
    nodes = keras.Model(model.inputs, model.outputs)._nodes_by_depth
    order = [node for depth in sorted(nodes, reverse=True) for node in nodes[depth]]
    computed = [node for node in order if not node.is_input]
    tensors = [tensor for node in computed for tensor in node.output_tensors]
    every = keras.Model(model.inputs, tensors)
    try:
        with warnings.catch_warnings(action="ignore"):  # Keras warns of batches of one sample
            together = _values(every, batches)
            alone = [_values(every, [b[i : i + 1] for b in batches]) for i in range(count)]
    except Exception:  # a layer may raise anything for one sample
        return None
    known = {id(tensor): value for tensor, value in zip(tensors, together, strict=True)}
    known |= {id(tensor): batch for tensor, batch in zip(model.inputs, batches, strict=True)}
    for node in computed:
        places = [i for i, t in enumerate(tensors) if any(t is own for own in node.output_tensors)]
        if any(_mixes(np.asarray(together[i]), [one[i] for one in alone]) for i in places):
            layer, inputs = node.operation, [known.get(id(t)) for t in node.input_tensors]
            inner = mixing_layer(layer, inputs, count)
            return inner or layer
    return None


def _values(model: keras.Model, batches: list[Any]) -> list[Any]:
    return list(keras.tree.flatten(call_model(model, *batches)))


def _mixes(together: NDArray[Any], alone: list[Any]) -> bool:
    """Tell whether a tensor of a batch differs from the tensors of its first samples alone."""
    ones = [np.asarray(one, np.float64) for one in alone]
    limit = MIXING_RATIO * max(float(np.abs(np.nan_to_num(one)).max(initial=0)) for one in ones)
    parts = [_part(together, i, one) for i, one in enumerate(ones)]
    return not all(
        np.allclose(part, one, rtol=0, atol=limit, equal_nan=True)
        for part, one in zip(parts, ones, strict=True)
    )


def _part(together: NDArray[Any], index: int, one: NDArray[Any]) -> NDArray[Any]:
    """Cut the part of one sample from a batch's tensor, along the axis that grew with the batch.

    If no axis grew, all samples share the tensor. If several did, nothing is known.
    """
    if together.ndim != one.ndim:
        return one
    grown = [axis for axis in range(one.ndim) if together.shape[axis] != one.shape[axis]]
    if not grown:
        return together
    size = one.shape[grown[0]]
    own = (slice(None),) * grown[0] + (slice(index * size, (index + 1) * size),)
    return together[own] if together[own].shape == one.shape else one
