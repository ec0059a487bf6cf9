"""TensorFlow operators that tf2onnx lacks or converts badly, written in ONNX's operators.

Each function here is a rewriter of tf2onnx: it takes tf2onnx's graph and its nodes, and returns
the nodes. The graph still holds TensorFlow's operators then; tf2onnx converts those that are left.
"""
