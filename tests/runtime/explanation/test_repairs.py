"""Repairs of columns: a linear model, for which the right answer is known in closed form."""

import numpy as np
import pytest

from vae_runtime.explanation import repairs
from vae_runtime.explanation.repairs import Vectors, columns_of, unusual_by_repair


def projection(seed, size=6, rank=2):
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, rank)))[0]
    return basis @ basis.T


def vectors_of(x, p, spreads=None, columns=None):
    terms = np.square(x - x @ p)
    spreads = np.ones(x.shape[1]) if spreads is None else spreads
    return Vectors(x, terms, terms / spreads, spreads, columns or columns_of(None, x.shape[1]))


def linear(p):
    return lambda x, rows: (x @ p, np.square(x - x @ p))


@pytest.mark.parametrize("seed", range(5))
def test_the_fall_is_that_of_the_reconstruction_based_contribution(seed, monkeypatch):
    """Alcala and Qin, equation 12: (xi^T C x)^2 / (xi^T C xi), with C = I - P."""
    monkeypatch.setattr(repairs, "STEPS", 2000)
    p = projection(seed)
    x = np.random.default_rng(seed + 10).normal(size=(4, 6))
    c = np.eye(6) - p
    np.testing.assert_allclose(
        unusual_by_repair(vectors_of(x, p), linear(p)), np.square(x @ c) / np.diag(c), rtol=1e-3
    )


def test_a_wrong_column_is_found_where_errors_point_at_others():
    """Two columns that are nearly the same: the error moves to a third one."""
    right = plain = 0
    for seed in range(40):
        p = projection(seed)
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(6, 6)) @ p
        x[np.arange(6), np.arange(6)] += 10
        vectors = vectors_of(x, p)
        found = unusual_by_repair(vectors, linear(p))
        right += (found.argmax(axis=1) == np.arange(6)).sum()
        plain += (vectors.unusual.argmax(axis=1) == np.arange(6)).sum()
    assert right > 228 > 220 > plain


def test_independent_columns_keep_the_plain_definition():
    x = np.random.default_rng(1).normal(size=(3, 5))
    vectors = vectors_of(x, np.zeros((5, 5)), spreads=np.arange(1.0, 6))
    np.testing.assert_array_equal(
        unusual_by_repair(vectors, linear(np.zeros((5, 5)))), vectors.unusual
    )


def test_elements_of_a_category_share_the_fall():
    p = projection(3)
    x = np.random.default_rng(4).normal(size=(1, 6))
    columns = columns_of(("a", "b", "b", "b", "c", "d"), 6)
    assert [c.tolist() for c in columns] == [[0], [1, 2, 3], [4], [5]]
    vectors = vectors_of(x, p, columns=columns)
    gains = unusual_by_repair(vectors, linear(p)) - vectors.unusual
    np.testing.assert_allclose(gains[0, 1:4], gains[0, 1])
    assert abs(gains[0, 1]) > 1e-6


def test_only_the_most_unusual_columns_are_repaired(monkeypatch):
    monkeypatch.setattr(repairs, "MAX_REPAIRED", 2)
    p = projection(2)
    x = np.random.default_rng(4).normal(size=(1, 6))
    vectors = vectors_of(x, p)
    changed = unusual_by_repair(vectors, linear(p)) != vectors.unusual
    assert set(np.flatnonzero(changed[0])) == set(np.argsort(-vectors.unusual[0])[:2])
