"""Checks of an ONNX graph before ONNX Runtime sees it."""
