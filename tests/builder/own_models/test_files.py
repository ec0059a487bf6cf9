"""Models read from files, and how files are refused that hold no model or would run code."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from keras_models import Sampling, samples, vectors
from vae_builder import load_model
from vae_export import adopt
from vae_runtime.errors import ExportError

pytestmark = pytest.mark.usefixtures("same_weights_every_time")


@pytest.fixture
def models():
    """Encoder with z_mean, z_log_var and z, and decoder."""
    encoder, decoder = vectors()
    mean, log_var = encoder.outputs
    return keras.Model(encoder.input, [mean, log_var, Sampling()([mean, log_var])]), decoder


class Plain(tf.Module):
    """A model without Keras, as other libraries of TensorFlow 2 save it."""

    def __init__(self, weights):
        super().__init__()
        self.variables_of_layers = [tf.Variable(weight) for weight in weights]

    @tf.function(input_signature=[tf.TensorSpec((None, 10), name="pixels")])
    def __call__(self, x):
        kernel, bias, *heads = self.variables_of_layers
        mean, log_var = self.heads(tf.tanh(x @ kernel + bias), *heads)
        return mean, log_var, mean + tf.exp(log_var / 2) * tf.random.normal(tf.shape(mean))

    @tf.function
    def heads(self, h, *weights):
        return h @ weights[0] + weights[1], h @ weights[2] + weights[3]

    @tf.function(input_signature=[tf.TensorSpec((None, 10), name="pixels")])
    def by_name(self, x):
        mean, log_var, _ = self(x)
        return {"z_log_var": log_var, "z_mean": mean}


def keras_h5(encoder, path):
    keras.saving.save_model(encoder, str(path / "encoder.h5"))
    return path / "encoder.h5"


def keras_3(encoder, path):
    encoder.export(path / "encoder", verbose=False)
    return path / "encoder"


def without_signature(encoder, path):
    tf.saved_model.save(Plain(encoder.get_weights()), str(path / "encoder"))
    return path / "encoder"


def signature_only(encoder, path):
    holder = tf.Module()
    holder.inner = Plain(encoder.get_weights())
    tf.saved_model.save(holder, str(path / "encoder"), signatures=holder.inner.by_name)
    return path / "encoder"


@pytest.mark.filterwarnings("ignore:.*HDF5")
@pytest.mark.parametrize("save", [keras_h5, keras_3, without_signature, signature_only])
def test_encoders_in_files(save, models, tmp_path):
    encoder, decoder = models
    loaded = load_model(save(encoder, tmp_path))
    x = samples((10,))
    adopted = adopt(loaded, decoder)
    found, expected = adopted.encoder(x), encoder(x)
    np.testing.assert_allclose(found["z_mean"], expected[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found["z_log_var"], expected[1], rtol=1e-6, atol=1e-7)
    assert len(adopted.encoder.weights) == 6


def test_a_decoder_in_a_saved_model(models, tmp_path):
    encoder, decoder = models
    decoder.export(tmp_path / "decoder", verbose=False)
    adopted = adopt(encoder, load_model(tmp_path / "decoder"))
    z = samples((2,))
    assert adopted.loss.decoder == "probabilities"
    np.testing.assert_allclose(adopted.decoder(z), decoder(z), rtol=1e-6)


def refuse(path, message):
    with pytest.raises(ExportError) as caught:
        load_model(path)
    assert message in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*HDF5")
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_code_in_a_file_is_not_run(suffix, models, tmp_path):
    mean, log_var, _ = models[0].outputs
    inside = layers.TimeDistributed(layers.Lambda(lambda t: t, name="inner"), name="outer")
    z = layers.Lambda(lambda pair: pair[0], name="draw")([mean, log_var])
    z = layers.Flatten()(inside(layers.Reshape((2, 1))(z)))
    path = tmp_path / f"model.{suffix}"
    keras.saving.save_model(keras.Model(models[0].input, z), str(path))
    refuse(path, f"model.{suffix} cannot be read: layer 'draw', 'inner' is a Lambda, whose code")


@pytest.mark.filterwarnings("ignore:.*HDF5")
def test_weights_only_are_refused_by_name(models, tmp_path):
    models[1].save_weights(tmp_path / "a.weights.h5")
    refuse(
        tmp_path / "a.weights.h5",
        "a.weights.h5 holds weights only, expected a whole model: build the model in Python, call "
        "its load_weights",
    )


@pytest.mark.filterwarnings("ignore:.*HDF5")
def test_calls_of_keras_2_are_refused_by_name(models, tmp_path, monkeypatch):
    """Keras 2 wrote a functional model's `a + b` as a layer that Keras 3 does not know."""
    import h5py

    keras.saving.save_model(models[1], str(tmp_path / "a.h5"))
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace(
            '"class_name": "Dense"', '"class_name": "TFOpLambda"'
        )
    refuse(tmp_path / "a.h5", "'TFOpLambda' in it, a function call of Keras 2, is not known here")


def test_saved_models_that_are_unclear_are_refused(models, tmp_path):
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "saved_model.pb").write_bytes(b"abc")
    refuse(tmp_path / "junk", "junk cannot be read: Cannot parse file")
    module = Plain(models[0].get_weights())
    holder = tf.Module()
    holder.inner = module
    named = dict.fromkeys("ab", module.by_name.get_concrete_function())
    tf.saved_model.save(holder, str(tmp_path / "two"), signatures=named)
    refuse(tmp_path / "two", "two has the signatures 'a', 'b', expected 'serving_default' or one")

    @tf.function(input_signature=[tf.TensorSpec((None, 10), name=n) for n in "xy"])
    def both(x, y):
        return module(x + y)[0]

    tf.saved_model.save(module, str(tmp_path / "both"), signatures=both)
    refuse(tmp_path / "both", "both takes 'x', 'y' in its signature 'serving_default', expected")


def test_files_that_are_no_models(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"abc")
    (tmp_path / "a.h5").write_bytes(b"abc")
    refuse(tmp_path / "a.pt", "a.pt ends in .pt, expected .keras, .h5, .hdf5: load it in Python")
    refuse(tmp_path / "a.h5", "a.h5 cannot be read: ")
    refuse(tmp_path, "is not a file, expected a model (.keras, .h5, or the folder of a SavedModel)")
