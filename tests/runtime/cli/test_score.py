"""`score`: what it writes and what it refuses."""

import csv
import io
import json
import math

import numpy as np
import pytest

from messages import one_line
from sealing import without_score
from vae_runtime import load
from vae_runtime.decision.discoveries import benjamini_hochberg
from vae_runtime.quality.calibrate import calibrate


@pytest.fixture
def expected(exported, images):
    return vars(load(exported()).score(images))


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
        bad = 1 / 6 if name == "p_value" else np.inf  # the smallest of 5 calibration samples
        np.testing.assert_allclose(found[name][[4, 6]], bad)
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
    assert (status, out.splitlines()[1]) == (0, "0,inf,inf,inf,inf,0.16666667")
    assert err.splitlines()[-1] == "0 of 1 samples have a loss"


def test_json_lines_and_an_id_column(table, tmp_path, call):
    """A table is scored in parts; each line carries the cell of the id column."""
    bundle, good, bad = table
    names = ["a", "b, c", "7", "Ä", "e", "f", "g", "h", "i"]
    rows = good.read_text().splitlines()
    lines = [f'"{name}",{row}' for name, row in zip(names, rows, strict=True)]
    header = ",".join(["machine", *(f"c{i}" for i in range(12))])
    (tmp_path / "named.csv").write_text("\n".join([header, *lines]))
    expected = load(bundle).loss(np.loadtxt(good, np.float32, delimiter=","))
    words = ("score", bundle, tmp_path / "named.csv", "--id", "machine")
    status, out, err = call(*words, "--json")
    assert status == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert [(row["index"], row["machine"]) for row in found] == [*enumerate(names)]
    for name in ("reconstruction_loss", "kl_loss", "loss"):
        np.testing.assert_array_equal([np.float32(r[name]) for r in found], getattr(expected, name))
    for suffix in (".jsonl", ".csv", ".npz"):
        assert call(*words, "-o", tmp_path / f"s{suffix}")[0] == 0
    assert (tmp_path / "s.jsonl").read_text("utf-8") == out
    rows = csv.DictReader(io.StringIO((tmp_path / "s.csv").read_text("utf-8")))
    assert [row["machine"] for row in rows] == names
    with np.load(tmp_path / "s.npz") as arrays:
        assert arrays["machine"].tolist() == names
        np.testing.assert_array_equal(arrays["loss"], expected.loss)
    status, out, _ = call("score", bundle, bad, "--json")
    losses = [json.loads(line)["loss"] for line in out.splitlines()]
    assert status == 0 and [i for i, loss in enumerate(losses) if loss is None] == [4, 6]


def test_a_table_is_scored_in_parts(table, tmp_path, call, monkeypatch):
    bundle, good, bad = table
    whole = call("score", bundle, good)
    monkeypatch.setattr("vae_runtime.data.tables.files.chunks.CHUNK_ROWS", 2)
    assert call("score", bundle, good) == whole
    status, _, err = call("score", bundle, bad)
    assert status == 0 and "samples 4, 6 of 9 cannot be scored" in err
    status, out, err = call("score", bundle, bad, "--strict")
    assert (status, out) == (3, "")
    assert "sample 4 has" in one_line(err)


def test_pictures_in_a_folder_keep_their_paths(exported, tmp_path, call):
    from PIL import Image

    for name in ("b/2.png", "a/1.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        Image.new("L", (8, 8), 50).save(tmp_path / "photos" / name)
    status, out, _ = call("score", exported(), tmp_path / "photos")
    assert status == 0
    assert [line.split(",")[:2] for line in out.splitlines()] == [
        ["index", "file"],
        ["0", "a/1.png"],
        ["1", "b/2.png"],
    ]


def test_an_id_column_needs_a_table_that_has_it(exported, table, data, call):
    status, _, err = call("score", exported(), data, "--id", "machine")
    assert status == 3 and "--id is for columns of tables" in one_line(err)
    status, _, err = call("score", table[0], table[1], "--id", "machine")
    assert status == 3 and "lacks 1 of the columns that are asked for, machine" in one_line(err)


def test_losses_add_up_in_the_summary(exported, data, call):
    _, out, err = call("score", exported(), data)
    mean = read_scores(out)["loss"].astype(float).mean()
    assert math.isclose(float(err.split("mean loss ")[1].split()[0]), mean, abs_tol=1e-3)


@pytest.fixture(scope="module")
def rows():
    """40 usual rows of 12 columns, and 3 that are far outside of their range."""
    rng = np.random.default_rng(8)
    return np.concatenate([rng.random((20, 12)), 9 + rng.random((3, 12)), rng.random((20, 12))])


@pytest.fixture(scope="module")
def calibrated(exported, tmp_path_factory):
    """A bundle for 12 columns, calibrated with 99 rows."""
    path = tmp_path_factory.mktemp("calibrated") / "rows-vae"
    normal = np.random.default_rng(7).random((99, 12), dtype=np.float32)
    calibrate(exported("dense", "mse", (12,)), normal, output=path)
    return path


@pytest.fixture
def rows_file(rows, tmp_path):
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",")
    return tmp_path / "rows.csv"


def test_alarms_and_discoveries(calibrated, rows, rows_file, tmp_path, call, monkeypatch):
    """They are those of all p-values together, in every format, however the rows are read."""
    scores = load(calibrated).score(rows.astype(np.float32))
    alarms = scores.p_value <= np.float32(0.05)
    found = benjamini_hochberg(scores.p_value, 0.2)
    by_twos = [benjamini_hochberg(scores.p_value[i : i + 2], 0.2) for i in range(0, 43, 2)]
    assert alarms[20:23].all() and found.sum() == 3
    assert np.concatenate(by_twos).sum() != found.sum()  # a chunk alone decides otherwise
    words = ("score", calibrated, rows_file, "--alpha", "0.05", "--fdr", "0.2")
    whole = call(*words)
    assert whole[0] == 0
    assert whole[2].splitlines()[1:] == [
        f"{alarms.sum()} alarms of 43 (expected at most 2.1 if all are normal)",
        "3 discoveries of 43 (at most 20 % of them are expected to be normal)",
    ]
    monkeypatch.setattr("vae_runtime.data.tables.files.chunks.CHUNK_ROWS", 2)
    assert call(*words) == whole
    as_csv = read_scores(whole[1])
    assert [*as_csv] == [*vars(scores), "alarm", "discovery"]
    assert {*whole[1].splitlines()[1][-4:]} <= {*",01"}
    as_json = [json.loads(line) for line in call(*words, "--json")[1].splitlines()]
    assert call(*words, "-o", tmp_path / "s.npz")[0] == 0
    with np.load(tmp_path / "s.npz") as arrays:
        for name, expected in (("alarm", alarms), ("discovery", found)):
            np.testing.assert_array_equal(as_csv[name], expected)
            assert [row[name] for row in as_json] == expected.tolist()
            assert arrays[name].dtype == bool
            np.testing.assert_array_equal(arrays[name], expected)
        np.testing.assert_array_equal(arrays["p_value"], scores.p_value)


def test_only_what_is_asked_for_is_decided(calibrated, rows_file, call):
    _, out, err = call("score", calibrated, rows_file, "--fdr", "0.2", "-q")
    assert out.splitlines()[0].endswith(",p_value,discovery") and err == ""
    assert call("score", calibrated, rows_file)[1].splitlines()[0].endswith(",score,p_value")


def test_a_sample_that_cannot_be_scored_is_an_alarm(calibrated, rows, tmp_path, call):
    lines = [",".join(map(str, row)) for row in rows]
    lines[30] = ",".join(["1e300"] * 12)
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    words = ("score", calibrated, tmp_path / "bad.csv", "--alpha", "0.01", "--fdr", "0.2")
    status, out, err = call(*words, "--json")
    assert status == 0 and "sample 30 of 43 cannot be scored" in err
    row = json.loads(out.splitlines()[30])
    assert (row["score"], row["loss"]) == (None, None)
    assert row["p_value"] == np.float32(0.01) and row["alarm"] is row["discovery"] is True
    assert call(*words)[1].splitlines()[31] == "30,inf,inf,inf,inf,0.01,1,1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--alpha", "0.001"),
            "alpha is 0.001, but 99 calibration samples give no p-value below 0.01: calibrate with "
            "at least 999 samples, or choose a larger alpha",
        ),
        (("--alpha", "1.5"), "alpha is 1.5, expected a number from 1.2e-07 to below 1"),
        (("--fdr", "0"), "fdr is 0.0, expected a number from 1.2e-07 to below 1"),
    ],
)
def test_rates_are_checked_before_anything_is_scored(
    words, message, calibrated, rows_file, tmp_path, call, monkeypatch
):
    monkeypatch.setattr("vae_runtime.inference.chunks.Chunks.run", None)
    monkeypatch.setattr("vae_runtime.cli.opening.open_source_table", None)
    status, out, err = call("score", calibrated, rows_file, *words, "-o", tmp_path / "s.csv")
    assert (status, out) == (3, "")
    assert one_line(err) == f"Error: {message}"
    assert not (tmp_path / "s.csv").exists()


def test_a_bundle_without_a_score(bundle, data, call):
    expected = call("score", bundle, data)[1].splitlines()
    without_score(bundle)
    status, out, _ = call("score", bundle, data)
    assert status == 0
    assert out.splitlines() == [line.rpartition(",")[0].rpartition(",")[0] for line in expected]
    for words in (("--alpha", "0.1"), ("--fdr", "0.1")):
        status, out, err = call("score", bundle, data, *words)
        assert (status, out) == (3, "")
        assert one_line(err) == (
            f"Error: {bundle} has no anomaly score: export the model again with this build-vae and "
            "at least 8 held-out samples"
        )


def test_an_id_column_named_like_a_result(calibrated, rows, tmp_path, call):
    header = ",".join(["p_value", *(f"c{i}" for i in range(12))])
    lines = [f"m{i},{','.join(map(str, row))}" for i, row in enumerate(rows)]
    (tmp_path / "named.csv").write_text("\n".join([header, *lines]))
    _, out, _ = call("score", calibrated, tmp_path / "named.csv", "--id", "p_value")
    assert out.splitlines()[0].startswith("index,id_p_value,reconstruction_loss,")
