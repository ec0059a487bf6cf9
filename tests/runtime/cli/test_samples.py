"""`score`, `reconstruct` and `sample`: what they write and what they refuse."""

import numpy as np
import pytest

from messages import one_line
from png_files import read_png
from vae_runtime import load
from vae_runtime.cli.outputs import MAX_TILES, write_samples
from vae_runtime.data.pictures import picture_grid
from vae_runtime.errors import OptionError


@pytest.mark.parametrize(
    ("words", "suffixes"),
    [
        (("score", "{}", "digits"), ".csv, .jsonl, .npz"),
        (("reconstruct", "{}", "digits"), ".png, .npz, .npy"),
        (("sample", "{}"), ".png, .npz, .npy"),
    ],
)
def test_output_is_checked_before_the_work(words, suffixes, exported, tmp_path, call):
    words = [word.format(exported()) for word in words]
    status, _, err = call(*words, "-o", tmp_path / "a.jpeg")
    assert status == 3
    expected = f"a.jpeg has the suffix '.jpeg', expected one of {suffixes}"
    assert one_line(err).endswith(expected)
    status, _, err = call(*words, "-o", tmp_path / "none" / "a.npz")
    assert status == 3 and one_line(err).endswith("none is not a folder: create it first")


def test_output_that_is_a_folder(exported, data, tmp_path, call):
    (tmp_path / "a.npz").mkdir()
    status, _, err = call("reconstruct", exported(), data, "-o", tmp_path / "a.npz")
    assert status == 3
    one_line(err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "images.npy"]


def test_reconstruct(exported, data, images, tmp_path, call):
    expected = load(exported()).reconstruct(images)
    for name in ("a.npy", "a.npz", "a.png"):
        status, out, err = call("reconstruct", exported(), data, "-o", tmp_path / name)
        assert (status, err) == (0, "")
        assert out == f"wrote {tmp_path / name}: 40 reconstructions of shape (8, 8, 1)\n"
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)
    with np.load(tmp_path / "a.npz") as arrays:
        assert list(arrays) == ["reconstruction"]
        np.testing.assert_array_equal(arrays["reconstruction"], expected)
    image = read_png(tmp_path / "a.png")
    np.testing.assert_array_equal(image, picture_grid.grid(expected))


def test_reconstruct_compares_pair_by_pair(exported, images, tmp_path, call):
    np.save(tmp_path / "x.npy", images[:4, ..., 0])  # without the channel axis
    words = ("reconstruct", exported(), tmp_path / "x.npy", "-o", tmp_path / "a.png", "--compare")
    assert call(*words)[0] == 0
    image = read_png(tmp_path / "a.png")
    assert image.shape == (2 * 16 + 1, 2 * 8 + 1, 1)
    expected = picture_grid.to_uint8(load(exported()).reconstruct(images[:4]))
    for i in range(4):
        top, left = i // 2 * 17, i % 2 * 9
        np.testing.assert_array_equal(image[top : top + 8, left : left + 8], images[i])
        np.testing.assert_array_equal(image[top + 8 : top + 16, left : left + 8], expected[i])


def test_picture_of_many_samples_shows_the_first(exported, images, tmp_path, call):
    np.save(tmp_path / "many.npy", np.tile(images, (11, 1, 1, 1)))
    status, out, _ = call(
        "reconstruct", exported(), tmp_path / "many.npy", "-o", tmp_path / "a.png"
    )
    assert status == 0 and ": the first 400 of 440 reconstructions" in out
    side = int(MAX_TILES**0.5)
    assert read_png(tmp_path / "a.png").shape == (side * 9 - 1, side * 9 - 1, 1)


def test_sample(exported, tmp_path, call):
    words = ("sample", exported(), "-n", "9", "--seed", "5")
    for name in ("a.npy", "a.npz", "a.png", "b.npy"):
        status, out, err = call(*words, "-o", tmp_path / name)
        assert (status, err) == (0, "")
        assert out == f"wrote {tmp_path / name}: 9 samples of shape (8, 8, 1), seed 5\n"
    expected = load(exported()).sample(9, seed=5)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), expected)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    with np.load(tmp_path / "a.npz") as arrays:
        np.testing.assert_array_equal(arrays["sample"], expected)
    image = read_png(tmp_path / "a.png")
    np.testing.assert_array_equal(image, picture_grid.grid(expected))


def test_vectors_are_no_pictures(tmp_path):
    rows = np.zeros((4, 5), np.float32)
    with pytest.raises(OptionError) as caught:
        write_samples(tmp_path / "a.png", rows, name="sample")
    assert str(caught.value) == ("samples of shape (5,) are not images: write .npz or .npy instead")
    assert not [*tmp_path.iterdir()]
    write_samples(tmp_path / "a.npy", rows, name="sample")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), rows)
