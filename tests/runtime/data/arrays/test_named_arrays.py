"""Choice of samples, labels and splits among named arrays, as packages and benchmarks name them."""

import numpy as np
import pytest

from vae_builder.data import load_dataset
from vae_runtime.data.arrays.named_arrays import ArrayInfo, choose_arrays
from vae_runtime.data.sources import load_array, load_samples, load_splits
from vae_runtime.errors import InputError

IMAGES, TABLE, LABELS = (12, 4, 4), (12, 5), (12,)


def infos(**shapes):
    return {name: ArrayInfo(shape, np.dtype(np.uint8)) for name, shape in shapes.items()}


def chosen(key=None, **shapes):
    choice = choose_arrays(infos(**shapes), where="a.npz", key=key)
    return choice.samples, choice.labels


CLEAR = {
    "ADBench": ({"X": TABLE, "y": LABELS}, {"train": "X"}, {"train": "y"}),
    "Keras": (
        {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS},
        {"train": "x_train", "test": "x_test"},
        {"train": "y_train", "test": "y_test"},
    ),
    "capitals": (
        {"X_train": TABLE, "Y_train": (12, 1), "X_valid": TABLE, "Y_valid": (12, 1)},
        {"train": "X_train", "validation": "X_valid"},
        {"train": "Y_train", "validation": "Y_valid"},
    ),
    "MedMNIST": (
        {
            f"{split}_{what}": shape
            for split in ("train", "val", "test")
            for what, shape in (("images", (12, 4, 4, 3)), ("labels", (12, 1)))
        },
        {"train": "train_images", "validation": "val_images", "test": "test_images"},
        {"train": "train_labels", "validation": "val_labels", "test": "test_labels"},
    ),
    "splits only": ({"test": TABLE, "train": TABLE}, {"train": "train", "test": "test"}, {}),
    "DeepLearnToolbox": (
        {"train_x": TABLE, "test_x": TABLE, "train_y": (12, 10), "test_y": (12, 10)},
        {"train": "train_x", "test": "test_x"},
        {"train": "train_y", "test": "test_y"},
    ),
    "camel case": (
        {"trainX": TABLE, "trainY": LABELS, "XTest": TABLE},
        {"train": "trainX", "test": "XTest"},
        {"train": "trainY"},
    ),
    "glued": (
        {"xtrain": TABLE, "ytrain": LABELS, "xtest": TABLE, "ytest": LABELS},
        {"train": "xtrain", "test": "xtest"},
        {"train": "ytrain", "test": "ytest"},
    ),
    "short": ({"X_tr": TABLE, "X_te": TABLE}, {"train": "X_tr", "test": "X_te"}, {}),
    "images and labels": (
        {"labels": LABELS, "images": IMAGES},
        {"train": "images"},
        {"train": "labels"},
    ),
    "data and target": (
        {"data": TABLE, "target": LABELS, "feature_names": (5,), "target_names": (3,)},
        {"train": "data"},
        {"train": "target"},
    ),
    "features": ({"features": TABLE, "ids": LABELS}, {"train": "features"}, {}),
    "Cai's": ({"fea": TABLE, "gnd": (12, 1)}, {"train": "fea"}, {"train": "gnd"}),
    "arr_0": ({"arr_0": IMAGES, "arr_1": LABELS}, {"train": "arr_0"}, {"train": "arr_1"}),
    "dSprites": (
        {"metadata": (), "imgs": (12, 8, 8), "latents_values": (12, 6), "latents_classes": (12, 6)},
        {"train": "imgs"},
        {},
    ),
    "Coursera": (
        {"train_set_x": IMAGES, "train_set_y": LABELS, "list_classes": (2,)},
        {"train": "train_set_x"},
        {"train": "train_set_y"},
    ),
    "another word": (
        {"spectra_train": TABLE, "spectra_test": TABLE, "mean": (5,)},
        {"train": "spectra_train", "test": "spectra_test"},
        {},
    ),
    "x and y of data": ({"x_data": TABLE, "y_data": (12, 2)}, {"train": "x_data"}, {}),
    "test only": ({"x_test": TABLE, "y_test": LABELS}, {"train": "x_test"}, {"train": "y_test"}),
}


@pytest.mark.parametrize("case", CLEAR)
def test_only_one_reading_makes_sense(case):
    arrays, samples, labels = CLEAR[case]
    assert chosen(**arrays)[0] == samples
    if case != "x and y of data":  # its y may be one-hot, which the values decide
        assert chosen(**arrays)[1].items() >= labels.items()


@pytest.mark.parametrize(
    "arrays",
    [
        {"left": IMAGES, "right": IMAGES},
        {"images": IMAGES, "features": TABLE},
        {"X": TABLE, "x": TABLE},
        {"arr_0": IMAGES, "arr_1": IMAGES},
        {"x_train": IMAGES, "train_x": IMAGES, "x_test": IMAGES},
        {"x_train": IMAGES, "x": IMAGES},
        {"train_a": IMAGES, "test_a": IMAGES, "train_b": IMAGES, "test_b": IMAGES},
        {"labels": LABELS, "names": LABELS},
        {"x_val": IMAGES, "x_test": IMAGES},
        {},
    ],
)
def test_anything_else_is_refused_with_all_arrays(arrays):
    with pytest.raises(InputError, match=r"^a\.npz holds .*: (name the one to use|save)") as caught:
        chosen(**arrays)
    assert all(f"{name} {shape} uint8" in str(caught.value) for name, shape in arrays.items())


def test_the_advice_is_an_array_of_samples_to_train_on():
    shapes = {"test_a": (90, 4, 4), "train_a": IMAGES, "train_b": (12, 2, 2), "labels": (999,)}
    with pytest.raises(InputError, match=r"such as --key train_a$"):
        chosen(**shapes)


def test_a_key_of_the_training_split_keeps_the_splits_of_the_file(tmp_path):
    arrays = {f"{s}_{n}": np.full((n, 3), i) for i, s in enumerate(["train", "test"]) for n in (9,)}
    arrays |= {
        "train_b": np.full((12, 2), 5),
        "test_b": np.full((4, 2), 6),
        "train_labels": [1] * 9,
    }
    np.savez(tmp_path / "a.npz", **arrays)
    assert {s: len(x.x) for s, x in load_splits(tmp_path / "a.npz", key="train_b").items()} == {
        "train": 12,
        "test": 4,
    }
    assert load_array(tmp_path / "a.npz", key="train_b").tolist() == [[5, 5]] * 12
    assert len(load_splits(tmp_path / "a.npz", key="test_b")["train"].x) == 4


def test_labels_are_given_by_split_and_not_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.random((30, 4), np.float32), rng.integers(0, 3, (30, 1), np.uint8)
    names = {"train": slice(0, 20), "val": slice(20, 24), "test": slice(24, 30)}
    arrays = {f"{s}_images": x[part] for s, part in names.items()}
    np.savez(tmp_path / "a.npz", **arrays, **{f"{s}_labels": y[p] for s, p in names.items()})
    splits = load_splits(tmp_path / "a.npz")
    for split, part in zip(splits.values(), names.values(), strict=True):
        np.testing.assert_array_equal(split.x, x[part])
        np.testing.assert_array_equal(split.labels, y[part, 0])
    scored = load_samples(tmp_path / "a.npz")
    np.testing.assert_array_equal(scored.labels, y[24:, 0])
    dataset = load_dataset(tmp_path / "a.npz")
    assert dataset.counts == {"train": 20, "validation": 4, "test": 6}
    np.testing.assert_array_equal(dataset.validation, x[20:24])


def test_names_of_classes_are_no_labels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (12, 4, 4, 3), np.uint8)
    for name in ("class_names", "labels"):  # as many as there are channels
        np.savez(tmp_path / "a.npz", images=images, **{name: np.array(["a", "b", "c"])})
        loaded = load_samples(tmp_path / "a.npz")
        np.testing.assert_array_equal(loaded.x, images)
        assert loaded.labels is None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.eye(3)[[2, 0, 1, 1]], [2, 0, 1, 1]),
        (np.array([["a"], ["b"], ["a"], ["c"]]), ["a", "b", "a", "c"]),
        (np.array([b"a", b"b", b"a", b"c"]), ["a", "b", "a", "c"]),
        (np.array([True, False, True, True]), [True, False, True, True]),
        (np.array([[1, 1, 0]] * 4), None),
        (np.array([1, 2, 3]), None),
    ],
)
def test_forms_of_labels(tmp_path, labels, expected):
    np.savez(tmp_path / "a.npz", X=np.zeros((4, 5)), y=labels)
    found = load_samples(tmp_path / "a.npz").labels
    assert (None if found is None else found.tolist()) == expected


def test_samples_in_the_last_axis_are_turned_as_the_labels_say(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 7), np.uint8)  # SVHN
    np.savez(tmp_path / "a.npz", X=x, y=np.arange(7)[:, None])
    loaded = load_samples(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded.x, [x[..., i] for i in range(7)])
    assert loaded.labels.tolist() == [*range(7)]
    assert (
        "(32, 32, 3, 7) has its samples in the last axis, as there are 7 labels" in loaded.notes[0]
    )
    with pytest.warns(UserWarning, match="samples in the last axis"):
        load_array(tmp_path / "a.npz")
