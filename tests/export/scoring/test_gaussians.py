"""Low-rank Gaussians beside a whole covariance matrix, and the likelihood of probabilistic PCA."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_export.scoring import gaussians
from vae_export.scoring.gaussians import fit_gaussian, number_of_axes
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


def sample_covariance(x):
    """Return the covariance of samples, and the mean variance along a direction."""
    centered = np.float64(x) - np.float64(x).mean(axis=0)
    found = centered.T @ centered / len(x)
    return found, np.trace(found) / len(found)


@pytest.mark.parametrize("ridge", [None, 1e-6, 1.0])
def test_with_all_axes_it_is_the_sample_covariance_with_a_ridge(ridge, monkeypatch):
    if ridge:
        monkeypatch.setattr(gaussians, "RIDGE", ridge)
    x = activations(200, 6)
    gaussian = fit_gaussian(x)
    expected, mean_variance = sample_covariance(x)
    expected += (ridge or 0.1) * mean_variance * np.eye(6)
    assert gaussian.axes.shape == (6, 6)
    np.testing.assert_allclose(gaussian.center, x.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(covariance(gaussian), expected, rtol=1e-3, atol=1e-4)
    centered = np.float64(x) - np.float64(x).mean(axis=0)
    mahalanobis = np.einsum("ni,ij,nj->n", centered, np.linalg.inv(expected), centered)
    np.testing.assert_allclose(distance(np, x, gaussian), mahalanobis, rtol=1e-3)
    if ridge == 1e-6:  # distances from one's own covariance add up to the number of dimensions
        assert distance(np, x, gaussian).mean() == pytest.approx(6, rel=3e-3)


@pytest.mark.parametrize(("count", "size"), [(300, 8), (12, 30)])
def test_axes_and_variances_are_those_of_a_singular_value_decomposition(count, size, monkeypatch):
    """Also with fewer samples than dimensions, where the smaller matrix is decomposed."""
    monkeypatch.setattr(gaussians, "MAX_AXES", axes := 3)
    x = activations(count, size)
    gaussian = fit_gaussian(x)
    centered = np.float64(x) - np.float64(x).mean(axis=0)
    _, values, vectors = np.linalg.svd(centered, full_matrices=False)
    variances = values**2 / count
    ridge = 0.1 * variances.sum() / size
    np.testing.assert_allclose(gaussian.variances, variances[:axes] + ridge, rtol=1e-4)
    np.testing.assert_allclose(np.abs(gaussian.axes.T @ vectors[:axes].T), np.eye(axes), atol=1e-4)
    np.testing.assert_allclose(gaussian.axes.T @ gaussian.axes, np.eye(axes), atol=1e-5)
    assert gaussian.rest_variance == pytest.approx(ridge, rel=1e-5)


def test_it_has_the_largest_likelihood_of_its_kind(monkeypatch):
    """Tipping and Bishop's maximum with a given rest variance: no other axes and variances fit.

    The ridge is the variance of noise that is added to the samples: their covariance T is that of
    the samples plus the ridge. At the maximum of -1/2 (log det C + trace(C^-1 T)), each axis adds
    1 to the trace, and each other direction its variance over the ridge.
    """
    monkeypatch.setattr(gaussians, "MAX_AXES", 2)
    x = activations(500, 7)
    gaussian = fit_gaussian(x)
    t, mean_variance = sample_covariance(x)
    ridge = 0.1 * mean_variance
    t += ridge * np.eye(7)

    def log_likelihood(c):
        return -0.5 * (np.linalg.slogdet(c)[1] + np.trace(np.linalg.inv(c) @ t))

    found = covariance(gaussian)
    expected = 2 + np.linalg.eigvalsh(t)[:5].sum() / ridge
    assert np.trace(np.linalg.inv(found) @ t) == pytest.approx(expected, rel=1e-3)
    best = log_likelihood(found)
    rng = np.random.default_rng(1)
    values, vectors = np.linalg.eigh(found)
    np.testing.assert_allclose(values[:5], ridge, rtol=1e-4)
    for _ in range(20):  # other variances, and turned axes
        turned = np.linalg.qr(vectors + 0.05 * rng.standard_normal((7, 7)))[0]
        others = np.array([ridge] * 5 + [*(values[5:] * np.exp(0.05 * rng.standard_normal(2)))])
        assert log_likelihood(turned @ np.diag(values) @ turned.T) < best
        assert log_likelihood(turned @ np.diag(others) @ turned.T) < best
        assert log_likelihood(vectors @ np.diag(others) @ vectors.T) < best


@pytest.mark.parametrize(("count", "size"), [(30, 4), (4, 30)])
def test_equal_activations_have_a_variance_too(count, size):
    gaussian = fit_gaussian(np.full((count, size), 2.5, np.float32))
    assert (gaussian.variances > 0).all() and gaussian.rest_variance > 0
    found = distance(np, np.array([[2.5] * size, [3.5] * size], np.float32), gaussian)
    assert found[0] == 0 and np.isfinite(found[1]) and found[1] > 0


def test_the_result_does_not_depend_on_signs():
    """LAPACK may return either sign of a vector: the largest component decides."""
    gaussian = fit_gaussian(activations(100, 9))
    largest = np.abs(gaussian.axes).argmax(axis=0)
    assert (gaussian.axes[largest, range(9)] > 0).all()
    again = fit_gaussian(activations(100, 9))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(vars(gaussian).values(),
               vars(again).values(), strict=True))  # fmt: skip


@given(st.integers(1, 5000), st.integers(2, 5000))
def test_the_number_of_axes_leaves_room(size, count):
    """No more than there are directions, among the dimensions and among centered samples."""
    axes = number_of_axes(size, count)
    assert 1 <= axes <= min(size, 128, count - 1)
    assert axes == 1 or axes * size <= 250_000
    assert axes in (size, 128, count - 1) or (axes + 1) * size > 250_000


def test_numbers_of_axes_of_the_presets():
    assert [number_of_axes(size, 5000) for size in (4096, 1024, 64, 3)] == [61, 128, 64, 3]
    assert number_of_axes(1024, 20) == 19
