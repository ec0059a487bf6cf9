"""Keras models of others: adopted, exported, and held against the originals."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from vae_export import adopt, export
from vae_runtime import LossSpec, load
from vae_runtime.errors import ExportError, InputError, OptionError
from vae_runtime.loss import numpy_losses

RNG = np.random.default_rng(0)
PROBABILITIES = LossSpec("bce", decoder="probabilities")


@pytest.fixture(autouse=True)
def same_weights_every_time():
    keras.utils.set_random_seed(1)


class Sampling(layers.Layer):
    """Uses (z_mean, z_log_var) to sample z, the vector encoding a digit; as on keras.io."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        batch = ops.shape(z_mean)[0]
        dim = ops.shape(z_mean)[1]
        epsilon = keras.random.normal(shape=(batch, dim), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


class Hidden(layers.Layer):
    """A layer whose sigmoid nobody can take off."""

    def call(self, x):
        return ops.sigmoid(x)


class Handmade(layers.Layer):
    """Probabilities, but not by a sigmoid."""

    def call(self, x):
        return 1 / (1 + ops.exp(-x))


def keras_io():
    """Encoder and decoder of https://keras.io/examples/generative/vae, line by line."""
    latent_dim = 2

    encoder_inputs = keras.Input(shape=(28, 28, 1))
    x = layers.Conv2D(32, 3, activation="relu", strides=2, padding="same")(encoder_inputs)
    x = layers.Conv2D(64, 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(16, activation="relu")(x)
    z_mean = layers.Dense(latent_dim, name="z_mean")(x)
    z_log_var = layers.Dense(latent_dim, name="z_log_var")(x)
    z = Sampling()([z_mean, z_log_var])
    encoder = keras.Model(encoder_inputs, [z_mean, z_log_var, z], name="encoder")

    latent_inputs = keras.Input(shape=(latent_dim,))
    x = layers.Dense(7 * 7 * 64, activation="relu")(latent_inputs)
    x = layers.Reshape((7, 7, 64))(x)
    x = layers.Conv2DTranspose(64, 3, activation="relu", strides=2, padding="same")(x)
    x = layers.Conv2DTranspose(32, 3, activation="relu", strides=2, padding="same")(x)
    decoder_outputs = layers.Conv2DTranspose(1, 3, activation="sigmoid", padding="same")(x)
    decoder = keras.Model(latent_inputs, decoder_outputs, name="decoder")
    return encoder, decoder


def batch_normalised():
    x = keras.Input((8, 8, 3))
    h = layers.Conv2D(4, 3, strides=2, padding="same")(x)
    h = layers.Activation("relu")(layers.BatchNormalization()(h))
    h = layers.Flatten()(layers.MaxPooling2D()(h))
    encoder = keras.Model(x, {"mu": layers.Dense(3)(h), "logvar": layers.Dense(3)(h)})
    decoder = keras.Sequential(
        [
            keras.Input((3,)),
            layers.Dense(64),
            layers.BatchNormalization(),
            layers.LeakyReLU(),
            layers.Dropout(0.3),
            layers.Reshape((4, 4, 4)),
            layers.Conv2DTranspose(3, 4, strides=2, padding="same"),
            layers.Activation("sigmoid"),
        ]
    )
    return encoder, decoder


def residual():
    x = keras.Input((8, 8, 1))
    h = layers.Conv2D(4, 3, padding="same")(x)
    h = layers.Add()([h, layers.Conv2D(4, 3, padding="same", activation="silu")(h)])
    h = layers.GlobalAveragePooling2D()(h)
    encoder = keras.Model(x, (layers.Dense(2)(h), layers.Dense(2)(h)))
    z = keras.Input((2,))
    h = layers.Reshape((8, 8, 1))(layers.Dense(64)(z))
    h = h + layers.Conv2D(1, 3, padding="same")(layers.LayerNormalization()(h))
    return encoder, keras.Model(z, h)


def upsampling():
    x = keras.Input((8, 12, 1))
    h = layers.GaussianNoise(0.5)(layers.Flatten()(x))
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    z = keras.Input((2,))
    h = layers.Reshape((2, 3, 4))(layers.Dense(24, activation="relu")(z))
    h = layers.Conv2D(4, 3, padding="same", activation="relu")(layers.UpSampling2D()(h))
    h = layers.UpSampling2D(interpolation="bilinear")(h)
    h = layers.Conv2D(1, 3, padding="same", activation=tf.nn.sigmoid)(h)
    return encoder, keras.Model(z, h)


def vectors():
    x = keras.Input((10,))
    h = layers.Dense(6, activation="tanh")(x)
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    decoder = keras.Sequential([keras.Input((2,)), layers.Dense(10, activation="sigmoid")])
    return encoder, decoder


def reshaped():
    """The last sigmoid is inside of a nested model, and a Reshape comes after."""
    x = keras.Input((6, 5, 1))
    h = layers.Flatten()(x)
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    z = keras.Input((2,))
    inner = keras.Sequential([layers.Dense(4), layers.Dense(42)])
    h = keras.Model(z, layers.Activation(tf.nn.sigmoid)(inner(z)))(z)
    h = layers.Dropout(0.5)(layers.Cropping2D(((0, 0), (1, 1)))(layers.Reshape((6, 7, 1))(h)))
    return encoder, keras.Model(z, h)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.mean, self.log_var = layers.Dense(2), layers.Dense(2)

    def call(self, x):
        return {"mean": self.mean(x), "log_var": self.log_var(x)}


class SubclassedDecoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(10)

    def call(self, z):
        return ops.sigmoid(self.dense(z))


def subclassed():
    encoder, decoder = Subclassed(), SubclassedDecoder()
    encoder(np.zeros((1, 10), np.float32))
    decoder(np.zeros((1, 2), np.float32))
    return encoder, decoder


def hidden_sigmoid():
    encoder, _ = vectors()
    return encoder, keras.Sequential([keras.Input((2,)), layers.Dense(10), Hidden()])


MODELS = {
    "keras.io": (keras_io, True),
    "batch normalised": (batch_normalised, True),
    "residual": (residual, False),
    "upsampling": (upsampling, True),
    "vectors": (vectors, True),
    "reshaped": (reshaped, True),
}


def perturbed(models, seed=1):
    """The same models with weights, biases and moving averages that are not the initial ones."""
    rng = np.random.default_rng(seed)
    for model in models:
        for weight in model.weights:
            if weight.dtype == "float32":
                noise = 0.2 * rng.random(weight.shape).astype(np.float32)
                weight.assign(weight + (noise if "variance" in weight.path else noise - 0.1))
    return models


def moments(output):
    """z_mean and z_log_var of an original encoder."""
    return list(output.values() if isinstance(output, dict) else output)[:2]


def logit(p):
    p = p.astype(np.float64)
    return np.log(p) - np.log1p(-p)


def samples(shape, n=6):
    return RNG.random((n, *shape), dtype=np.float32)


@pytest.mark.parametrize("name", MODELS)
def test_exported_models_compute_what_the_originals_compute(name, tmp_path):
    make, ends_in_sigmoid = MODELS[name]
    encoder, decoder = perturbed(make())
    shape = tuple(encoder.inputs[0].shape[1:])
    before = [weight.numpy() for model in (encoder, decoder) for weight in model.weights]
    adopted = adopt(encoder, decoder, LossSpec("bce", 0.5))
    assert adopted.loss == LossSpec("bce", 0.5, decoder="logits")
    result = export(
        adopted.encoder, adopted.decoder, samples(shape), tmp_path / "vae", loss=adopted.loss
    )
    assert result.report.passed
    x = samples(shape)
    vae = load(result.path)
    code, expected = vae.encode(x), moments(encoder(x, training=False))
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(code.z_mean, expected[0], **close)
    np.testing.assert_allclose(code.z_log_var, expected[1], **close)
    assert np.abs(code.z_mean - code.z_log_var).max() > 0.01  # no mistaking one for the other
    z = RNG.standard_normal(code.z_mean.shape).astype(np.float32)
    output = decoder(z, training=False).numpy()
    decoded = vae.run("decoder", {"z": z})
    if ends_in_sigmoid:
        np.testing.assert_allclose(decoded["reconstruction"], output, **close)
        np.testing.assert_allclose(decoded["logits"], logit(output), rtol=1e-3, atol=1e-4)
    else:
        np.testing.assert_allclose(decoded["logits"], output, **close)
    after = [weight.numpy() for model in (encoder, decoder) for weight in model.weights]
    assert all(map(np.array_equal, before, after))
    np.testing.assert_array_equal(decoder(z, training=False), output)


def test_weights_are_shared():
    encoder, decoder = vectors()
    adopted = adopt(encoder, decoder)
    assert adopted.encoder.weights[0] is encoder.weights[0]
    encoder, decoder = residual()
    assert adopt(encoder, decoder).decoder.weights[0] is decoder.weights[0]


def test_the_sampling_layer_is_left_out():
    encoder, decoder = keras_io()
    adopted = adopt(encoder, decoder)
    assert set(adopted.encoder.output) == {"z_mean", "z_log_var"}
    assert not [layer for layer in adopted.encoder.layers if isinstance(layer, Sampling)]
    assert [layer for layer in encoder.layers if isinstance(layer, Sampling)]


def test_dict_with_more_than_the_two():
    x = keras.Input((10,))
    m, v = layers.Dense(2)(x), layers.Dense(2)(x)
    encoder = keras.Model(x, {"z": Sampling()([m, v]), "Z_LogVar": v, "z_mean": m})
    adopted = adopt(encoder, vectors()[1])
    value = samples((10,))
    expected = encoder(value)
    np.testing.assert_array_equal(adopted.encoder(value)["z_mean"], expected["z_mean"])
    np.testing.assert_array_equal(adopted.encoder(value)["z_log_var"], expected["Z_LogVar"])


def test_a_functional_model_with_a_call_of_its_own_is_called():
    class Halved(keras.Model):
        def call(self, inputs, training=None, mask=None):
            return super().call(inputs / 2, training=training)

    original, decoder = vectors()
    encoder = Halved(original.inputs[0], original.outputs)
    x = samples((10,))
    found = adopt(encoder, decoder, None, (10,)).encoder(x)["z_mean"]
    np.testing.assert_allclose(found, encoder(x)[0], rtol=1e-6)
    assert np.abs(np.asarray(found) - original(x)[0]).max() > 0.01


def test_hard_sigmoid_gives_probabilities():
    decoder = decoder_of(layers.Dense(10, activation="hard_sigmoid"))
    assert adopt(vectors()[0], decoder).loss == PROBABILITIES


def test_mse_takes_the_values_as_they_are(tmp_path):
    encoder, decoder = vectors()
    adopted = adopt(encoder, decoder, LossSpec("mse"))
    assert adopted.loss.decoder == "values"
    result = export(
        adopted.encoder, adopted.decoder, samples((10,)), tmp_path / "vae", loss=adopted.loss
    )
    z = RNG.standard_normal((4, 2)).astype(np.float32)
    np.testing.assert_allclose(load(result.path).decode(z), decoder(z), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("models", "loss"),
    [(hidden_sigmoid, LossSpec()), (vectors, PROBABILITIES), (subclassed, LossSpec())],
)
def test_probabilities(models, loss, tmp_path):
    """A sigmoid that cannot be taken off, or that was asked to stay."""
    encoder, decoder = models()
    adopted = adopt(encoder, decoder, loss, (10,))
    assert adopted.loss == PROBABILITIES
    result = export(
        adopted.encoder, adopted.decoder, samples((10,)), tmp_path / "vae", loss=adopted.loss
    )
    assert result.report.passed
    vae = load(result.path)
    assert vae.manifest.loss.decoder == "probabilities"
    assert [tensor.name for tensor in vae.manifest.graphs.decoder.outputs] == ["reconstruction"]
    assert "probabilities, clipped" in (result.path / "README.md").read_text()
    x = samples((10,))
    z_mean, z_log_var = (np.asarray(m, float) for m in moments(encoder(x)))
    p = decoder(z_mean.astype(np.float32)).numpy().astype(float)
    expected = -(x * np.log(p) + (1 - x) * np.log1p(-p)).sum(axis=1)
    np.testing.assert_allclose(vae.decode(z_mean.astype(np.float32)), p, rtol=1e-5)
    np.testing.assert_allclose(vae.loss(x).reconstruction_loss, expected, rtol=1e-5)
    kl = 0.5 * (np.exp(z_log_var) + z_mean**2 - 1 - z_log_var).sum(axis=1)
    np.testing.assert_allclose(vae.loss(x).kl_loss, kl, rtol=1e-4, atol=1e-6)


def test_probabilities_that_are_saturated(tmp_path):
    """Their losses have few digits: tolerances say so, and beyond them they are refused."""

    def saturated(stddev):
        spread = keras.initializers.RandomNormal(stddev=stddev, seed=0)
        decoder = decoder_of(layers.Dense(10, kernel_initializer=spread), Hidden())
        adopted = adopt(vectors()[0], decoder)
        return (adopted.encoder, adopted.decoder, samples((10,)), tmp_path / "a"), adopted.loss

    arguments, loss = saturated(30)
    with pytest.raises(ExportError) as caught:
        export(*arguments, loss=loss)
    assert "probabilities next to 0 and 1 have too few digits in float32" in str(caught.value)
    assert not [*tmp_path.iterdir()]
    arguments, loss = saturated(5)
    result = export(*arguments, loss=loss)
    tolerances = result.manifest.tolerances
    assert result.report.passed and tolerances.loss_rtol > 1e-5
    assert tolerances.tensor_rtol <= 1e-4


def test_logits_and_probabilities_give_the_same_loss():
    x = samples((9,))
    logits = RNG.uniform(-8, 8, x.shape).astype(np.float32)
    p = (1 / (1 + np.exp(-logits.astype(float)))).astype(np.float32)
    code = np.zeros((len(x), 2), np.float32)
    np.testing.assert_allclose(
        numpy_losses(PROBABILITIES, x, p, code, code).loss,
        numpy_losses(LossSpec(), x, logits, code, code).loss,
        rtol=1e-4,
    )


def test_a_channel_axis_is_added_where_the_models_have_none(tmp_path):
    x = keras.Input((6, 5))
    h = layers.Flatten()(x)
    encoder = keras.Model(x, [layers.Dense(2)(h), layers.Dense(2)(h)])
    decoder = keras.Sequential(
        [keras.Input((2,)), layers.Dense(30, activation="sigmoid"), layers.Reshape((6, 5))]
    )
    adopted = adopt(encoder, decoder, None, (6, 5, 1))
    images, z = samples((6, 5)), RNG.standard_normal((3, 2)).astype(np.float32)
    np.testing.assert_allclose(
        adopted.encoder(images[..., None])["z_mean"], encoder(images)[0], rtol=1e-6
    )
    assert adopted.loss.decoder == "logits"
    result = export(adopted.encoder, adopted.decoder, images, tmp_path / "vae", loss=adopted.loss)
    assert result.manifest.input.shape == (6, 5, 1)
    np.testing.assert_allclose(
        load(result.path).decode(z)[..., 0], decoder(z), rtol=1e-5, atol=1e-6
    )


# refusals


def encoder_of(*outputs, shape=(10,), structure=list):
    """An encoder of vectors; `outputs` are functions of x."""
    x = keras.Input(shape, name="pixels")
    return keras.Model(x, structure([output(x) for output in outputs]), name="enc")


def decoder_of(*stack, latent_dim=2):
    return keras.Sequential([keras.Input((latent_dim,)), *stack], name="dec")


def refuse(error, message, encoder=None, decoder=None, loss=None, shape=None):
    usual = vectors()
    with pytest.raises(error) as caught:
        adopt(encoder or usual[0], decoder or usual[1], loss, shape)
    assert message in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def dense(units=2, name=None):
    return layers.Dense(units, name=name)


def test_encoder_outputs_that_are_unclear():
    mean, log_var = dense(name="z_mean"), dense(name="z_log_var")
    two = "expected z_mean and z_log_var, or the two and a z drawn from them"
    refuse(ExportError, f"encoder 'enc' gives only, {two}", encoder_of(dense(name="only")))
    refuse(ExportError, f"gives z_log_var, z_mean, {two}", encoder_of(log_var, mean))
    refuse(ExportError, f"gives a, b, c, d, {two}", encoder_of(*(dense(name=n) for n in "abcd")))
    third = encoder_of(mean, log_var, dense(name="third"))
    refuse(ExportError, "'third' draws nothing, so it is no sample: return them", third)

    def keyed(*keys):
        return encoder_of(
            *(dense() for _ in keys), structure=lambda ts: dict(zip(keys, ts, strict=True))
        )

    refuse(ExportError, "give them the keys z_mean and z_log_var", keyed("z_mean", "sigma"))
    refuse(ExportError, f"gives mu, mean, log_var, {two}", keyed("mu", "mean", "log_var"))


def test_random_layers_are_named():
    class Noisy(layers.Layer):
        def call(self, x):
            return x + tf.random.normal(tf.shape(x))

    def through_noise(x):
        return dense()(Noisy(name="always_noisy")(x))

    refuse(
        ExportError,
        "encoder: layer 'always_noisy' draws random numbers at inference",
        encoder_of(through_noise, dense()),
    )
    refuse(
        ExportError,
        "decoder: layer 'always_noisy' draws random numbers at inference",
        decoder=decoder_of(Noisy(name="always_noisy"), layers.Dense(10)),
    )


def test_layers_that_are_idle_at_inference_are_no_noise():
    encoder = encoder_of(
        lambda x: dense()(layers.Dropout(0.5)(layers.GaussianNoise(1)(x))), dense()
    )
    assert adopt(encoder, vectors()[1]).loss.decoder == "logits"


def test_inputs_that_are_refused():
    a, b = keras.Input((10,), name="a"), keras.Input((3,), name="b")
    h = layers.Concatenate()([a, b])
    two = keras.Model([a, b], [dense()(h), dense()(h)], name="enc")
    refuse(ExportError, "encoder 'enc' has 2 inputs ('a', 'b'), expected one", two)
    dynamic = encoder_of(
        *(lambda x: dense()(layers.GlobalAveragePooling2D()(x)) for _ in "ab"),
        shape=(None, None, 1),
    )
    refuse(ExportError, "encoder 'enc' takes 'pixels' of shape (batch, None, None, 1)", dynamic)
    x = keras.Input((10,), dtype="uint8", name="bytes")
    h = layers.Rescaling(1 / 255)(x)
    refuse(
        ExportError,
        "takes 'bytes' as uint8, expected float32",
        keras.Model(x, [dense()(h), dense()(h)]),
    )
    half = layers.Dense(2, dtype="mixed_float16", name="half")
    refuse(ExportError, "gives z_mean as float16, expected float32", encoder_of(half, dense()))


def test_decoder_outputs_that_are_refused():
    z = keras.Input((2,))
    h = layers.Dense(10, name="h")(z)
    two = keras.Model(z, [h, layers.ReLU()(h)], name="dec")
    refuse(ExportError, "decoder 'dec' has 2 outputs", decoder=two)


def test_models_that_are_none():
    refuse(ExportError, "encoder is a Dense, expected a Keras model", layers.Dense(2))
    unbuilt = keras.Sequential([layers.Dense(10)], name="dec")
    refuse(ExportError, "decoder 'dec' has no weights yet", decoder=unbuilt)
    refuse(ExportError, "is a subclassed model, whose input shape", subclassed()[0])
    refuse(
        ExportError,
        "does not take an input of shape (7,)",
        subclassed()[0],
        shape=(7,),
    )


def test_subclassed_model_that_draws_is_refused():
    class Draws(Subclassed):
        def call(self, x):
            code = super().call(x)
            return {**code, "z": code["mean"] + keras.random.normal(ops.shape(code["mean"]))}

    model = Draws()
    model(np.zeros((1, 10), np.float32))
    refuse(ExportError, f"layer '{model.name}' draws random numbers", model, shape=(10,))


def test_shapes_that_do_not_fit():
    refuse(
        InputError,
        "encoder gives z_mean of shape (batch, 3), decoder takes (batch, 2)",
        encoder_of(dense(3), dense(3)),
    )
    refuse(
        InputError,
        "encoder takes samples of shape (batch, 10), decoder gives (batch, 12)",
        decoder=decoder_of(layers.Dense(12)),
    )
    refuse(
        InputError,
        "z_mean of shape (batch, 2) and z_log_var of shape (batch, 3), expected the same",
        encoder_of(dense(2), dense(3)),
    )
    refuse(
        InputError,
        "gives z_mean of shape (batch, 1, 2), expected (batch, latent_dim): add a Flatten",
        encoder_of(*(lambda x: dense()(layers.Reshape((1, 10))(x)) for _ in "ab")),
    )
    refuse(
        InputError,
        "the models take samples of shape (10,), the data has (5, 2, 1): give the data",
        shape=(5, 2, 1),
    )


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_transposed_convolution_with_gaps_is_named(padding):
    x = keras.Input((8, 8, 1))
    h = layers.Flatten()(x)
    encoder = keras.Model(x, [dense()(h), dense()(h)])
    gaps = layers.Conv2DTranspose(1, (4, 3), strides=4, padding=padding, name="with_gaps")
    nested = keras.Sequential([keras.Input((2, 2, 1)), gaps])
    decoder = decoder_of(layers.Dense(4), layers.Reshape((2, 2, 1)), nested)
    refuse(
        ExportError,
        "layer 'with_gaps' is a Conv2DTranspose with strides (4, 4) larger than its kernel_size "
        "(4, 3)",
        encoder,
        decoder,
    )


def test_normalization_is_named():
    normalization = layers.Normalization(name="standardise")
    normalization.adapt(samples((10,)))
    encoder = encoder_of(*(lambda x: dense()(normalization(x)) for _ in "ab"))
    refuse(ExportError, "layer 'standardise' is a Normalization", encoder)


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (layers.Dense(10, activation="tanh", name="last"), "layer 'last' with activation tanh"),
        (layers.Dense(10, activation="softmax", name="last"), "'last' with activation softmax"),
        (layers.ReLU(name="last"), "layer 'last' with activation ReLU"),
        (Handmade(name="last"), "layer 'last', whose values all lie in [0, 1]"),
    ],
)
def test_decoder_ends_that_are_no_logits(last, message):
    decoder = decoder_of(layers.Dense(10), last, layers.Reshape((10,)))
    refuse(ExportError, message, decoder=decoder)
    assert adopt(vectors()[0], decoder, LossSpec("mse")).loss.decoder == "values"
    assert adopt(vectors()[0], decoder, PROBABILITIES).loss == PROBABILITIES


def test_a_subclass_of_dense_is_not_looked_into():
    """What it does after its activation is not known."""

    class Doubled(layers.Dense):
        def call(self, x):
            return 2 * super().call(x)

    decoder = decoder_of(Doubled(10, activation="sigmoid", name="doubled"))
    refuse(ExportError, "layer 'doubled' with activation sigmoid", decoder=decoder)


def test_padding_after_the_sigmoid_keeps_probabilities():
    """Zeros beside the probabilities are no sigmoid of anything."""
    x = keras.Input((4, 1))
    h = layers.Flatten()(x)
    encoder = keras.Model(x, [dense()(h), dense()(h)])
    stack = [layers.Dense(2, activation="sigmoid"), layers.Reshape((2, 1)), layers.ZeroPadding1D(1)]
    decoder = decoder_of(*stack)
    decoder.layers[-1].name = "padded"
    refuse(ExportError, "layer 'padded', whose values all lie in [0, 1]", encoder, decoder)


def test_losses_that_are_none():
    refuse(
        OptionError,
        "decoder is 'values', the bce loss takes logits or probabilities",
        loss=LossSpec("bce", decoder="values"),
    )


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Activation("gelu", name="exact"), "Erfc (from decoder_1/exact"),
        (
            layers.GRU(5, name="loops", return_sequences=True),
            "control flow Loop (from decoder_1/loops_1/",
        ),
    ],
)
def test_operators_that_onnx_has_not_name_the_layer(layer, message, tmp_path):
    stack = [layers.Dense(10), layers.Reshape((2, 5)), layer, layers.Reshape((10,))]
    adopted = adopt(vectors()[0], decoder_of(*stack), LossSpec("mse"))
    with pytest.raises(ExportError) as caught:
        export(adopted.encoder, adopted.decoder, samples((10,)), tmp_path / "a", loss=adopted.loss)
    assert message in str(caught.value) and "replace the layer" in str(caught.value)
    assert not [*tmp_path.iterdir()]
