r"""Maximum-likelihood factor analysis, from which the preset `table` starts.

    x = W z + noise,   z ~ N(0, I),   noise ~ N(0, diag(psi)),   x of mean 0

Each step takes the best `W` for the current `psi`, from the largest eigenvalues `l` of
`psi^-1/2 S psi^-1/2` with `S` the covariance of x, and then `psi = diag(S - W W^T)`. The columns of
`W` come out such that `W^T psi^-1 W` is diagonal, so that the posterior of z is diagonal too:

    z | x ~ N((I + W^T psi^-1 W)^-1 W^T psi^-1 x, (I + W^T psi^-1 W)^-1)

That is what a VAE with a linear encoder and a linear decoder converges to.

Source: Lawley and Maxwell, Factor Analysis as a Statistical Method (1971), chapter 4; Dai, Wang,
Aston, Hua and Wipf, Connections with Robust PCA and the Role of Emergent Sparsity in Variational
Autoencoder Models (2018), for the affine VAE.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_STEPS = 200
"""Maximum number of steps."""
MIN_GAIN = 1e-6
"""Gain of the log-likelihood in one step, in nats per sample, at which the iteration stops."""
MIN_NOISE = 1e-4
"""Smallest variance of the noise of a column whose own variance is 1. A column that the others
determine would drive it to 0, and the likelihood to infinity."""
CONSTANT = 1e-12
"""A column of a smaller variance never varies. Its noise has the variance 1: it may vary in other
samples, and a narrow density would make them infinitely unlikely."""

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FactorAnalysis:
    """A fitted factor analysis of d columns with L factors.

    Attributes:
        loadings: W, shape `(d, L)`; columns of zeros are factors that explain nothing.
        noise: psi, variances of the noise, shape `(d,)`.
    """

    loadings: Float64
    noise: Float64

    @property
    def precision(self) -> Float64:
        """Diagonal of `I + W^T psi^-1 W`, the precision of the posterior of z, shape `(L,)`."""
        explained: Float64 = np.sum(self.loadings**2 / self.noise[:, np.newaxis], axis=0)
        return 1 + explained

    @property
    def scores(self) -> Float64:
        """The matrix that maps x to the posterior mean of z, shape `(d, L)`."""
        return self.loadings / self.noise[:, np.newaxis] / self.precision


def fit_factor_analysis(covariance: Float64, factors: int) -> FactorAnalysis:
    """Fit a factor analysis.

    Args:
        covariance: covariance matrix of the columns, shape `(d, d)`.
        factors: number L of factors, at least 1; more than d are zeros.
    """
    variances = np.diag(covariance)
    smallest = np.where(variances < CONSTANT, 1.0, MIN_NOISE * variances)
    noise = np.maximum(0.5 * variances, smallest)
    best, used = -np.inf, min(factors, len(covariance))
    for _ in range(MAX_STEPS):
        scale = np.sqrt(noise)
        values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]  # largest first
        large = np.maximum(values[:used], 1)
        loadings = scale[:, np.newaxis] * vectors[:, :used] * np.sqrt(large - 1)
        likelihood = -0.5 * (
            np.log(noise).sum()
            + np.sum(np.log(large) + values[:used] / large)
            + values[used:].sum()
        )
        if likelihood - best < MIN_GAIN:
            break
        best, noise = likelihood, np.maximum(variances - np.sum(loadings**2, axis=1), smallest)
    padded = np.zeros((len(covariance), factors))
    padded[:, :used] = loadings
    return FactorAnalysis(padded, scale**2)
