"""The models of each preset: shapes, seeds and errors."""

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from vae_builder import PRESETS, build_models
from vae_runtime.errors import OptionError

MIRRORED = ("dense", "conv", "deep")
"""Presets whose layers all start at random; `test_table_model` has the other one."""

IMAGES = [(1, 1, 1), (5, 7, 1), (28, 28, 1), (33, 17, 3), (9, 7, 3)]


def weights(*models):
    return [weight.numpy() for model in models for weight in model.weights]


@pytest.mark.parametrize("shape", IMAGES)
@pytest.mark.parametrize("hidden", [(4,), (3, 2), (2, 3, 2)])
@pytest.mark.parametrize("preset", PRESETS)
def test_shapes(preset, hidden, shape):
    encoder, decoder = build_models(preset, shape, 5, hidden)
    x = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    code = encoder(x)
    assert {name: tuple(value.shape) for name, value in code.items()} == {
        "z_mean": (2, 5),
        "z_log_var": (2, 5),
    }
    output = decoder(code["z_mean"])
    assert tuple(output.shape) == (2, *shape)
    assert output.dtype == "float32"


@pytest.mark.parametrize("shape", [(1, 1), (13, 2), (8, 1), (1, 1, 1, 1), (6, 7, 5, 2)])
@pytest.mark.parametrize("preset", ["dense", "conv"])
def test_series_and_volumes(preset, shape):
    encoder, decoder = build_models(preset, shape, 5, (3, 2))
    code = encoder(np.random.default_rng(0).random((2, *shape), dtype=np.float32))
    assert tuple(code["z_log_var"].shape) == (2, 5)
    assert tuple(decoder(code["z_mean"]).shape) == (2, *shape)
    ranks = {len(w.shape) for w in encoder.weights} - {1, 2}
    assert ranks == ({len(shape) + 1} if preset == "conv" else set())


@pytest.mark.parametrize("size", [1, 6])
def test_dense_takes_vectors(size):
    encoder, decoder = build_models("dense", (size,), 2, (4,))
    assert tuple(decoder(encoder(np.zeros((3, size), np.float32))["z_log_var"]).shape) == (3, size)


@pytest.mark.parametrize(
    ("preset", "encoder_sizes", "decoder_sizes"),
    [
        ("dense", [7, 5, 3, 2 * 2], [3, 5, 7, 64]),
        # a grid of 1 x 1 with 3 filters, then the other filters in reverse, then the channel
        ("conv", [7, 5, 3, 2 * 2], [3, 5, 7, 1]),
    ],
)
def test_decoder_mirrors_the_encoder(preset, encoder_sizes, decoder_sizes):
    def sizes(model):
        return [len(w) for w in weights(model) if w.ndim == 1]

    encoder, decoder = build_models(preset, (8, 8, 1), 2, (7, 5, 3))
    assert sizes(encoder) == encoder_sizes
    assert sizes(decoder) == decoder_sizes


def test_odd_sizes_are_cropped_at_the_end():
    """The encoder's convolutions pad an odd size at the end too."""
    _, decoder = build_models("conv", (5, 7, 1), 2, (3, 2))  # 5 x 7, 3 x 4, 2 x 2 and back
    cut = {layer.name: layer.cropping for layer in decoder.layers if hasattr(layer, "cropping")}
    assert cut == {"crop_1": ((0, 1), (0, 0)), "crop": ((0, 1), (0, 1))}


def test_hidden_sizes_default_to_those_of_the_preset():
    encoder, _ = build_models("conv", (8, 8, 1), 2)
    filters = [layer.filters for layer in encoder.layers if hasattr(layer, "filters")]
    assert tuple(filters) == PRESETS["conv"].hidden == (32, 64)
    encoder, _ = build_models("dense", (8, 8, 1), 2)
    assert [w.shape for w in weights(encoder)[:2]] == [(64, 512), (512,)]
    assert PRESETS["dense"].hidden == (512, 256)


@pytest.mark.parametrize("preset", MIRRORED)
def test_outputs_are_linear(preset):
    """The outputs scale with the last layer's weights, so no activation follows it."""
    encoder, decoder = build_models(preset, (6, 6, 1), 2, (4, 3))
    z = np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)
    x = np.random.default_rng(1).random((4, 6, 6, 1), dtype=np.float32)
    last = decoder.get_layer("output")
    last.kernel.assign(last.kernel * 1000)
    large = decoder(z).numpy()
    last.kernel.assign(last.kernel * 2)
    assert large.min() < -10 and large.max() > 10
    np.testing.assert_allclose(decoder(z), 2 * large, rtol=1e-5, atol=1e-3)
    before = {name: value.numpy() for name, value in encoder(x).items()}
    heads = encoder.get_layer("heads")
    heads.kernel.assign(heads.kernel * 1000)
    for name in ("z_mean", "z_log_var"):
        assert before[name].min() < 0
        np.testing.assert_allclose(encoder(x)[name], 1000 * before[name], rtol=1e-4, atol=1e-3)
    assert not np.array_equal(before["z_mean"], before["z_log_var"])


@pytest.mark.parametrize("preset", MIRRORED)
def test_weights_depend_on_the_seed(preset):
    one, same, other = (
        weights(*build_models(preset, (6, 6, 1), 2, (4, 3), seed=seed)) for seed in (7, 7, 8)
    )
    assert all(map(np.array_equal, one, same))
    kernels = [(a, b) for a, b in zip(one, other, strict=True) if a.ndim > 1]
    assert len(kernels) >= 5
    assert not any(np.array_equal(a, b) for a, b in kernels)


def test_layers_have_different_initial_weights():
    kernels = [
        w.ravel()[:4] for w in weights(*build_models("dense", (4,), 4, (4, 4))) if w.ndim > 1
    ]
    assert len({tuple(np.round(k / np.abs(k).max(), 5)) for k in kernels}) == len(kernels)


@pytest.mark.parametrize("preset", PRESETS)
def test_global_random_state_is_neither_read_nor_changed(preset):
    def next_random_numbers():
        keras.utils.set_random_seed(3)
        if build:
            build_models(preset, (6, 6, 1), 2, (4, 3))
        return (
            random.random(),
            np.random.rand(),
            float(tf.random.uniform(())),
            float(keras.random.uniform(())),
        )

    build = False
    untouched = next_random_numbers()
    build = True
    assert next_random_numbers() == untouched
    keras.utils.set_random_seed(1)
    one = weights(*build_models(preset, (6, 6, 1), 2, (4, 3)))
    keras.utils.set_random_seed(2)
    assert all(map(np.array_equal, one, weights(*build_models(preset, (6, 6, 1), 2, (4, 3)))))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("resnet", (8, 8, 1), 2),
            "preset 'resnet' is unknown: choose one of dense, conv, deep, table",
        ),
        (("dense", (8, 8, 1), 0), "latent_dim is 0, expected 1 or more"),
        (("dense", (8, 8, 1), 2, (4, 0)), "hidden is (4, 0), expected sizes of 1 or more"),
        (
            ("conv", (8,), 2),
            "preset conv takes series (steps, channels), images (height, width, channels) and "
            "volumes (depth, height, width, channels), the data has samples of shape (8,): use "
            "preset dense, or --layout series if vectors are series",
        ),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(OptionError) as caught:
        build_models(*arguments)
    assert str(caught.value) == message
