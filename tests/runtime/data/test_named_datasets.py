"""Data sets by name. A stub replaces Keras, so no test needs Keras or the network."""

import hashlib
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from vae_builder.data import load_dataset
from vae_runtime.data.sources import load_array, load_samples
from vae_runtime.errors import InputError, MissingExtraError, OptionError

SHA256 = {
    "x_train": "2f7182bf021ffc5c1f62db987487f14d899b5c639f421a80f3095affc09a7db2",
    "x_test": "170ff6838184f9ec6aaa1bbb5932ed59b7463585418d2da081525165ef21edae",
    "y_train": "2f345bad07338ec537641465e169cc4b7288a44244f251211c7f842641e7d927",
    "y_test": "949a3782a9c308bf8ca08ff720810fe1de358fe09887727264c684c785d1ec53",
}
DIGEST = "fe62ad826558e12aa533ae1a0275e4207923a764721ded0c4ae08ba7c1dea02c"
"""Digest of the data set, which bundles state: labels are no part of it."""


def test_embedded_digits_are_the_bytes_that_origin_md_states():
    from importlib import resources

    folder = resources.files("vae_runtime.data") / "digits"
    with (folder / "digits.npz").open("rb") as stream, np.load(stream) as arrays:
        found = {name: hashlib.sha256(x.tobytes()).hexdigest() for name, x in arrays.items()}
        assert arrays["x_train"].shape == (10_000, 28, 28)
        assert arrays["x_test"].shape == (2_000, 28, 28)
        assert (arrays["y_train"].shape, arrays["y_test"].shape) == ((10_000,), (2_000,))
    assert found == SHA256
    origin = (folder / "ORIGIN.md").read_text(encoding="utf-8")
    assert all(digest in origin for digest in SHA256.values())
    licence = (folder / "LICENSE.txt").read_text(encoding="utf-8")
    assert "Yann LeCun and Corinna Cortes" in licence
    assert "https://creativecommons.org/licenses/by-sa/3.0/" in licence


def test_digits():
    dataset = load_dataset("digits")
    assert dataset.name == "digits"
    assert dataset.counts == {"train": 9500, "validation": 500, "test": 2000}
    assert dataset.input_shape == (28, 28, 1)
    assert dataset.train.dtype == np.uint8
    assert hashlib.sha256(dataset.test.tobytes()).hexdigest() == SHA256["x_test"]
    assert hashlib.sha256(load_array("digits").tobytes()).hexdigest() == SHA256["x_test"]
    assert dataset.digest == DIGEST


def test_digits_have_labels():
    scored = load_samples("digits")
    assert (scored.labels.dtype, scored.labels[:6].tolist()) == (np.uint8, [7, 2, 1, 0, 4, 1])
    dataset = load_dataset("digits")
    assert (dataset.labels["test"] == scored.labels).all()
    assert {split: len(own) for split, own in dataset.labels.items()} == dataset.counts
    assert [dataset.labels["train"][i] for i in (0, 1, 2)] == [5, 0, 4]
    assert dataset.conditions is None
    # Labels are split as the images are: those of one digit are more like each other.
    x, y = dataset.validation.reshape(500, -1) / 255.0, dataset.labels["validation"]
    within = np.mean([x[y == digit].var(axis=0).sum() for digit in range(10)])
    assert within < 0.85 * x.var(axis=0).sum()


def test_digits_are_conditions():
    dataset = load_dataset("digits", condition="labels")
    assert dataset.conditions["test"].spec.categories == tuple("0123456789")
    assert (dataset.conditions["train"].values.argmax(axis=1) == dataset.labels["train"]).all()


def test_digits_need_numpy_only():
    code = (
        "import sys; from vae_builder.data import load_dataset; load_dataset('digits');"
        "print(sorted({'tensorflow', 'keras', 'PIL', 'pandas', 'onnx'} & set(sys.modules)))"
    )
    path = ":".join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path}
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def replace_keras(monkeypatch, name, load_data):
    module = ModuleType(f"keras.datasets.{name}")
    module.load_data = load_data
    for parent in ("keras", "keras.datasets"):
        monkeypatch.setitem(sys.modules, parent, ModuleType(parent))
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_keras_loader(monkeypatch, name):
    x, y = np.arange(60, dtype=np.uint8).reshape(15, 2, 2), np.arange(15)
    replace_keras(monkeypatch, name, lambda: ((x[:10], y[:10]), (x[10:], y[10:])))
    dataset = load_dataset(name)
    assert dataset.name == name
    assert dataset.counts == {"train": 9, "validation": 1, "test": 5}
    assert (dataset.test[..., 0] == x[10:]).all()
    assert (load_array(name) == x[10:]).all()
    assert load_samples(name).labels.tolist() == [10, 11, 12, 13, 14]


def test_download_that_fails(monkeypatch):
    def load_data():
        raise Exception("URL fetch failure on https://example.org:\nNone -- unreachable")

    replace_keras(monkeypatch, "mnist", load_data)
    with pytest.raises(InputError, match=r"mnist could not be download.*give the file") as caught:
        load_dataset("mnist")
    assert "\n" not in str(caught.value)


def test_without_keras(monkeypatch):
    for module in ("keras", "keras.datasets", "keras.datasets.mnist"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"the data set mnist needs keras.*\[build\]"):
        load_array("mnist")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "x"}, "digits is not one: drop the key"),
        ({"image_size": (4, 4)}, "digits holds arrays"),
        ({"channels": 1}, "digits holds arrays"),
    ],
)
@pytest.mark.parametrize("load", [load_array, load_dataset])
def test_options_that_do_not_apply_to_a_name(load, options, message):
    with pytest.raises(OptionError, match=message):
        load("digits", **options)
