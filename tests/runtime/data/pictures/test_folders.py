"""Folders of pictures: splits, names, labels, unreadable files, files of several pages."""

import numpy as np
import pytest
from PIL import Image

from vae_builder.data import load_dataset
from vae_runtime.cli.main import run
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.sources import load_array, load_samples, load_splits
from vae_runtime.errors import InputError, OptionError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (8, 4, 5), dtype=np.uint8)
RGB = RNG.integers(0, 256, (8, 4, 5, 3), dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def save_stack(path, pages, **options):
    first, *rest = map(Image.fromarray, pages)
    first.save(path, save_all=True, append_images=rest, **options)


@pytest.fixture
def mvtec(tmp_path):
    names = ["train/good/0", "train/good/1", "train/good/2", "test/good/0", "test/cut/0"]
    for name, pixels in zip(names, GREY, strict=False):
        save(tmp_path / f"{name}.png", pixels)
    save(tmp_path / "ground_truth" / "cut" / "0_mask.png", GREY[7])
    return tmp_path


def test_training_sees_the_normal_class(mvtec):
    dataset = load_dataset(mvtec, validation_fraction=0.4)
    assert dataset.counts == {"train": 2, "validation": 1, "test": 1}
    np.testing.assert_array_equal(dataset.test[0, ..., 0], GREY[3])
    assert len(dataset.notes) == 2
    assert "left out 1 mask: ground_truth (1)" in dataset.notes[0]
    assert "1 file is of a class that training has not seen, cut (1)" in dataset.notes[1]


def test_scoring_sees_all_test_pictures_with_their_names_and_labels(mvtec):
    loaded = load_samples(mvtec)
    np.testing.assert_array_equal(loaded.x[..., 0], GREY[[4, 3]])
    assert loaded.names == ("test/cut/0.png", "test/good/0.png")
    assert loaded.labels.tolist() == ["cut", "good"]


def test_labels_by_split(mvtec):
    splits = load_splits(mvtec)
    assert splits["train"].labels.tolist() == ["good"] * 3
    assert splits["test"].labels.tolist() == ["good"]
    assert splits["test"].names == ("test/good/0.png",)


def test_one_colour_picture_makes_all_splits_rgb(tmp_path):
    for i in range(4):
        save(tmp_path / "train" / f"{i}.png", GREY[i])
    save(tmp_path / "test" / "0.png", RGB[0])
    dataset = load_dataset(tmp_path)
    assert dataset.input_shape == (4, 5, 3)
    np.testing.assert_array_equal(dataset.test[0], RGB[0])


def test_a_folder_without_subfolders_has_no_labels(tmp_path):
    save(tmp_path / "b.png", GREY[0])
    save(tmp_path / "a.png", GREY[1])
    loaded = load_samples(tmp_path)
    assert loaded.names == ("a.png", "b.png")
    assert loaded.labels is None


@pytest.fixture
def damaged(tmp_path):
    for i in range(5):
        save(tmp_path / f"{i}.png", GREY[i])
    (tmp_path / "1.png").write_bytes(b"hello")
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:40])
    return tmp_path


@pytest.mark.parametrize("load", [load_array, load_dataset])
def test_all_unreadable_files_are_named_at_once(damaged, load):
    with pytest.raises(InputError, match=r"--skip-unreadable$") as caught:
        load(damaged)
    assert "2 unreadable pictures, 1.png, 3.png (1.png is not a readable" in str(caught.value)


def test_many_unreadable_files_are_counted(tmp_path):
    for i in range(14):
        (tmp_path / f"{i:02}.png").write_bytes(b"hello")
    for options in ({}, {"skip_unreadable": True}):
        with pytest.raises(InputError, match=r"14 unreadable pictures, 00.png.*09.png and 4 more"):
            load_array(tmp_path, **options)


def test_unreadable_files_are_left_out_on_request(damaged):
    with pytest.warns(InputWarning, match=r"left out 2 unreadable pictures, 1\.png, 3\.png"):
        x = load_array(damaged, skip_unreadable=True)
    np.testing.assert_array_equal(x[..., 0], GREY[[0, 2, 4]])
    assert load_samples(damaged, skip_unreadable=True).names == ("0.png", "2.png", "4.png")
    dataset = load_dataset(damaged, skip_unreadable=True)
    assert sum(dataset.counts.values()) == 3
    assert "left out 2 unreadable pictures, 1.png, 3.png" in dataset.notes[0]


def test_the_order_of_splits_survives_unreadable_files(tmp_path):
    for i, name in enumerate(["train/0", "train/1", "train/2", "test/0", "test/1"]):
        save(tmp_path / f"{name}.png", GREY[i])
    for name in ("train/0.png", "test/1.png"):
        (tmp_path / name).write_bytes(b"hello")
    splits = load_splits(tmp_path, skip_unreadable=True)
    np.testing.assert_array_equal(splits["train"].x[..., 0], GREY[1:3])
    np.testing.assert_array_equal(splits["test"].x[..., 0], GREY[3:4])


def test_skipping_is_for_pictures(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 2)))
    with pytest.raises(OptionError, match="holds no pictures, skip_unreadable is for pictures"):
        load_array(tmp_path / "a.npy", skip_unreadable=True)


PAGES = {"tif": {}, "gif": {}, "webp": {"lossless": True}, "png": {}}


@pytest.mark.parametrize("extension", PAGES)
def test_each_page_is_a_sample(tmp_path, extension):
    path = tmp_path / f"stack.{extension}"
    save_stack(path, GREY[:6], **PAGES[extension])
    loaded = load_samples(path, channels=1)
    np.testing.assert_allclose(loaded.x[..., 0].astype(int), GREY[:6], atol=2)  # webp has no grey
    assert loaded.names == tuple(f"stack.{extension}#{i}" for i in range(1, 7))
    assert loaded.notes == (f"each page is a sample: 1 file, stack.{extension}",)
    assert sum(load_dataset(path).counts.values()) == 6


def test_pages_stand_between_the_files_beside_them(tmp_path):
    save(tmp_path / "a.png", GREY[0])
    save_stack(tmp_path / "b.tif", [*GREY[1:4]])
    save(tmp_path / "c.png", RGB[0])
    loaded = load_samples(tmp_path)
    assert loaded.names == ("a.png", "b.tif#1", "b.tif#2", "b.tif#3", "c.png")
    expected = [*np.repeat(GREY[:4, ..., None], 3, axis=-1), RGB[0]]
    np.testing.assert_array_equal(loaded.x, expected)


def test_a_page_of_another_size_is_named(tmp_path):
    save_stack(tmp_path / "b.tif", [GREY[0], GREY[1][:3]])
    with pytest.raises(InputError, match=r"b\.tif is 3x5 .*, its first page is 4x5"):
        load_array(tmp_path / "b.tif")


def test_a_preview_in_a_tiff_is_no_sample(tmp_path):
    preview = Image.fromarray(GREY[1][:2, :2])
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(GREY[0]).save(
        tmp_path / "a.tif", save_all=True, append_images=[preview], tiffinfo={254: 0}
    )
    with Image.open(tmp_path / "a.tif") as image:
        assert image.n_frames == 2
    np.testing.assert_array_equal(load_array(tmp_path / "a.tif")[..., 0], GREY[:1])


def test_a_jpeg_with_previews_is_one_picture(tmp_path):
    save_stack(tmp_path / "a.mpo", RGB[:2])
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    assert load_array(tmp_path / "a.jpg").shape == (1, 4, 5, 3)


def test_commands_take_the_option(damaged, exported, capsys, tmp_path):
    bundle = exported()
    shape = ["--image-size", "8x8", "--channels", "1"]
    assert run(["score", str(bundle), str(damaged), *shape]) == 3
    assert "--skip-unreadable" in capsys.readouterr().err
    assert run(["score", str(bundle), str(damaged), *shape, "--skip-unreadable"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "left out 2 unreadable pictures, 1.png, 3.png" in err
