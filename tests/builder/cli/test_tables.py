"""A table of people: text, booleans, gaps and labels, from the file to the scores of a device."""

import csv
import json

import numpy as np
import pyarrow as pa
import pytest

from messages import one_line
from vae_runtime import Bundle, InputWarning, load
from vae_runtime.data.sources import load_samples

FAST = ("--hidden", "4", "--latent-dim", "2", "--epochs", "1", "--batch-size", "16", "-q")
N = 240
RNG = np.random.default_rng(0)
PEOPLE = {
    "id": [*range(N)],
    "age": ["" if i % 9 == 4 else int(a) for i, a in enumerate(RNG.integers(20, 60, N))],
    "colour": [str(c) for c in RNG.choice(["blue", "red"], N)],
    "member": [str(bool(m)) for m in RNG.integers(0, 2, N)],
    "kind": [f"k{i % 3}" for i in range(N)],
}


def write(path, columns, order=None):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(order or columns)
        writer.writerows(zip(*(columns[name] for name in order or columns), strict=True))
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A folder with the table, and a bundle of a model of it."""
    from vae_runtime.cli.main import run

    folder = tmp_path_factory.mktemp("people")
    path = write(folder / "people.csv", PEOPLE)
    options = ("--missing", "indicator", "--label", "kind", "--standardize")
    words = ["train", folder / "run", "--data", path, *options, *FAST]
    assert run([str(word) for word in words]) == 0
    assert run([str(w) for w in ("export", folder / "vae", "--run", folder / "run", "-q")]) == 0
    return folder


def encoded(manifest):
    """The samples as NumPy makes them from the table."""
    (fill,) = manifest.data.table.columns[0].fill
    gap = np.array([age == "" for age in PEOPLE["age"]])
    age = np.array([fill if age == "" else age for age in PEOPLE["age"]])
    colour = np.array(PEOPLE["colour"])
    member = np.array(PEOPLE["member"]) == "True"
    columns = [age, gap, colour == "blue", colour == "red", member]
    return np.stack(columns, axis=1).astype(np.float32)


def column(text, name):
    return np.array([float(row[name]) for row in csv.DictReader(text.splitlines())])


def test_the_manifest_keeps_how_the_table_is_read(people):
    data = Bundle(people / "vae").manifest.data
    assert data.columns == ("age", "age is missing", "colour=blue", "colour=red", "member")
    assert data.label == "kind"
    stored = json.loads((people / "vae" / "manifest.json").read_text())["data"]["table"]
    age, colour, member = stored["columns"]
    assert (age["kind"], age["indicator"], len(age["fill"])) == ("number", True, 1)
    assert colour["categories"] == ["blue", "red"] and "indicator" not in colour
    assert (member["kind"], stored["missing"]) == ("boolean", "indicator")


def test_a_device_scores_files_and_frames_as_numpy_encodes_them(people, tmp_path, call):
    vae = load(people / "vae")
    x = encoded(vae.manifest)
    expected, scores = vae.loss(x).loss, vae.score(x)
    turned = write(tmp_path / "t.csv", PEOPLE, ["member", "kind", "colour", "age", "id"])
    for path in (people / "people.csv", turned):
        status, out, _ = call("score", people / "vae", path)
        assert status == 0
        np.testing.assert_allclose(column(out, "loss"), expected, rtol=1e-6)
        np.testing.assert_allclose(column(out, "score"), scores.score, rtol=1e-5)
        np.testing.assert_allclose(column(out, "p_value"), scores.p_value, rtol=1e-6)
    typed = {
        "colour": PEOPLE["colour"],
        "member": [member == "True" for member in PEOPLE["member"]],
        "age": [None if age == "" else age for age in PEOPLE["age"]],
    }
    np.testing.assert_allclose(vae.loss(pa.table(typed)).loss, expected, rtol=1e-6)
    loaded = load_samples(turned, columns=vae.manifest.table, label="kind")
    assert loaded.labels.tolist() == PEOPLE["kind"]
    np.testing.assert_array_equal(loaded.x, x)


def test_cells_that_the_model_does_not_know(people, tmp_path, call):
    columns = {name: [*cells[:6]] for name, cells in PEOPLE.items()}
    columns["colour"][2], columns["age"][3] = "purple", "old"
    path = write(tmp_path / "t.csv", columns)
    status, out, err = call("score", people / "vae", path)
    assert status == 0
    assert np.flatnonzero(np.isinf(column(out, "loss"))).tolist() == [2, 3]
    p_values = column(out, "p_value")
    assert np.isfinite(p_values).all() and (p_values[[2, 3]] == p_values.min()).all()
    assert "line 5, column 'age' is 'old'; line 4, column 'colour' is 'purple', expected" in err
    status, out, err = call("score", people / "vae", path, "--strict")
    assert (status, out) == (3, "")
    assert "for 'colour' one of blue, red: the model needs these columns" in one_line(err)
    status, _, err = call("score", people / "vae", write(tmp_path / "u.csv", {"age": [1, 2]}))
    assert status == 3
    assert "lacks 2 of the 3 columns that the model takes, colour,member" in one_line(err)


def test_a_sample_that_cannot_be_scored_is_named_by_its_column(people):
    vae = load(people / "vae")
    x = encoded(vae.manifest)
    x[1, 2:4] = np.nan
    with pytest.warns(InputWarning, match=r"sample 1 has 2 values .* in 'colour'"):
        vae.loss(x, strict=False)


def test_variants_of_a_table(people, call):
    words = ("--precision", "float16", "--allow-drift", "float16", "-q")
    status, out, err = call("quantize", people / "vae", "--data", people / "people.csv", *words)
    assert (status, err) == (0, "") and out.startswith("float16")
