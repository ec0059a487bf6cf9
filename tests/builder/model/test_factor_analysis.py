import numpy as np
import pytest

from vae_builder.model.factor_analysis import MIN_NOISE, fit_factor_analysis


def samples(rows, columns, factors, seed=0):
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(columns, factors))
    return rng.normal(size=(rows, factors)) @ loadings.T + rng.normal(size=(rows, columns)) * 0.5


def log_likelihood(x, loadings, noise):
    """Mean log-density of rows under N(0, W W^T + diag(psi))."""
    covariance = loadings @ loadings.T + np.diag(noise)
    _, determinant = np.linalg.slogdet(2 * np.pi * covariance)
    return -0.5 * (determinant + np.mean(np.sum(x * np.linalg.solve(covariance, x.T).T, axis=1)))


def em(x, factors, steps=3000):
    """Factor analysis by the EM algorithm of Rubin and Thayer, written independently."""
    covariance = x.T @ x / len(x)
    w = np.linalg.svd(covariance)[0][:, :factors] * 0.5
    psi = np.diag(covariance).copy()
    for _ in range(steps):
        beta = w.T @ np.linalg.inv(w @ w.T + np.diag(psi))
        second = np.eye(factors) - beta @ w + beta @ covariance @ beta.T
        w = covariance @ beta.T @ np.linalg.inv(second)
        psi = np.diag(covariance - w @ beta @ covariance)
    return w, psi


@pytest.mark.parametrize("columns, factors", [(4, 1), (8, 3), (12, 5)])
def test_the_likelihood_is_that_of_em(columns, factors):
    x = samples(400, columns, factors)
    x -= x.mean(axis=0)
    fitted = fit_factor_analysis(x.T @ x / len(x), factors)
    found = log_likelihood(x, fitted.loadings, fitted.noise)
    assert found == pytest.approx(log_likelihood(x, *em(x, factors)), abs=1e-3)


def test_scores_and_precision_are_the_posterior():
    x = samples(300, 6, 2)
    fitted = fit_factor_analysis(np.cov(x.T), 2)
    full = np.eye(2) + fitted.loadings.T @ np.diag(1 / fitted.noise) @ fitted.loadings
    np.testing.assert_allclose(full, np.diag(fitted.precision), atol=1e-8)
    expected = np.linalg.solve(full, fitted.loadings.T @ np.diag(1 / fitted.noise)).T
    np.testing.assert_allclose(fitted.scores, expected, atol=1e-10)


def test_more_factors_than_columns_are_zero():
    fitted = fit_factor_analysis(np.array([[1.0, 0.8], [0.8, 1.0]]), 5)
    assert fitted.loadings.shape == (2, 5)
    assert not fitted.loadings[:, 2:].any()
    np.testing.assert_array_equal(fitted.precision[2:], 1)


def test_a_column_that_others_determine_and_one_that_never_varies_keep_some_noise():
    x = samples(200, 3, 1)
    x = np.column_stack([x, x[:, 0], np.zeros(200)])
    fitted = fit_factor_analysis(np.cov(x.T), 2)
    assert np.isfinite(fitted.loadings).all() and np.isfinite(fitted.scores).all()
    assert (fitted.noise >= MIN_NOISE * np.var(x, axis=0)).all()
    assert fitted.noise[-1] == 1
