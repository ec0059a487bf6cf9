"""The figures of a card: their sizes, and that they show what they should."""

import matplotlib.image
import numpy as np
import pytest

from vae_export.figures import Curve, draw_reconstructions, draw_training
from vae_runtime import Losses, png


def curve(epochs):
    train = [Losses(100.0 / e, 5.0 * e, 100 / e + 5 * e) for e in range(1, epochs + 1)]
    return Curve(train, [Losses(p.reconstruction_loss + 9, p.kl_loss, p.loss + 9) for p in train])


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_training_curve(epochs, tmp_path):
    path = tmp_path / "training.png"
    draw_training(curve(epochs), "nats", path)
    image = matplotlib.image.imread(path)
    assert image.shape == (336, 1080, 4)
    blue = (np.abs(image[..., :3] - np.array([0x1A, 0x5F, 0xB4]) / 255) < 0.05).all(-1)
    third = 1080 // 3
    for panel in range(3):  # each panel has a validation line
        assert blue[:, panel * third : (panel + 1) * third].sum() > 20
    assert image[..., :3].min() < 0.5 and image[0, 0, :3].tolist() == [1, 1, 1]


def test_training_curve_is_the_same_each_time(tmp_path):
    for name in ("a.png", "b.png"):
        draw_training(curve(3), "nats", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("n", "columns"), [(2, 2), (10, 10), (17, 10)])
def test_reconstructions_are_below_their_inputs(channels, n, columns, tmp_path):
    x = np.random.default_rng(0).random((n, 28, 20, channels), dtype=np.float32)
    path = tmp_path / "pairs.png"
    draw_reconstructions(x, 1 - x, path)
    image = png.decode(path.read_bytes())
    assert image.shape == (2 * 84 + 2, columns * 60 + (columns - 1) * 2, channels)
    pixels = np.floor(x.astype(float) * 255 + 0.5).astype(np.uint8)
    for i in range(columns):
        upper = image[:84:3, i * 62 : i * 62 + 60 : 3]
        lower = image[86::3, i * 62 : i * 62 + 60 : 3]
        np.testing.assert_array_equal(upper, pixels[i])
        assert np.abs(lower.astype(int) + pixels[i] - 255).max() <= 1


def test_values_outside_0_to_1_are_scaled_to_what_the_inputs_span(tmp_path):
    x = np.array([-2.0, 0.0, 1.0, 3.0], np.float32).reshape(1, 2, 2, 1)
    draw_reconstructions(x, np.full_like(x, 50), tmp_path / "pairs.png")
    image = png.decode((tmp_path / "pairs.png").read_bytes())
    assert image.shape == (2 * 84 + 2, 84, 1)
    assert image[[0, 0, 83, 83], [0, 83, 0, 83], 0].tolist() == [0, 102, 153, 255]
    assert (image[86:] == 255).all()


def test_large_pictures_are_not_enlarged(tmp_path):
    draw_reconstructions(*np.zeros((2, 1, 100, 90, 1), np.float32), tmp_path / "pairs.png")
    assert png.decode((tmp_path / "pairs.png").read_bytes()).shape == (202, 90, 1)


def test_large_pictures_are_thinned(tmp_path):
    x = np.random.default_rng(0).random((3, 2000, 1500, 3), dtype=np.float32)
    draw_reconstructions(x, x, tmp_path / "figures" / "a.png")
    height, width, _ = png.decode((tmp_path / "figures" / "a.png").read_bytes()).shape
    assert height <= 2 * 256 + 2 and width <= 3 * 256 + 4
