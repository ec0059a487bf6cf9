"""The losses of own models in float64, written without vae_runtime."""

import numpy as np


def sums(terms):
    """Sum all axes but the first."""
    return np.float64(terms).reshape(len(terms), -1).sum(axis=1)


def kl(z_mean, z_log_var):
    mean, log_var = np.float64(z_mean), np.float64(z_log_var)
    return sums((np.exp(log_var) + mean**2 - 1 - log_var) / 2)


def squared(x, reconstruction):
    return sums((np.float64(x) - np.float64(reconstruction)) ** 2)


def cross_entropy(x, probabilities):
    """Return the binary cross-entropy of probabilities that are not close to 0 and 1."""
    x, p = np.float64(x), np.float64(probabilities)
    return -sums(x * np.log(p) + (1 - x) * np.log(1 - p))


def normal(x, mean, log_var):
    """Return -log N(x; mean, exp(log_var)), with the constants."""
    x, mean, log_var = np.float64(x), np.float64(mean), np.float64(log_var)
    deviation = (x - mean) ** 2 / np.exp(log_var)
    return sums(np.broadcast_to(np.log(2 * np.pi) + log_var + deviation, x.shape) / 2)


def sampled(z_mean, z_log_var, eps):
    return np.float32(z_mean) + np.exp(np.float32(z_log_var) / 2) * np.float32(eps)
