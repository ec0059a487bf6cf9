"""Bounds of the windows of convolutions and pools: kernel, strides, pads and dilations.

ONNX Runtime accepts any numbers here, and the onnx package does not check them. Padding alone can
allocate gigabytes. Pads of a transposed convolution can lead to negative sizes, on which later
operators end the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vae_runtime.graph.tensors import GraphError

WINDOW_BOUNDS: Final = {
    "dilations": (1, 1 << 12),
    "kernel_shape": (1, 1 << 12),
    "output_padding": (0, 1 << 12),
    "output_shape": (1, 1 << 12),
    "pads": (0, 1 << 12),
    "strides": (1, 1 << 12),
}
"""Attribute -> smallest and largest value of each element."""


def check_windows(operator: str, attributes: Mapping[str, Any]) -> None:
    """Raise `GraphError` if a window is out of bounds or leads to a negative size."""
    windows = {name: attributes[name] for name in WINDOW_BOUNDS if name in attributes}
    for name, values in windows.items():
        low, high = WINDOW_BOUNDS[name]
        if not isinstance(values, list) or not all(
            type(value) is int and low <= value <= high for value in values
        ):
            raise GraphError(
                f"{name} of a {operator} is {values!s:.80}, expected {low} to {high} each"
            )
    if operator == "ConvTranspose" and any(windows.get("pads", [])):
        _check_removed(windows["pads"], windows.get("kernel_shape", []), windows.get("dilations"))


def _check_removed(pads: list[int], kernel: list[int], dilations: list[int] | None) -> None:
    """Check a transposed convolution: its kernel adds to each axis, its pads remove from it."""
    steps = dilations or [1] * len(kernel)
    if not len(pads) == 2 * len(kernel) == 2 * len(steps):
        raise GraphError("a ConvTranspose has pads of another length than its kernel")
    removed = [first + last for first, last in zip(pads, pads[len(kernel) :], strict=False)]
    if any(n > (size - 1) * step for n, size, step in zip(removed, kernel, steps, strict=True)):
        raise GraphError("a ConvTranspose removes more by its pads than its kernel adds")
