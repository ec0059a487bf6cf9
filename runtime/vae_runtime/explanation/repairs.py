r"""How unusual each column of a vector is: how much surprise goes away when it alone is repaired.

A wrong value in one column also spoils the reconstruction of the columns that depend on it, so the
column with the largest error is often an innocent one. Column j is repaired by setting it to its
own reconstruction, `STEPS` times. Then, with u_i = e_i / spread_i as in
`vae_runtime.explanation.unusual`, and u_i' the same after the repair,

    unusual_j = (e_j - mean_j) / spread_j + sum over i != j of (u_i - u_i')

If no other column changes, this is the plain definition. It is the nonlinear form of the
reconstruction-based contribution, which finds a single wrong sensor where the plain contributions
do not. A category has several elements: they are repaired together, and share the sum equally.

Source: Alcala and Qin, Reconstruction-based contribution for process monitoring (2009).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

STEPS = 5
"""How often a column is set to its reconstruction."""

MAX_REPAIRED = 64
"""Most columns of a sample that are repaired: those that are most unusual by themselves."""

Reconstruct = Callable[[Float32, NDArray[np.intp]], tuple[Float32, Float64]]
"""Function from samples, and the row of x that each comes from, to reconstructions and terms."""


@dataclass(frozen=True, eq=False)
class Vectors:
    """Samples that are vectors, and what is known about them.

    Attributes:
        x: the samples as the graph takes them, shape `(batch, d)`, float32.
        terms: what each element adds, same shape, float64.
        unusual: the same by the plain definition.
        spreads: what each element is divided by, shape `(d,)`.
        columns: the elements of each column.
    """

    x: Float32
    terms: Float64
    unusual: Float64
    spreads: Float64
    columns: Sequence[NDArray[np.intp]]


def columns_of(sources: Sequence[str] | None, size: int) -> list[NDArray[np.intp]]:
    """Return the elements of each column; without sources each element is a column."""
    if sources is None:
        return [np.array([i]) for i in range(size)]
    places: dict[str, list[int]] = {}
    for i, name in enumerate(sources):
        places.setdefault(name, []).append(i)
    return [np.array(elements) for elements in places.values()]


def unusual_by_repair(vectors: Vectors, reconstruct: Reconstruct) -> Float64:
    """Return how unusual each element is, shape `(batch, d)`, as this module says."""
    unusual = vectors.unusual.copy()
    by_column = np.stack([vectors.unusual[:, c].sum(axis=1) for c in vectors.columns], axis=1)
    order = np.argsort(-by_column, axis=1, kind="stable")[:, :MAX_REPAIRED]
    for row in range(len(vectors.x)):
        candidates = [vectors.columns[j] for j in order[row]]
        gains = _gains(vectors, row, candidates, reconstruct)
        for elements, gain in zip(candidates, gains, strict=True):
            unusual[row, elements] += gain / len(elements)
    return unusual


def _gains(
    vectors: Vectors, row: int, candidates: Sequence[NDArray[np.intp]], reconstruct: Reconstruct
) -> Float64:
    """Return the fall of the other columns' terms, in spreads, by the repair of each candidate."""
    repaired = np.zeros((len(candidates), vectors.x.shape[1]), bool)
    for i, elements in enumerate(candidates):
        repaired[i, elements] = True
    x = np.repeat(vectors.x[row : row + 1], len(candidates), axis=0)
    rows = np.full(len(x), row)
    reconstruction, terms = reconstruct(x, rows)
    for _ in range(STEPS):
        x = np.where(repaired, reconstruction, x)
        reconstruction, terms = reconstruct(x, rows)
    falls = (vectors.terms[row] - terms) / vectors.spreads
    gains: Float64 = np.where(repaired, 0.0, falls).sum(axis=1)
    return gains
