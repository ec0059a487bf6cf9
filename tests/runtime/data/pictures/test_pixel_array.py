"""Pictures above the memory limit are decoded into a temporary file without a name."""

import errno
import os
import sys

import numpy as np
import pytest
from PIL import Image

from vae_builder.data import Rows, load_dataset
from vae_runtime.data.pictures.pixel_array import allocate_pixels
from vae_runtime.data.sources import load_array
from vae_runtime.errors import InputError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 4, 5, 1), dtype=np.uint8)
RGB = RNG.integers(0, 256, (9, 4, 5, 3), dtype=np.uint8)


@pytest.fixture
def limit(monkeypatch, tmp_path):
    """Set the limit to 9 grey pictures; temporary files go to the folder that it returns."""
    monkeypatch.setattr("vae_runtime.data.pictures.pixel_array.MAX_IN_MEMORY_BYTES", GREY.size)
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def save_all(folder, pictures):
    folder.mkdir()
    for i, picture in enumerate(pictures):
        Image.fromarray(picture.squeeze()).save(folder / f"{i}.png")
    return folder


def test_arrays_above_the_limit_are_memory_mapped(limit):
    assert type(allocate_pixels(GREY.shape)) is np.ndarray
    mapped = allocate_pixels((10, *GREY.shape[1:]))
    assert isinstance(mapped, np.memmap)
    assert (mapped.shape, mapped.dtype) == ((10, 4, 5, 1), np.uint8)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file keeps its name")
def test_the_file_has_no_name_from_the_start(limit):
    mapped = allocate_pixels(RGB.shape)
    mapped[:] = RGB
    assert list(limit.iterdir()) == []
    assert (mapped == RGB).all()


def test_folder_above_the_limit_is_the_same_data_set(limit, tmp_path, monkeypatch):
    folder = save_all(tmp_path / "faces", RGB)
    mapped = load_dataset(folder)
    assert isinstance(load_array(folder), np.memmap)
    assert isinstance(mapped.train, Rows)
    monkeypatch.setattr("vae_runtime.data.pictures.pixel_array.MAX_IN_MEMORY_BYTES", 1 << 20)
    in_memory = load_dataset(folder)
    assert isinstance(in_memory.train, np.ndarray)
    assert in_memory.digest == mapped.digest


@pytest.mark.parametrize("first", [1, 5, 8])
@pytest.mark.parametrize("nbytes", [0, 1 << 20])
def test_grey_pictures_before_colour_become_rgb(limit, tmp_path, monkeypatch, first, nbytes):
    monkeypatch.setattr("vae_runtime.data.pictures.pixel_array.MAX_IN_MEMORY_BYTES", nbytes)
    pictures = [*GREY[:first], *RGB[first:]]
    x = load_array(save_all(tmp_path / "faces", pictures))
    expected = np.stack([np.broadcast_to(p, (4, 5, 3)) for p in pictures])
    np.testing.assert_array_equal(x, expected)


def test_more_grey_pictures_than_one_copy_step_before_colour(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(1100):
        Image.fromarray(GREY[i % 9, ..., 0]).save(folder / f"{i:04}.bmp")
    Image.fromarray(RGB[0]).save(folder / "z.png")
    x = load_array(folder)
    assert (x[:1100] == GREY[np.arange(1100) % 9]).all()
    assert (x[1100] == RGB[0]).all()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="cannot reserve space")
def test_disk_without_space(limit, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse)
    with pytest.raises(InputError) as caught:
        allocate_pixels((10**6, 64, 64, 3))
    assert str(caught.value) == (
        f"the pictures take 12.3 GB once decoded, {limit} cannot hold them (No space left on "
        "device): set TMPDIR to a folder with room, or make them smaller with --image-size"
    )


def test_links_to_folders_are_not_followed_and_links_to_files_are(tmp_path):
    folder = save_all(tmp_path / "faces", GREY)
    (folder / "again").symlink_to(folder)
    (folder / "z.png").symlink_to(folder / "0.png")
    (folder / "broken.png").symlink_to(folder / "nothing")
    assert (load_array(folder) == GREY[[*range(9), 0]]).all()
