"""Functions in a form that tf2onnx can read: no compiled parts, captured tensors or loops.

compiled parts    Keras compiles grouped convolutions, because not all of TensorFlow's CPU
kernels know groups. ONNX knows them, so the graph needs the operator itself.
captured tensors  Keras keeps the statistics of a Normalization as plain tensors. tf2onnx takes
them for further inputs of the graph; they become constants.
loops             tf2onnx knows the loop of an LSTM, which becomes one operator. The loops of
other recurrent layers would stay, and no bundle may hold a loop: their steps
are written out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

COMPILED = "_XlaMustCompile"
"""Attribute of a function that TensorFlow compiles instead of writing it out."""


def readable(function: Any, *, loops: bool = True) -> Any:
    """Return the same `tf.function` in a form that tf2onnx can read; itself if it is that.

    If `loops` is false, the steps of recurrent layers are written out.
    """
    if loops:
        return without_captured_tensors(without_compiled_parts(function))
    with written_out_steps():
        return without_captured_tensors(without_compiled_parts(_traced_again(function)))


def without_compiled_parts(function: Any) -> Any:
    """Return the same `tf.function` with all parts written out; itself if no part is compiled."""
    definition = function.get_concrete_function().graph.as_graph_def()
    parts = definition.library.function
    if not any(COMPILED in part.attr and part.attr[COMPILED].b for part in parts):
        return function
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # while this one is traced, inner ones are plain Python
    try:
        return _traced_again(function)
    finally:
        tf.config.run_functions_eagerly(eagerly)


def without_captured_tensors(function: Any) -> Any:
    """Return the same `tf.function` with captured tensors as constants; itself if it has none."""
    concrete = function.get_concrete_function()
    variables = {id(variable.handle) for variable in concrete.graph.variables}
    captured = [tensor for tensor in concrete.captured_inputs if id(tensor) not in variables]
    if not captured or any(tensor.dtype == tf.resource for tensor in captured):
        return function  # a table of words is no tensor: tf2onnx names the operator that reads it
    frozen = convert_variables_to_constants_v2(
        concrete, lower_control_flow=False, aggressive_inlining=True
    )
    names = sorted(concrete.structured_outputs)

    def compute(*inputs: Any) -> dict[str, Any]:
        outputs = frozen(*inputs)
        return dict(zip(names, outputs, strict=True))

    again = tf.function(compute, input_signature=function.input_signature)
    again.get_concrete_function()
    return again


def _traced_again(function: Any) -> Any:
    again = tf.function(function.python_function, input_signature=function.input_signature)
    again.get_concrete_function()
    return again


@contextlib.contextmanager
def written_out_steps() -> Iterator[None]:
    """Call each recurrent layer as if it had been made with `unroll=True`."""
    call = keras.layers.RNN.call

    def unrolled(layer: Any, *args: Any, **options: Any) -> Any:
        before, layer.unroll = layer.unroll, True
        try:
            return call(layer, *args, **options)
        finally:
            layer.unroll = before

    keras.layers.RNN.call = unrolled
    try:
        yield
    finally:
        keras.layers.RNN.call = call
