"""The loss agrees with the lines of the reference recipe.

The recipe is `keras.losses.binary_crossentropy(x, p) * 28 * 28`, averaged, plus
`-0.5 * mean(sum(1 + z_log_var - z_mean**2 - exp(z_log_var)))`. Its first line is evaluated in
three ways, which agree as long as no probability is clipped:

    float64   the textbook formula, with log p and log(1 - p) taken from the logits
    eager     Keras outside a function, given probabilities: clips them at 1e-7
    graph     Keras inside a tf.function: finds the Sigmoid and uses its input, the logits
"""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import vae_runtime
from vae_runtime.errors import OptionError
from vae_runtime.loss import Losses, LossSpec, bce, gaussian, kl, mse, numpy_losses, reparameterize

SHAPES = [(28, 28, 1), (9, 7, 3)]
PARTS = ("reconstruction_loss", "kl_loss", "loss")


def plain_bce(x, logits):
    """Return the cross-entropy in float64, summed over all axes but the first."""
    x, logits = x.astype(np.float64), logits.astype(np.float64)
    log_p, log_1_p = -np.log1p(np.exp(-logits)), -np.log1p(np.exp(logits))
    return (-x * log_p - (1 - x) * log_1_p).reshape(len(x), -1).sum(axis=1)


def plain_kl(z_mean, z_log_var):
    z_mean, z_log_var = z_mean.astype(np.float64), z_log_var.astype(np.float64)
    return -0.5 * (1 + z_log_var - z_mean**2 - np.exp(z_log_var)).sum(axis=1)


def recipe_eager(x, logits):
    """Run the recipe's line eagerly: Keras clips the probabilities.

    It uses `tf.sigmoid`, because the result of Keras's own sigmoid keeps its logits, even eagerly.
    """
    import keras
    import tensorflow as tf

    p = tf.sigmoid(logits)
    return float(np.mean(keras.losses.binary_crossentropy(x, p))) * x[0].size


def recipe_graph(x, logits):
    """Run the recipe's line inside a tf.function: Keras uses the logits."""
    return float(keras_function()(x, logits)) * x[0].size


@functools.cache
def keras_function():
    import keras
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def line(x, logits):
        return tf.reduce_mean(keras.losses.binary_crossentropy(x, tf.sigmoid(logits)))

    return line


@functools.cache
def case(shape, scale, samples=12, latent_dim=5):
    """Return x in [0, 1] with values at both ends, logits up to `scale`, z_mean and z_log_var."""
    rng = np.random.default_rng(len(shape) + shape[-1])
    x = np.clip(rng.uniform(-0.3, 1.3, (samples, *shape)), 0, 1).astype(np.float32)
    logits = rng.uniform(-scale, scale, x.shape).astype(np.float32)
    return (
        x,
        logits,
        rng.normal(0, 1, (samples, latent_dim)).astype(np.float32),
        rng.uniform(-4, 2, (samples, latent_dim)).astype(np.float32),
    )


def by_numpy(spec, *arrays):
    return numpy_losses(spec, *arrays)


def by_tensorflow(spec, *arrays):
    import keras

    from vae_runtime.loss import losses

    return losses(keras.ops, spec, *map(keras.ops.convert_to_tensor, arrays))


@pytest.mark.parametrize("compute", [by_numpy, by_tensorflow])
@pytest.mark.parametrize("shape", SHAPES)
def test_bce_equals_every_form_of_the_recipe_if_nothing_is_clipped(shape, compute):
    x, logits, z_mean, z_log_var = case(shape, 10)
    ours = compute(LossSpec(), x, logits, z_mean, z_log_var)
    expected = plain_bce(x, logits)
    np.testing.assert_allclose(ours.reconstruction_loss, expected, rtol=1e-6)
    mean = ours.mean().reconstruction_loss
    assert mean == pytest.approx(recipe_graph(x, logits), rel=1e-6)
    assert mean == pytest.approx(recipe_eager(x, logits), rel=1e-4)


@pytest.mark.parametrize("compute", [by_numpy, by_tensorflow])
@pytest.mark.parametrize("shape", SHAPES)
def test_bce_is_exact_at_saturation_but_the_eager_recipe_is_not(shape, compute):
    x, logits, z_mean, z_log_var = case(shape, 60)
    ours = compute(LossSpec(), x, logits, z_mean, z_log_var)
    expected = plain_bce(x, logits)
    np.testing.assert_allclose(ours.reconstruction_loss, expected, rtol=1e-6)
    assert recipe_graph(x, logits) == pytest.approx(expected.mean(), rel=1e-6)
    assert recipe_eager(x, logits) < 0.8 * expected.mean()  # clipped at 1e-7: at most 16.1 each


@pytest.mark.parametrize("compute", [by_numpy, by_tensorflow])
@pytest.mark.parametrize("kl_weight", [0, 0.25, 1, 4])
@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
def test_all_parts_of_the_loss(reconstruction, kl_weight, compute):
    x, output, z_mean, z_log_var = case((9, 7, 3), 10)
    ours = compute(LossSpec(reconstruction, kl_weight), x, output, z_mean, z_log_var)
    first = {
        "bce": plain_bce(x, output),
        "mse": ((x.astype(np.float64) - output) ** 2).sum(axis=(1, 2, 3)),
    }[reconstruction]
    second = plain_kl(z_mean, z_log_var)
    np.testing.assert_allclose(ours.reconstruction_loss, first, rtol=1e-6)
    np.testing.assert_allclose(ours.kl_loss, second, rtol=2e-6)
    np.testing.assert_allclose(ours.loss, first + kl_weight * second, rtol=2e-6)
    recipe_kl = -0.5 * np.mean(np.sum(1 + z_log_var - z_mean**2 - np.exp(z_log_var), axis=1))
    assert ours.mean().kl_loss == pytest.approx(recipe_kl, rel=1e-5)


@pytest.mark.parametrize("noise", [0, 1, 300])
@pytest.mark.parametrize(
    ("model", "shape", "kl_weight"),
    [(("dense",), (8, 8, 1), 1), (("conv", "bce", (9, 7, 3), 3, 0.75), (9, 7, 3), 0.75)],
)
def test_the_exported_loss_graph(exported, model, shape, kl_weight, noise):
    vae = vae_runtime.load(exported(*model), threads=1)
    x, *_ = case(shape, 1)
    eps = noise * np.random.default_rng(3).standard_normal((len(x), 3)).astype(np.float32)
    code = vae.encode(x)
    z = code.z_mean + np.exp(code.z_log_var / 2) * eps
    logits = vae.run("decoder", {"z": z})["logits"]
    assert (np.abs(logits).max() > 20) == (noise == 300)  # the largest noise saturates
    first, second = plain_bce(x, logits), plain_kl(code.z_mean, code.z_log_var)
    ours = vae.loss(x, eps)
    np.testing.assert_allclose(ours.reconstruction_loss, first, rtol=2e-6)
    np.testing.assert_allclose(ours.kl_loss, second, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.loss, first + kl_weight * second, rtol=2e-6)
    if noise < 300:
        assert ours.mean().reconstruction_loss == pytest.approx(recipe_graph(x, logits), rel=1e-6)
        assert ours.mean().reconstruction_loss == pytest.approx(recipe_eager(x, logits), rel=1e-5)


def test_the_exported_loss_graph_of_mse(exported):
    vae = vae_runtime.load(exported("dense", "mse", (12,)), threads=1)
    x, eps = np.random.default_rng(0).normal(0, 5, (2, 6, 12)).astype(np.float32)
    eps = eps[:, :3]
    code = vae.encode(x)
    r = vae.decode(code.z_mean + np.exp(code.z_log_var / 2) * eps).astype(np.float64)
    ours = vae.loss(x, eps)
    np.testing.assert_allclose(ours.reconstruction_loss, ((x - r) ** 2).sum(axis=1), rtol=2e-6)
    np.testing.assert_allclose(ours.kl_loss, plain_kl(code.z_mean, code.z_log_var), rtol=1e-5)


def floats(low, high):
    return st.floats(low, high, width=32)


@given(
    hnp.arrays(np.float32, (2, 3), elements=floats(-1000, 1000)),
    hnp.arrays(np.float32, (2, 3), elements=floats(-60, 20)),
)
def test_kl_is_never_negative(z_mean, z_log_var):
    for dtype in (np.float32, np.float64):
        m, v = z_mean.astype(dtype), z_log_var.astype(dtype)
        size = (1 + np.abs(v) + m**2 + np.exp(v)).sum(axis=1)
        assert (kl(np, m, v) >= -2 * np.finfo(dtype).eps * size).all()


@given(hnp.arrays(np.float64, 4, elements=st.floats(-5, 5)))
def test_kl_is_zero_at_the_prior_and_only_there(code):
    assert kl(np, np.zeros((1, 4)), np.zeros((1, 4))) == 0
    if np.abs(code).max() > 1e-3:
        assert kl(np, code[None], np.zeros((1, 4))) > 0
        assert kl(np, np.zeros((1, 4)), code[None]) > 0


@given(
    hnp.arrays(np.float64, (2, 5), elements=st.floats(0, 1)),
    hnp.arrays(np.float64, (2, 5), elements=st.floats(-80, 80)),
)
def test_bce_is_at_least_the_entropy(x, logits):
    with np.errstate(divide="ignore", invalid="ignore"):
        h = np.nan_to_num(-x * np.log(x)) + np.nan_to_num(-(1 - x) * np.log(1 - x))
    entropy = h.sum(axis=1)
    assert (entropy >= 0).all()
    assert (bce(np, x, logits) >= entropy - 1e-12).all()


@given(hnp.arrays(np.float64, (1, 4), elements=st.floats(1e-6, 1 - 1e-6)))
def test_bce_reaches_the_entropy_at_the_logits_of_x(x):
    entropy = (-x * np.log(x) - (1 - x) * np.log(1 - x)).sum()
    assert bce(np, x, np.log(x / (1 - x)))[0] == pytest.approx(entropy, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("variance", [1e-3, 0.3, 1.0, 20.0])
def test_gaussian_is_the_density_of_each_element(variance):
    """Compare with the density in float64, element by element."""
    x, output, z_mean, z_log_var = case((9, 7, 3), 10)
    spec = LossSpec("gaussian", variance=variance)
    found = numpy_losses(spec, x, output, z_mean, z_log_var)
    error = (x.astype(np.float64) - output) ** 2
    log_density = -error / (2 * variance) - np.log(np.sqrt(2 * np.pi * variance))
    expected = -log_density.sum(axis=(1, 2, 3))
    scale = np.abs(error / (2 * variance)).sum(axis=(1, 2, 3)) + 300
    assert (np.abs(found.reconstruction_loss - expected) / scale).max() < 1e-6


@given(st.floats(1e-3, 1e3), st.floats(0.2, 5))
def test_the_likelihood_is_highest_at_the_mean_squared_error(best, factor):
    error = np.array([12 * best])
    at_best, elsewhere = gaussian(np, error, 12, best), gaussian(np, error, 12, best * factor)
    assert at_best <= elsewhere + 1e-9


@given(*[hnp.arrays(np.float32, (1, 3), elements=floats(-100, 100))] * 2)
def test_mse_is_zero_only_for_equal_arrays(x, r):
    assert mse(np, x, x) == 0
    if np.abs(x - r).max() > 1e-9:
        assert mse(np, x, r) > 0


PROBABILITIES = LossSpec("bce", decoder="probabilities")


@pytest.mark.parametrize("compute", [by_numpy, by_tensorflow])
@pytest.mark.parametrize("shape", SHAPES)
def test_bce_of_probabilities(shape, compute):
    x, logits, z_mean, z_log_var = case(shape, 6)
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    ours = compute(PROBABILITIES, x, p.astype(np.float32), z_mean, z_log_var)
    np.testing.assert_allclose(ours.reconstruction_loss, plain_bce(x, logits), rtol=2e-5)
    np.testing.assert_allclose(ours.kl_loss, plain_kl(z_mean, z_log_var), rtol=2e-6)


@pytest.mark.parametrize("compute", [by_numpy, by_tensorflow])
def test_bce_of_probabilities_is_clipped_as_the_eager_recipe(compute):
    """This includes p that is exactly 0 or 1 in float32, without a warning."""
    x, logits, z_mean, z_log_var = case((9, 7, 3), 60)
    p = np.exp(-np.logaddexp(0, -logits.astype(np.float64))).astype(np.float32)
    p[0], p[1] = 0, 1
    ours = compute(PROBABILITIES, x, p, z_mean, z_log_var)
    assert np.isfinite(ours.reconstruction_loss).all()
    clipped = np.clip(p, np.float32(1e-7), np.float32(1 - 1e-7)).astype(np.float64)
    expected = -(x * np.log(clipped) + (1 - x) * np.log(1 - clipped)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(ours.reconstruction_loss, expected, rtol=1e-5)
    import keras

    eager = np.asarray(keras.losses.binary_crossentropy(x, p)).sum(axis=(1, 2)) * 3
    np.testing.assert_allclose(ours.reconstruction_loss, eager, rtol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (("BCE",), "reconstruction is 'BCE', expected one of bce, mse, gaussian"),
        (("mse", -1), "kl_weight is -1, expected 0 or more"),
        (("bce", float("inf")), "kl_weight is inf, expected 0 or more"),
        (("bce", 1, "sum", "mean", "values"), "decoder is 'values', the bce loss takes logits or"),
        (("mse", 1, "sum", "mean", "logits"), "decoder is 'logits', the mse loss takes values"),
        (
            ("mse", 1, "sum", "mean", None, 2.0),
            "variance is 2.0, the mse loss has none",
        ),
        (("gaussian", 1, "sum", "mean", None, 0.0), "variance is 0.0, expected 1e-06 to 1e\\+06"),
    ],
)
def test_invalid_specifications(spec, message):
    with pytest.raises(OptionError, match=message):
        LossSpec(*spec).check()


def test_reparameterize():
    z_mean, z_log_var, eps = (np.array([row]) for row in ([1.0, -2], [0, 2 * np.log(3)], [0.5, 2]))
    np.testing.assert_allclose(reparameterize(np, z_mean, z_log_var, eps), [[1.5, 4]])


def test_elements_are_summed_and_samples_averaged():
    x, logits = np.ones((2, 3, 5)), np.zeros((2, 3, 5))
    logits[1] = -np.log(3)  # p is 1/2, and then 1/4
    code = np.zeros((2, 1))
    mean = numpy_losses(LossSpec(), x, logits, code, code).mean()
    assert mean.reconstruction_loss == pytest.approx(15 * (np.log(2) + np.log(4)) / 2)


def test_the_mean_is_computed_in_float64():
    part = np.full(2**20, 0.1, np.float32)
    part[0] = 2**24
    exact = (2**24 + (2**20 - 1) * float(np.float32(0.1))) / 2**20
    mean = Losses(part, part, part).mean()
    assert [getattr(mean, name) for name in PARTS] == pytest.approx([exact] * 3, rel=1e-12)
    assert all(type(getattr(mean, name)) is float for name in PARTS)


def test_the_mean_of_no_samples_is_nan_without_a_warning():
    none = np.zeros(0, np.float32)
    assert np.isnan(Losses(none, none, none).mean().loss)


@pytest.mark.parametrize(
    ("spec", "decoder", "value_range", "unit"),
    [
        (LossSpec("bce"), "logits", (0, 1), "nats"),
        (PROBABILITIES, "probabilities", (0, 1), "nats"),
        (LossSpec("mse"), "values", None, "squared error"),
        (LossSpec("gaussian"), "values", None, "nats"),
    ],
)
def test_properties_of_each_loss(spec, decoder, value_range, unit):
    spec.check()
    assert (spec.decoder, spec.value_range, spec.unit) == (decoder, value_range, unit)
    assert (spec.kl_weight, spec.elements, spec.samples) == (1, "sum", "mean")


def test_numpy_keeps_the_dtype_of_its_input():
    for dtype, name in itertools.product((np.float32, np.float64), PARTS):
        arrays = (array.astype(dtype) for array in case((9, 7, 3), 10))
        assert getattr(numpy_losses(LossSpec(), *arrays), name).dtype == dtype
