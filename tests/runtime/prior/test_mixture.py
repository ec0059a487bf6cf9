"""Densities and draws of a mixture, compared with NumPy's and SciPy's."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from vae_runtime.prior.mixture import CHUNK, Mixture

RNG = np.random.default_rng(0)
WEIGHTS = np.float32([0.5, 0.3, 0.2])
MEANS = RNG.standard_normal((3, 4)).astype(np.float32)
FULL = np.stack([np.tril(RNG.random((4, 4))) + np.eye(4) for _ in range(3)]).astype(np.float32)
DIAGONAL = (RNG.random((3, 4)) + 0.2).astype(np.float32)


def mixture(scales):
    return Mixture(WEIGHTS, MEANS, scales, np.zeros(1, np.float32))


def covariances(scales):
    wide = scales.astype(np.float64)
    return [np.diag(s**2) if s.ndim == 1 else s @ s.T for s in wide]


@pytest.mark.parametrize("scales", [FULL, DIAGONAL], ids=["full", "diagonal"])
def test_log_densities_are_those_of_scipy(scales):
    z = 3 * RNG.standard_normal((CHUNK + 5, 4))
    parts = [
        w * multivariate_normal(m, c).pdf(z)
        for w, m, c in zip(WEIGHTS, MEANS, covariances(scales), strict=True)
    ]
    found = mixture(scales).log_densities(z.reshape(-1, 2, 2))
    np.testing.assert_allclose(found, np.log(sum(parts)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("scales", [FULL, DIAGONAL], ids=["full", "diagonal"])
def test_draws_have_the_moments_of_the_mixture(scales):
    z = mixture(scales).sample(200_000, seed=1)
    means, shares = MEANS.astype(np.float64), WEIGHTS.astype(np.float64)
    mean = shares @ means
    spread = means - mean
    expected = sum(w * c for w, c in zip(shares, covariances(scales), strict=True))
    expected = expected + (spread.T * shares) @ spread
    assert z.dtype == np.float32
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(z.T), expected, atol=0.06)


def test_a_seed_repeats_its_draws():
    first, again, other = (mixture(FULL).sample(50, seed) for seed in (3, 3, 4))
    assert (first == again).all() and not (first == other).any()
    assert mixture(FULL).sample(0, 0).shape == (0, 4)


def test_far_from_all_components_the_log_density_is_finite():
    assert np.isfinite(mixture(FULL).log_densities(np.full((1, 4), 1e4))).all()
    assert mixture(FULL).log_densities(np.zeros((0, 4))).shape == (0,)
