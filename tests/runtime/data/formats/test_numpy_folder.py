"""Folders of `.npy` files: samples, or arrays with names."""

import numpy as np
import pytest

from vae_builder.data import load_dataset
from vae_runtime.data.sources import load_array, load_samples, load_splits
from vae_runtime.errors import InputError

X = np.random.default_rng(0).random((12, 3, 4)).astype(np.float32)


def save(folder, **arrays):
    for name, array in arrays.items():
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)


def test_numbered_files_are_samples(tmp_path):
    save(tmp_path, **{f"s{i:02}": x for i, x in enumerate(X)})
    loaded = load_samples(tmp_path)
    np.testing.assert_array_equal(loaded.x, X)
    assert loaded.names[:2] == ("s00.npy", "s01.npy")
    assert loaded.labels is None
    assert sum(load_dataset(tmp_path).counts.values()) == 12


def test_subfolders_are_splits_and_labels(tmp_path):
    names = ["train/a/0", "train/b/1", "train/a/2", "train/b/3", "test/a/0", "test/b/1"]
    save(tmp_path, **dict(zip(names, X, strict=False)))
    splits = load_splits(tmp_path)
    np.testing.assert_array_equal(splits["train"].x, X[[0, 2, 1, 3]])
    assert splits["train"].labels.tolist() == ["a", "a", "b", "b"]
    np.testing.assert_array_equal(load_array(tmp_path), X[4:6])


def test_named_arrays_as_in_an_npz(tmp_path):
    save(tmp_path, x_train=X[:8], y_train=np.arange(8), x_test=X[8:], y_test=np.arange(4))
    loaded = load_samples(tmp_path)
    np.testing.assert_array_equal(loaded.x, X[8:])
    assert loaded.labels.tolist() == [0, 1, 2, 3]
    assert load_dataset(tmp_path).counts["test"] == 4
    assert len(load_array(tmp_path, key="x_train")) == 8


def test_train_and_test(tmp_path):
    save(tmp_path, train=X[:8], test=X[8:])
    np.testing.assert_array_equal(load_array(tmp_path), X[8:])


def test_two_arrays_of_unknown_names_are_refused(tmp_path):
    save(tmp_path, left=X, right=X)
    with pytest.raises(InputError, match=r"holds left \(12, 3, 4\) float32, right .* --key left"):
        load_array(tmp_path)


def test_a_sample_of_another_shape_is_named(tmp_path):
    save(tmp_path, s0=X[0], s1=X[1], s2=X[2][:2])
    with pytest.raises(InputError, match=r"s2\.npy is \(2, 4\) float32, s0\.npy is \(3, 4\)"):
        load_array(tmp_path)
