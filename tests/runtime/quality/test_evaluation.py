"""The evaluation compared with formulas written out, and the bound with the exact integral."""

import numpy as np
import pytest

from vae_runtime import evaluate, load
from vae_runtime.errors import InputError, OptionError


def negative_log_likelihood(vae, x):
    """Compute -log p(x) by quadrature over one latent dimension."""
    z = np.linspace(-8, 8, 4001)
    logits = vae.run("decoder", {"z": z[:, None].astype(np.float32)})["logits"]
    flat_logits = logits.reshape(len(z), -1).astype(np.float64)
    flat = x.reshape(len(x), -1).astype(np.float64)
    log_p = flat @ flat_logits.T - np.logaddexp(0, flat_logits).sum(axis=1)  # (samples, z)
    log_prior = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    joint = log_p + log_prior
    top = joint.max(axis=1)
    return -(top + np.log(np.exp(joint - top[:, None]).sum(axis=1) * (z[1] - z[0])))


@pytest.fixture(scope="module")
def vae(exported):
    return load(exported(latent_dim=1))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(3).random((6, 8, 8, 1), dtype=np.float32)


def test_the_bound_reaches_the_log_likelihood(vae, x):
    exact = negative_log_likelihood(vae, x).mean()
    few, many = evaluate(vae, x, draws=1), evaluate(vae, x, draws=5000)
    assert many.importance_weighted_loss == pytest.approx(exact, abs=0.05)
    assert many.importance_weighted_loss < few.test.loss
    assert many.draws == 5000 and many.samples == 6


def test_one_draw_is_the_loss(exported, x):
    vae = load(exported())
    result = evaluate(vae, x, draws=1, seed=4)
    eps = np.random.default_rng(4).standard_normal((6, 3), dtype=np.float32)
    expected = vae.loss(x, eps).mean()
    assert result.test == expected
    code = vae.encode(x)
    z = code.z_mean + np.exp(code.z_log_var / 2) * eps
    log_q = np.sum(-0.5 * eps**2 - 0.5 * code.z_log_var, axis=1)
    log_p = np.sum(-0.5 * z**2, axis=1)
    bound = vae.loss(x, eps).reconstruction_loss + log_q - log_p
    assert result.importance_weighted_loss == pytest.approx(bound.mean(), rel=1e-6)
    assert result.standard_error == pytest.approx(bound.std() / np.sqrt(6), rel=1e-5)
    assert result.at_mean == vae.loss(x).mean()


def test_what_is_explained_is_beside_the_mean_of_the_samples(vae, x):
    result = evaluate(vae, x, draws=2)
    flat, mean = x.reshape(6, -1).astype(float), x.reshape(6, -1).astype(float).mean(axis=0)
    of_mean = -(flat * np.log(mean) + (1 - flat) * np.log(1 - mean)).sum(axis=1).mean()
    assert result.explained.model == result.test.reconstruction_loss
    assert result.explained.mean_sample == pytest.approx(of_mean, rel=1e-5)
    assert f"mean of the samples    {of_mean:14.3f}" in str(result)
    pixels = np.round(x * 255).astype(np.uint8)
    assert evaluate(vae, pixels, draws=1).explained.mean_sample == pytest.approx(of_mean, rel=1e-2)


def test_more_draws_lower_the_bound(vae, x):
    bounds = [evaluate(vae, x, draws=k).importance_weighted_loss for k in (1, 10, 100)]
    assert bounds[0] + 1 > bounds[1] + 0.5 > bounds[2]


def test_table_and_json(vae, x):
    result = evaluate(vae, x, draws=3)
    assert f"{result.importance_weighted_loss:.3f}" in str(result)
    assert "active units" in str(result)
    assert result.to_dict()["latents"]["active_units"] == result.latents.active_units


def test_progress(vae, x):
    done = []
    evaluate(vae, x, draws=3, on_progress=done.append)
    assert done == [1, 2, 3]


def test_bad_arguments(vae, x):
    with pytest.raises(InputError, match="no samples"):
        evaluate(vae, x[:0])
    for options in ({"draws": 0}, {"seed": -1}):
        with pytest.raises(OptionError):
            evaluate(vae, x, **options)


def test_losses_by_label(vae, x):
    labels = np.array(["cat", "dog"])[np.arange(len(x)) % 2]
    found = evaluate(vae, x, draws=1, labels=labels)
    own = vae.loss(x)
    assert list(found.by_label) == ["cat", "dog"]
    for name, part in found.by_label.items():
        assert part.samples == (labels == name).sum()
        assert part.loss.loss == pytest.approx(own.loss[labels == name].astype(float).mean())
        assert f"label {name}" in str(found)
    assert evaluate(vae, x, draws=1).by_label is None
    with pytest.raises(InputError, match=f"labels has 1 entries for {len(x)} samples"):
        evaluate(vae, x, draws=1, labels=["cat"])
