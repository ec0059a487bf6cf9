"""CIFAR's binary version, written here record by record; its pickles are refused."""

import pickle

import numpy as np
import pytest

from vae_builder.data import load_dataset
from vae_runtime.data.sources import load_array, load_samples
from vae_runtime.errors import InputError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)


def records(pixels, *labels):
    return b"".join(
        bytes(label) + b"".join(x[..., c].tobytes() for c in range(3))
        for x, *label in zip(pixels, *labels, strict=True)
    )


def test_cifar_10(tmp_path):
    for i in range(2):
        part = slice(4 * i, 4 * i + 4)
        (tmp_path / f"data_batch_{i + 1}.bin").write_bytes(records(PIXELS[part], range(4)))
    (tmp_path / "test_batch.bin").write_bytes(records(PIXELS[8:], [3, 1, 2, 0]))
    (tmp_path / "batches.meta.txt").write_text("airplane")
    loaded = load_samples(tmp_path)
    np.testing.assert_array_equal(loaded.x, PIXELS[8:])
    assert loaded.labels.tolist() == [3, 1, 2, 0]
    dataset = load_dataset(tmp_path)
    assert dataset.counts == {"train": 7, "validation": 1, "test": 4}
    np.testing.assert_array_equal(load_array(tmp_path / "data_batch_2.bin"), PIXELS[4:8])


def test_cifar_100_has_two_labels(tmp_path):
    (tmp_path / "train.bin").write_bytes(records(PIXELS[:8], [0] * 8, range(8)))
    (tmp_path / "test.bin").write_bytes(records(PIXELS[8:], [0] * 4, range(4)))
    loaded = load_samples(tmp_path)
    np.testing.assert_array_equal(loaded.x, PIXELS[8:])
    assert loaded.labels.tolist() == [0, 1, 2, 3]


def test_another_file_called_bin(tmp_path):
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3072))
    (tmp_path / "x.bin").write_bytes(bytes(3073))
    for name in ("data_batch_1.bin", "x.bin"):
        with pytest.raises(InputError, match="has no known format"):
            load_array(tmp_path / name)


class Bomb:
    def __reduce__(self):
        return open, ("exploded", "w")


@pytest.mark.parametrize("name", ["data_batch_1", "x.pkl", "x.pickle", "x.joblib"])
def test_pickles_are_refused_unopened(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    for source in (tmp_path / name, tmp_path):
        with pytest.raises(InputError, match=r"is a pickle, which can run any code") as caught:
            load_array(source)
        assert "\n" not in str(caught.value)
        assert f"Path({str(tmp_path / name)!r})" in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_the_lines_convert_cifar(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planes = PIXELS.transpose(0, 3, 1, 2).reshape(12, -1)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": planes, b"labels": [0] * 12}))
    with pytest.raises(InputError) as caught:
        load_array("data_batch_1")
    for line in str(caught.value).split("`")[1::2]:
        exec(line, globals())
    np.testing.assert_array_equal(load_array("x.npy"), PIXELS)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("x.pt", r"torch\.load\(.*weights_only=True"),
        ("x.xlsx", r"save the sheet as \.csv"),
        ("x.tfrecord", r"tf\.data\.TFRecordDataset"),
        ("x.wav", r"windows of one length"),
        ("x.dcm", r"pydicom"),
        ("x.nii", r"nibabel"),
        ("x.nii.gz", r"nibabel"),
        ("x.mp4", r"ffmpeg"),
        ("x.tar.gz", r"unpack it"),
        ("x.rds", r"write\.csv"),
    ],
)
def test_files_that_are_not_read_say_what_to_do(tmp_path, name, remedy):
    (tmp_path / name).write_bytes(b"1234")
    for source in (tmp_path / name, tmp_path):
        with pytest.raises(InputError, match=rf"{name} .*: .*{remedy}"):
            load_array(source)
