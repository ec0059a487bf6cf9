"""Export of own models whose latents or samples are no vectors and no images."""

import keras
import numpy as np
import pytest
from keras import layers

import float64_losses as f64
from keras_models import Sampling
from vae_builder import Dataset, LossSpec, export_models
from vae_runtime import Bundle, evaluate, load

pytestmark = pytest.mark.usefixtures("same_weights_every_time")


class SpatialSampling(layers.Layer):
    """Sampling of z_mean of any shape."""

    def call(self, inputs):
        z_mean, z_log_var = inputs
        noise = keras.random.normal(keras.ops.shape(z_mean))
        return z_mean + keras.ops.exp(0.5 * z_log_var) * noise


def spatial():
    """An image VAE whose latents keep height and width."""
    x = keras.Input((8, 8, 1))
    h = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    mean, log_var = (layers.Conv2D(3, 3, padding="same", name=n)(h) for n in ("mean", "log_var"))
    encoder = keras.Model(x, [mean, log_var, SpatialSampling()([mean, log_var])])
    z = keras.Input((4, 4, 3))
    h = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(z)
    return encoder, keras.Model(z, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(h))


def series(channels=2):
    """A VAE of windows of a series, with a vector as z."""
    x = keras.Input((12, channels))
    h = layers.Flatten()(layers.Conv1D(4, 3, strides=2, padding="same", activation="relu")(x))
    mean, log_var = layers.Dense(2)(h), layers.Dense(2)(h)
    encoder = keras.Model(x, [mean, log_var, Sampling()([mean, log_var])])
    z = keras.Input((2,))
    h = layers.Reshape((6, 4))(layers.Dense(24, activation="relu")(z))
    return encoder, keras.Model(
        z, layers.Conv1DTranspose(channels, 3, strides=2, padding="same")(h)
    )


def volumes():
    x = keras.Input((4, 6, 8, 1))
    h = layers.Flatten()(layers.Conv3D(4, 3, strides=2, padding="same", activation="relu")(x))
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    z = keras.Input((2,))
    h = layers.Reshape((2, 3, 4, 2))(layers.Dense(48, activation="relu")(z))
    return encoder, keras.Model(z, layers.Conv3DTranspose(1, 3, strides=2, padding="same")(h))


def check(path, models, x, eps, distortion):
    """Compare a bundle with Keras and with float64."""
    encoder, decoder = models
    vae = load(path)
    z_mean, z_log_var = encoder(x)[:2]
    code = vae.encode(x)
    np.testing.assert_allclose(code.z_mean, z_mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(code.z_log_var, z_log_var, rtol=1e-4, atol=1e-5)
    decoded = np.asarray(decoder(f64.sampled(z_mean, z_log_var, eps)))
    np.testing.assert_allclose(vae.decode(eps), decoder(eps), rtol=1e-4, atol=1e-5)
    losses = vae.loss(x, eps)
    np.testing.assert_allclose(losses.kl_loss, f64.kl(z_mean, z_log_var), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(losses.reconstruction_loss, distortion(x, decoded), rtol=2e-6)
    np.testing.assert_allclose(losses.loss, losses.reconstruction_loss + losses.kl_loss, rtol=1e-6)
    assert vae.verify().passed
    return vae


@pytest.fixture(scope="module")
def spatial_bundle(tmp_path_factory):
    keras.utils.set_random_seed(1)
    models, x = spatial(), np.random.default_rng(0).random((60, 8, 8, 1), dtype=np.float32)
    path = tmp_path_factory.mktemp("spatial") / "a"
    dataset = Dataset.from_arrays("noise", x, test_fraction=0.4)
    assert export_models(*models, dataset, path).report.passed
    return path, models, dataset


def test_latents_with_axes_keep_their_shape(spatial_bundle):
    path, models, dataset = spatial_bundle
    x = dataset.test[:9]
    eps = np.random.default_rng(1).standard_normal((9, 4, 4, 3)).astype(np.float32)
    vae = check(path, models, x, eps, f64.cross_entropy)
    m = vae.manifest
    assert (m.latent_dim, m.latent_shape, m.z_shape) == (48, (4, 4, 3), (4, 4, 3))
    assert m.graphs.loss.inputs[1].shape == ("batch", 4, 4, 3)
    at_mean = vae.loss(x).reconstruction_loss
    np.testing.assert_allclose(vae.loss(x, np.zeros_like(eps)).reconstruction_loss, at_mean)
    ends = vae.encode(x[:2]).z_mean
    line = vae.interpolate(x[0], x[1], steps=3)
    np.testing.assert_allclose(line[1], vae.decode(ends.mean(axis=0)[None])[0], rtol=1e-4)
    drawn = np.random.default_rng(4).standard_normal((5, 4, 4, 3)).astype(np.float32)
    np.testing.assert_allclose(vae.sample(5, seed=4), models[1](drawn), rtol=1e-4, atol=1e-6)
    assert "(8, 8, 1) -> (4, 4, 3)" in repr(vae)


def test_evaluation_of_latents_with_axes(spatial_bundle):
    path, (encoder, decoder), dataset = spatial_bundle
    x = dataset.test
    found = evaluate(load(path), x, draws=1, seed=3)
    z_mean, z_log_var = (np.float64(part) for part in encoder(x)[:2])
    eps = np.random.default_rng(3).standard_normal(z_mean.shape, dtype=np.float32)
    z = z_mean + np.exp(z_log_var / 2) * eps
    log_ratio = f64.sums(z**2 - eps**2 - z_log_var) / 2
    bound = f64.cross_entropy(x, decoder(np.float32(z))) + log_ratio
    assert found.importance_weighted_loss == pytest.approx(bound.mean(), rel=1e-6)
    kl = (np.exp(z_log_var) + z_mean**2 - 1 - z_log_var).mean(axis=0) / 2
    np.testing.assert_allclose(found.latents.kl_per_dimension, kl.ravel(), rtol=1e-4, atol=1e-6)


def test_commands_on_latents_with_axes(spatial_bundle, tmp_path, call):
    path, _, dataset = spatial_bundle
    np.save(tmp_path / "x.npy", dataset.test)
    data = tmp_path / "x.npy"
    for words in (
        ("score", path, data, "-o", tmp_path / "s.csv"),
        ("evaluate", path, data, "-k", "2"),
        ("reconstruct", path, data, "-o", tmp_path / "r.npy"),
        ("sample", path, "-n", "3", "-o", tmp_path / "s.npy"),
        ("pack", path, "-o", tmp_path / "a.vae"),
        ("verify", tmp_path / "a.vae"),
        ("edge", path, "-o", tmp_path / "edge"),
        ("verify", path, "--against", "saved-model"),
    ):
        status, _, err = call(*words)
        assert status == 0, err
    status, out, _ = call("inspect", path)
    assert "latent_dim  48, z (4, 4, 3)" in out
    scores = np.loadtxt(tmp_path / "s.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(scores[:, 3], load(path).loss(dataset.test).loss, rtol=1e-6)


@pytest.mark.parametrize("layout", [None, "series"])
def test_series_are_taken_as_the_model_takes_them(layout, tmp_path):
    x = np.random.default_rng(0).standard_normal((30, 12, 2)).astype(np.float32)
    models = series()
    dataset = Dataset.from_arrays("windows", x, layout=layout)
    export_models(*models, dataset, tmp_path / "a", loss=LossSpec("mse"))
    eps = np.random.default_rng(1).standard_normal((30, 2)).astype(np.float32)
    vae = check(tmp_path / "a", models, x, eps, f64.squared)
    assert vae.manifest.input.shape == (12, 2)
    assert vae.manifest.data.sha256 == dataset.in_shape((12, 2)).digest
    assert Bundle(tmp_path / "a").manifest.latent_shape is None


def test_series_of_one_channel_need_no_channel_axis(tmp_path, call):
    x = np.random.default_rng(0).standard_normal((30, 12)).astype(np.float32)
    models = series(1)
    export_models(*models, Dataset.from_arrays("windows", x), tmp_path / "a", loss=LossSpec("mse"))
    eps = np.random.default_rng(1).standard_normal((30, 2)).astype(np.float32)
    vae = check(tmp_path / "a", models, x[..., None], eps, f64.squared)
    np.testing.assert_array_equal(vae.loss(x).loss, vae.loss(x[..., None]).loss)
    np.save(tmp_path / "x.npy", x)
    status, _, err = call("score", tmp_path / "a", tmp_path / "x.npy", "-o", tmp_path / "s.csv")
    assert status == 0, err


@pytest.mark.figures
def test_volumes(tmp_path):
    x = np.random.default_rng(0).random((30, 4, 6, 8), dtype=np.float32)
    models = volumes()
    dataset = Dataset.from_arrays("volumes", x)
    export_models(*models, dataset, tmp_path / "a", loss=LossSpec("gaussian", variance=0.5))
    eps = np.random.default_rng(1).standard_normal((30, 2)).astype(np.float32)
    vae = check(
        tmp_path / "a",
        models,
        x[..., None],
        eps,
        lambda x, mean: f64.normal(x, mean, np.log(0.5)),
    )
    assert vae.manifest.input.shape == (4, 6, 8, 1)
    np.testing.assert_array_equal(vae.loss(x).loss, vae.loss(x[..., None]).loss)
    assert {p.name for p in (tmp_path / "a" / "figures").iterdir()} == {
        "reconstructions.png",
        "samples.png",
        "latent_plane.png",
        "latent_kl.png",
    }
