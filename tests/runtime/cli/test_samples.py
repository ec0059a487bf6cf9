"""`score`, `evaluate`, `reconstruct` and `sample`: what they write and what they refuse."""

import csv
import io
import json

import numpy as np
import pytest

from messages import one_line
from png_files import read_png
from vae_runtime import load
from vae_runtime.cli.outputs import MAX_TILES, write_samples
from vae_runtime.data.pictures import picture_grid
from vae_runtime.errors import OptionError


def test_evaluate(exported, tmp_path, call):
    from vae_runtime import evaluate

    x = np.random.default_rng(0).random((5, 8, 8), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    expected = evaluate(load(exported()), x, draws=4, seed=2)
    words = ("evaluate", exported(), tmp_path / "x.npy", "-k", "4", "--seed", "2")
    assert call(*words) == (0, f"{expected}\n", "")
    status, out, _ = call(*words, "--json")
    assert status == 0
    assert json.loads(out)["importance_weighted_loss"] == expected.importance_weighted_loss


@pytest.fixture
def expected(exported, images):
    losses = load(exported()).loss(images)
    names = ("reconstruction_loss", "kl_loss", "loss")
    return {name: getattr(losses, name) for name in names}


def summary(expected):
    mean = {name: array.astype(float).mean() for name, array in expected.items()}
    return (
        f"40 samples: mean loss {mean['loss']:.4f} = {mean['reconstruction_loss']:.4f} "
        f"reconstruction + {mean['kl_loss']:.4f} KL\n"
    )


def read_scores(text):
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row.pop("index")) for row in rows] == [*range(len(rows))]
    return {name: np.array([np.float32(row[name]) for row in rows]) for name in rows[0]}


def test_score_as_csv_on_standard_output(exported, data, expected, call):
    status, out, err = call("score", exported(), data)
    assert (status, err) == (0, summary(expected))
    found = read_scores(out)
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("batch_size", [(), ("--batch-size", "7")])
def test_score_into_files(exported, data, expected, batch_size, tmp_path, call):
    for name in ("scores.csv", "scores.npz"):
        status, out, err = call("score", exported(), data, "-o", tmp_path / name, *batch_size)
        assert (status, out, err) == (0, "", summary(expected))
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o644
    written = read_scores((tmp_path / "scores.csv").read_text())
    with np.load(tmp_path / "scores.npz") as arrays:
        assert list(arrays) == list(expected)
        for name, array in expected.items():
            np.testing.assert_allclose(arrays[name], array, rtol=1e-6)
            np.testing.assert_array_equal(written[name], arrays[name])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images.npy", "scores.csv", "scores.npz"]


def test_score_takes_keys_and_pictures(exported, images, tmp_path, call):
    from PIL import Image

    np.savez(tmp_path / "two.npz", a=images, b=images[:3])
    status, out, _ = call("score", exported(), tmp_path / "two.npz", "--key", "b")
    assert status == 0 and len(out.splitlines()) == 4
    # a colour picture of another size, read as the model takes it
    Image.new("RGB", (20, 30), (10, 200, 30)).save(tmp_path / "a.png")
    status, out, _ = call("score", exported(), tmp_path / "a.png", "--image-size", "8x8")
    assert status == 0 and len(out.splitlines()) == 2


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 5, 5), np.uint8), "x has shape (3, 5, 5), expected (batch, 8, 8, 1)"),
        (np.full((3, 8, 8), 2.0), "sample 0 has values from 2 to 2, expected 0 to 1"),
        (np.full((3, 8, 8), np.nan), "sample 0 has 64 values that are NaN"),
    ],
)
def test_data_that_does_not_fit_writes_nothing(exported, array, message, tmp_path, call):
    np.save(tmp_path / "bad.npy", array)
    output = tmp_path / "scores.csv"
    output.write_text("old")
    status, out, err = call("score", exported(), tmp_path / "bad.npy", "-o", output)
    assert (status, out) == (3, "")
    assert message in one_line(err)
    assert output.read_text() == "old"


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
    status, _, err = call("score", exported(), data, "-o", tmp_path / "a.npz")
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


@pytest.fixture
def table(exported, tmp_path):
    """A bundle for 12 columns without names, good rows, and the same rows with two bad cells."""
    x = np.random.default_rng(3).random((9, 12))
    np.savetxt(tmp_path / "good.csv", x, delimiter=",")
    lines = (tmp_path / "good.csv").read_text().splitlines()
    lines[4] = lines[4].replace(lines[4].split(",")[7], "1e300")
    lines[6] = lines[6].replace(lines[6].split(",")[0], "-1e25")
    (tmp_path / "bad.csv").write_text("\n".join(lines) + "\n")
    return exported("dense", "mse", (12,)), tmp_path / "good.csv", tmp_path / "bad.csv"


def test_absurd_readings_cost_no_other_row_its_score(table, tmp_path, call):
    bundle, good, bad = table
    expected = read_scores(call("score", bundle, good)[1])
    status, out, err = call("score", bundle, bad)
    assert status == 0
    warning, summary = err.splitlines()
    assert warning.startswith("Warning: samples 4, 6 of 9 cannot be scored, loss inf: sample 4 has")
    found = read_scores(out)
    for name, values in expected.items():
        assert np.isposinf(found[name][[4, 6]]).all()
        np.testing.assert_array_equal(np.delete(found[name], [4, 6]), np.delete(values, [4, 6]))
    mean = np.delete(expected["loss"], [4, 6]).astype(float).mean()
    assert summary.startswith(f"7 of 9 samples: mean loss {mean:.4f} = ")


def test_strict_refuses_absurd_readings(table, tmp_path, call):
    bundle, _, bad = table
    status, out, err = call("score", bundle, bad, "--strict", "-o", tmp_path / "s.csv")
    assert (status, out) == (3, "")
    assert "line 5, column" in one_line(err) and "'1e300'" in err
    assert not (tmp_path / "s.csv").exists()


def test_a_single_absurd_row_is_scored(table, tmp_path, call):
    (tmp_path / "one.csv").write_text(",".join(["1e300"] * 12) + "\n")
    status, out, err = call("score", table[0], tmp_path / "one.csv")
    assert (status, out.splitlines()[1]) == (0, "0,inf,inf,inf")
    assert err.splitlines()[-1] == "0 of 1 samples have a loss"
