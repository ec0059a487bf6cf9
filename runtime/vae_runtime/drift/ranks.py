"""p-values of a stream: the rank of each score among all scores that came before it.

Without drift, the calibration scores and the scores of the stream are exchangeable: every order of
them is equally likely. Then the rank of a new score among all earlier ones is uniform, and does not
depend on the earlier ranks. So the p-values

    p_t = (number of earlier scores above + V_t * (number of equal ones, itself included)) / (n + t)

are independent and uniform on (0, 1), whatever the distribution of the scores is; V_t is uniform
noise, n the number of calibration scores, t = 1, 2, ... the number of the sample (Vovk, Gammerman
and Shafer, "Algorithmic Learning in a Random World", 2005). Ranks among the calibration scores
alone are not independent, because all samples share these n scores. An alarm on them is false too
often.

**Bounded memory.** The scores of the stream are not kept. They are counted in cells: each different
value of the calibration scores is a cell, and so is each gap between two of them. A new score is
above all scores of lower cells and below all scores of higher ones. Its rank among the scores of
its own cell is drawn at random. The p-values are still exactly uniform and independent:

- Scores of one cell are exchangeable, given which samples fell into it. So the true rank of the
  newest one among them is uniform, and does not depend on earlier ranks. The draw has the same
  distribution.
- In the cell of one value all scores are tied, so their order is noise anyway.

Both are in one formula: "equal" means "in the same cell". What is lost is only the order of scores
that fall between the same two calibration scores.

Larger scores are more unusual and get smaller p-values. A score of NaN counts as +inf, the largest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.errors import InputError

BLOCK = 256
"""Number of samples that are ranked at once; the memory for a block grows with its square."""

_WORDS = 4  # Philox draws so many numbers of 64 bits for each value of its counter


class Cells:
    """The cells between and at the calibration scores, counted from the lowest.

    Attributes:
        values: the different calibration scores in rising order, float64, shape `(d,)`.
        calibration: number of calibration scores in each cell, int64, shape `(2 d + 1,)`.
        samples: number n of calibration scores.
    """

    def __init__(self, calibration_scores: ArrayLike) -> None:
        """Find the cells.

        Args:
            calibration_scores: scores of normal samples, in any order, shape `(n,)`, n >= 1.

        Raises:
            InputError: there are no scores, or they are not a vector.
        """
        scores = as_scores(calibration_scores, "calibration_scores")
        if not len(scores):
            raise InputError(
                "calibration_scores has no scores, expected at least one: calibrate the bundle on "
                "normal samples first"
            )
        self.values, counts = np.unique(scores, return_counts=True)
        self.samples = len(scores)
        self.calibration = np.zeros(2 * len(self.values) + 1, np.int64)
        self.calibration[1::2] = counts

    def find(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the cell of each score, shape `(batch,)`: odd at a value, even in a gap."""
        below = np.searchsorted(self.values, scores, "left")
        return (below + np.searchsorted(self.values, scores, "right")).astype(np.int64)

    def p_values(
        self, stream: NDArray[np.int64], cells: NDArray[np.int64], noise: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the p-values of the next samples, and count these samples.

        Args:
            stream: number of earlier scores of the stream in each cell, shape `(2 d + 1,)`; the
                next ones are added to it.
            cells: cell of each of the next scores, in order, shape `(batch,)`.
            noise: uniform on (0, 1), one for each of them.

        Returns:
            p-values in (0, 1], shape `(batch,)`. They do not depend on how the stream is divided
            into batches.
        """
        blocks = [
            self._ranked(stream, cells[i : i + BLOCK], noise[i : i + BLOCK])
            for i in range(0, len(cells), BLOCK)
        ]
        return np.concatenate(blocks) if blocks else np.empty(0)

    def _ranked(
        self, stream: NDArray[np.int64], cells: NDArray[np.int64], noise: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        counts = self.calibration + stream
        from_here = np.cumsum(counts[::-1])[::-1]
        earlier = np.tril(np.ones((len(cells), len(cells)), bool), -1)
        above = from_here[cells] - counts[cells]
        above += (earlier & (cells > cells[:, np.newaxis])).sum(axis=1)
        own = counts[cells] + (earlier & (cells == cells[:, np.newaxis])).sum(axis=1) + 1
        total = from_here[0] + 1 + np.arange(len(cells))
        np.add.at(stream, cells, 1)
        ranked: NDArray[np.float64] = (above + noise * own) / total
        return ranked


def as_scores(scores: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return scores as float64, with +inf in place of NaN.

    Raises:
        InputError: they are not a vector of numbers; the message calls them `name`.
    """
    array = np.asarray(scores)
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise InputError(
            f"{name} has shape {array.shape} and dtype {array.dtype}, expected a vector of "
            "numbers, one score for each sample"
        )
    values = array.astype(np.float64)
    values[np.isnan(values)] = np.inf
    return values


def uniform_noise(seed: int, first: int, count: int) -> NDArray[np.float64]:
    """Return the noise of some samples: a function of the seed and the number of the sample only.

    Args:
        seed: 0 or more.
        first: number of the first sample, from 0.
        count: number of samples.

    Returns:
        Multiples of 2^-53 plus 2^-54, uniform on (0, 1), shape `(count,)`.
    """
    block, skipped = divmod(first, _WORDS)
    philox = np.random.Philox(key=seed, counter=block)
    words = philox.random_raw(skipped + count)[skipped:]
    return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
