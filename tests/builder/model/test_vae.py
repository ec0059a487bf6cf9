"""The Keras model: `fit`, noise, losses and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from vae_builder import VAE, LossSpec, build_models, load_dataset
from vae_builder.model.objective import Objective
from vae_builder.model.random_numbers import dropout
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.errors import OptionError

SHAPE = (4, 4, 1)


def small_vae(spec=None, *, seed=0, preset="dense", **options):
    return VAE(*build_models(preset, SHAPE, 2, (5,), seed=1), spec, seed=seed, **options)


def images(n=6, shape=SHAPE):
    return np.random.default_rng(0).random((n, *shape), dtype=np.float32)


def literal_losses(vae, x, eps, kl_weight=1.0):
    """The losses by their formulas in float64; bce from probabilities."""
    code = vae.encoder(x)
    z_mean, z_log_var = (tf.cast(code[name], tf.float64) for name in ("z_mean", "z_log_var"))
    z = z_mean + tf.exp(0.5 * z_log_var) * tf.cast(eps, tf.float64)
    output = tf.cast(vae.decoder(tf.cast(z, tf.float32)), tf.float64)
    x = tf.cast(x, tf.float64)
    if vae.spec.reconstruction == "bce":
        p = tf.sigmoid(output)
        element = -(x * tf.math.log(p) + (1 - x) * tf.math.log(1 - p))
    else:
        element = (x - output) ** 2
    reconstruction = tf.reduce_sum(element, axis=[1, 2, 3])
    kl = -0.5 * tf.reduce_sum(1 + z_log_var - z_mean**2 - tf.exp(z_log_var), axis=1)
    return reconstruction, kl, reconstruction + kl_weight * kl


def test_keras_fit_evaluate_and_predict():
    digits = load_dataset("digits")
    x_train = digits.train[:512].astype("float32") / 255
    x_test = digits.test[:200].astype("float32") / 255
    vae = VAE(*build_models("dense", (28, 28, 1), 4, (32,)))
    before = vae.losses_of(x_test, np.zeros((200, 4), np.float32)).mean()

    vae.compile(optimizer="adam")
    history = vae.fit(
        x_train,
        x_train,
        epochs=2,
        batch_size=128,
        validation_data=(x_test, x_test),
        verbose=0,
    ).history

    names = ("loss", "reconstruction_loss", "kl_loss")
    assert set(history) == {*names, *(f"val_{name}" for name in names)}
    assert all(len(values) == 2 and np.isfinite(values).all() for values in history.values())
    assert history["loss"][1] < history["loss"][0]
    assert history["val_loss"][1] < history["val_loss"][0] < before.loss
    for prefix in ("", "val_"):
        total, reconstruction, kl = (np.array(history[prefix + name]) for name in names)
        np.testing.assert_allclose(total, reconstruction + kl, rtol=1e-5)
    assert vae.predict(x_test[:3], verbose=0).shape == (3, 28, 28, 1)


def test_evaluate_reports_means_over_samples_not_over_batches():
    vae, x = small_vae(), images(7)
    vae.compile(optimizer="adam")
    reported = vae.evaluate(x, x, batch_size=4, return_dict=True, verbose=0)
    noise = [vae.noise(-1, 4).numpy(), vae.noise(-1, 3).numpy()]
    reconstruction, kl, loss = literal_losses(vae, x, np.concatenate(noise))
    assert reported["reconstruction_loss"] == pytest.approx(np.mean(reconstruction), rel=1e-5)
    assert reported["kl_loss"] == pytest.approx(np.mean(kl), rel=1e-5)
    assert reported["loss"] == pytest.approx(np.mean(loss), rel=1e-5)


def test_evaluate_is_repeatable_also_after_training():
    vae, x = small_vae(), images(10)
    vae.compile(optimizer="sgd")
    one = vae.evaluate(x, x, batch_size=4, return_dict=True, verbose=0)
    assert vae.evaluate(x, x, batch_size=4, return_dict=True, verbose=0) == one
    weights = vae.get_weights()
    vae.fit(x, x, batch_size=4, verbose=0)
    vae.set_weights(weights)
    assert vae.evaluate(x, x, batch_size=4, return_dict=True, verbose=0) == one


def test_noise_is_a_function_of_seed_and_step():
    one, same, other = small_vae(seed=5), small_vae(seed=5), small_vae(seed=6)
    drawn = [one.noise(step, 3).numpy() for step in (0, 1, 2)]
    one.noise(9, 1)
    tf.random.set_seed(1)
    assert [same.noise(step, 3).numpy().tolist() for step in (0, 1, 2)] == [
        eps.tolist() for eps in drawn
    ]
    assert len({eps.tobytes() for eps in [*drawn, other.noise(0, 3).numpy()]}) == 4
    # seed and step are not just added
    assert not np.array_equal(one.noise(1, 3), other.noise(0, 3))


@pytest.mark.parametrize("kl_weight", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
def test_losses_follow_their_formulas(reconstruction, kl_weight):
    vae, x = small_vae(LossSpec(reconstruction, kl_weight)), images()
    eps = np.random.default_rng(1).standard_normal((6, 2)).astype(np.float32)
    expected = literal_losses(vae, x, eps, kl_weight)
    parts = vae.losses_of(x, eps)
    found = (parts.reconstruction_loss, parts.kl_loss, parts.loss)
    for value, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(vae.test_losses(x, eps), np.stack(found), rtol=1e-5)


def test_input_dropout_affects_the_encoder_but_not_the_loss():
    import keras

    vae, x = small_vae(seed=4, objective=Objective(input_dropout=0.5)), images()
    vae.compile(optimizer=keras.optimizers.SGD(0.01))
    eps, encoder_input = vae.noise(0, 6), dropout(4, tf.constant(0), tf.constant(x), 0.5)
    assert 0.3 < np.mean(encoder_input == 0) < 0.7
    code = vae.encoder(encoder_input)
    output = vae.decoder(code["z_mean"] + tf.exp(0.5 * code["z_log_var"]) * eps).numpy()
    p = 1 / (1 + np.exp(-output.astype(float)))
    expected = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum((1, 2, 3)).mean()
    assert float(vae.update(x).reconstruction_loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kl_weight", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
def test_update_follows_the_gradient_of_the_mean_loss(reconstruction, kl_weight):
    import keras

    vae, x = small_vae(LossSpec(reconstruction, kl_weight), seed=4), images()
    vae.compile(optimizer=keras.optimizers.SGD(0.01))
    eps = vae.noise(0, 6)
    with tf.GradientTape() as tape:
        means = [tf.reduce_mean(part) for part in literal_losses(vae, x, eps, kl_weight)]
    expected = tape.gradient(means[2], vae.trainable_variables)
    before = [variable.numpy() for variable in vae.trainable_variables]
    parts = vae.update(x)
    found = (parts.reconstruction_loss, parts.kl_loss, parts.loss)
    np.testing.assert_allclose(found, means, rtol=1e-5)
    assert len(expected) == len(vae.encoder.weights) + len(vae.decoder.weights)
    for variable, old, gradient in zip(vae.trainable_variables, before, expected, strict=True):
        step = (old - variable.numpy()) / 0.01
        np.testing.assert_allclose(step, gradient, rtol=1e-3, atol=2e-4 * max(1, kl_weight))
    # the next step has other noise
    assert not np.array_equal(vae.noise(vae.optimizer.iterations, 6), eps)


def test_gradient_agrees_with_finite_differences():
    import keras

    vae, x = small_vae(LossSpec("bce", 3.0)), images()
    vae.compile(optimizer=keras.optimizers.SGD(1e-2))
    eps, bias = vae.noise(0, 6), vae.encoder.get_layer("heads").bias  # z_mean's, z_log_var's
    start = bias.numpy()

    def loss_at(shift):
        bias.assign(start + np.array([0, 0, shift, 0], np.float32))
        value = float(np.mean(literal_losses(vae, x, eps, 3.0)[2]))
        bias.assign(start)
        return value

    slope = (loss_at(1e-2) - loss_at(-1e-2)) / 2e-2
    vae.update(x)
    assert (start - bias.numpy())[2] / 1e-2 == pytest.approx(slope, rel=1e-2)


@pytest.mark.parametrize(("reconstruction", "squash"), [("bce", tf.sigmoid), ("mse", tf.identity)])
def test_call_reconstructs_from_z_mean(reconstruction, squash):
    vae, x = small_vae(LossSpec(reconstruction)), images()
    expected = squash(vae.decoder(vae.encoder(x)["z_mean"]))
    np.testing.assert_allclose(vae(x), expected, rtol=1e-6)


def test_properties():
    vae = small_vae()
    assert vae.latent_dim == 2
    assert vae.spec == LossSpec("bce", 1.0)
    assert vae.count_params() == vae.encoder.count_params() + vae.decoder.count_params()
    vae.compile(optimizer="adam")
    vae.fit(images(), images(), verbose=0)
    assert vae.count_params() == vae.encoder.count_params() + vae.decoder.count_params()


def test_model_is_saved_and_loaded(tmp_path):
    import keras

    encoder, decoder = build_models("dense", (4, 3, 1), 2, (5,), seed=1)
    objective = Objective(0.5, warmup_steps=7, free_bits=0.1)
    vae = VAE(encoder, decoder, LossSpec("mse", 0.5), seed=9, objective=objective)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert (loaded.spec, loaded.seed, loaded.objective) == (vae.spec, 9, objective)
    x = np.random.default_rng(0).random((6, 4, 3, 1), dtype=np.float32)
    np.testing.assert_array_equal(loaded(x), vae(x))


def test_fit_takes_uint8_pixels_as_the_builder_does():
    x = np.random.default_rng(0).integers(0, 256, (8, 4, 3, 1)).astype(np.uint8)
    results = []
    for data in (x, x.astype(np.float32) / 255):
        vae = VAE(*build_models("dense", (4, 3, 1), 2, (5,), seed=1))
        vae.compile(optimizer="adam")
        vae.fit(data, data, epochs=1, batch_size=8, shuffle=False, verbose=0)
        results.append(vae.evaluate(data, data, verbose=0, return_dict=True)["loss"])
    assert results[0] == pytest.approx(results[1], rel=1e-6)


def test_weighted_samples_are_refused():
    vae, x, weights = small_vae(), images(), np.ones(6, np.float32)
    message = "^sample_weight or class_weight is given, expected neither, .*: leave it out"
    for call in (
        lambda: vae.fit(x, x, sample_weight=weights, verbose=0),
        lambda: vae.fit(x, np.zeros(6), class_weight={0: 2.0}, verbose=0),
        lambda: vae.fit(x, x, validation_data=(x, x, weights), epochs=1, verbose=0),
        lambda: vae.evaluate(x, x, sample_weight=weights, verbose=0),
    ):
        vae.compile(optimizer="adam")
        with pytest.raises(OptionError, match=message):
            call()
    vae.compile(optimizer="adam")
    vae.fit(x, x, verbose=0)


def squared_error(vae, x, eps):
    code = vae.encoder(x)
    z = code["z_mean"] + tf.exp(code["z_log_var"] / 2) * eps
    return np.square(x - vae.decoder(z)).sum((1, 2, 3))


def test_the_optimal_variance_is_the_mean_squared_error_of_the_batch():
    x, eps = images(), np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)
    vae = small_vae(LossSpec("gaussian", variance=0.5), variance="optimal")
    error = squared_error(vae, x, eps)
    v = error.mean() / x[0].size
    found = vae.losses_of(x, eps, training=True).reconstruction_loss
    expected = error / (2 * v) + x[0].size / 2 * np.log(2 * np.pi * v)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # outside of training, the running mean over the batches is used
    assert vae.spec.variance == pytest.approx(0.99 * 0.5 + 0.01 * v, rel=1e-5)
    running = vae.spec.variance
    found = vae.losses_of(x, eps).reconstruction_loss
    expected = error / (2 * running) + x[0].size / 2 * np.log(2 * np.pi * running)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert vae.spec.variance == running


@pytest.mark.parametrize(("first", "falls"), [(10.0, True), (1e-4, False)])
def test_a_learned_variance_moves_towards_the_optimal_one(first, falls):
    import keras

    vae = small_vae(LossSpec("gaussian", variance=first), variance="learned")
    vae.compile(keras.optimizers.Adam(1e-3))
    vae.update(images())
    assert (vae.spec.variance < first) == falls


@pytest.mark.parametrize("variance", ["optimal", "learned"])
def test_the_variance_that_training_reached_is_saved(variance, tmp_path):
    import keras

    constants = Standardization((0.5,), (0.25,))
    vae = small_vae(LossSpec("gaussian"), variance=variance, standardization=constants)
    vae.compile("adam")
    vae.update(images())
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert (loaded.spec, loaded.variance, loaded.standardization) == (
        vae.spec,
        variance,
        constants,
    )
    assert loaded.spec.variance != 1


@pytest.mark.parametrize(("loss", "variance"), [("mse", "optimal"), ("gaussian", "best")])
def test_invalid_variances_are_refused(loss, variance):
    with pytest.raises(OptionError, match=f"^variance is '{variance}' with the {loss} loss"):
        small_vae(LossSpec(loss), variance=variance)


def test_samples_are_standardized_and_reconstructions_restored():
    constants = Standardization((0.5,), (0.25,))
    raw, plain = (small_vae(LossSpec("mse"), standardization=s) for s in (constants, None))
    x, eps = images(), np.zeros((6, 2), np.float32)
    standardized = (x - 0.5) / 0.25
    np.testing.assert_allclose(raw.losses_of(x, eps).loss, plain.losses_of(standardized, eps).loss)
    np.testing.assert_allclose(raw(x), plain(standardized) * 0.25 + 0.5, rtol=1e-5, atol=1e-6)
