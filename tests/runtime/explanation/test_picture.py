"""The picture: every pixel of the input is there, the colours grow, the frame is at the box."""

import io

import numpy as np
import pytest
from PIL import Image

from vae_runtime import InputError, OptionError, load
from vae_runtime.explanation import picture
from vae_runtime.explanation.picture import FRAME, HEADING, LABELS, MARGIN, Rows, write_picture


@pytest.fixture
def draw(scored):
    def draw(name="combined", shape=(8, 8, 1), n=3, values=None):
        vae = load(scored(name, "bce", shape)[0])
        x = np.random.default_rng(0).random((n, *shape), dtype=np.float32)
        explanation = vae.explain(x if values is None else values)
        rows = Rows(x, explanation, (0.0, 1.0), range(n), [f"folder/{i}.png" for i in range(n)])
        file = io.BytesIO()
        write_picture(file, rows)
        return rows, np.asarray(Image.open(file)).astype(int)

    return draw


@pytest.mark.parametrize("shape", [(8, 8, 1), (9, 7, 3), (200, 30, 1)])
def test_inputs_and_frames(shape, draw):
    rows, pixels = draw(shape=shape)
    scale = max(1, -(-128 // max(shape[:2])))
    step = max(scale * shape[0], 4 * picture.TEXT) + MARGIN
    boxes = rows.explanation.boxes()
    for i, x in enumerate(rows.x):
        top, left = HEADING + i * step, MARGIN + LABELS
        tile = pixels[top : top + scale * shape[0], left : left + scale * shape[1]]
        middle = tile[scale // 2 :: scale, scale // 2 :: scale]
        expected = np.broadcast_to(np.floor(x * 255 + 0.5), (*shape[:2], 3))
        start, stop = np.maximum(boxes.start[i, :2] - 1, 0), boxes.stop[i, :2] + 1
        outside = np.ones(shape[:2], bool)
        # The frame may cover the box and all its neighbours, those at its corners too.
        outside[start[0] : stop[0], start[1] : stop[1]] = False
        np.testing.assert_array_equal(middle[outside], expected[outside])
        y, x0 = boxes.stop[i, :2] * scale - 1
        assert (pixels[top + y + 1, left + x0] == FRAME).all()


def test_columns_of_tiles(draw):
    with_novelty, without = draw()[1], draw("squared_error")[1]
    assert with_novelty.shape[1] - without.shape[1] == 8 * 16 + MARGIN
    assert with_novelty.shape[0] == without.shape[0]


def test_colours_grow_with_the_value():
    colours = picture._colours(np.linspace(-0.5, 1.5, 101)).astype(int)
    assert (colours[0] == picture.COLOURS[0]).all() and (colours[-1] == picture.COLOURS[-1]).all()
    assert (np.diff(colours @ (0.299, 0.587, 0.114)) >= -1).all()


def test_long_names_keep_their_end(draw, monkeypatch):
    texts = []
    monkeypatch.setattr(picture, "_write", lambda *a: texts.append(a[3]))
    monkeypatch.setattr(picture, "MAX_LETTERS", 8)
    rows, _ = draw()
    assert "...0.png" in texts
    assert f"p = {rows.explanation.scores.p_value[0]:.2g}" in texts
    assert "standard deviations of normal samples;  frame: most unusual part" in texts


def test_refusals(draw, monkeypatch):
    with pytest.raises(OptionError, match="are not images: write a"):
        picture.check_shape((40, 2))
    monkeypatch.setattr(picture, "MAX_PIXELS", 1000)
    with pytest.raises(InputError, match="give a smaller --top"):
        draw()
