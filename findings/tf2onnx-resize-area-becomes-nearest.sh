#!/usr/bin/env bash
# tf2onnx 1.17.0 with TensorFlow 2.21.0, ONNX Runtime 1.32.0 (CPU), seen 2026-11-27.
#
# tf.image.resize(x, size, method="area") takes the mean of the pixels that fall on one. tf2onnx writes
# a Resize with mode "nearest": the top left pixel of each block, without an error or a warning. On a
# real image both look alike. What helps: tf.nn.avg_pool2d for a whole factor.
#
# Output seen, 4 x 4 pixels of the values 0 to 15 made 2 x 2:
#     TensorFlow:    2.5 4.5 10.5 12.5
#     ONNX:          0.0 2.0 8.0 10.0
#     mode written:  nearest
#     avg_pool2d:    2.5 4.5 10.5 12.5
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check tensorflow==2.21.0 tf2onnx==1.17.0 \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 2>/dev/null
cat >"$work/area.py" <<'PYTHON'
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

X = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
SIGNATURE = [tf.TensorSpec((None, 4, 4, 1), tf.float32, name="x")]


def converted(function):
    """Return the ONNX model of a function, and its values of X."""
    traced = tf.function(function, input_signature=SIGNATURE)
    model, _ = tf2onnx.convert.from_function(traced, input_signature=SIGNATURE, opset=18)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return model, session.run(None, {"x": X})[0]


def area(x):
    return tf.image.resize(x, (2, 2), method="area")


model, values = converted(area)
modes = [
    attribute.s.decode()
    for node in model.graph.node
    for attribute in node.attribute
    if node.op_type == "Resize" and attribute.name == "mode"
]
_, pooled = converted(lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"))
print("TensorFlow:   ", *area(X).numpy().ravel())
print("ONNX:         ", *values.ravel())
print("mode written: ", *modes)
print("avg_pool2d:   ", *pooled.ravel())
PYTHON
seen=$(HOME="$work" CUDA_VISIBLE_DEVICES=-1 ORT_DISABLE_TELEMETRY=1 "$work/venv/bin/python" \
    "$work/area.py" 2>"$work/log") || { cat "$work/log" >&2; exit 1; }
echo "$seen"
[ "$seen" = "TensorFlow:    2.5 4.5 10.5 12.5
ONNX:          0.0 2.0 8.0 10.0
mode written:  nearest
avg_pool2d:    2.5 4.5 10.5 12.5" ]
