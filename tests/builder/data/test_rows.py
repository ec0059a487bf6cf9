"""`Rows`: gives the same samples and data sets as arrays in memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from vae_builder.data import Dataset, Rows, load_dataset
from vae_builder.data.rows import read_chunks
from vae_runtime.errors import InputError

X = np.random.default_rng(0).random((50, 4, 3, 1))


def saved(path, x):
    np.save(path, x)
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize("dtype", ["u1", "?", "i2", ">f4", "f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("index", [None, np.array([7, 3, 49, 0, 7])])
def test_rows_equal_those_of_the_array(tmp_path, dtype, order, index):
    array = np.asarray(X * 200, dtype, order)
    file = saved(tmp_path / "x.npy", array)
    rows = Rows(file, index)
    expected = array if index is None else array[index]
    expected = expected if dtype == "u1" else expected.astype(np.float32)
    assert (rows.shape, rows.dtype, len(rows)) == (expected.shape, expected.dtype, len(expected))
    assert (rows.itemsize, rows.ndim) == (expected.itemsize, expected.ndim)
    keys = [0, -1, np.int64(2), slice(1, 4), slice(None), slice(None, None, -2), slice(9, 9)]
    for key in [*keys, [2, -1], np.array([[1, 0, 4], [3, 3, -2]]), np.arange(len(rows)) % 2 == 0]:
        found = rows[key]
        assert type(found) is np.ndarray
        assert found.dtype == expected.dtype
        assert not np.may_share_memory(found, file)
        np.testing.assert_array_equal(found, expected[key])
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(np.stack(list(rows)), expected)
    part = rows.subset(np.array([4, 0]))
    assert isinstance(part, Rows)
    np.testing.assert_array_equal(part, expected[[4, 0]])


def test_invalid_keys_are_refused():
    rows = Rows(X)
    for key in ((..., 0), ..., None, (0, 0), "a"):
        with pytest.raises(TypeError, match="rows are chosen by"):
            rows[key]
    for key in (50, -51, [3, 50]):
        with pytest.raises(IndexError):
            rows[key]
    with pytest.raises(ValueError, match="without a copy"):
        rows.__array__(copy=False)


@pytest.mark.parametrize("mapped", [False, True])
def test_chunks_are_small_and_contain_all_rows_in_order(tmp_path, monkeypatch, mapped):
    monkeypatch.setattr("vae_builder.data.rows.MAX_CHUNK_BYTES", 3 * 4 * 12 + 5)
    x = X.astype(np.float32)
    parts = list(read_chunks(Rows(saved(tmp_path / "x.npy", x)) if mapped else x))
    assert [first for first, _ in parts] == list(range(0, 50, 3))
    assert max(len(part) for _, part in parts) == 3
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), x)
    monkeypatch.setattr("vae_builder.data.rows.MAX_CHUNK_BYTES", 1)
    assert len(list(read_chunks(x))) == 50


DIGESTS = {
    "uint8": "f705c17536575719e525a2a21e4e954d445cf4209995a53e41002dc9536ab8c2",
    "float64": "3ae3863c9304b4f56cddb5ac8d327bb616a06a4c29c456e33090575b872ff3da",
}


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_digest_is_the_same_in_memory_mapped_and_in_the_first_release(tmp_path, dtype):
    x = (np.arange(600).reshape(50, 4, 3) * 7 % 256).astype(dtype)
    mapped = saved(tmp_path / "x.npy", x)
    datasets = [Dataset.from_arrays("x", array, split_seed=3) for array in (x, mapped)]
    assert [d.digest for d in datasets] == [DIGESTS[dtype]] * 2
    assert isinstance(datasets[0].train, np.ndarray)
    assert isinstance(datasets[1].train, Rows)
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(*(getattr(d, split) for d in datasets))


def test_digest_of_the_embedded_digits_is_the_same_as_in_the_first_release():
    assert (
        load_dataset("digits").digest
        == "fe62ad826558e12aa533ae1a0275e4207923a764721ded0c4ae08ba7c1dea02c"
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_value_that_is_not_finite_is_named_by_its_index_in_the_file(tmp_path, monkeypatch, bad):
    monkeypatch.setattr("vae_builder.data.rows.MAX_CHUNK_BYTES", 200)
    x = X.copy()
    x[41, 2, 2, 0] = bad
    saved(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match=r"^x\.npy: sample 41 has 1 values that are NaN or inf"):
        load_dataset(tmp_path / "x.npy")


def test_range_is_checked_in_every_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr("vae_builder.data.rows.MAX_CHUNK_BYTES", 200)
    x = X.copy()
    x[37] = 2
    dataset = Dataset.from_arrays("x", X, validation=saved(tmp_path / "x.npy", x), test=X)
    dataset.require_range((0, 2))
    with pytest.raises(InputError, match=r"^validation sample 37 has values from 2 to 2, expected"):
        dataset.require_range((0, 1))


def test_rows_of_a_data_set_can_make_another_one(tmp_path):
    rows = load_dataset(saved_path(tmp_path)).train
    again = Dataset.from_arrays("again", rows)
    assert isinstance(again.test, Rows)
    assert again.counts == {"train": len(rows) - 6, "validation": 2, "test": 4}


def saved_path(folder: Path) -> Path:
    np.save(folder / "x.npy", X)
    return folder / "x.npy"


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_a_file_is_never_read_into_memory_as_a_whole(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr("vae_builder.data.rows.MAX_CHUNK_BYTES", 1 << 18)
    path = tmp_path / "x.npy"
    np.lib.format.open_memmap(path, "w+", dtype, (16_000, 32, 32)).flush()
    tracemalloc.start()
    dataset = load_dataset(path)
    dataset.require_range((0, 1))
    assert len(dataset.digest) == 64
    assert dataset.train[np.arange(64).reshape(8, 8)].shape == (8, 8, 32, 32, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 << 20 < path.stat().st_size / 5


def test_splits_are_read_from_the_file_only_when_indexed(tmp_path):
    x = np.zeros((50, 4), np.uint8)
    path = tmp_path / "x.npy"
    np.save(path, x)
    dataset = load_dataset(path)
    file = np.load(path, mmap_mode="r+")
    file[:] = 7
    file.flush()
    assert (dataset.train[:] == 7).all()
