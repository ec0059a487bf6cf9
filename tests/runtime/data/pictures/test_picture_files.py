"""Folders of pictures and single pictures, written here with Pillow."""

import sys

import numpy as np
import pytest
from PIL import Image

from vae_builder.data import load_dataset
from vae_runtime.data.sources import load_array
from vae_runtime.errors import InputError, MissingExtraError, OptionError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 4, 5), dtype=np.uint8)
RGB = RNG.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def save_all(folder, pixels, extension="png"):
    for i, picture in enumerate(pixels):
        save(folder / f"{i}.{extension}", picture)


@pytest.mark.parametrize("extension", ["png", "bmp", "tif", "TIFF", "ppm", "pgm"])
@pytest.mark.parametrize("pixels", [GREY, RGB])
def test_folder_of_lossless_pictures(tmp_path, pixels, extension):
    save_all(tmp_path, pixels, extension)
    x = load_array(tmp_path)
    assert x.dtype == np.uint8
    assert x.shape == (6, 4, 5, 1 if pixels is GREY else 3)
    assert (x == pixels.reshape(x.shape)).all()


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "webp", "gif"])
def test_folder_of_other_pictures(tmp_path, extension):
    save_all(tmp_path, RGB, extension)
    assert load_array(tmp_path).shape == (6, 4, 5, 3)


def test_folder_as_data_set(tmp_path):
    save_all(tmp_path / "faces", RGB)
    dataset = load_dataset(tmp_path / "faces")
    assert dataset.name == "faces"
    assert dataset.counts == {"train": 4, "validation": 1, "test": 1}
    assert dataset.input_shape == (4, 5, 3)


def test_pictures_are_ordered_by_relative_path_and_other_files_skipped(tmp_path):
    for i, name in enumerate(["b.png", "a/z.png", "a/b/c.png", "c.png"]):
        save(tmp_path / name, GREY[i])
    for name in [".hidden.png", ".hidden/a.png", "a/.b/c.png"]:
        save(tmp_path / name, GREY[5])
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "folder.png").mkdir()
    assert (load_array(tmp_path)[..., 0] == GREY[[2, 1, 0, 3]]).all()


def test_pictures_below_a_hidden_folder_are_found_if_it_is_the_source(tmp_path):
    save_all(tmp_path / ".cache", GREY)
    assert len(load_array(tmp_path / ".cache")) == 6


def test_one_picture_with_colour_makes_all_rgb(tmp_path):
    save_all(tmp_path, GREY)
    save(tmp_path / "z.png", RGB[0])
    x = load_array(tmp_path)
    assert x.shape == (7, 4, 5, 3)
    assert (x[:6] == GREY[..., np.newaxis]).all()
    assert (x[6] == RGB[0]).all()


def test_channels_force_grey_or_rgb(tmp_path):
    save_all(tmp_path / "rgb", RGB)
    save_all(tmp_path / "grey", GREY)
    luma = RGB @ np.array([0.299, 0.587, 0.114])
    assert np.abs(load_array(tmp_path / "rgb", channels=1)[..., 0] - luma).max() <= 1
    assert (load_array(tmp_path / "grey", channels=3) == GREY[..., np.newaxis]).all()
    assert load_dataset(tmp_path / "grey", channels=3).input_shape == (4, 5, 3)
    assert load_array(tmp_path / "rgb" / "0.png", channels=1).shape == (1, 4, 5, 1)


def test_image_size_is_height_and_width_of_the_whole_picture(tmp_path):
    half = np.zeros((40, 60), np.uint8)
    half[:, 30:] = 255
    save(tmp_path / "a.png", half)
    save(tmp_path / "b.png", GREY[0])
    x = load_array(tmp_path, image_size=(4, 8))
    assert x.shape == (2, 4, 8, 1)
    assert (x[0, :, :3] < 30).all()
    assert (x[0, :, 5:] > 225).all()
    assert load_array(tmp_path / "a.png", image_size=(4, 8)).shape == (1, 4, 8, 1)


def test_sizes_that_differ_name_the_first_file_and_the_remedy(tmp_path):
    save_all(tmp_path, GREY)
    save(tmp_path / "3.png", RGB[0, :3])
    save(tmp_path / "4.png", RGB[0, :2])
    with pytest.raises(InputError) as caught:
        load_dataset(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / '3.png'} is 3x5 (height x width), 0.png is")
    assert str(caught.value).endswith("--image-size 4x5")


@pytest.mark.parametrize("content", [b"", b"hello", "cut"])
@pytest.mark.parametrize("name", ["3.png", "3.jpg"])
def test_unreadable_picture_is_named(tmp_path, name, content):
    save_all(tmp_path, GREY)
    if content == "cut":
        save(tmp_path / name, RNG.integers(0, 256, (64, 64), dtype=np.uint8))
        content = (tmp_path / name).read_bytes()[:1000]
    (tmp_path / "3.png").unlink(missing_ok=True)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is not a readable picture"):
        load_dataset(tmp_path, image_size=(4, 5))


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_unreadable_single_picture_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(InputError, match=f"^{tmp_path / name}"):
        load_array(tmp_path / name)


def test_folder_without_pictures(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"has no pictures \(\.bmp, \.gif, \.jpeg, .*\.webp\)"):
        load_dataset(tmp_path)


def test_one_picture_is_a_batch_of_one_but_not_a_data_set(tmp_path):
    save(tmp_path / "a.png", RGB[0])
    save(tmp_path / "a.bmp", GREY[0])
    assert (load_array(tmp_path / "a.png") == RGB[:1]).all()
    assert (load_array(tmp_path / "a.bmp") == GREY[:1, ..., np.newaxis]).all()
    with pytest.raises(InputError, match=r"is one picture, expected many .* give the folder"):
        load_dataset(tmp_path / "a.png")


def palette(entries):
    image = Image.fromarray((GREY[0] % len(entries)).astype(np.uint8))
    image = image.convert("P")
    image.putdata((GREY[0] % len(entries)).ravel().tolist())
    image.putpalette(np.ravel(entries).tolist())
    return image


ALPHA = RNG.integers(0, 256, (4, 5, 1), dtype=np.uint8)


@pytest.mark.parametrize(
    ("image", "channels", "options"),
    [
        (Image.fromarray(GREY[0]), 1, {}),
        (Image.fromarray(GREY[0] > 99), 1, {}),
        (Image.fromarray(GREY[0] * np.uint16(257) ^ 129), 1, {}),
        (Image.fromarray(np.concatenate([GREY[0][..., None], ALPHA], -1)), 1, {}),
        (Image.fromarray(RGB[0]), 3, {}),
        (Image.fromarray(np.concatenate([RGB[0], ALPHA], -1)), 3, {}),
        (palette([[0, 0, 0], [255, 0, 0], [9, 8, 7]]), 3, {}),
        (palette([[0, 0, 0], [255, 255, 255], [9, 9, 9]]), 1, {}),
        (palette([[70, 80, 90], [255, 0, 0]]), 3, {"transparency": b"\x20\xf0"}),
        (Image.fromarray(GREY[0]), 1, {"transparency": int(GREY[0, 0, 0])}),
    ],
    ids=["L", "1", "I;16", "LA", "RGB", "RGBA", "P", "P-grey", "P-tRNS", "L-tRNS"],
)
def test_png_of_every_mode(tmp_path, image, channels, options):
    image.save(tmp_path / "a.png", **options)
    with Image.open(tmp_path / "a.png") as saved:
        if saved.mode == "I;16":  # the high byte is kept
            expected = (np.asarray(saved) >> 8)[..., np.newaxis]
        else:  # composited onto black
            rgba = np.asarray(saved.convert("RGBA")).astype(np.float64)
            expected = np.floor(rgba[..., :3] * rgba[..., 3:] / 255 + 0.5)[..., :channels]
    assert load_array(tmp_path / "a.png").tolist() == [expected.tolist()]
    assert load_array(tmp_path).tolist() == [expected.tolist()]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
@pytest.mark.parametrize("pixels", [GREY[0], RGB[0]], ids=["grey", "rgb"])
def test_requested_channels(tmp_path, pixels, channels, mode):
    save(tmp_path / "a.png", pixels)
    found = load_array(tmp_path / "a.png", channels=channels)
    expected = np.asarray(Image.fromarray(pixels).convert(mode)).reshape(1, 4, 5, channels)
    assert found.tolist() == expected.tolist()


def test_16_bits_keep_the_high_byte(tmp_path):
    save(tmp_path / "a.tif", np.array([[0, 255, 256, 65535]], np.uint16))
    assert load_array(tmp_path)[0, 0, :, 0].tolist() == [0, 0, 1, 255]


def test_transparency_is_composited_onto_black(tmp_path):
    save(tmp_path / "a.webp", np.array([[[200, 100, 50, 0]]], np.uint8), lossless=True)
    assert load_array(tmp_path).tolist() == [[[[0, 0, 0]]]]


@pytest.mark.parametrize("pixels", [np.full((2, 2), 0.5, np.float32), np.full((2, 2), 1 << 20)])
def test_pixels_that_are_not_8_or_16_bits(tmp_path, pixels):
    save(tmp_path / "a.tif", pixels.astype(np.float32 if pixels.dtype.kind == "f" else np.int32))
    with pytest.raises(InputError, match=r"a\.tif has pixels of mode . .* save the data as \.npy"):
        load_array(tmp_path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_exif_orientation_is_applied(tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    save(tmp_path / name, GREY[0], exif=exif)
    assert load_array(tmp_path / name).shape == (1, 5, 4, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (0, 5)}, "image size is 0x5, expected at least 1x1"),
        ({"channels": 2}, r"channels is 2, expected 1 \(grey\) or 3 \(RGB\)"),
    ],
)
def test_options_outside_their_choices(tmp_path, options, message):
    save(tmp_path / "a.png", GREY[0])
    for source in (tmp_path, tmp_path / "a.png"):
        with pytest.raises(OptionError, match=message):
            load_array(source, **options)


def test_without_pillow(tmp_path, monkeypatch):
    save(tmp_path / "a.png", GREY[0])
    save(tmp_path / "b.bmp", GREY[0])
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for source in (tmp_path, tmp_path / "a.png", tmp_path / "b.bmp"):
        with pytest.raises(
            MissingExtraError, match=r"^reading (a picture|pictures) needs pillow.*\[pictures\]"
        ):
            load_array(source)
