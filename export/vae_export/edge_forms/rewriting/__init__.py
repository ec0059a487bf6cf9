"""Rewrites of ONNX graphs: the same values, in operators that a runtime computes rightly."""
