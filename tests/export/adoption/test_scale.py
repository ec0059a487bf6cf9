"""The scale of an encoder's second output: stated, or found by a z that the encoder draws."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from keras_models import Sampling, decoder_of, encoder_of, samples, vectors
from vae_export import adopt
from vae_export.adoption.tracing.readings import SCALES, kind_of_name
from vae_runtime.errors import ExportError, OptionError

pytestmark = pytest.mark.usefixtures("same_weights_every_time")

SIGMA = {
    "log_var": lambda s: np.exp(s / 2),
    "log_std": np.exp,
    "std": lambda s: s,
    "var": np.sqrt,
}
"""Standard deviation of z, in NumPy."""


class Draw(layers.Layer):
    """Draws z = mean + factor * sigma(s) * eps with a `tf.random` generator."""

    def __init__(self, scale="log_var", factor=1.0, noise=None, **kwargs):
        super().__init__(**kwargs)
        self.scale, self.factor, self.noise = scale, factor, noise or tf.shape

    def call(self, inputs):
        mean, s = inputs
        sigma = {
            "log_var": lambda s: ops.exp(s / 2),
            "log_std": ops.exp,
            "std": lambda s: s,
            "var": ops.sqrt,
        }[self.scale](s)
        return mean + self.factor * sigma * tf.random.normal(self.noise(mean))


def head(scale="log_var", name=None):
    """Return a layer that gives values of a scale."""
    activation = None if scale.startswith("log") else "softplus"
    bias = keras.initializers.RandomNormal(seed=3)
    return layers.Dense(2, activation, bias_initializer=bias, name=name)


def drawing(draw, scale="log_var", order=(0, 1, 2), names=(None, None)):
    """Return an encoder that gives two outputs and a z drawn from them, in any order."""
    x = keras.Input((10,), name="pixels")
    mean, s = head(name=names[0])(x), head(scale, names[1])(x)
    outputs = mean, s, draw([mean, s])
    return keras.Model(x, [outputs[index] for index in order], name="enc")


def check(encoder, mean_at, s_at, reading, **options):
    """Check z_mean and z_log_var against float64 of the encoder's own outputs."""
    x = samples((10,))
    found = adopt(encoder, vectors()[1], **options).encoder(x)
    outputs = encoder(x)
    outputs = list(outputs.values()) if isinstance(outputs, dict) else outputs
    sigma = SIGMA[reading](np.float64(outputs[s_at]))
    np.testing.assert_array_equal(found["z_mean"], outputs[mean_at])
    np.testing.assert_allclose(found["z_log_var"], 2 * np.log(sigma), rtol=1e-5, atol=1e-6)
    assert np.ptp(sigma) > 0.05  # otherwise any scale would do


@pytest.mark.parametrize("scale", SCALES)
def test_stated_scale_of_a_pair(scale):
    check(encoder_of(head(), head(scale)), 0, 1, scale, scale=scale)


@pytest.mark.parametrize(
    ("scale", "order"),
    [("log_std", (0, 1, 2)), ("std", (0, 1, 2)), ("std", (1, 0, 2)), ("var", (2, 0, 1))],
)
def test_scale_and_order_are_found_by_z(scale, order, caplog):
    encoder = drawing(Draw(scale), scale, order, ("a", "b"))
    check(encoder, order.index(0), order.index(1), scale)
    words = {"log_std": "logarithm of a standard deviation", "std": "standard deviation"}
    message = f"'a' is the mean and 'b' the {words.get(scale, 'variance')}: taken as such"
    message += f"; --scale {scale} states it"
    assert [record.message for record in caplog.records] == [
        f"encoder 'enc' draws a z by which {message}"
    ]


@pytest.mark.parametrize(
    "noise",
    [
        tf.shape,
        lambda mean: tf.shape(mean)[1:],  # the same for all samples
        lambda mean: (tf.shape(mean)[0], 1),  # the same in all dimensions
    ],
)
def test_log_variance_with_z_is_taken_without_a_word(noise, caplog):
    check(drawing(Draw(noise=noise), order=(0, 1, 2)), 0, 1, "log_var")
    swapped = drawing(Draw(noise=noise), order=(1, 2, 0), names=("u", "v"))
    assert not caplog.records
    check(swapped, 2, 0, "log_var")
    assert "'u' is the mean and 'v' the log variance" in caplog.text


def test_z_that_depends_on_a_third_tensor():
    x = keras.Input((10,))
    mean, std = head()(x), head("std")(x)
    zero = layers.Rescaling(0.0)(mean)
    z = mean + std * Draw()([zero, zero])
    encoder = keras.Model(x, [mean, 2 * ops.log(std), z])
    check(encoder, 0, 1, "log_var")
    check(keras.Model(x, {"mean": mean, "sigma": ops.log(std), "z": z}), 0, 1, "log_std")


def test_z_far_from_zero_with_a_small_spread():
    x = keras.Input((10,))
    mean, s = 1000 + head()(x), head()(x) - 14  # float32 resolves 6e-5 of a spread of 9e-4
    encoder = keras.Model(x, [mean, s, Sampling()([mean, s])])
    assert adopt(encoder, vectors()[1]).encoder.output["z_log_var"] is not None


def test_drawing_changes_no_state_and_is_repeatable():
    class Unseeded(layers.Layer):
        def call(self, inputs):
            return inputs[0] + 0.01234 * keras.random.normal(ops.shape(inputs[0]))

    encoder = drawing(Sampling())
    faulty = drawing(Unseeded(), names=("m", "s"))
    decoder = decoder_of(layers.Dense(10))
    seeds = encoder.layers[-1].seed_generator.state.numpy()
    drawn, messages = [], []
    for adoptions in (0, 1, 2):
        keras.utils.set_random_seed(5)
        for _ in range(adoptions):
            with pytest.raises(ExportError) as caught:
                adopt(faulty, decoder)
            messages.append(str(caught.value))
            adopt(encoder, decoder)
        drawn.append(np.asarray(keras.random.normal((3,))).tolist())
    assert drawn[0] == drawn[1] == drawn[2]
    assert len(set(messages)) == 1
    np.testing.assert_array_equal(seeds, encoder.layers[-1].seed_generator.state)


def refuse(encoder, message, **options):
    with pytest.raises(ExportError) as caught:
        adopt(encoder, vectors()[1], **options)
    assert message in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("factor", [0.0, 0.01, 0.94, 3.0])
def test_noise_of_another_size_is_refused_unless_the_scale_is_stated(factor):
    encoder = drawing(Draw(factor=factor), names=("m", "s"))
    if factor == 0:
        refuse(encoder, "draws a z that is not spread around 'm' as 's' says, on any scale")
        return
    with pytest.raises(ExportError, match="times the standard deviation that 's' gives") as caught:
        adopt(encoder, vectors()[1])
    found = float(str(caught.value).split(" with ")[1].split(" times")[0])
    assert found == pytest.approx(factor, rel=0.02)
    assert "or give --scale log_var to export 's' as it is" in str(caught.value)
    check(encoder, 0, 1, "log_var", scale="log_var")
    refuse(encoder, "and --scale log_std does not fit", scale="log_std")


def test_z_of_other_dimensions_is_refused():
    class Reversed(Draw):
        def call(self, inputs):
            return super().call(inputs)[:, ::-1]

    encoder = drawing(Reversed(), names=("m", "s"))
    refuse(encoder, "encoder 'enc' draws a z that is not spread around 'm' as 's' says")
    refuse(encoder, "or give an encoder without the z", scale="log_var")
    shifted = drawing(lambda pair: Draw()(pair) + 0.2, names=("m", "s"))
    refuse(shifted, "draws a z that is not spread around 'm' as 's' says")


def test_z_against_names_or_the_stated_scale():
    named = drawing(Draw("log_std"), names=("z_mean", "z_log_var"))
    says = "draws a z by which 'z_mean' is the mean and 'z_log_var' the logarithm of a standard"
    refuse(named, f"{says} deviation, but its name is that of a log variance: give --scale log_std")
    check(named, 0, 1, "log_std", scale="log_std")
    refuse(named, "but --scale is log_var: give --scale log_std, or an", scale="log_var")
    refuse(drawing(Draw(), names=("z_log_var", "z_mean")), "but their names say the opposite")
    x = keras.Input((10,))
    mean, s = head()(x), head()(x)
    keyed = keras.Model(x, {"z_mean": s, "z_log_var": mean, "z": Draw()([mean, s])})
    refuse(keyed, "but their names say the opposite")
    check(drawing(Draw(), order=(1, 0, 2), names=("z_mean", "z_log_var")), 1, 0, "log_var")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sigma", "standard deviation"),
        ("z_log_sigma", "logarithm of a standard deviation"),
        ("enc_variance", "variance"),
    ],
)
def test_names_that_are_no_log_variance_need_the_scale(name, words):
    message = f"gives {name!r}, by its name a {words}, expected a log variance"
    refuse(encoder_of(head(), head(name=name)), f"{message}: say what it is by --scale")
    check(encoder_of(head(), head(name=name)), 0, 1, "log_std", scale="log_std")

    def keyed(tensors):
        return dict(zip(("z_mean", name), tensors, strict=True))

    refuse(encoder_of(head(), head(), structure=keyed), message)
    check(encoder_of(head(), head(), structure=keyed), 0, 1, "log_std", scale="log_std")


@pytest.mark.parametrize("name", ["z_log_var", "log_sigma2", None])
def test_other_names_are_log_variances(name):
    check(encoder_of(head(), head(name=name)), 0, 1, "log_var")


def test_kinds_of_names():
    kinds = {
        "mean": "z_mean mu zMean latent_mu_dense loc",
        "log_var": "z_logvar LogVar log_sigma_sq Z_LOG_VAR z_log_var_12",
        "log_std": "logSigma z_log_stddev log_scale",
        "std": "z_sigma stdDev sigma_layer standard_deviation",
        "var": "z_var sigma_squared Variance",
        None: "dense_3 variational meander z functional_1 var2vec softplus",
    }
    for kind, names in kinds.items():
        assert {kind_of_name(name) for name in names.split()} == {kind}, names


@pytest.mark.parametrize(
    ("activation", "operator"),
    [
        ("softplus", "Softplus"),
        ("exponential", "Exp"),
        ("relu", "Relu"),
        ("sigmoid", "Sigmoid"),
        (lambda t: ops.softplus(t) + 1e-6, "AddV2"),
        (lambda t: ops.log(1 + ops.exp(t)), "Log"),
        (lambda t: keras.activations.elu(t) + 1, "AddV2"),
        (lambda t: ops.maximum(t, 1e-3), "Maximum"),
        (lambda t: ops.square(t), "Square"),
    ],
)
def test_last_layers_that_are_never_negative_need_the_scale(activation, operator):
    second = layers.Dense(2, activation, name="b")
    refuse(
        encoder_of(head(), second),
        f"gives 'b', which ends in {operator} and is never negative, expected a log variance",
    )
    reshaped = keras.Sequential([keras.Input((10,)), second, layers.Reshape((2,))], name="net")
    refuse(encoder_of(head(), reshaped), f"which ends in {operator} and is never negative")


@pytest.mark.parametrize(
    "activation",
    [
        "tanh",
        "leaky_relu",
        lambda t: ops.softplus(t) - 5,
        lambda t: ops.log(ops.softplus(t) + 1e-6),
        lambda t: -ops.softplus(t),
        lambda t: ops.clip(t, -10, 10),
        lambda t: 2 * t,
    ],
)
def test_last_layers_that_may_be_negative_are_log_variances(activation):
    check(encoder_of(head(), layers.Dense(2, activation)), 0, 1, "log_var")


def test_attribute_of_a_subclassed_encoder_is_a_name():
    class Encoder(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.mu, self.log_sigma = head(), head()

        def call(self, x):
            return self.mu(x), self.log_sigma(x)

    encoder = Encoder(name="enc")
    encoder(samples((10,)))
    refuse(encoder, "gives 'output 2', by its name a logarithm of", input_shape=(10,))
    check(encoder, 0, 1, "log_std", scale="log_std", input_shape=(10,))


def test_stated_std_must_be_positive():
    refuse(encoder_of(head(), head(name="b")), "gives 'b' down to -", scale="std")
    relu = encoder_of(head(), layers.Dense(2, "relu", bias_initializer="ones", name="b"))
    rows = np.zeros((3, 10), np.float32)
    adopted = adopt(relu, vectors()[1], scale="std", samples=rows)
    relu.layers[-1].bias.assign([0, 0])
    refuse(relu, "gives 'b' down to 0, --scale std takes numbers above 0", scale="std")
    low = adopted.encoder(rows)["z_log_var"]
    np.testing.assert_allclose(low, 2 * np.log(1e-18), rtol=1e-6)  # finite, and normal if squared


def test_an_unknown_scale_is_refused():
    with pytest.raises(OptionError, match="scale is 'sigma', expected one of log_var, log_std"):
        adopt(*vectors(), scale="sigma")
