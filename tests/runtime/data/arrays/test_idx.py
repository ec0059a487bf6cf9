"""IDX files, written here byte by byte from the description of the format."""

import gzip
import struct

import numpy as np
import pytest

from vae_builder.data import load_dataset
from vae_runtime.data.sources import load_array
from vae_runtime.errors import InputError


def idx(code, shape, content):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + content


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("code", "letter", "dtype"),
    [
        (0x08, "B", "uint8"),
        (0x09, "b", "int8"),
        (0x0B, "h", "int16"),
        (0x0C, "i", "int32"),
        (0x0D, "f", "float32"),
        (0x0E, "d", "float64"),
    ],
)
def test_every_dtype_plain_and_gzipped(tmp_path, code, letter, dtype, zipped):
    values = [1, 2, 3, 100, 5, 6]
    content = idx(code, (3, 2), struct.pack(f">6{letter}", *values))
    path = tmp_path / "any.name"
    path.write_bytes(gzip.compress(content) if zipped else content)
    x = load_array(path)
    assert x.dtype == np.dtype(dtype)
    assert x.dtype.isnative
    assert x.tolist() == [[1, 2], [3, 100], [5, 6]]


def test_known_bytes(tmp_path):
    (tmp_path / "x").write_bytes(bytes.fromhex("00000803000000020000000100000002 01020304"))
    assert load_array(tmp_path / "x").tolist() == [[[1, 2]], [[3, 4]]]


def write_mnist(folder, suffixes=("", "")):
    for name, n, suffix in zip(["train", "t10k"], [20, 6], suffixes, strict=True):
        content = idx(8, (n, 2, 3), bytes(range(n * 6)))
        path = folder / f"{name}-images-idx3-ubyte{suffix}"
        path.write_bytes(gzip.compress(content) if suffix else content)


@pytest.mark.parametrize("suffixes", [("", ""), (".gz", ".gz"), ("", ".gz")])
def test_mnist_folder(tmp_path, suffixes):
    write_mnist(tmp_path, suffixes)
    dataset = load_dataset(tmp_path)
    assert dataset.counts == {"train": 19, "validation": 1, "test": 6}
    assert dataset.name == tmp_path.name
    assert dataset.test.tobytes() == bytes(range(36))
    assert load_array(tmp_path).shape == (6, 2, 3)


def test_mnist_folder_without_its_test_images(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(
        InputError, match=r"no pictures .* and is not a folder of MNIST's IDX files"
    ):
        load_dataset(tmp_path)


def test_labels_are_refused(tmp_path):
    (tmp_path / "x").write_bytes(idx(8, (5,), bytes(5)))
    with pytest.raises(InputError, match="give samples, not labels"):
        load_dataset(tmp_path / "x")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 2), "its header says"),
        ((2, 2), "its header says shape .* 4 bytes, but it holds more"),
        ((2**32 - 1,) * 4, "a file of .* bytes cannot hold them"),
        ((2**20, 2**10), "a file of .* bytes cannot hold them"),
    ],
)
def test_header_with_a_wrong_size(tmp_path, shape, message, zipped):
    content = idx(8, shape, bytes(5))
    (tmp_path / "x").write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(InputError, match=message) as caught:
        load_array(tmp_path / "x")
    assert str(caught.value).startswith(f"{tmp_path / 'x'}: ")


@pytest.mark.parametrize(
    "content",
    [
        idx(8, (), b""),
        idx(8, (4, 4), b"")[:9],
        idx(8, (1,) * 70, b"\1"),
        gzip.compress(idx(8, (4, 4), bytes(16)))[:-9],
        gzip.compress(idx(8, (40, 40), bytes(1600)))[:-3],
    ],
    ids=["no axes", "short header", "70 axes", "cut gzip", "cut gzip trailer"],
)
def test_damaged(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(
        InputError, match=r"x(: its header says 0 axes| is not a readable IDX file)"
    ):
        load_array(tmp_path / "x")


def test_no_samples(tmp_path):
    (tmp_path / "x").write_bytes(idx(8, (0, 28, 28), b""))
    assert load_array(tmp_path / "x").shape == (0, 28, 28)
    with pytest.raises(InputError, match="is empty"):
        load_dataset(tmp_path / "x")


def test_gzip_of_something_else(tmp_path):
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"hello"))
    with pytest.raises(InputError, match=r"x\.gz has no known format, expected \.npz, .* IDX"):
        load_array(tmp_path / "x.gz")
