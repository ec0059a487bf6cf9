"""`explain`: the most unusual samples first, as picture, text, CSV and JSON."""

import csv
import json

import numpy as np
import pytest

from messages import one_line
from png_files import read_png
from vae_runtime import load


@pytest.fixture
def odd(images, tmp_path):
    """An .npy file with pictures, and the number of one that cannot be scored by this model."""
    x = images.astype(np.float32) / 255
    x[7] = np.nan
    np.save(tmp_path / "odd.npy", x)
    return tmp_path / "odd.npy", x


def test_the_smallest_p_values_come_first(exported, odd, call):
    path, x = odd
    scores = load(exported()).score(np.delete(x, 7, axis=0))
    expected = np.lexsort((-scores.score, scores.p_value))[:5]
    expected = [int(i + (i >= 7)) for i in expected]
    status, out, err = call("explain", exported(), path, "--top", "5", "--json")
    assert status == 0 and "sample 7 of 40 cannot be scored" in err
    found = json.loads(out)
    assert [finding["index"] for finding in found] == expected
    explanation = load(exported()).explain(x[expected])
    for i, finding in enumerate(found):
        assert finding["p_value"] == explanation.scores.p_value[i]
        assert finding["score"] == explanation.scores.score[i]
        box = explanation.boxes().slices(i)
        assert finding["box"] == [[s.start, s.stop] for s in box]
        assert "columns" not in finding


def test_picture_and_csv(exported, data, tmp_path, call):
    words = ("explain", exported(), data, "--top", "3")
    status, out, err = call(*words, "-o", tmp_path / "why.png")
    assert (status, err) == (0, "")
    assert out == f"wrote {tmp_path / 'why.png'}: the 3 most unusual of 40 samples\n"
    assert read_png(tmp_path / "why.png").shape[0] > 3 * 128
    assert call(*words, "-o", tmp_path / "why.csv")[0] == 0
    rows = list(csv.DictReader((tmp_path / "why.csv").read_text().splitlines()))
    found = json.loads(call(*words, "--json")[1])
    assert [int(row["index"]) for row in rows] == [finding["index"] for finding in found]
    assert rows[0]["box"] == " ".join(f"{a}:{b}" for a, b in found[0]["box"])


def test_text_for_pictures_in_a_folder(exported, images, tmp_path, call):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    for i in range(4):
        Image.fromarray(images[i, ..., 0]).save(tmp_path / "photos" / f"{i}.png")
    status, out, _ = call("explain", exported(), tmp_path / "photos", "--top", "2")
    first, place, *_ = out.splitlines()
    assert status == 0 and out.count("sample ") == 2
    assert ".png): p-value " in first and ", score " in first
    assert place.startswith("  most unusual: row ") and ", column " in place


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A trained bundle of a table with a category, and its file with one odd row."""
    from vae_builder import LossSpec, TrainConfig, export_trained, load_dataset, train

    tmp_path = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    size = rng.normal(100, 20, 300)
    numbers = np.outer(size, [1, 0.5, 0.3]) + rng.normal(size=(300, 3))
    rows = [[*map("{:.2f}".format, row), "big" if row[0] > 100 else "small"] for row in numbers]
    header = ["size", "weight", "length", "kind"]
    with (tmp_path / "things.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    rows[17][1] = "500"
    with (tmp_path / "odd.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    loss = LossSpec("gaussian")
    config = TrainConfig("table", loss=loss, latent_dim=2, standardize=True, epochs=20)
    export_trained(
        train(load_dataset(str(tmp_path / "things.csv")), config), tmp_path / "things-vae"
    )
    return tmp_path / "things-vae", tmp_path / "odd.csv"


def test_columns_of_a_table(table, tmp_path, call):
    words = ("explain", *table, "--top", "2")
    status, out, err = call(*words)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("sample 17: p-value ")
    assert lines[1].startswith("  the score is ")
    assert lines[2].split() == ["column", "value", "reconstruction", "usual", "range", "unusual"]
    name, value, reconstruction, low, _, high, unusual = lines[3].split()
    assert (name, value) == ("weight", "500")
    assert float(low) < 50 < float(high) < 100
    assert float(reconstruction) < 500 and float(unusual) > 5
    found = json.loads(call(*words, "--json")[1])[0]
    kinds = {column["name"]: column for column in found["columns"]}
    assert kinds["kind"]["value"] in ("big", "small") and kinds["kind"]["usual"] is None
    assert kinds["weight"]["value"] == 500.0 and "box" not in found
    assert call(*words, "-o", tmp_path / "why.csv")[0] == 0
    rows = list(csv.DictReader((tmp_path / "why.csv").read_text().splitlines()))
    assert [(row["index"], row["rank"]) for row in rows[:3]] == [
        ("17", "1"),
        ("17", "2"),
        ("17", "3"),
    ]
    assert rows[0]["column"] == "weight" and len(rows) == 8


def test_refusals(exported, data, tmp_path, call):
    np.save(tmp_path / "rows.npy", np.zeros((3, 12), np.float32))
    words = ("explain", exported("dense", "mse", (12,)), tmp_path / "rows.npy")
    status, _, err = call(*words, "-o", tmp_path / "why.png")
    assert status == 3 and "are not images: write a .csv file instead" in one_line(err)
    status, _, err = call("explain", exported(), data, "-o", tmp_path / "why.gif")
    assert status == 3 and "expected one of .png, .csv" in one_line(err)
    assert not (tmp_path / "why.png").exists()
