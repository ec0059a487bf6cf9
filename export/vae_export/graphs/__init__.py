"""Conversion of TensorFlow functions to checked ONNX graphs, also in lower precision."""
