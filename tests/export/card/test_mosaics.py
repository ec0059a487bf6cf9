"""Mosaics: position and size of the tiles."""

import numpy as np
import pytest

from png_files import read_png
from vae_export.card.mosaics import draw_reconstructions, draw_samples, layout, shrunk


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("n", "columns"), [(2, 2), (10, 10), (17, 10)])
def test_reconstructions_are_below_their_inputs(channels, n, columns, tmp_path):
    x = np.random.default_rng(0).random((n, 28, 20, channels), dtype=np.float32)
    path = tmp_path / "pairs.png"
    draw_reconstructions(x, 1 - x, path)
    image = read_png(path)
    assert image.shape == (2 * 84 + 2, columns * 60 + (columns - 1) * 2, channels)
    pixels = np.floor(x.astype(float) * 255 + 0.5).astype(np.uint8)
    for i in range(columns):
        upper = image[:84:3, i * 62 : i * 62 + 60 : 3]
        lower = image[86::3, i * 62 : i * 62 + 60 : 3]
        np.testing.assert_array_equal(upper, pixels[i])
        assert np.abs(lower.astype(int) + pixels[i] - 255).max() <= 1


def test_values_outside_0_to_1_are_scaled_to_the_range_of_the_inputs(tmp_path):
    x = np.array([-2.0, 0.0, 1.0, 3.0], np.float32).reshape(1, 2, 2, 1)
    draw_reconstructions(x, np.full_like(x, 50), tmp_path / "pairs.png")
    image = read_png(tmp_path / "pairs.png")
    assert image.shape == (2 * 84 + 2, 84, 1)
    assert image[[0, 0, 83, 83], [0, 83, 0, 83], 0].tolist() == [0, 102, 153, 255]
    assert (image[86:] == 255).all()


def test_large_pictures_are_not_enlarged(tmp_path):
    draw_reconstructions(*np.zeros((2, 1, 100, 90, 1), np.float32), tmp_path / "pairs.png")
    assert read_png(tmp_path / "pairs.png").shape == (202, 90, 1)


def test_large_pictures_are_shrunk(tmp_path):
    x = np.random.default_rng(0).random((3, 2000, 1500, 3), dtype=np.float32)
    draw_reconstructions(x, x, tmp_path / "a.png")
    height, width, _ = read_png(tmp_path / "a.png").shape
    assert height == 2 * 250 + 2 and width == 3 * 187 + 4


@pytest.mark.parametrize(
    ("shape", "rows", "columns"),
    [
        ((28, 28, 1), 5, 10),
        ((1, 1, 1), 5, 10),
        ((64, 64, 3), 4, 8),
        ((256, 256, 3), 2, 4),
        ((2000, 1500, 3), 2, 5),
        ((3, 900, 1), 5, 4),
        ((900, 3, 1), 2, 10),
    ],
)
def test_samples_of_any_size_fit_a_card(shape, rows, columns, tmp_path):
    assert layout(shape) == (rows, columns)
    samples = np.random.default_rng(0).random((rows * columns, *shape), dtype=np.float32)
    draw_samples(samples, samples[:1], tmp_path / "samples.png")
    height, width, channels = read_png(tmp_path / "samples.png").shape
    assert width <= 1080 and height <= 580 and channels == shape[-1]


def test_samples_are_in_rows_from_the_top(tmp_path):
    samples = np.linspace(0, 1, 50, dtype=np.float32).reshape(50, 1, 1, 1)
    draw_samples(np.broadcast_to(samples, (50, 28, 28, 1)), samples, tmp_path / "samples.png")
    image = read_png(tmp_path / "samples.png")
    assert image.shape == (5 * 86 - 2, 10 * 86 - 2, 1)
    middles = image[42::86, 42::86, 0].ravel()
    np.testing.assert_array_equal(middles, np.floor(np.linspace(0, 1, 50) * 255 + 0.5))


def test_samples_have_the_range_of_the_data(tmp_path):
    data = np.array([-1.0, 3.0], np.float32).reshape(2, 1, 1, 1)
    draw_samples(np.ones((1, 28, 28, 1), np.float32), data, tmp_path / "samples.png")
    assert np.unique(read_png(tmp_path / "samples.png")).tolist() == [128]


@pytest.mark.parametrize(
    ("shape", "side", "smaller"),
    [
        ((6, 9, 1), 3, (2, 3)),
        ((7, 4, 3), 4, (3, 2)),
        ((1, 8, 1), 3, (1, 2)),
        ((3, 3, 1), 3, (3, 3)),
    ],
)
def test_shrunk_pixels_are_means(shape, side, smaller):
    images = np.random.default_rng(0).random((2, *shape), dtype=np.float32)
    result = shrunk(images, side)
    assert result.shape == (2, *smaller, shape[-1])
    factor = -(-max(shape) // side)
    last = images[:, : min(factor, shape[0]), : min(factor, shape[1])]
    np.testing.assert_allclose(result[:, 0, 0], last.mean(axis=(1, 2)), rtol=1e-5)
