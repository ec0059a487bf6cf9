"""Random splits of the samples of a source that does not bring them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_runtime.errors import InputError, OptionError

VALIDATION_FRACTION = 0.05
"""Default fraction of the samples for the validation split, if the source has none."""
TEST_FRACTION = 0.1
"""Default fraction of the samples for the test split, if the source has none."""
SPLIT_STREAM = 0x5B117
"""Second word of the seed, so that no other use of the same seed draws the same numbers."""


def check_split_options(validation_fraction: float, test_fraction: float, split_seed: int) -> None:
    """Raise `OptionError` unless each fraction, their sum and the seed are possible."""
    fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    for name, value in fractions.items():
        if not 0 < value < 1:
            raise OptionError(f"{name} is {value}, expected a share above 0 and below 1")
    if validation_fraction + test_fraction >= 1:
        raise OptionError(
            f"validation_fraction {validation_fraction} and test_fraction {test_fraction} leave "
            "nothing to train on: their sum must stay below 1"
        )
    if split_seed < 0:
        raise OptionError(f"split_seed is {split_seed}, expected 0 or more")


def draw_rows(
    name: str, n: int, fractions: dict[str, float], seed: int
) -> dict[str, NDArray[np.intp]]:
    """Draw rows of n for each fraction, and "train" from the rest; none is empty.

    Within a split the rows keep their order.
    """
    if n <= len(fractions):
        raise InputError(
            f"{name}: {n} samples, expected at least {len(fractions) + 1} to draw the "
            f"{' and '.join(fractions)} split: give more samples"
        )
    order = np.random.default_rng([seed, SPLIT_STREAM]).permutation(n)
    rows = {}
    for i, (split, fraction) in enumerate(fractions.items(), 1):
        splits_left = len(fractions) - i
        count = min(max(1, round(n * fraction)), len(order) - 1 - splits_left)
        rows[split], order = np.sort(order[:count]), order[count:]
    return rows | {"train": np.sort(order)}
