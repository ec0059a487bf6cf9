"""How convolutions and pools move over their input: bounded, and never to a size below 0.

ONNX Runtime takes any numbers here. Padding alone can make it allocate gigabytes, and what a
transposed convolution takes away may leave sizes below 0, on which later operators end the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vae_runtime.graph.tensors import GraphError

WINDOWS: Final = {
    "dilations": (1, 1 << 12),
    "kernel_shape": (1, 1 << 12),
    "output_padding": (0, 1 << 12),
    "output_shape": (1, 1 << 12),
    "pads": (0, 1 << 12),
    "strides": (1, 1 << 12),
}
"""Attributes, and the numbers between which each of their elements lies."""


def check_windows(operator: str, attributes: Mapping[str, Any]) -> None:
    """Checks the attributes of an operator that say how it moves.

    Args:
        operator: its name.
        attributes: the values of all its attributes, by name.

    Raises:
        GraphError: one is out of bounds, or they leave a size below 0.
    """
    windows = {name: attributes[name] for name in WINDOWS if name in attributes}
    for name, values in windows.items():
        low, high = WINDOWS[name]
        if not isinstance(values, list) or not all(
            type(value) is int and low <= value <= high for value in values
        ):
            raise GraphError(
                f"{name} of a {operator} is {values!s:.80}, expected {low} to {high} each"
            )
    if operator == "ConvTranspose" and any(windows.get("pads", [])):
        _check_taken(windows["pads"], windows.get("kernel_shape", []), windows.get("dilations"))


def _check_taken(pads: list[int], kernel: list[int], dilations: list[int] | None) -> None:
    """A transposed convolution adds a kernel to each line of its input, and takes the pads away."""
    steps = dilations or [1] * len(kernel)
    if not len(pads) == 2 * len(kernel) == 2 * len(steps):
        raise GraphError("a ConvTranspose has pads of another length than its kernel")
    taken = [first + last for first, last in zip(pads, pads[len(kernel) :], strict=False)]
    if any(n > (size - 1) * step for n, size, step in zip(taken, kernel, steps, strict=True)):
        raise GraphError("a ConvTranspose takes away more than its kernel adds")
