"""Standardization, its inverse, and constants that are refused."""

import math

import numpy as np
import pytest

from vae_runtime.data.numbers.standardization import Standardization, restore, standardize
from vae_runtime.errors import OptionError

X = np.random.default_rng(0).normal(5, 3, (4, 2, 3, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("mean", "scale"), [((5.0,), (3.0,)), ((4.0, 5.0, 6.0), (1.0, 2.0, 3.0)), ((5.0,), (1, 2, 3))]
)
def test_restore_inverts_standardize(mean, scale):
    constants = Standardization(mean, scale)
    constants.check(X.shape[1:])
    expected = (X - np.asarray(mean, np.float32)) / np.asarray(scale, np.float32)
    standardized = standardize(np, constants, X)
    assert standardized.dtype == np.float32
    np.testing.assert_array_equal(standardized, expected)
    restored = restore(np, constants, standardized)
    np.testing.assert_allclose(restored, X, rtol=1e-6, atol=1e-6)


def test_without_constants_values_are_unchanged():
    assert standardize(np, None, X) is X and restore(np, None, X) is X


@pytest.mark.parametrize(
    ("mean", "scale", "message"),
    [
        ((1.0, 2.0), (1.0,), r"^mean has 2 numbers, expected 1 or 3 for samples of shape"),
        ((1.0,), (), r"^scale has 0 numbers"),
        ((math.nan,), (1.0,), r"^mean has numbers that are not finite"),
        ((1.0,), (0.0,), r"^scale has 0.0, expected 1e-30 or more"),
        ((1.0,), (-1.0,), r"^scale has -1.0, expected"),
    ],
)
def test_constants_that_do_not_fit(mean, scale, message):
    with pytest.raises(OptionError, match=message):
        Standardization(mean, scale).check((2, 3, 3))
