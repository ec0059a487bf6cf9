"""SavedModels of any TensorFlow 2 as Keras models.

What is called is, in this order: the model itself (a Keras 2 model or a `tf.Module`), its endpoint
`serve` (`model.export` of Keras 3), or its signature. The first two give the outputs in their
order; a signature gives them by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from vae_export.adoption.tracing.graph_part import GraphPart
from vae_export.adoption.tracing.subgraph import subgraph
from vae_runtime.errors import ExportError

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")


def read_saved_model(path: Path) -> keras.Model:
    """Return a Keras model that computes what a SavedModel computes, for inference.

    Args:
        path: folder of the SavedModel. TensorFlow runs the program that it is.

    Raises:
        ExportError: it cannot be read, or it does not say what is to be called with what.
    """
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow raises many types for a damaged file
        raise ExportError(
            f"{path} cannot be read: {_one_line(error)}: save it again by tf.saved_model.save"
        ) from error
    spec = _input(loaded, path)
    x = keras.Input(spec.shape[1:], dtype=spec.dtype.name, name="x")
    problems = []
    for call in _calls(loaded):
        try:
            part = subgraph(call, [spec])
        except Exception as error:  # no function with these arguments was saved
            problems.append(_one_line(error))
            continue
        model = keras.Model(x, GraphPart(part)(x), name=path.name)
        model.built = True
        return model
    raise ExportError(
        f"{path} has no function of one input of shape {tuple(spec.shape)} "
        f"({'; '.join(problems)[:200]}): save a model that takes x alone"
    )


def _input(loaded: Any, path: Path) -> Any:
    """Return shape and dtype of the one input."""
    where, inputs = _inputs(loaded, path)
    if len(inputs) != 1:
        raise ExportError(
            f"{path} takes {', '.join(map(repr, sorted(inputs))) or 'no input'} in its {where}, "
            "expected one input: save a model that takes x alone"
        )
    (spec,) = inputs.values()
    if spec.shape.rank is None:
        raise ExportError(
            f"{path} takes an input of unknown shape: save it with a signature that states the "
            "shape of a sample"
        )
    return tf.TensorSpec((None, *spec.shape[1:]), spec.dtype)


def _inputs(loaded: Any, path: Path) -> tuple[str, dict[str, Any]]:
    """Return the inputs by name, and what takes them: a signature, or the model's call."""
    signatures = dict(loaded.signatures)
    if "serving_default" in signatures:
        signatures = {"serving_default": signatures["serving_default"]}
    if len(signatures) == 1:
        ((name, signature),) = signatures.items()
        return f"signature {name!r}", dict(signature.structured_input_signature[1])
    saved = loaded.__call__.concrete_functions if callable(loaded) else ()
    if saved:
        specs = [s for s in tf.nest.flatten(saved[0].structured_input_signature) if _is_spec(s)]
        return "call", {spec.name or f"input {i}": spec for i, spec in enumerate(specs)}
    names = ", ".join(map(repr, signatures)) or "none"
    raise ExportError(
        f"{path} has the signatures {names}, expected 'serving_default' or one only: save it "
        "with one signature (tf.saved_model.save(model, folder, signatures=...))"
    )


def _is_spec(value: Any) -> bool:
    return isinstance(value, tf.TensorSpec)


def _calls(loaded: Any) -> list[Callable[[Any], Any]]:
    """Return the ways to call a SavedModel, the most telling first."""
    calls: list[Callable[[Any], Any]] = []
    if callable(loaded):
        calls += [lambda x: loaded(x, training=False), loaded]
    if callable(getattr(loaded, "serve", None)):
        calls.append(loaded.serve)
    signatures = dict(loaded.signatures)
    if signatures:
        signature = signatures.get("serving_default", next(iter(signatures.values())))
        argument = next(iter(signature.structured_input_signature[1]))
        calls.append(lambda x: _in_order(signature(**{argument: x})))
    return calls


def _in_order(outputs: Mapping[str, Any]) -> Any:
    """Return numbered outputs (output_0, output_1, ...) as a list, others by name."""
    numbers = {name: re.fullmatch(r"output_(\d+)", name) for name in outputs}
    if all(numbers.values()):
        ordered = sorted(outputs, key=lambda name: int(name.removeprefix("output_")))
        return [outputs[name] for name in ordered]
    return next(iter(outputs.values())) if len(outputs) == 1 else dict(outputs)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
