"""Formats of sources, and errors for a source that cannot be read."""

import os

import numpy as np
import pytest
from PIL import Image

from vae_builder.data import load_dataset
from vae_runtime.data.sources import load_array
from vae_runtime.data.tables.files.parts import TABLE_EXTENSIONS
from vae_runtime.errors import InputError, OptionError

both = pytest.mark.parametrize("load", [load_array, load_dataset])


@both
@pytest.mark.parametrize("source", ["didgits", "no/such.npz", "no\0such", ""])
def test_missing_source_lists_names_and_forms(load, source, tmp_path, monkeypatch):
    if source == "":
        source = tmp_path / "nothing"
    with pytest.raises(InputError) as caught:
        load(source)
    assert str(caught.value) == (
        f"{source} does not exist, expected a name (digits, mnist, fashion_mnist) or a path "
        f"(.npz, .npy, a table ({', '.join(TABLE_EXTENSIONS)}), .mat, .h5, .zarr, .ts, IDX (also "
        "gzipped), a picture, a folder of pictures, of .npy files, of parts of a table, or of "
        "MNIST's IDX files): check the spelling"
    )


@both
def test_unknown_extension_lists_what_is_readable(load, tmp_path):
    (tmp_path / "a.doc").write_text("1,2")
    with pytest.raises(InputError, match=r"a\.doc has no known format, expected \.npz, .* IDX"):
        load(tmp_path / "a.doc")


@both
def test_path_that_exists_wins_over_a_name(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    with pytest.raises(InputError, match="digits has no pictures"):
        load("digits")


def test_current_folder_has_a_name(tmp_path, monkeypatch):
    for i in range(3):
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    assert load_dataset(".").name == tmp_path.name


@both
def test_file_that_may_not_be_read(load, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "a.npy"
    np.save(path, np.zeros((9, 2)))
    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match=r"a\.npy cannot be read \(Permission denied\): check the"):
        load(path)


@both
def test_path_too_long_for_the_system(load):
    with pytest.raises(InputError, match=r"cannot be read \(File name too long\)"):
        load("x" * 5000)


@both
def test_pipe_is_refused_and_does_not_hang(load, tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(InputError, match=r"pipe\.npy is neither a file nor a folder"):
        load(tmp_path / "pipe.npy")


@both
@pytest.mark.parametrize("options", [{"image_size": (4, 4)}, {"channels": 3}])
@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.idx"])
def test_picture_options_are_only_for_pictures(load, options, name, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 2)))
    np.savez(tmp_path / "a.npz", np.zeros((9, 2)))
    (tmp_path / "a.idx").write_bytes(bytes.fromhex("00000801 00000000"))
    with pytest.raises(OptionError, match=f"{name} holds arrays, image size and channels are for"):
        load(tmp_path / name, **options)


@both
@pytest.mark.parametrize("name", ["a.npy", "a.idx", "folder"])
def test_key_is_only_for_files_of_arrays(load, name, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 2)))
    (tmp_path / "a.idx").write_bytes(bytes.fromhex("00000801 00000000"))
    (tmp_path / "folder").mkdir()
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "folder" / "0.png")
    with pytest.raises(OptionError, match=f"key 'x' is for files of several arrays, .*{name} is"):
        load(tmp_path / name, key="x")


def test_options_of_the_split_are_passed_on(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((100, 2)))
    dataset = load_dataset(
        tmp_path / "a.npy", validation_fraction=0.2, test_fraction=0.3, split_seed=5
    )
    assert dataset.counts == {"train": 50, "validation": 20, "test": 30}
    assert dataset.split_seed == 5
