#!/usr/bin/env bash
# tf2onnx 1.17.0 with Keras 3.15.1 and TensorFlow 2.21.0, ONNX Runtime 1.32.0 (CPU), seen 2026-11-27.
#
# Conv1DTranspose with data_format "channels_first" converts without an error, and the padding is lost:
# an element too few where the stride is longer than the kernel, two too many with padding "same" where
# the kernel is longer (the values moved by one as well). ONNX Runtime prints a warning about the shape
# and answers. With channels_last both are right. What helps: channels_last between two Permute layers.
#
# Output seen, 4 elements in, kernel of ones, bias 1:
#     kernel 2, stride 3, valid, channels_first: Keras 12, ONNX 11
#     kernel 2, stride 3, valid, channels_last: Keras 12, ONNX 12
#     kernel 4, stride 2, same, channels_first: Keras 8, ONNX 10
#     kernel 4, stride 2, same, channels_last: Keras 8, ONNX 8
#     Keras: 1 2 2 4 4 6 6 4
#     ONNX:  1 1 2 2 4 4 6 6 4 4
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1 \
    tf2onnx==1.17.0 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 2>/dev/null
cat >"$work/transpose.py" <<'PYTHON'
import keras
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx


def both(kernel, stride, padding, order):
    """Return Keras's values of 0, 1, 2, 3 and those of the converted layer."""
    layer = keras.layers.Conv1DTranspose(
        1,
        kernel,
        strides=stride,
        padding=padding,
        data_format=order,
        kernel_initializer="ones",
        bias_initializer="ones",
    )
    shape = (1, 4) if order == "channels_first" else (4, 1)
    x = np.arange(4, dtype=np.float32).reshape(1, *shape)
    expected = layer(x).numpy().ravel()
    signature = [tf.TensorSpec((None, *shape), tf.float32, name="x")]
    traced = tf.function(lambda x: layer(x), input_signature=signature)
    model, _ = tf2onnx.convert.from_function(traced, input_signature=signature, opset=18)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return expected, session.run(None, {"x": x})[0].ravel()


for kernel, stride, padding in ((2, 3, "valid"), (4, 2, "same")):
    for order in ("channels_first", "channels_last"):
        expected, got = both(kernel, stride, padding, order)
        sizes = f"Keras {expected.size}, ONNX {got.size}"
        print(f"kernel {kernel}, stride {stride}, {padding}, {order}: {sizes}")
expected, got = both(4, 2, "same", "channels_first")
print("Keras:", *expected.astype(int))
print("ONNX: ", *got.astype(int))
PYTHON
seen=$(HOME="$work" CUDA_VISIBLE_DEVICES=-1 ORT_DISABLE_TELEMETRY=1 "$work/venv/bin/python" \
    "$work/transpose.py" 2>"$work/log") || { cat "$work/log" >&2; exit 1; }
echo "$seen"
[ "$seen" = "kernel 2, stride 3, valid, channels_first: Keras 12, ONNX 11
kernel 2, stride 3, valid, channels_last: Keras 12, ONNX 12
kernel 4, stride 2, same, channels_first: Keras 8, ONNX 10
kernel 4, stride 2, same, channels_last: Keras 8, ONNX 8
Keras: 1 2 2 4 4 6 6 4
ONNX:  1 1 2 2 4 4 6 6 4 4" ]
