"""The Fourier transform of real numbers, by products with matrices of cosines and sines.

    Real(RFFT(x))        x C, where C[k, f] = cos(2 pi k f / n)
    Imag(RFFT(x))        x S, where S[k, f] = -sin(2 pi k f / n)
    ComplexAbs(RFFT(x))  the root of the sum of their squares

ONNX's own transform has complex numbers as a last axis of two, which tf2onnx does not write.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vae_export.graphs.operators.building import Builder


def write_out_transforms(graph: Any, nodes: list[Any]) -> list[Any]:
    """Write out real Fourier transforms of a fixed length."""
    for node in [node for node in nodes if node.type in ("Real", "Imag", "ComplexAbs")]:
        transform = node.inputs[0]
        if transform.type == "RFFT" and transform.inputs[1].is_const():
            shape = graph.get_shape(transform.input[0])
            if shape and shape[-1] > 0:
                length = int(np.ravel(transform.inputs[1].get_tensor_value())[0])
                _write_out(Builder(graph, node), transform.input[0], shape[-1], length)
    return list(graph.get_nodes())


def _write_out(build: Builder, x: str, samples: int, length: int) -> None:
    used = np.arange(samples) < length  # TensorFlow cuts what is longer, and adds zeros
    angles = 2 * np.pi * np.outer(np.arange(samples), np.arange(length // 2 + 1)) / length
    real = build.constant(np.cos(angles) * used[:, None])
    imaginary = build.constant(-np.sin(angles) * used[:, None])
    if build.node.type != "ComplexAbs":
        build.replace("MatMul", x, real if build.node.type == "Real" else imaginary)
        return
    parts = [build.make("MatMul", x, weights) for weights in (real, imaginary)]
    squares = [build.make("Mul", part, part) for part in parts]
    build.replace("Sqrt", build.make("Add", *squares))
