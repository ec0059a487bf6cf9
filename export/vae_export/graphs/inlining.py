"""Functions without the parts that TensorFlow compiles by XLA, which tf2onnx cannot look into.

Keras compiles grouped convolutions, because not all of TensorFlow's CPU kernels know groups. ONNX
knows them, so the graph needs the operator itself.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

COMPILED = "_XlaMustCompile"
"""Attribute of a function that TensorFlow compiles instead of writing it out."""


def without_compiled_parts(function: Any) -> Any:
    """Return the same `tf.function` with all parts written out; itself if no part is compiled."""
    definition = function.get_concrete_function().graph.as_graph_def()
    parts = definition.library.function
    if not any(COMPILED in part.attr and part.attr[COMPILED].b for part in parts):
        return function
    eagerly = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # while this one is traced, inner ones are plain Python
    try:
        written_out = tf.function(
            function.python_function, input_signature=function.input_signature
        )
        written_out.get_concrete_function()
    finally:
        tf.config.run_functions_eagerly(eagerly)
    return written_out
