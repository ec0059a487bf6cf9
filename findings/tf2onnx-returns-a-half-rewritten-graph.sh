#!/usr/bin/env bash
# tf2onnx 1.17.0 with TensorFlow 2.21.0, ONNX Runtime 1.32.0 (CPU), seen 2026-11-27.
#
# from_function takes custom_rewriter, functions that change the graph. If one raises halfway, the error
# is only logged and the graph as it was left is converted: the model computes something else, and
# from_function returns as always. Its command line stops unless --continue_on_error is given; the
# Python functions have no such argument and always go on. What helps: catch the exception inside the
# rewriter, keep it, and raise it again after from_function.
#
# Output seen, relu(x) - 1 of 1, 2, 3 (the rewriter renames Relu to Neg, then raises):
#     TensorFlow: 0 1 2
#     ONNX: -2 -3 -4
#     operators: Neg Sub
#     raised: no
#     logged: exception the other half is missing
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check tensorflow==2.21.0 tf2onnx==1.17.0 \
    onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 2>/dev/null
cat >"$work/rewriter.py" <<'PYTHON'
import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

SIGNATURE = [tf.TensorSpec((None, 3), tf.float32, name="x")]
X = np.array([[1, 2, 3]], np.float32)


@tf.function(input_signature=SIGNATURE)
def function(x):
    return tf.nn.relu(x) - 1.0


def rewriter(graph, nodes):
    """Change one node and fail before the next."""
    for node in nodes:
        if node.type == "Relu":
            node.type = "Neg"
            raise ValueError("the other half is missing")
    return nodes


model, _ = tf2onnx.convert.from_function(
    function, input_signature=SIGNATURE, opset=18, custom_rewriter=[rewriter]
)
session = onnxruntime.InferenceSession(model.SerializeToString())
print("TensorFlow:", *function(X).numpy().astype(int).ravel())
print("ONNX:", *session.run(None, {"x": X})[0].astype(int).ravel())
print("operators:", *(node.op_type for node in model.graph.node))
print("raised: no")
PYTHON
seen=$(HOME="$work" CUDA_VISIBLE_DEVICES=-1 ORT_DISABLE_TELEMETRY=1 "$work/venv/bin/python" \
    "$work/rewriter.py" 2>"$work/log") || { cat "$work/log" >&2; exit 1; }
seen="$seen
logged: $(grep -o 'exception the other half is missing' "$work/log")"
echo "$seen"
[ "$seen" = "TensorFlow: 0 1 2
ONNX: -2 -3 -4
operators: Neg Sub
raised: no
logged: exception the other half is missing" ]
