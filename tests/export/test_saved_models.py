"""SavedModels: signature, values after reading back, and digest of the weights."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from vae_builder import build_models
from vae_export.graphs.functions import exported_functions
from vae_export.saved_models import read_saved_model, weights_sha256, write_saved_model
from vae_runtime import Bundle, LossSpec
from vae_runtime.bundle.graph_fields import InputSpec


@pytest.mark.parametrize(
    ("reconstruction", "decoded"),
    [("bce", ["logits", "reconstruction"]), ("mse", ["reconstruction"])],
)
def test_signatures(exported, reconstruction, decoded):
    folder = exported("dense", reconstruction) / "saved_model"
    expected = {
        "encoder": ({"x": (None, 8, 8, 1)}, {"z_mean": (None, 3), "z_log_var": (None, 3)}),
        "decoder": ({"z": (None, 3)}, dict.fromkeys(decoded, (None, 8, 8, 1))),
    }
    for name, (inputs, outputs) in expected.items():
        signatures = tf.saved_model.load(str(folder / name)).signatures
        assert list(signatures) == ["serving_default"]
        found = signatures["serving_default"].structured_input_signature[1]
        assert {k: tuple(v.shape) for k, v in found.items()} == inputs
        found = signatures["serving_default"].structured_outputs
        assert {k: (tuple(v.shape), v.dtype.name) for k, v in found.items()} == {
            k: (shape, "float32") for k, shape in outputs.items()
        }


def test_values_read_back_are_those_of_the_model(tmp_path):
    encoder, decoder = build_models("conv", (5, 7, 3), 2, (3, 4), seed=1)
    functions = exported_functions(encoder, decoder, LossSpec("mse"), InputSpec((5, 7, 3)))
    write_saved_model(encoder, functions["encoder"], tmp_path / "encoder")
    x = np.random.default_rng(0).random((4, 5, 7, 3), dtype=np.float32)
    code = read_saved_model(tmp_path / "encoder")(x=tf.constant(x))
    for name, value in encoder(x).items():
        np.testing.assert_allclose(code[name], value, rtol=1e-5, atol=1e-6)
    assert not (tmp_path / "encoder" / "assets").exists()


def test_digest_is_the_sha256_of_dtype_shape_and_bytes():
    encoder, _ = build_models("dense", (2,), 1, (1,), seed=1)
    content = b""
    shapes = ["(2, 1)", "(1,)", "(1, 2)", "(2,)"]
    for weight, shape in zip(encoder.get_weights(), shapes, strict=True):
        content += f"<f4 {shape}\n".encode() + weight.tobytes()
    assert weights_sha256(encoder) == hashlib.sha256(content).hexdigest()


def test_digest_changes_with_one_weight_and_not_with_a_copy():
    one, same = (build_models("conv", (6, 6, 1), 2, (3,), seed=1)[0] for _ in range(2))
    before = weights_sha256(one)
    assert weights_sha256(same) == before
    weight = one.weights[-1]
    changed = weight.numpy()
    changed[-1] = np.nextafter(changed[-1], np.float32(1))
    weight.assign(changed)
    assert weights_sha256(one) != before


def test_manifest_states_the_digest_of_the_stored_variables(exported, small_models):
    path = exported()
    manifest = Bundle(path).manifest
    for name in ("encoder", "decoder"):
        restored = tf.saved_model.load(str(path / "saved_model" / name))
        model = small_models()[name == "decoder"]
        stored = {v.numpy().tobytes() for v in restored.variables}
        assert len(stored) == len(model.weights)
        for weight in model.weights:
            assert weight.numpy().tobytes() in stored
        assert getattr(manifest.saved_models, name).weights_sha256 == weights_sha256(model)
        assert getattr(manifest.saved_models, name).path == f"saved_model/{name}"
