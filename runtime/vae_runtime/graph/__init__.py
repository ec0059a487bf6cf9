"""Validation of ONNX files before ONNX Runtime loads them."""
