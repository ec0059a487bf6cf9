import numpy as np
import pytest

from vae_builder.data.statistics import moments
from vae_builder.model.architectures import build_models
from vae_builder.model.factor_analysis import fit_factor_analysis
from vae_builder.model.table_model import start_from_factor_analysis
from vae_runtime.loss import LossSpec, numpy_losses

SPEC = LossSpec("gaussian", decoder="mean_log_var")


@pytest.fixture(scope="module")
def started():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 5)) + rng.normal(size=(500, 5)) * 0.3 + 7
    x = x.astype(np.float32)
    encoder, decoder = build_models("table", (5,), 2, two_heads=True)
    start_from_factor_analysis(encoder, decoder, *moments(x))
    return x, encoder, decoder


def test_moments_are_numpys():
    x = np.random.default_rng(0).normal(1e4, 1, size=(1000, 4)).astype(np.float32)
    mean, covariance = moments(x)
    np.testing.assert_allclose(mean, x.astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(x.astype(np.float64).T, bias=True), atol=1e-9)


def test_the_first_loss_is_the_likelihood_of_factor_analysis(started):
    x, encoder, decoder = started
    mean, covariance = moments(x)
    fitted = fit_factor_analysis(covariance, 2)
    code = {name: value.numpy() for name, value in encoder(x).items()}
    # The bound is tight: averaged over z it is -log N(x; mean, W W^T + psi), sample by sample.
    full = fitted.loadings @ fitted.loadings.T + np.diag(fitted.noise)
    centred = x - mean
    quadratic = np.sum(centred * np.linalg.solve(full, centred.T).T, axis=1)
    expected = 0.5 * (np.linalg.slogdet(2 * np.pi * full)[1] + quadratic)
    nodes, weights = np.polynomial.hermite_e.hermegauss(6)
    total = np.zeros(len(x))
    for e1, w1 in zip(nodes, weights, strict=True):
        for e2, w2 in zip(nodes, weights, strict=True):
            z = code["z_mean"] + np.exp(code["z_log_var"] / 2) * np.float32([e1, e2])
            output = {name: value.numpy() for name, value in decoder(z).items()}
            total += w1 * w2 / (2 * np.pi) * numpy_losses(SPEC, x, output, **code).loss
    np.testing.assert_allclose(total, expected, rtol=2e-4, atol=2e-3)


def test_the_log_variance_does_not_depend_on_z(started):
    _, _, decoder = started
    z = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
    log_var = decoder(z)["log_var"].numpy()
    np.testing.assert_array_equal(log_var, np.broadcast_to(log_var[:1], log_var.shape))


def test_a_condition_joins_the_networks():
    encoder, decoder = build_models("table", (5,), 2, two_heads=True, condition_shape=(3,))
    assert [t.name for t in encoder.inputs] == ["x", "condition"]
    assert [t.name for t in decoder.inputs] == ["z", "condition"]


def test_weights_depend_on_the_seed():
    one, same, other = (
        [w.numpy() for m in build_models("table", (5,), 2, seed=seed) for w in m.weights]
        for seed in (7, 7, 8)
    )
    assert all(map(np.array_equal, one, same))
    drawn = [(a, b) for a, b in zip(one, other, strict=True) if a.any()]
    assert len(drawn) == 4  # the linear and the hidden layer of both; the rest starts at zero
    assert not any(np.array_equal(a, b) for a, b in drawn)
