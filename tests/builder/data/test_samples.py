"""What arrays carry besides their values: masks, names of columns, and what uint8 stands for."""

import numpy as np
import pyarrow as pa
import pytest

from vae_builder.data import Dataset
from vae_builder.training.train import data_spec
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.errors import InputError

BITS = np.random.default_rng(0).integers(0, 2, (40, 3, 3), dtype=np.uint8)


def in_memory(x, path):
    return x


def in_a_file(x, path):
    np.save(path / "x.npy", x)
    return np.load(path / "x.npy", mmap_mode="r")


@pytest.mark.parametrize("kind", [in_memory, in_a_file])
def test_uint8_whose_largest_value_is_1_is_0_and_1(kind, tmp_path):
    with pytest.warns(InputWarning, match=r"^masks: the largest uint8 value is 1, so this is 0/1"):
        dataset = Dataset.from_arrays("masks", kind(BITS, tmp_path))
    as_bool = Dataset.from_arrays("masks", BITS.astype(bool))
    assert (dataset.binary_uint8, as_bool.binary_uint8) == (True, False)
    assert data_spec(dataset).binary_uint8
    for split in ("train", "validation", "test"):
        found = np.asarray(getattr(dataset, split))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, getattr(as_bool, split))
    assert dataset.digest == as_bool.digest


@pytest.mark.parametrize("kind", [in_memory, in_a_file])
@pytest.mark.parametrize("split", ["train", "test"])
def test_one_larger_value_in_any_split_makes_pixels(kind, split, tmp_path):
    arrays = {"train": BITS, "test": BITS}
    arrays[split] = BITS.copy()
    arrays[split][-1, -1, -1] = 2
    dataset = Dataset.from_arrays("x", kind(arrays["train"], tmp_path), test=arrays["test"])
    assert (dataset.train.dtype, dataset.binary_uint8) == (np.uint8, False)


def test_black_pictures_are_pixels():
    assert Dataset.from_arrays("x", 0 * BITS).train.dtype == np.uint8


def test_masked_values_are_refused():
    x = np.ma.masked_equal(np.arange(18.0).reshape(9, 2), 7)
    with pytest.raises(InputError, match=r"^x: samples has 1 masked values \(of 18\)"):
        Dataset.from_arrays("x", x)


def test_a_frame_keeps_its_names_and_other_splits_follow_them():
    x = np.arange(30.0).reshape(10, 3)
    frame = pa.table({name: x[:, i] for i, name in enumerate("abc")})
    test = frame.select(["c", "a", "b"]).slice(0, 4)
    dataset = Dataset.from_arrays("t", frame, test=test)
    assert (dataset.columns, dataset.is_table) == (("a", "b", "c"), True)
    np.testing.assert_array_equal(dataset.test, x[:4])
    chosen = Dataset.from_arrays("t", frame, test=test, columns=("c", "b"))
    np.testing.assert_array_equal(chosen.test, x[:4, [2, 1]])
    with pytest.raises(InputError, match="t: test samples has no column 'b'"):
        Dataset.from_arrays("t", frame, test=test.drop_columns("b"))


def test_numbers_of_a_table_are_never_divided():
    x = np.array([[0, 200]] * 9, np.uint8)
    frame = pa.table({"a": x[:, 0], "b": x[:, 1]})
    for dataset in (
        Dataset.from_arrays("t", frame),
        Dataset.from_arrays("t", x, columns=("a", "b")),
    ):
        assert (dataset.train.dtype, dataset.train.max()) == (np.float32, 200)


@pytest.mark.parametrize("kind", [in_memory, in_a_file])
@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_integers_that_float32_rounds_are_named(kind, dtype, tmp_path):
    x = np.stack([np.arange(9), 1_700_000_000_123 + np.arange(9)], axis=1).astype(dtype)
    with pytest.warns(
        InputWarning, match="^t: column 'ms' holds integers beyond 16,777,216"
    ) as all_:
        Dataset.from_arrays("t", kind(x, tmp_path), columns=("a", "ms"))
    assert len(all_) == 1
