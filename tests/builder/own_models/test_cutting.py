"""Encoders in files whose sampled z cannot be read, and files that Keras 2 wrote.

The files in `keras2/` were written by tf_keras 2.21, whose format is that of Keras 2: an encoder
that samples z by functions of TensorFlow, a decoder of transposed convolutions, and a model of
separable ones. `outputs.npz` has what Keras 2 computed from them.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from vae_builder import load_model
from vae_builder.own_models.cutting import cut
from vae_builder.own_models.keras2 import modernized
from vae_runtime.errors import ExportError

KERAS2 = Path(__file__).parent / "keras2"


@pytest.fixture(scope="module")
def outputs():
    with np.load(KERAS2 / "outputs.npz") as arrays:
        return dict(arrays)


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-5, atol=1e-6)


def test_an_encoder_of_keras_2_without_its_sampled_z(outputs, caplog):
    encoder = load_model(KERAS2 / "encoder.h5")
    z_mean, z_log_var = encoder([outputs["x"]])
    close(z_mean, outputs["z_mean"])
    close(z_log_var, outputs["z_log_var"])
    assert "layers that cannot be read are left out" in caplog.text
    assert "tf.random.normal" in caplog.text


def test_layers_of_keras_2_with_options_that_keras_3_does_not_know(outputs):
    close(load_model(KERAS2 / "decoder.h5")([outputs["z_mean"]]), outputs["reconstruction"])
    close(load_model(KERAS2 / "separable.h5")(outputs["separable_x"]), outputs["separable"])


def test_an_option_that_is_on_is_kept():
    layer = {"class_name": "Conv2DTranspose", "config": {"filters": 2, "groups": 2}}
    assert modernized([layer]) == [layer]
    layer["config"]["groups"] = 1
    assert modernized([layer]) == [{"class_name": "Conv2DTranspose", "config": {"filters": 2}}]


def encoder(draw, *, second=True):
    """An encoder of z_mean, z_log_var and a drawn z."""
    x = keras.Input((6,))
    h = layers.Dense(4, "relu")(x)
    z_mean, z_log_var = layers.Dense(2, name="z_mean")(h), layers.Dense(2, name="z_log_var")(h)
    z = draw([z_mean, z_log_var])
    return keras.Model(x, [z_mean, z_log_var, z] if second else [z])


def unregistered():
    class Drawn(layers.Layer):
        def call(self, inputs):
            return inputs[0] + keras.ops.exp(inputs[1] / 2) * keras.random.normal((1, 2))

    return Drawn(name="z")


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize(
    "draw", [lambda: layers.Lambda(lambda pair: pair[0], name="z"), unregistered]
)
@pytest.mark.filterwarnings("ignore:.*HDF5")
def test_z_of_code_or_of_an_unknown_class_is_left_out(draw, suffix, tmp_path):
    model = encoder(draw())
    keras.saving.save_model(model, str(tmp_path / f"encoder.{suffix}"))
    x = np.random.default_rng(0).random((3, 6), dtype=np.float32)
    for found, expected in zip(
        load_model(tmp_path / f"encoder.{suffix}")(x), model(x)[:2], strict=True
    ):
        close(found, np.asarray(expected))


def test_a_layer_that_all_outputs_need_is_not_left_out(tmp_path):
    model = encoder(layers.Lambda(lambda pair: pair[0], name="z"), second=False)
    config = json.loads(model.to_json())
    assert cut(config) == (config, [])
    model.save(tmp_path / "encoder.keras")
    with pytest.raises(ExportError, match="layer 'z' is a Lambda, whose code would have to be run"):
        load_model(tmp_path / "encoder.keras")
