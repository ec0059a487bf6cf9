"""The formulas of the score, by NumPy and by Keras, beside others in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from float64_losses import kl, squared
from vae_runtime.bundle.scores import PartSpec
from vae_runtime.decision.score import (
    LowRankGaussian,
    distance,
    distances,
    excess_loss,
    squared_error,
    surprises,
)
from vae_runtime.loss import LossSpec, losses

SHAPE = (4, 3, 2)
SPECS = {
    "logits": LossSpec("bce", 0.5),
    "probabilities": LossSpec("bce", 0.5, decoder="probabilities"),
    "mse": LossSpec("mse", 0.5),
    "gaussian": LossSpec("gaussian", 0.5, variance=0.3),
    "two heads": LossSpec("gaussian", 0.5, decoder="mean_log_var"),
}


@pytest.fixture(params=["numpy", "keras"])
def xp(request):
    if request.param == "numpy":
        return np
    return pytest.importorskip("keras").ops


def made(kind, seed=0):
    """Return x, the decoder's output, its reconstruction, and the two moments of the encoder."""
    rng = np.random.default_rng(seed)
    x = rng.random((5, *SHAPE), dtype=np.float32)
    x[0], x[1] = np.round(x[0]), 0  # black and white
    z_mean, z_log_var = (rng.standard_normal((5, 3)).astype(np.float32) for _ in range(2))
    values = 2 * rng.standard_normal(x.shape).astype(np.float32)
    if kind == "logits":
        return x, values, 1 / (1 + np.exp(-np.float64(values))), z_mean, z_log_var
    if kind == "probabilities":
        values = rng.uniform(0.01, 0.99, x.shape).astype(np.float32)
    if kind == "two heads":
        log_var = rng.standard_normal(x.shape).astype(np.float32)
        return x, {"mean": values, "log_var": log_var}, values, z_mean, z_log_var
    return x, values, values, z_mean, z_log_var


def bernoulli_divergence(x, p):
    """Return the KL divergence of Bernoulli(x) from Bernoulli(p), with 0 log 0 = 0."""
    x, p = np.float64(x), np.float64(p)
    with np.errstate(divide="ignore", invalid="ignore"):
        ones = np.where(x > 0, x * np.log(x / p), 0)
        zeros = np.where(x < 1, (1 - x) * np.log((1 - x) / (1 - p)), 0)
    return (ones + zeros).reshape(len(x), -1).sum(axis=1)


def expected_excess(kind, x, output, reconstruction):
    if kind in ("logits", "probabilities"):
        return bernoulli_divergence(x, reconstruction)
    if kind == "mse":
        return squared(x, reconstruction)
    variance = 0.3 if kind == "gaussian" else np.exp(np.float64(output["log_var"]))
    terms = (np.float64(x) - reconstruction) ** 2 / variance / 2
    return terms.reshape(len(x), -1).sum(axis=1)


@pytest.mark.parametrize("kind", SPECS)
def test_squared_error_is_that_of_the_reconstruction(xp, kind):
    x, output, reconstruction, *_ = made(kind)
    found = np.asarray(squared_error(xp, SPECS[kind], x, output))
    np.testing.assert_allclose(found, squared(x, reconstruction), rtol=2e-6)


@pytest.mark.parametrize("kind", SPECS)
def test_excess_loss_is_a_divergence_and_the_kl_loss(xp, kind):
    x, output, reconstruction, z_mean, z_log_var = made(kind)
    parts = losses(xp, SPECS[kind], x, output, z_mean, z_log_var)
    found = np.asarray(excess_loss(xp, SPECS[kind], x, output, parts))
    expected = expected_excess(kind, x, output, reconstruction) + 0.5 * kl(z_mean, z_log_var)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(SPECS)))
def test_excess_loss_is_never_below_the_kl_loss(seed, kind):
    x, output, _, z_mean, z_log_var = made(kind, seed)
    parts = losses(np, SPECS[kind], x, output, z_mean, z_log_var)
    found = excess_loss(np, SPECS[kind], x, output, parts)
    assert (found > 0.5 * kl(z_mean, z_log_var) - 1e-4).all()


def test_logits_of_any_size_have_a_squared_error(xp):
    x = np.array([[0, 1, 0, 1]], np.float32)
    logits = np.array([[-1e4, 1e4, 1e4, -1e4]], np.float32)
    found = np.asarray(squared_error(xp, SPECS["logits"], x, logits))
    np.testing.assert_array_equal(found, [2])


def low_rank(seed, size, axes):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0][:, :axes]
    return LowRankGaussian(
        rng.standard_normal(size).astype(np.float32),
        basis.astype(np.float32),
        rng.uniform(0.5, 4, axes).astype(np.float32),
        np.float32(0.2),
    )


def mahalanobis(activations, gaussian):
    """Return squared distances from the inverse of the whole covariance matrix, in float64."""
    axes, variances = np.float64(gaussian.axes), np.float64(gaussian.variances)
    along = axes @ np.diag(variances) @ axes.T
    rest = float(gaussian.rest_variance) * (np.eye(len(axes)) - axes @ axes.T)
    centered = np.float64(activations) - gaussian.center
    return np.einsum("ni,ij,nj->n", centered, np.linalg.inv(along + rest), centered)


@pytest.mark.parametrize("axes", [1, 3, 8])
def test_distance_is_mahalanobis_distance(xp, axes):
    gaussian = low_rank(1, 8, axes)
    h = np.random.default_rng(2).standard_normal((6, 8)).astype(np.float32)
    # With an axis in each direction nothing is left beside them.
    rtol = 1e-5 if axes < 8 else 1e-4
    found = np.asarray(distance(xp, h, gaussian))
    np.testing.assert_allclose(found, mahalanobis(h, gaussian), rtol=rtol)


def test_each_tensor_has_its_own_distance(xp):
    gaussians = low_rank(1, 8, 3), low_rank(2, 5, 2)
    h = np.random.default_rng(2).standard_normal((6, 13)).astype(np.float32)
    found = distances(xp, h, gaussians)
    assert list(found) == ["novelty_1", "novelty_2"]
    for value, part, gaussian in zip(found.values(), (h[:, :8], h[:, 8:]), gaussians, strict=True):
        np.testing.assert_allclose(np.asarray(value), mahalanobis(part, gaussian), rtol=1e-5)


def test_surprises_are_squared_softplus_of_standardized_logarithms(xp):
    specs = {"b": PartSpec(0.5, 0.25), "a": PartSpec(-1.0, 2.0)}
    parts = {
        "a": np.array([1e-3, 1, 50, 0, 1e30], np.float32),
        "b": np.exp(np.array([0.5, 1.0, 0.0, -3, 9], np.float32)),
        "not named": np.zeros(5, np.float32),
    }
    columns = []
    for name, spec in specs.items():  # in the order of the specifications
        values = np.maximum(np.float64(parts[name]), 1e-6)
        columns.append(np.logaddexp(0, 2 * (np.log(values) - spec.mean) / spec.std) ** 2 / 8)
    found = np.asarray(surprises(xp, parts, specs))
    np.testing.assert_allclose(found, np.stack(columns, axis=1), rtol=2e-5, atol=1e-9)
    assert found[0, 0] == pytest.approx(np.log(2) ** 2 / 8, rel=1e-5)  # b is at its mean
    assert found[1, 0] == pytest.approx(2, rel=0.02)  # two standard deviations above it


@given(st.floats(1e-6, 1e6), st.floats(1.001, 100))
def test_more_of_a_part_is_more_surprising(value, factor):
    parts = {"part": np.array([value, factor * value], np.float32)}
    less, more = surprises(np, parts, {"part": PartSpec(0.0, 5.0)})[:, 0]
    assert less < more
