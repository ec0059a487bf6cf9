"""Reference values: the choice of inputs, and comparison with the models and with NumPy."""

import hashlib
import io
import zipfile

import numpy as np
import pytest

from vae_export.reference import parity_inputs, recompute
from vae_runtime import Bundle
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.bundle.packing import pack
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.errors import BundleError
from vae_runtime.files.npz import npz_bytes
from vae_runtime.proof.reference import read_reference


def test_inputs_are_the_samples_then_zeros_ones_and_noise():
    samples = np.arange(5 * 12, dtype=np.uint8).reshape(5, 4, 3, 1)
    x, eps = parity_inputs(samples, (2,), InputSpec((4, 3, 1)))
    assert (x.shape, x.dtype, eps.shape, eps.dtype) == ((8, 4, 3, 1), "float32", (8, 2), "float32")
    np.testing.assert_array_equal(x[:5], samples.astype(np.float32) / np.float32(255))
    assert (x[5] == 0).all() and (x[6] == 1).all()
    noise = x[7]
    assert len(np.unique(noise)) == 12 and noise.min() >= 0 and noise.max() <= 1
    assert abs(eps.mean()) < 1 and 0.5 < eps.std() < 2


def test_inputs_of_graphs_that_take_raw_values():
    """Raw pixels are kept; zeros, ones and noise are values after standardization."""
    pixels = np.arange(5 * 12, dtype=np.uint8).reshape(5, 4, 3, 1)
    x, _ = parity_inputs(pixels, (2,), InputSpec((4, 3, 1), "uint8"))
    assert x.dtype == np.uint8
    np.testing.assert_array_equal(x[:5], pixels)
    assert (x[5] == 0).all() and (x[6] == 255).all() and len(np.unique(x[7])) > 6
    constants = Standardization((100.0, -1.0), (10.0, 0.5))
    table = np.zeros((5, 2), np.float32)
    x, _ = parity_inputs(table, (2,), InputSpec((2,), standardization=constants))
    np.testing.assert_allclose(x[5:7], [[100, -1], [110, -0.5]])
    assert 100 <= x[7, 0] <= 110 and -1 <= x[7, 1] <= -0.5


def test_inputs_are_always_the_same_and_bounded():
    samples = np.zeros((100, 4, 4, 1), np.float32)
    one, two = (parity_inputs(samples, (3,), InputSpec((4, 4, 1))) for _ in range(2))
    assert all(map(np.array_equal, one, two))
    assert len(one[0]) == 64
    huge, _ = parity_inputs(np.zeros((10, 600, 600, 3), np.float32), (1,), InputSpec((600, 600, 3)))
    assert len(huge) == 4  # one sample, then zeros, ones and noise
    assert len(parity_inputs(samples[:0], (3,), InputSpec((4, 4, 1)))[0]) == 3


@pytest.mark.parametrize("reconstruction", ["bce", "mse"])
@pytest.mark.parametrize("preset", ["dense", "conv"])
def test_values_against_the_models_and_numpy(exported, small_models, preset, reconstruction):
    bundle = Bundle(exported(preset, reconstruction, (9, 7, 3)))
    ref = {name: array.astype(float) for name, array in read_reference(bundle).items()}
    encoder, decoder = small_models(preset, (9, 7, 3))
    code = encoder(ref["x"].astype(np.float32))
    close = {"rtol": 1e-4, "atol": 1e-5}
    for name in ("z_mean", "z_log_var"):
        np.testing.assert_allclose(ref[name], code[name], **close)
    std = np.sqrt(np.exp(ref["z_log_var"]))
    np.testing.assert_allclose(ref["z"], ref["z_mean"] + std * ref["eps"], **close)
    output = decoder(ref["z"].astype(np.float32)).numpy().astype(float)
    if reconstruction == "bce":
        np.testing.assert_allclose(ref["logits"], output, **close)
        p = 1 / (1 + np.exp(-ref["logits"]))
        np.testing.assert_allclose(ref["reconstruction"], p, **close)
        element = -(ref["x"] * np.log(p) + (1 - ref["x"]) * np.log1p(-p))
    else:
        assert "logits" not in ref
        np.testing.assert_allclose(ref["reconstruction"], output, **close)
        element = (ref["x"] - output) ** 2
    kl = 0.5 * (std**2 + ref["z_mean"] ** 2 - 1 - 2 * np.log(std)).sum(1)
    np.testing.assert_allclose(ref["reconstruction_loss"], element.sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(ref["kl_loss"], kl, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ref["loss"], ref["reconstruction_loss"] + ref["kl_loss"], rtol=1e-6)
    assert np.abs(ref["eps"]).min() > 0


def test_recomputed_values_equal_the_stored_ones(exported):
    bundle = Bundle(exported())
    stored, again = read_reference(bundle), recompute(bundle)
    assert list(stored) and set(stored) == set(again)
    for name, array in stored.items():
        np.testing.assert_allclose(again[name], array, rtol=1e-6, atol=1e-6)


def test_recompute_reads_a_packed_bundle(exported, tmp_path):
    packed = pack(exported(), tmp_path / "a.vae", saved_models=True)
    stored, again = read_reference(Bundle(packed.path)), recompute(Bundle(packed.path))
    np.testing.assert_allclose(again["loss"], stored["loss"], rtol=1e-6)
    without = pack(exported(), tmp_path / "b.vae")
    with pytest.raises(BundleError, match=r"b\.vae has no SavedModels: use the bundle that"):
        recompute(Bundle(without.path))


def test_recompute_opens_no_savedmodel_that_was_changed(bundle):
    file = next((bundle / "saved_model" / "encoder").glob("*.pb"))
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match=r"saved_model.encoder.*changed after export"):
        recompute(Bundle(bundle))


def test_npz_bytes_are_deterministic_and_read_by_numpy():
    arrays = {
        "b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "a": np.asfortranarray(np.ones((3, 2), np.float32)),
    }
    data = npz_bytes(arrays)
    with np.load(io.BytesIO(data), allow_pickle=False) as loaded:
        assert list(loaded) == ["b", "a"]
        assert all(np.array_equal(loaded[name], array) for name, array in arrays.items())
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.testzip() is None
        content = b"".join(archive.read(entry) for entry in archive.infolist())
    assert (
        hashlib.sha256(content).hexdigest()
        == hashlib.sha256(b"".join(_npy(array) for array in arrays.values())).hexdigest()
    )
    assert npz_bytes(arrays) == data


def _npy(array):
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array))
    return file.getvalue()
