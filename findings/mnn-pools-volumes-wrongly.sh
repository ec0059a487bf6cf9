#!/usr/bin/env bash
# MNN 3.6.1 (converter and runtime from its Python package), seen 2026-11-28.
#
# An AveragePool of a volume (a 5-D tensor) with pads gives wrong values, without a word. Without pads this
# one is right, and so are images. What helps: pool over height and width, then over depth, with a Reshape
# before each.
#
# Output seen, a window of 3 and a stride of 2: pads, largest difference
#     1: wrong by 0.3
#     0: wrong by 0.0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check MNN==3.6.1 onnx==1.23.2 \
    onnxruntime==1.32.0 numpy==2.4.6
cat >"$work/try.py" <<'PYTHON'
import sys

import MNN
from _tools import mnnconvert  # the command `mnnconvert` installs a package first

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper, save


def model(nodes, shape, **constants):
    """Write a graph of x, and return the values of its outputs in ONNX Runtime."""
    tensors = [numpy_helper.from_array(np.array(v), k) for k, v in constants.items()]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in OUTPUTS]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "graph", [x], outputs, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    save(made, "graph.onnx")
    session = onnxruntime.InferenceSession("graph.onnx")
    return session.run(None, {"x": X.reshape(shape)})


OUTPUTS = ["y"]
pad = int(sys.argv[1])
X = np.random.default_rng(0).random((1, 2, 4, 4, 4), dtype=np.float32)
sizes = {"kernel_shape": [3, 3, 3], "strides": [2, 2, 2], "pads": [pad] * 6}
(expected,) = model([helper.make_node("AveragePool", ["x"], OUTPUTS, **sizes)], X.shape)
mnnconvert("mnnconvert -f ONNX --modelFile graph.onnx --MNNModel graph.mnn --bizCode x".split())
module = MNN.nn.load_module_from_file("graph.mnn", ["x"], OUTPUTS)
found = module.forward([MNN.expr.const(X, list(X.shape), MNN.expr.NCHW)])
found = [np.array(MNN.expr.convert(v, MNN.expr.NCHW).read()).ravel() for v in found]
print(f"{pad}: wrong by {np.abs(found[0] - expected.ravel()).max():.1f}", file=sys.stderr)
PYTHON
for pad in 1 0; do
    (cd "$work" && "$work/venv/bin/python" try.py "$pad" >log 2>error)
    grep wrong "$work/error"
done | tee "$work/seen"
[ "$(cat "$work/seen")" = "1: wrong by 0.3
0: wrong by 0.0" ]
