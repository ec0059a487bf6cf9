"""Low-rank Gaussians beside a whole covariance matrix, and the likelihood of probabilistic PCA."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_export.scoring.gaussians import LEAST_VARIANCE, fit_gaussian, number_of_axes
from vae_runtime.decision.score import distance


def activations(count, size, seed=0):
    """Return samples whose directions have very different variances, shape `(count, size)`."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((size, size)) * np.geomspace(3, 0.1, size)
    return (rng.standard_normal((count, size)) @ mixed.T + rng.standard_normal(size)).astype(
        np.float32
    )


def covariance(gaussian):
    axes = np.float64(gaussian.axes)
    along = axes @ np.diag(np.float64(gaussian.variances)) @ axes.T
    return along + float(gaussian.rest_variance) * (np.eye(len(axes)) - axes @ axes.T)


@pytest.mark.parametrize("ridge", [0.0, 1.0])
def test_with_all_axes_it_is_the_sample_covariance(ridge):
    x = activations(200, 6)
    gaussian = fit_gaussian(x, 6, ridge=ridge)
    expected = np.cov(x.T, bias=True).astype(np.float64)
    expected += max(ridge, LEAST_VARIANCE) * np.trace(expected) / 6 * np.eye(6)
    np.testing.assert_allclose(gaussian.center, x.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(covariance(gaussian), expected, rtol=1e-3, atol=1e-4)
    centered = np.float64(x) - np.float64(x).mean(axis=0)
    mahalanobis = np.einsum("ni,ij,nj->n", centered, np.linalg.inv(expected), centered)
    np.testing.assert_allclose(distance(np, x, gaussian), mahalanobis, rtol=1e-3)
    if not ridge:  # distances from one's own covariance add up to the number of dimensions
        assert distance(np, x, gaussian).mean() == pytest.approx(6, rel=3e-3)


@pytest.mark.parametrize(("count", "size"), [(300, 8), (12, 30)])
def test_axes_and_variances_are_those_of_a_singular_value_decomposition(count, size):
    """Also with fewer samples than dimensions, where the smaller matrix is decomposed."""
    x, axes = activations(count, size), 3
    gaussian = fit_gaussian(x, axes, ridge=0.0)
    centered = np.float64(x) - np.float64(x).mean(axis=0)
    _, values, vectors = np.linalg.svd(centered, full_matrices=False)
    variances = values**2 / count
    np.testing.assert_allclose(gaussian.variances, variances[:axes], rtol=1e-4)
    np.testing.assert_allclose(np.abs(gaussian.axes.T @ vectors[:axes].T), np.eye(axes), atol=1e-4)
    np.testing.assert_allclose(gaussian.axes.T @ gaussian.axes, np.eye(axes), atol=1e-5)
    assert gaussian.rest_variance == pytest.approx(variances[axes:].sum() / (size - axes), rel=1e-3)


def test_it_has_the_largest_likelihood_of_its_kind():
    """Tipping and Bishop's maximum: the mean distance is the number of dimensions, no other fits.

    At the maximum of -1/2 (log det C + mean distance), the mean distance is trace(C^-1 S) = H.
    """
    x = activations(500, 7)
    gaussian = fit_gaussian(x, 2, ridge=0.0)

    def log_likelihood(c):
        centered = np.float64(x) - np.float64(x).mean(axis=0)
        distances = np.einsum("ni,ij,nj->n", centered, np.linalg.inv(c), centered)
        return -0.5 * (np.linalg.slogdet(c)[1] + distances.mean())

    found = covariance(gaussian)
    s = np.cov(np.float64(x).T, bias=True)
    assert np.trace(np.linalg.inv(found) @ s) == pytest.approx(7, rel=1e-3)
    best = log_likelihood(found)
    rng = np.random.default_rng(1)
    values, vectors = np.linalg.eigh(found)
    for _ in range(20):  # other variances, and turned axes
        turned = np.linalg.qr(vectors + 0.05 * rng.standard_normal((7, 7)))[0]
        rest = values[0] * np.exp(0.05 * rng.standard_normal())
        others = np.array([rest] * 5 + [*(values[5:] * np.exp(0.05 * rng.standard_normal(2)))])
        assert log_likelihood(turned @ np.diag(others) @ turned.T) < best
        assert log_likelihood(vectors @ np.diag(others) @ vectors.T) <= best + 1e-9


def test_equal_activations_have_a_variance_too():
    gaussian = fit_gaussian(np.full((30, 4), 2.5, np.float32), 2, ridge=0.0)
    assert (gaussian.variances > 0).all() and gaussian.rest_variance > 0
    found = distance(np, np.array([[2.5] * 4, [3.5] * 4], np.float32), gaussian)
    assert found[0] == 0 and np.isfinite(found[1]) and found[1] > 0


def test_the_result_does_not_depend_on_signs():
    """LAPACK may return either sign of a vector: the largest component decides."""
    gaussian = fit_gaussian(activations(100, 9), 4, ridge=0.0)
    largest = np.abs(gaussian.axes).argmax(axis=0)
    assert (gaussian.axes[largest, range(4)] > 0).all()
    again = fit_gaussian(activations(100, 9), 4, ridge=0.0)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(vars(gaussian).values(),
               vars(again).values(), strict=True))  # fmt: skip


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_the_number_of_axes_leaves_room(size, count):
    axes = number_of_axes(size, count)
    assert 1 <= axes <= min(128, max(1, size // 4), max(1, count // 4))


def test_numbers_of_axes_of_the_presets():
    assert [number_of_axes(size, 5000) for size in (1024, 512, 256, 3)] == [128, 128, 64, 1]
