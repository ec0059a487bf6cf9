"""Hidden activations: which tensors the rule finds, and that they have the values of Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_models import perturbed, samples, subclassed
from vae_builder.own_models.saved_model import read_saved_model
from vae_export import adopt
from vae_export.scoring import activations
from vae_export.scoring.activations import hidden_activations
from vae_runtime.bundle.graph_fields import InputSpec, TensorSpec

pytestmark = pytest.mark.usefixtures("same_weights_every_time")


def encoder(inputs, h):
    """Return an encoder with two heads on h, with random weights in each layer."""
    heads = {name: layers.Dense(2, name=name)(h) for name in ("z_mean", "z_log_var")}
    return perturbed([keras.Model(inputs, heads)])[0]


def dense():
    x = keras.Input((10,))
    h = layers.Dense(8, activation="relu", name="first")(x)
    h = layers.Dense(7, activation="tanh", name="second")(h)
    return encoder(x, layers.Dense(6, activation="relu", name="third")(h))


def deep():
    """Return an encoder with more hidden layers than are used."""
    x = h = keras.Input((10,))
    for name, units in {"first": 8, "second": 7, "third": 6, "fourth": 5}.items():
        h = layers.Dense(units, activation="tanh", name=name)(h)
    return encoder(x, h)


def convolutional():
    x = keras.Input((8, 8, 3))
    h = layers.BatchNormalization()(layers.Conv2D(4, 3, strides=2, padding="same")(x))
    h = layers.LeakyReLU(name="first")(h)
    h = layers.BatchNormalization()(layers.Conv2D(6, 3, strides=2, padding="same")(h))
    return encoder(x, layers.Flatten()(layers.LeakyReLU(name="second")(h)))


def residual():
    x = keras.Input((8, 8, 1))
    h = layers.Conv2D(4, 3, padding="same", name="first")(x)
    h = layers.Add()([h, layers.Conv2D(4, 3, padding="same", activation="silu")(h)])
    return encoder(x, layers.GlobalAveragePooling2D(name="second")(h))


def recurrent():
    x = keras.Input((6, 3))
    h = layers.LSTM(5, name="first")(x)
    return encoder(x, layers.Dense(4, activation="tanh", name="second")(h))


def conditional():
    x, c = keras.Input((10,)), keras.Input((3,))
    h = layers.Dense(6, activation="relu", name="first")(layers.Concatenate()([x, c]))
    return encoder([x, c], layers.Dense(5, activation="relu", name="second")(h))


def keras_values(model, names, x):
    """Return outputs of layers, and z_mean and z_log_var, by a Keras model of the same layers."""
    tensors = [model.get_layer(name).output for name in names]
    return keras.Model(model.inputs, [*tensors, model.output])(x, training=False)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (dense, ("first", "second", "third")),
        (deep, ("second", "third", "fourth")),
        (convolutional, ("first", "second")),
        (residual, ("first", "second")),
        (conditional, ("first", "second")),
    ],
)
@pytest.mark.parametrize("unit_length", [False, True])
def test_values_are_those_of_the_layers(make, names, unit_length):
    model = make()
    hidden = hidden_activations(model, unit_length=unit_length)
    assert hidden.unit_length == unit_length
    x = [tf.constant(samples(tensor.shape[1:])) for tensor in model.inputs]
    *expected, heads = keras_values(model, names, x)
    check_values(hidden, x, expected, heads)


@pytest.mark.parametrize("unit_length", [False, True])
def test_steps_of_a_recurrent_layer_have_activations(unit_length):
    """The last step takes the state before it, and the dense layer the state after it."""
    model = recurrent()
    hidden = hidden_activations(model, unit_length=unit_length)
    assert hidden.unit_length == unit_length
    x = [tf.constant(samples((6, 3)))]
    states = layers.LSTM(5, return_sequences=True)
    states.build((None, 6, 3))
    states.set_weights(model.get_layer("first").get_weights())
    steps = states(x[0])
    *dense, heads = keras_values(model, ("second",), x)
    check_values(hidden, x, [steps[:, -2], steps[:, -1], *dense], heads)


def check_values(hidden, x, expected, heads):
    """Check the outputs of an encoder with hidden activations, and their shapes."""
    z_mean, z_log_var, found = hidden(*x)
    np.testing.assert_allclose(z_mean, heads["z_mean"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(z_log_var, heads["z_log_var"], rtol=1e-5, atol=1e-6)
    rows = [np.float64(value).reshape(len(value), -1) for value in expected]
    assert hidden.sizes == tuple(row.shape[1] for row in rows)
    assert hidden.shapes == tuple(tuple(value.shape[1:]) for value in expected)
    if hidden.unit_length:
        lengths = [np.linalg.norm(row, axis=1, keepdims=True) for row in rows]
        rows = [row / np.maximum(length, 1e-6) for row, length in zip(rows, lengths, strict=True)]
    np.testing.assert_allclose(found, np.concatenate(rows, axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (dense, ("first", "second", "third")),
        (deep, ("second", "third", "fourth")),
        (convolutional, ("first", "second")),
        (residual, ("first", "second")),
        (recurrent, ("lstm_cell", "lstm_cell", "second")),
    ],
)
def test_names_are_those_of_layers(make, names):
    assert hidden_activations(make(), unit_length=False).names == names


def test_attention():
    """Its last product takes the weighted values of all heads."""
    x = keras.Input((6, 4))
    h = layers.Dense(8, name="in")(x)
    h = layers.MultiHeadAttention(2, 4, name="attention")(h, h)
    model = encoder(x, layers.GlobalAveragePooling1D(name="pool")(h))
    hidden = hidden_activations(model, unit_length=False)
    assert hidden.names == ("in", "attention", "pool")
    assert hidden.shapes == ((6, 8), (6, 2, 4), (8,))
    given = tf.constant(samples((6, 4)))
    *_, found = hidden(given)
    first, attended, pooled, _ = keras_values(model, ("in", "attention", "pool"), given)
    np.testing.assert_allclose(found[:, :48], np.reshape(first, (-1, 48)), rtol=1e-5, atol=1e-6)
    context = np.asarray(found)[:, 48:96].reshape(-1, 6, 2, 4)
    product = model.get_layer("attention").output_dense(context)
    np.testing.assert_allclose(product, attended, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[:, 96:], pooled, rtol=1e-5, atol=1e-6)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(7, activation="tanh", name="hidden")
        self.mean, self.log_var = layers.Dense(2), layers.Dense(2)

    def call(self, x):
        h = self.hidden(x)
        return {"z_mean": self.mean(h), "z_log_var": self.log_var(h)}


def test_a_subclassed_model_and_one_that_is_read_from_a_saved_model(tmp_path):
    model, (_, decoder) = Subclassed(), subclassed()
    x = samples((10,))
    model(x)
    expected = np.tanh(x @ model.hidden.kernel.numpy() + model.hidden.bias.numpy())
    tf.saved_model.save(model, str(tmp_path / "saved"))
    for given in (model, read_saved_model(tmp_path / "saved")):
        adopted = adopt(given, decoder, None, (10,))
        hidden = hidden_activations(adopted.encoder, unit_length=False)
        assert hidden.sizes == (7,)
        np.testing.assert_allclose(hidden(tf.constant(x))[2], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("unit_length", [False, True])
def test_without_a_hidden_layer_z_mean_stands_for_them(unit_length):
    """It is never scaled to length 1: the length of z_mean is information."""
    x = keras.Input((4, 3, 1))
    model = encoder(x, layers.Flatten()(x))
    hidden = hidden_activations(model, unit_length=unit_length)
    assert (hidden.names, hidden.shapes, hidden.sizes) == (("z_mean",), ((2,),), (2,))
    assert not hidden.unit_length
    given = tf.constant(samples((4, 3, 1)))
    z_mean, _, found = hidden(given)
    expected = model(given)["z_mean"]
    np.testing.assert_allclose(z_mean, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_large_tensor_is_averaged_over_its_positions(monkeypatch):
    monkeypatch.setattr(activations, "MAX_VALUES", 50)
    model = convolutional()
    hidden = hidden_activations(model, unit_length=False)
    assert hidden.shapes == ((4, 4, 4), (2, 2, 6))
    assert hidden.sizes == (4, 24)
    x = tf.constant(samples((8, 8, 3)))
    first, second, _ = keras_values(model, ("first", "second"), x)
    expected = np.concatenate(
        [np.mean(first, axis=(1, 2)), np.reshape(second, (len(x), -1))], axis=1
    )
    np.testing.assert_allclose(hidden(x)[2], expected, rtol=1e-5, atol=1e-6)


def test_activations_of_zeros_have_no_direction():
    x = keras.Input((4,))
    h = layers.Dense(3, activation="relu", name="first")(x)
    model = encoder(x, h)
    model.get_layer("first").set_weights([np.zeros((4, 3)), np.zeros(3)])
    *_, found = hidden_activations(model, unit_length=True)(tf.zeros((2, 4)))
    np.testing.assert_array_equal(found, np.zeros((2, 3)))


@pytest.mark.parametrize("make", [dense, conditional])
def test_function_takes_what_the_graphs_take(make):
    model = make()
    hidden = hidden_activations(model, unit_length=True)
    inputs = tuple(
        TensorSpec(name, "float32", ("batch", *tensor.shape[1:]))
        for name, tensor in zip(("x", "condition"), model.inputs, strict=False)
    )
    x = [tf.constant(samples(tensor.shape[1:])) for tensor in model.inputs]
    function = hidden.function(InputSpec((10,)), inputs)
    found = function(*x)
    assert list(found) == ["activations"]
    np.testing.assert_allclose(found["activations"], hidden(*x)[2], rtol=1e-5)
