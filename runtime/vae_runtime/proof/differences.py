"""The difference of one output from the values that are expected."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.loss import LOSS_NAMES

NEGLIGIBLE_RATIO = 1e-3
"""References smaller than this ratio of the largest one do not count in `max_relative`."""

Allowed = Callable[[str, NDArray[np.float64]], Any]
"""Returns the largest allowed difference of an output, from its name and the expected values."""


@dataclass(frozen=True)
class Difference:
    """Difference of one output from its reference.

    Attributes:
        graph: `encoder`, `decoder`, `loss`, or `numpy` for values that NumPy computed.
        output: name of the tensor.
        max_absolute: largest `|value - reference|`.
        max_relative: largest `|value - reference| / |reference|`, over the references of at least
            a thousandth of the largest: the ratio of two numbers next to 0 says nothing.
        of_tolerance: largest ratio of a difference to the allowed difference; at most 1 agrees.
        agrees: whether every value is within the tolerance.
    """

    graph: str
    output: str
    max_absolute: float
    max_relative: float
    of_tolerance: float
    agrees: bool

    @property
    def is_loss(self) -> bool:
        """Whether the tolerances for losses apply, not those for tensors."""
        return self.output in LOSS_NAMES


def difference_table(differences: Iterable[Difference]) -> str:
    """Return a table with a row for each output, as `verify` prints it."""
    header = f"{'graph':8} {'output':20} {'max |diff|':>10} {'max rel.':>10} {'of allowed':>12}"
    rows = [
        f"{d.graph:8} {d.output:20} {d.max_absolute:10.2e} {d.max_relative:10.2e} "
        f"{d.of_tolerance:12.1%}  {'ok' if d.agrees else 'DIFFERS'}"
        for d in differences
    ]
    return "\n".join([header, *rows])


def compare(
    graph: str,
    name: str,
    value: NDArray[np.float32],
    reference: NDArray[np.float32],
    allowed: Allowed,
) -> Difference:
    """Compare an output with its reference. NaN never agrees."""
    expected = reference.astype(np.float64)
    if value.shape != expected.shape:
        return Difference(graph, name, np.inf, np.inf, np.inf, False)
    absolute = np.abs(value.astype(np.float64) - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        large = np.abs(expected) >= NEGLIGIBLE_RATIO * np.abs(expected).max()
        relative = np.where(large & (absolute > 0), absolute / np.abs(expected), 0)
        ratio = np.where(absolute == 0, 0, absolute / allowed(name, expected))
    of_tolerance = float(ratio.max())
    return Difference(
        graph, name, float(absolute.max()), float(relative.max()), of_tolerance, of_tolerance <= 1
    )
