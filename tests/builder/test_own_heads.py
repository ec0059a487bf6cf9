"""Export of own decoders that give mean and variance of each element, and training of presets."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import float64_losses as f64
from vae_builder import Dataset, LossSpec, TrainConfig, export_models, export_trained, train
from vae_export import adopt
from vae_runtime import evaluate, load
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.errors import ExportError, OptionError

pytestmark = pytest.mark.usefixtures("same_weights_every_time")

GAUSSIAN = LossSpec("gaussian", decoder="mean_log_var")
SHAPE = (4, 6, 2)


def encoder(shape=SHAPE):
    x = keras.Input(shape)
    h = layers.Flatten()(x)
    return keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])


def decoder(end, shape=SHAPE):
    """Return a decoder that ends in `end(h)`; h has as many values as a sample, and its shape."""
    z = keras.Input((2,))
    h = layers.Dense(int(np.prod(shape)), "tanh")(z)
    return keras.Model(z, end(layers.Reshape(shape)(h)))


def conv(name=None, filters=2, activation=None):
    return layers.Conv2D(filters, 3, activation=activation, padding="same", name=name)


ENDS = {
    "pair": lambda h: [conv()(h), conv()(h)],
    "tuple of named layers": lambda h: (conv("x_mean")(h), conv("x_log_var")(h)),
    "dict": lambda h: {"log_var": conv()(h), "mean": conv()(h)},
    "other names": lambda h: {"reconstruction": conv()(h), "logvar": conv()(h)},
    "packed": lambda h: conv(filters=4)(h),
    "one variance for all channels": lambda h: [conv()(h), conv(filters=1)(h)],
    "one variance for a sample": lambda h: [conv()(h), layers.Dense(1)(layers.Flatten()(h))],
}


def heads(outputs):
    """Return mean and log variance of the decoders above."""
    if isinstance(outputs, dict):
        spread = next(key for key in outputs if "var" in key)
        return next(v for k, v in outputs.items() if k != spread), outputs[spread]
    if isinstance(outputs, list | tuple):
        mean, log_var = map(np.asarray, outputs)
        return mean, log_var.reshape(-1, 1, 1, 1) if log_var.ndim == 2 else log_var
    return outputs[..., :2], outputs[..., 2:]


@pytest.mark.parametrize("kind", ENDS)
def test_own_decoders_are_adopted(kind):
    model = decoder(ENDS[kind])
    found = adopt(encoder(), model, GAUSSIAN, SHAPE)
    assert found.loss == GAUSSIAN and GAUSSIAN.variance is None
    z = np.random.default_rng(1).standard_normal((9, 2)).astype(np.float32)
    mean, log_var = heads(model(z))
    np.testing.assert_allclose(found.decoder(z)["mean"], mean, rtol=1e-5, atol=1e-6)
    log_var = np.broadcast_to(log_var, mean.shape)
    np.testing.assert_allclose(found.decoder(z)["log_var"], log_var, rtol=1e-5, atol=1e-6)


def test_an_exported_decoder_of_two_heads(tmp_path):
    models = encoder(), decoder(ENDS["one variance for all channels"])
    x = np.random.default_rng(0).standard_normal((40, *SHAPE)).astype(np.float32)
    result = export_models(*models, Dataset.from_arrays("x", x), tmp_path / "a", loss=GAUSSIAN)
    assert result.report.passed and result.manifest.loss == GAUSSIAN
    assert [t.name for t in result.manifest.graphs.decoder.outputs] == ["reconstruction", "log_var"]
    vae = load(result.path)
    eps = np.random.default_rng(1).standard_normal((40, 2)).astype(np.float32)
    z_mean, z_log_var = models[0](x)
    z = f64.sampled(z_mean, z_log_var, eps)
    mean, log_var = heads(models[1](z))
    losses = vae.loss(x, eps)
    np.testing.assert_allclose(losses.reconstruction_loss, f64.normal(x, mean, log_var), rtol=2e-6)
    np.testing.assert_allclose(losses.kl_loss, f64.kl(z_mean, z_log_var), rtol=1e-5)
    np.testing.assert_allclose(vae.decode(z), mean, rtol=1e-4, atol=1e-5)
    found = vae.run("decoder", {"z": z})["log_var"]
    np.testing.assert_allclose(found, np.broadcast_to(log_var, x.shape), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "log_var"),
    [
        ("log_std", lambda s: 2 * s),
        ("std", lambda s: 2 * np.log(np.abs(s))),
        ("var", np.log),
    ],
)
def test_the_scale_of_the_second_head(scale, log_var):
    activation = None if scale == "log_std" else "softplus"
    model = decoder(lambda h: [conv()(h), conv(activation=activation)(h)])
    found = adopt(encoder(), model, GAUSSIAN, SHAPE, decoder_scale=scale).decoder
    z = np.random.default_rng(1).standard_normal((9, 2)).astype(np.float32)
    s = np.float64(model(z)[1])
    np.testing.assert_allclose(found(z)["log_var"], log_var(s), rtol=1e-4, atol=1e-5)


def test_the_command_line_states_the_scale(tmp_path, call):
    models = encoder(), decoder(lambda h: [conv()(h), conv(activation="softplus")(h)])
    paths = [tmp_path / name for name in ("e.keras", "d.keras", "x.npy")]
    models[0].save(paths[0])
    models[1].save(paths[1])
    x = np.random.default_rng(0).standard_normal((40, *SHAPE)).astype(np.float32)
    np.save(paths[2], x)
    words = ("export", tmp_path / "a", "--encoder", paths[0], "--decoder", paths[1], "-q")
    words = (*words, "--data", paths[2], "--variance", "decoder")
    status, _, err = call(*words)
    assert status == 3 and "ends in Softplus and is never negative, expected a log variance" in err
    status, _, err = call(*words, "--decoder-scale", "std")
    assert status == 0, err
    mean, s = (np.float64(part) for part in models[1](models[0](x)[0]))
    found = load(tmp_path / "a").loss(x).reconstruction_loss
    np.testing.assert_allclose(found, f64.normal(x, mean, 2 * np.log(s)), rtol=5e-6)


def test_standardized_values(tmp_path):
    """The likelihood and the log variance are those of standardized values."""
    models = encoder((5,)), decoder(lambda h: [layers.Dense(5)(h), layers.Dense(5)(h)], (5,))
    x = np.random.default_rng(0).normal(10, 3, (40, 5)).astype(np.float32)
    constants = Standardization((10.0,), (3.0,))
    dataset = Dataset.from_arrays("x", x)
    path = tmp_path / "a"
    export_models(*models, dataset, path, loss=GAUSSIAN, standardization=constants)
    vae, standardized = load(path), (x - 10) / 3
    mean, log_var = (np.float64(part) for part in models[1](models[0](standardized)[0]))
    losses = vae.loss(x)
    expected = f64.normal(standardized, mean, log_var)
    np.testing.assert_allclose(losses.reconstruction_loss, expected, rtol=3e-6)
    np.testing.assert_allclose(vae.reconstruct(x), mean * 3 + 10, rtol=1e-5)
    names = [tensor.name for tensor in vae.manifest.graphs.decoder.outputs]
    assert names == ["values", "reconstruction", "log_var"]


@pytest.mark.parametrize(
    ("end", "loss", "message"),
    [
        (
            ENDS["pair"],
            LossSpec("bce"),
            "expected one for the bce loss: if they are mean and log variance",
        ),
        (
            ENDS["dict"],
            LossSpec("mse"),
            "expected one for the mse loss: if they are mean and log variance",
        ),
        (
            ENDS["pair"],
            LossSpec("gaussian", variance=0.5),
            "expected one for the gaussian loss of variance 0.5: if",
        ),
        (lambda h: [conv("sigma")(h), conv("mu")(h)], GAUSSIAN, "2 outputs ('sigma', 'mu')"),
        (lambda h: [conv()(h), conv("x_std")(h)], GAUSSIAN, "by its name a standard deviation"),
        (lambda h: [conv()(h)] * 3, GAUSSIAN, "has 3 outputs"),
        (lambda h: [conv()(h), ops.exp(conv()(h))], GAUSSIAN, "ends in Exp and is never negative"),
        (
            lambda h: [conv()(h), conv(filters=3)(h)],
            GAUSSIAN,
            "a mean of shape (4, 6, 2) and a log variance of shape (4, 6, 3)",
        ),
    ],
)
def test_other_heads_are_refused(end, loss, message):
    with pytest.raises(ExportError) as caught:
        adopt(encoder(), decoder(end), loss, SHAPE)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_gaussian_loss_without_a_variance_takes_that_of_the_decoder():
    assert adopt(encoder(), decoder(ENDS["pair"]), LossSpec("gaussian"), SHAPE).loss == GAUSSIAN


def test_one_head_has_no_variance():
    with pytest.raises(OptionError, match=r"has one output of shape .* or return both"):
        adopt(encoder(), decoder(conv()), GAUSSIAN, SHAPE)


def test_heads_in_the_wrong_order_are_refused(tmp_path):
    """A model that has learned its data, with mean and log variance exchanged."""
    x = np.random.default_rng(0).standard_normal((40, 2)).astype(np.float32)
    given = keras.Input((2,))
    identity = keras.Model(given, [1.0 * given, 0.0 * given - 5.0])
    z = keras.Input((2,))
    swapped = keras.Model(z, [0.0 * z - 3.0, 1.0 * z])
    with pytest.raises(ExportError, match="the decoder's heads are swapped"):
        export_models(identity, swapped, Dataset.from_arrays("x", x), tmp_path / "a", loss=GAUSSIAN)


@pytest.mark.parametrize("preset", [pytest.param("dense", marks=pytest.mark.slow), "conv"])
def test_training_with_the_variance_of_the_decoder(preset, tmp_path):
    """Elements of different noise get different variances, and the likelihood is right."""
    rng = np.random.default_rng(0)
    noise = np.array([0.05, 0.5])
    level = rng.standard_normal((600, 1, 1))
    x = (level + noise * rng.standard_normal((600, 8, 2))).astype(np.float32)
    dataset = Dataset.from_arrays("x", x, layout="series")
    config = TrainConfig(
        preset, (8, 8), 2, variance="decoder", loss=LossSpec("gaussian"), epochs=120
    )
    assert config.loss == GAUSSIAN
    trained = train(dataset, config)
    assert trained.config.loss == GAUSSIAN
    assert trained.test.reconstruction_loss < trained.explained.mean_sample - 4
    assert trained.explained.perfect is None and trained.explained.left is None
    path = export_trained(trained, tmp_path / "a").path
    vae = load(path)
    z_mean = vae.encode(x[:50]).z_mean
    decoded = vae.run("decoder", {"z": z_mean})
    deviations = np.exp(decoded["log_var"] / 2).mean(axis=(0, 1))
    assert 0.4 < deviations[1] < 0.6 and deviations[0] < 0.3
    expected = f64.normal(x[:50], decoded["reconstruction"], decoded["log_var"])
    np.testing.assert_allclose(vae.loss(x[:50]).reconstruction_loss, expected, rtol=1e-5, atol=1e-4)
    text = str(evaluate(vae, x[:50], draws=2))
    assert "perfect reconstruction" not in text and "left unexplained" not in text
    card = (path / "README.md").read_text("utf-8")
    assert "whose mean and log variance the decoder gives for each element" in card


def test_options_that_contradict_the_heads(call, tmp_path):
    with pytest.raises(OptionError, match="decoder 'mean_log_var', which gives its own"):
        TrainConfig(loss=GAUSSIAN, variance="optimal")
    with pytest.raises(OptionError, match=r"variance is 0\.5, the decoder gives its own"):
        LossSpec("gaussian", decoder="mean_log_var", variance=0.5).check()
    status, _, err = call("export", tmp_path / "a", "--loss", "bce", "--variance", "decoder")
    assert status == 3 and "decoder is 'mean_log_var', the bce loss takes logits" in err
