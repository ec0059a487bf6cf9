"""From Keras functions to checked ONNX graphs, also in lower precision."""
