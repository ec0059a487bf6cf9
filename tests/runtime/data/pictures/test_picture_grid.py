import numpy as np
import pytest

from png_files import read_png
from vae_runtime.data.pictures.picture_grid import (
    GAP_GREY,
    grid,
    to_uint8,
    to_unit_range,
    write_png,
)
from vae_runtime.errors import InputError, OptionError


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_to_uint8_clips_and_rounds_a_half_up(dtype):
    x = np.array([-np.inf, -0.1, 0, 0.25 / 255, 0.75 / 255, 0.5, 1, 1.7, np.inf], dtype)
    assert to_uint8(x).tolist() == [0, 0, 0, 0, 1, 128, 255, 255, 255]  # 127.5 gives 128


def test_to_uint8_rounds_values_just_below_a_half_down():
    x = np.array([0.0019607842, 0.50392157], np.float32)  # 255 x + 0.5 is 1 and 129 in float32
    assert to_uint8(x).tolist() == [0, 128]


def test_to_uint8_undoes_the_division_by_255():
    pixels = np.arange(256, dtype=np.uint8)
    assert to_uint8(pixels) is pixels
    np.testing.assert_array_equal(to_uint8(pixels.astype(np.float32) / 255), pixels)


@pytest.mark.parametrize(
    ("x", "match"),
    [
        (np.zeros(2, np.int64), "dtype int64, expected uint8 or float"),
        (np.array([0, np.nan]), "1 of 2 pixels are NaN"),
    ],
)
def test_to_uint8_refuses(x, match):
    with pytest.raises(InputError, match=match):
        to_uint8(x)


def test_grid_layout():
    tiles = np.arange(1, 6, dtype=np.uint8)[:, None, None, None] * np.ones((5, 1, 2, 1), np.uint8)
    g = GAP_GREY
    expected = [
        [1, 1, g, 2, 2, g, 3, 3],
        [g] * 8,
        [4, 4, g, 5, 5, g, g, g],
    ]
    assert grid(tiles)[..., 0].tolist() == expected
    assert grid(tiles, columns=2, padding=0)[..., 0].tolist() == [
        [1, 1, 2, 2],
        [3, 3, 4, 4],
        [5, 5, g, g],
    ]
    assert grid(tiles, columns=9, padding=2).shape == (1, 5 * 2 + 4 * 2, 1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("n", "layout"), [(1, (1, 1)), (4, (2, 2)), (7, (3, 3))])
def test_grid_of_floats_contains_every_image(channels, n, layout):
    images = np.random.default_rng(n).uniform(-0.2, 1.2, (n, 3, 4, channels)).astype(np.float32)
    picture = grid(images)
    rows, columns = layout
    assert picture.shape == (rows * 4 - 1, columns * 5 - 1, channels)
    assert picture.dtype == np.uint8
    for i in range(n):
        top, left = 4 * (i // columns), 5 * (i % columns)
        tile = picture[top : top + 3, left : left + 4]
        np.testing.assert_array_equal(tile, to_uint8(images[i]))


@pytest.mark.parametrize(
    ("shape", "options", "error", "match"),
    [
        ((2, 3, 3, 2), {}, InputError, r"images have shape \(2, 3, 3, 2\)"),
        ((3, 3, 1), {}, InputError, r"images have shape \(3, 3, 1\)"),
        ((0, 3, 3, 1), {}, InputError, "at least 1 image"),
        ((2, 3, 3, 1), {"columns": 0}, OptionError, "columns 0, padding 1"),
        ((2, 3, 3, 1), {"padding": -1}, OptionError, "padding -1"),
        ((2, 3, 3, 1), {"padding": 10**9}, InputError, "larger than 67108864 pixels"),
    ],
)
def test_grid_refuses(shape, options, error, match):
    with pytest.raises(error, match=match):
        grid(np.zeros(shape, np.float32), **options)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_written_picture_can_be_read_back(channels, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    for name in ("a.png", "b.png"):
        with (tmp_path / name).open("wb") as file:
            write_png(file, pixels)
    np.testing.assert_array_equal(read_png(tmp_path / "a.png"), pixels)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_to_unit_range_scales_only_values_outside_0_to_1():
    x = np.array([-1.0, 0.0, 3.0], np.float32)
    assert to_unit_range(x).tolist() == [0.0, 0.25, 1.0]
    assert to_unit_range(x, like=x[1:2]).tolist() == [-1.0, 0.0, 3.0]
    inside = np.array([0.25, 0.5], np.float32)
    assert to_unit_range(inside).tolist() == [0.25, 0.5]
    pixels = np.array([0, 255], np.uint8)
    assert to_unit_range(pixels) is pixels
