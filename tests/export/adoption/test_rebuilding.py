"""Models of which a part is exported, or which are rebuilt: by graphs and by values."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_models import (
    Sampling,
    bce_and_kl,
    decoder_of,
    dense,
    encoder_of,
    perturbed,
    samples,
    vectors,
)
from vae_export import Provenance, adopt, export
from vae_runtime import load
from vae_runtime.errors import ExportError, InputError
from vae_runtime.loss import numpy_losses

pytestmark = [
    pytest.mark.usefixtures("same_weights_every_time"),
    # Keras builds a class without `build` when it is first called, and says so.
    pytest.mark.filterwarnings("ignore:.build... was called on layer:UserWarning"),
]


def check(encoder, decoder, z_mean, z_log_var, tmp_path, shape=(10,), rtol=2e-6, **options):
    """Compare adopted models with the expected moments and with losses in NumPy, float64.

    `z_mean` and `z_log_var` are float64 functions of samples. With a `tmp_path`, the models are
    exported and the bundle is compared.
    """
    x = samples(shape)
    adopted = adopt(encoder, decoder, input_shape=shape, **options)
    mean, log_var = z_mean(x), z_log_var(x)
    if tmp_path:
        provenance = Provenance(adoption=adopted.adoption)
        models = (adopted.encoder, adopted.decoder)
        result = export(*models, x, tmp_path / "a", loss=adopted.loss, provenance=provenance)
        vae = load(result.path)
        assert vae.manifest.adoption == adopted.adoption
        code, found = vars(vae.encode(x)), vae.loss(x)
    else:
        code = {name: np.asarray(value) for name, value in adopted.encoder(x).items()}
        output = np.asarray(adopted.decoder(code["z_mean"]))
        found = numpy_losses(adopted.loss, x, output, code["z_mean"], code["z_log_var"])
    for name, expected in (("z_mean", mean), ("z_log_var", log_var)):
        np.testing.assert_allclose(code[name], expected, rtol=0, atol=rtol * np.abs(expected).max())
    p = np.float64(decoder(np.float32(mean), training=False))
    reconstruction, kl = bce_and_kl(x, p, mean, log_var)
    np.testing.assert_allclose(found.reconstruction_loss, reconstruction, rtol=max(rtol, 1e-5))
    np.testing.assert_allclose(found.kl_loss, kl, rtol=10 * rtol)
    assert np.ptp(log_var) > 0.01 and np.abs(mean - log_var).max() > 0.01
    return adopted.adoption


class Eager(keras.Model):
    """Samples inside `call`, by whatever draws the noise."""

    def __init__(self, noise, gives=3, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(6, activation="tanh")
        self.z_mean, self.z_log_var = dense(), dense()
        self.reconstruct = layers.Dense(10, activation="sigmoid")
        self.seed = keras.random.SeedGenerator(7)
        self.noise, self.gives = noise, gives

    @tf.function
    def sample(self, mean, log_var):
        return mean + ops.exp(0.5 * log_var) * ops.cast(
            self.noise(self, ops.shape(mean)), mean.dtype
        )

    def call(self, x, training=False):
        h = self.hidden(x)
        mean, log_var = self.z_mean(h), self.z_log_var(h)
        z = self.sample(mean, log_var)
        return {2: (mean, log_var), 3: (mean, log_var, z)}[self.gives]


NOISES = {
    "seed generator": lambda model, shape: keras.random.normal(shape, seed=model.seed),
    "keras.random": lambda model, shape: keras.random.normal(shape),
    "constant seed": lambda model, shape: keras.random.normal(shape, seed=3),
    "tf.random": lambda model, shape: tf.random.normal(shape),
    "keras.backend": lambda model, shape: tf.keras.backend.random_normal(shape),
    "generator": lambda model, shape: tf.random.get_global_generator().normal(shape),
}


@pytest.mark.parametrize("noise", NOISES)
def test_sampling_inside_call_is_left_out(noise, tmp_path, caplog):
    encoder = Eager(NOISES[noise], gives=2 if noise == "keras.random" else 3)
    x = samples((10,))
    encoder(x)
    decoder = vectors()[1]
    adopted = adopt(encoder, decoder, input_shape=(10,))
    found = adopted.encoder(x)
    np.testing.assert_allclose(found["z_mean"], encoder(x)[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found["z_log_var"], encoder(x)[1], rtol=1e-6, atol=1e-7)
    operators = {op.type for op in traced(adopted.encoder).graph.get_operations()}
    assert not [name for name in operators if "Random" in name or "Assign" in name]
    assert len(adopted.encoder.weights) == 6  # the layers that it uses, each once
    assert not caplog.records


def traced(model):
    function = tf.function(lambda x: model(x, training=False))
    return function.get_concrete_function(tf.TensorSpec((None, 10)))


def test_nested_encoder_that_samples_inside_call(tmp_path):
    inner = Eager(NOISES["seed generator"])
    x = keras.Input((10,))
    outer = keras.Model(x, inner(layers.Rescaling(2.0)(x)))
    perturbed([outer])
    adoption = check(
        outer,
        vectors()[1],
        lambda x: np.float64(outer(x)[0]),
        lambda x: np.float64(outer(x)[1]),
        tmp_path,
    )
    assert (adoption.encoder_outputs, adoption.scale) == ("separate", "log_var")
    assert (adoption.dtype_policies, adoption.float32_changes) == ((), None)


@pytest.mark.parametrize(
    ("inside", "layer"),
    [
        (True, layers.LSTM),
        (False, layers.GRU),
        pytest.param(True, layers.GRU, marks=pytest.mark.slow),
        pytest.param(False, layers.LSTM, marks=pytest.mark.slow),
    ],
)
def test_recurrent_encoder_that_samples(inside, layer, tmp_path):
    """What is computed with is a graph of nodes, in which a loop could not be replaced."""
    x = keras.Input((10,))
    steps = keras.Sequential([layers.Reshape((5, 2)), layer(4)])
    encoder = Eager(NOISES["tf.random"])
    if inside:
        encoder.hidden = steps
    else:
        mean, log_var = (dense()(steps(x)) for _ in "ab")
        encoder = keras.Model(x, [mean, log_var, Sampling()([mean, log_var])])
    encoder(samples((10,)))
    moments = [lambda x, i=i: np.float64(encoder(x)[i]) for i in (0, 1)]
    check(encoder, vectors()[1], *moments, tmp_path if inside and layer is layers.LSTM else None)


def test_random_moments_are_refused():
    class Noisy(Eager):
        def call(self, x, training=False):
            _, log_var, z = super().call(x)
            return z, log_var

    encoder = Noisy(NOISES["seed generator"], name="noisy")
    encoder(samples((10,)))
    with pytest.raises(ExportError, match="encoder: layer 'noisy' draws random numbers at inf"):
        adopt(encoder, vectors()[1], input_shape=(10,))


def test_a_state_that_changes_at_inference_is_refused():
    class Counting(Eager):
        def build(self, shape):
            self.calls = self.add_weight(shape=(), initializer="zeros", name="calls")

        def call(self, x, training=False):
            self.calls.assign_add(1.0)
            mean, log_var, z = super().call(x)
            return mean * self.calls, log_var, z

    encoder = Counting(NOISES["tf.random"], name="counting")
    encoder(samples((10,)))
    with pytest.raises(ExportError) as caught:
        adopt(encoder, vectors()[1], input_shape=(10,), scale="log_var")
    assert "changes the variable" in str(caught.value) and "\n" not in str(caught.value)


def halves(activation=None, name=None, split_after=()):
    """Return an encoder with z_mean and the spread side by side."""
    stack = [layers.Dense(6, activation="tanh"), layers.Dense(4, activation, name=name)]
    return keras.Sequential([keras.Input((10,)), *stack, *split_after], name="enc")


@pytest.mark.parametrize(
    ("scale", "activation", "log_var"),
    [
        (None, None, lambda s: s),
        ("log_std", None, lambda s: 2 * s),
        ("std", "softplus", lambda s: 2 * np.log(s)),
        ("var", "exponential", np.log),
    ],
)
def test_halves_of_one_output(scale, activation, log_var, tmp_path):
    encoder, decoder = perturbed((halves(activation), vectors()[1]))
    adoption = check(
        encoder,
        decoder,
        lambda x: np.float64(encoder(x))[:, :2],
        lambda x: log_var(np.float64(encoder(x))[:, 2:]),
        tmp_path if scale in (None, "std") else None,
        scale=scale,
        rtol=5e-6,
    )
    assert (adoption.encoder_outputs, adoption.scale) == ("halves", scale or "log_var")


def test_halves_with_a_sampled_z(caplog):
    encoder = halves()
    pair = encoder.outputs[0]
    z = Sampling()([pair[:, 2:], pair[:, :2]])
    drawn = keras.Model(encoder.inputs, [z, pair], name="enc")
    found = adopt(drawn, vectors()[1]).encoder(samples((10,)))
    np.testing.assert_array_equal(found["z_mean"], encoder(samples((10,)))[:, 2:])
    assert "is the mean" in caplog.text  # the halves are swapped, as z shows


def test_halves_that_are_refused(refuse):
    never = "which ends in Softplus and is never negative, expected a log variance: say what it is"
    refuse(ExportError, f"gives 'both[..., 2:]', {never}", halves("softplus", "both"))
    refuse(ExportError, "'mean_sigma[..., 2:]', by its name a standard", halves(name="mean_sigma"))
    plain = "its one output is as wide as the z of the decoder, so it states no spread"
    refuse(ExportError, plain, encoder_of(dense()))
    wide = "its one output has the shape (5,), both side by side would have (4,)"
    refuse(ExportError, wide, encoder_of(dense(5)))


def test_a_subclassed_decoder_takes_half_of_the_width():
    class Decoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = layers.Dense(10)

        def call(self, z):
            return self.out(z)

    decoder = Decoder()
    decoder(np.zeros((1, 2), np.float32))
    adopted = adopt(halves(), decoder, input_shape=(10,))
    assert adopted.encoder.output["z_mean"].shape == (None, 2)


class TakesNoise(keras.Model):
    def __init__(self):
        super().__init__()
        self.mean, self.log_var = dense(), dense()

    def call(self, inputs):
        x, eps = inputs
        mean, log_var = self.mean(x), self.log_var(x)
        return mean, log_var, mean + ops.exp(log_var / 2) * eps


@pytest.mark.parametrize("kind", ["functional", "scale", "unused", "subclassed"])
def test_noise_that_is_an_input_is_left_out(kind, tmp_path):
    x, eps = keras.Input((10,), name="x"), keras.Input((2,), name="eps")
    mean, s = dense()(x), dense()(x)
    scale = "log_std" if kind == "scale" else "log_var"
    if kind == "subclassed":
        encoder = TakesNoise()
        encoder([samples((10,)), samples((2,))])
    else:
        z = mean + ops.exp(s if kind == "scale" else s / 2) * eps
        inputs = [eps, x] if kind == "scale" else [x, eps]
        encoder = keras.Model(inputs, [mean, s] if kind == "unused" else [mean, s, z])

    def outputs(rows):
        noise = np.zeros((len(rows), 2), np.float32)
        return encoder([noise, rows] if kind == "scale" else [rows, noise])

    adoption = check(
        encoder,
        vectors()[1],
        lambda rows: np.float64(outputs(rows)[0]),
        lambda rows: np.float64(outputs(rows)[1]) * (2 if kind == "scale" else 1),
        tmp_path if kind == "functional" else None,
    )
    assert adoption.scale == scale  # found by the noise that is drawn for the input


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
@pytest.mark.parametrize("subclassed", [False, True])
def test_other_policies_are_rebuilt_in_float32(policy, subclassed, tmp_path, caplog):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        if subclassed:
            encoder, decoder = Eager(NOISES["keras.random"]), vectors()[1]
            encoder(samples((10,)))
        else:
            encoder, decoder = vectors()
    finally:
        keras.config.set_dtype_policy(before)
    kernels = [np.float64(weight.numpy()) for weight in encoder.weights]

    def ends(x):  # the same layers in NumPy, float64
        h = np.tanh(x.astype(float) @ kernels[0] + kernels[1])
        return h @ kernels[2] + kernels[3], h @ kernels[4] + kernels[5]

    trained = np.float64(encoder(samples((10,)))[0])
    options = {"samples": samples((10,)), "scale": "log_var"}
    adopted = adopt(encoder, decoder, input_shape=(10,), **options)
    found = adopted.encoder(samples((10,)))
    np.testing.assert_allclose(found["z_mean"], ends(samples((10,)))[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found["z_log_var"], ends(samples((10,)))[1], rtol=0, atol=1e-6)
    assert adopted.loss.decoder == "logits"  # the sigmoid is removed all the same
    assert all(weight.dtype == "float32" for weight in adopted.encoder.weights)
    changes = adopted.adoption.float32_changes
    assert adopted.adoption.dtype_policies == (policy,)
    expected = np.abs(np.float64(found["z_mean"]) - trained).max() / np.abs(trained).max()
    assert changes["z_mean"] == pytest.approx(expected, rel=1e-6)
    assert set(changes) == {"z_mean", "z_log_var", "decoder", "loss"}
    assert (changes["z_mean"] < 1e-6) == (policy == "float64")
    assert "rebuilt in float32, which changes z_mean by " in caplog.text
    assert encoder.dtype_policy.name == policy  # restored
    np.testing.assert_array_equal(np.float64(encoder(samples((10,)))[0]), trained)


def test_one_layer_of_another_policy(tmp_path, caplog):
    half = layers.Dense(2, dtype="mixed_float16", name="half")
    encoder = encoder_of(half, dense())
    kernel, bias = (np.float64(weight.numpy()) for weight in half.weights)
    adoption = check(
        encoder,
        vectors()[1],
        lambda x: x.astype(float) @ kernel + bias,
        lambda x: np.float64(encoder(x)[1]),
        tmp_path,
    )
    assert adoption.dtype_policies == ("mixed_float16",)


def open_sizes():
    x = keras.Input((None, None, 3), name="pixels")
    h = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    h = layers.GlobalAveragePooling2D()(h)
    encoder = keras.Model(x, {"z_mean": dense()(h), "z_log_var": dense()(h)}, name="enc")
    stack = [layers.Dense(48), layers.Reshape((4, 4, 3)), layers.UpSampling2D()]
    return encoder, decoder_of(*stack, layers.Activation("sigmoid"))


def test_sizes_left_open_are_those_of_the_data(tmp_path, refuse):
    encoder, decoder = perturbed(open_sizes())
    check(
        encoder,
        decoder,
        lambda x: np.float64(encoder(x)["z_mean"]),
        lambda x: np.float64(encoder(x)["z_log_var"]),
        tmp_path,
        shape=(8, 8, 3),
    )
    assert encoder.input_shape == (None, None, None, 3)
    refuse(
        ExportError,
        "encoder 'enc' takes 'pixels' of shape (batch, None, None, 3), expected fixed sizes after "
        "the batch dimension: give the shape of one sample by --input-shape (input_shape= in Pyth",
        *(encoder, decoder),
    )
    refuse(
        InputError,
        "encoder 'enc' takes 'pixels' of shape (batch, None, None, 3), which (8, 8, 1) does not",
        *(encoder, decoder),
        shape=(8, 8, 1),
    )


def test_stated_sizes_and_a_channel_axis_that_the_data_has():
    x = keras.Input((None, None))
    h = layers.GlobalAveragePooling1D()(
        layers.Conv1D(3, 3, padding="same")(layers.Reshape((6, 5))(x))
    )
    encoder = keras.Model(x, [dense()(h), dense()(h)])
    decoder = decoder_of(layers.Dense(30), layers.Reshape((6, 5)))
    adopted = adopt(encoder, decoder, input_shape=(6, 5, 1), encoder_shape=(6, 5))
    rows = samples((6, 5))
    np.testing.assert_allclose(
        adopted.encoder(rows[..., None])["z_mean"], encoder(rows)[0], rtol=1e-6
    )
    assert adopt(encoder, decoder, input_shape=(6, 5, 1)).encoder.input_shape[1:] == (6, 5, 1)
