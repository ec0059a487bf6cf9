#!/usr/bin/env bash
# Keras 3.15.1 with TensorFlow 2.21.0, tf2onnx 1.17.0, ONNX Runtime 1.32.0 (CPU), seen 2026-11-27.
#
# model.export(..., format="onnx") of a model with an adapted Normalization succeeds, and the file asks
# for two more inputs: the mean and the variance that the layer was adapted to. The layer keeps them as
# tensors, and tf2onnx's from_function makes each tensor that a function captures an input (a variable
# or a NumPy array becomes a constant). The mean's numbers are nowhere in the file. What helps:
# tf2onnx.convert.from_keras, or the command line on the SavedModel that model.export writes.
#
# Output seen:
#     model.export, inputs: x functional_1/normalization_1/Sub/y:0 functional_1/normalization_1/Sqrt/x:0
#     the mean among its constants: False
#     run with x alone: ValueError
#     from_keras, inputs: x
#     from_function that captures a tensor: 2 inputs, a variable: 1, a NumPy array: 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1 \
    tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 2>/dev/null
cat >"$work/inputs.py" <<'PYTHON'
import sys

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

file = sys.argv[1]
x = keras.Input((2,), name="x")
normalization = keras.layers.Normalization()
normalization.adapt(np.array([[0.0, 10.0], [2.0, 30.0]]))
model = keras.Model(x, normalization(x))
model(np.zeros((1, 2), np.float32))


def inputs(onnx_model):
    return [value.name for value in onnx_model.graph.input]


def capturing(values):
    """Return how many inputs the model of a function that adds values has."""
    signature = [tf.TensorSpec((None, 2), tf.float32, name="x")]
    traced = tf.function(lambda x: x + values, input_signature=signature)
    return len(inputs(tf2onnx.convert.from_function(traced, input_signature=signature)[0]))


def run():
    """Return what comes of a run that is given the model's own input."""
    session = onnxruntime.InferenceSession(file)
    try:
        session.run(None, {"x": np.zeros((1, 2), np.float32)})
    except ValueError as error:
        return type(error).__name__
    return "runs"


model.export(file, format="onnx", verbose=False)
array = np.array([1.0, 2.0], np.float32)
counts = [capturing(values) for values in (tf.constant(array), tf.Variable(array), array)]
exported = onnx.load(file)
constants = [onnx.numpy_helper.to_array(tensor).ravel() for tensor in exported.graph.initializer]
print("model.export, inputs:", *inputs(exported))
print("the mean among its constants:", any(np.array_equal(array, [1, 20]) for array in constants))
print("run with x alone:", run())
print("from_keras, inputs:", *inputs(tf2onnx.convert.from_keras(model)[0]))
print(
    "from_function that captures a tensor: {} inputs, a variable: {}, a NumPy array: {}".format(*counts)
)
PYTHON
seen=$(HOME="$work" CUDA_VISIBLE_DEVICES=-1 ORT_DISABLE_TELEMETRY=1 "$work/venv/bin/python" \
    "$work/inputs.py" "$work/model.onnx" 2>"$work/log") || { cat "$work/log" >&2; exit 1; }
echo "$seen"
[ "$seen" = "model.export, inputs: x functional_1/normalization_1/Sub/y:0 functional_1/normalization_1/Sqrt/x:0
the mean among its constants: False
run with x alone: ValueError
from_keras, inputs: x
from_function that captures a tensor: 2 inputs, a variable: 1, a NumPy array: 1" ]
