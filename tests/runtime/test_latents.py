import numpy as np
import pytest

from vae_runtime.latents import measure_latents


def test_against_literal_formulas():
    rng = np.random.default_rng(0)
    z_mean = rng.normal(size=(500, 4)) * [1.0, 0.2, 0.05, 0.0] + 3.0
    z_log_var = rng.normal(size=(500, 4))
    result = measure_latents(z_mean, z_log_var)
    assert result.active_units == 2  # variances 1, 0.04, 0.0025, 0
    expected = 0.5 * np.mean(z_mean**2 + np.exp(z_log_var) - 1 - z_log_var, axis=0)
    assert result.kl_per_dimension == pytest.approx(expected)
    assert result.warning() is None


def test_collapse_gives_a_warning():
    result = measure_latents(np.zeros((10, 3), np.float32), np.zeros((10, 3), np.float32))
    assert (result.active_units, result.kl_per_dimension) == (0, (0.0, 0.0, 0.0))
    assert result.warning() == (
        "the posterior has collapsed: none of 3 latent dimensions is active: lower kl_weight, or "
        "give kl_warmup or free_bits"
    )


def test_active_dimensions_with_almost_no_information_give_a_warning():
    z_mean = np.float32([[0.2, 0.2], [-0.2, -0.2]])
    result = measure_latents(z_mean, np.zeros((2, 2), np.float32))
    assert result.active_units == 2
    assert result.warning() == (
        "the posterior has collapsed: z carries almost no information about x, KL 0.04 nats: lower "
        "kl_weight, or give kl_warmup or free_bits"
    )
