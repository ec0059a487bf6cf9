"""Resizing of images by fixed sizes: two products with the matrices of weights that TensorFlow has.

ONNX's Resize has no Lanczos kernels and no antialiasing, TensorFlow's bicubic kernel is a table of
1,024 steps, and tf2onnx converts the area method to another one. All of them are linear, and treat
rows and columns apart. So TensorFlow itself resizes the columns of an identity matrix, and the
weights that it gives are constants of the graph. tf2onnx converts nearest and bilinear resizing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_export.graphs.operators.building import Builder
from vae_export.graphs.operators.sizes import constant

LARGEST_ERROR = 1e-5
"""A method whose products differ more than this from what TensorFlow gives is left as it is."""

Resize = Callable[[NDArray[np.float32], NDArray[np.int32], int | None], Any]
"""Function of images, their new size, and the axis (0 or 1) that is resized; None for both."""


def write_out_resizing(graph: Any, nodes: list[Any]) -> list[Any]:
    """Write out all resizing whose sizes are constants, except nearest and bilinear."""
    for node in list(nodes):
        if node.type not in _METHODS:
            continue
        shape = graph.get_shape(node.input[0])
        inputs = node.inputs[1:]
        numbers = [value for source in inputs if (value := constant(graph, source)) is not None]
        if shape and min(shape[1:]) > 0 and len(numbers) == len(inputs):
            size, *rest = numbers
            resize = _METHODS[node.type](node, *rest)
            _write_out(Builder(graph, node), resize, shape, np.asarray(size, np.int32))
    return list(graph.get_nodes())


def _write_out(build: Builder, resize: Resize, shape: list[int], size: NDArray[np.int32]) -> None:
    rows, columns = (_weights(resize, axis, shape[1 + axis], int(size[axis])) for axis in (0, 1))
    sample = np.random.default_rng(0).random((1, *shape[1:]), dtype=np.float32)
    expected = _resized(resize, sample, size, None)
    if (
        np.abs(np.einsum("ah,nhwc,bw->nabc", rows, sample, columns) - expected).max()
        > LARGEST_ERROR
    ):
        return
    _, height, width, channels = shape
    new_height, new_width = map(int, size)
    x = build.make("Reshape", build.node.input[0], build.constant([-1, height, width * channels]))
    x = build.make("MatMul", build.constant(rows), x)
    x = build.make("Reshape", x, build.constant([-1, width, channels]))
    x = build.make("MatMul", build.constant(columns), x)
    build.replace("Reshape", x, build.constant([-1, new_height, new_width, channels]))


def _weights(resize: Resize, axis: int, old: int, new: int) -> NDArray[np.float32]:
    """Return the matrix, shape (new, old), that resizes one axis."""
    units = np.eye(old, dtype=np.float32).reshape((old, 1, old, 1) if axis else (old, old, 1, 1))
    size = np.array([1, new] if axis else [new, 1], np.int32)
    return np.ascontiguousarray(_resized(resize, units, size, axis).reshape(old, new).T)


def _resized(
    resize: Resize, images: NDArray[np.float32], size: NDArray[np.int32], axis: int | None
) -> NDArray[np.float32]:
    """Compute now: TensorFlow only records operators while tf2onnx has a graph of its own open."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        resized: NDArray[np.float32] = session.run(resize(images, size, axis))
    return resized


def _by_size(operator: Callable[..., Any], *attributes: str) -> Callable[..., Resize]:
    def method(node: Any) -> Resize:
        options = {name: bool(node.get_attr_value(name, 0)) for name in attributes}
        return lambda images, size, axis: operator(images=images, size=size, **options)

    return method


def _scale_and_translate(
    node: Any, scale: NDArray[np.float32], shift: NDArray[np.float32]
) -> Resize:
    options = {
        "kernel_type": node.get_attr_str("kernel_type"),
        "antialias": bool(node.get_attr_value("antialias", 1)),
    }

    def resize(images: NDArray[np.float32], size: NDArray[np.int32], axis: int | None) -> Any:
        scales, shifts = scale.copy(), shift.copy()
        if axis is not None:
            scales[1 - axis], shifts[1 - axis] = 1, 0
        return tf.raw_ops.ScaleAndTranslate(
            images=images, size=size, scale=scales, translation=shifts, **options
        )

    return resize


_METHODS = {
    "ResizeArea": _by_size(tf.raw_ops.ResizeArea, "align_corners"),
    "ResizeBicubic": _by_size(tf.raw_ops.ResizeBicubic, "align_corners", "half_pixel_centers"),
    "ScaleAndTranslate": _scale_and_translate,
}
