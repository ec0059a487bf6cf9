"""Folders of tables whose names are those of splits, and parts that must not be confused."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from vae_builder import load_dataset
from vae_runtime.data.sources import load_array, load_table
from vae_runtime.errors import InputError

TRAIN = [(x, "ab"[i % 2], i % 3) for i, x in enumerate(np.linspace(-2, 3, 30).round(3).tolist())]
TEST = [(5.5, "z", 0), (6.5, "a", 1), (7.5, "b", 2)]


def write(path, rows, names=("x", "kind", "y")):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row[: len(names)] for row in rows]
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), path)
    else:
        path.write_text("\n".join(",".join(map(str, row)) for row in (names, *rows)))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (["train.csv"], "test.csv"),
        (["data/mnist_training-set.csv"], "data/mnist_testing-set.csv"),
        (["train.txt"], "test.txt"),
        (["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"], "test-00000.parquet"),
        (["train/p0.csv", "train/p1.csv"], "test/p0.csv"),
        (["split=train/p.parquet"], "split=test/p.parquet"),
    ],
)
def test_names_are_splits(tmp_path, train, test):
    for name, rows in zip(train, np.array_split(np.arange(30), len(train)), strict=True):
        write(tmp_path / name, [TRAIN[i] for i in rows])
    write(tmp_path / test, TEST)
    dataset = load_dataset(tmp_path, label="y")
    assert dataset.counts == {"train": 28, "validation": 2, "test": 3}
    assert dataset.columns == ("x", "kind=a", "kind=b", "kind=z")  # z is in the test split only
    expected = [[5.5, 0, 0, 1], [6.5, 1, 0, 0], [7.5, 0, 1, 0]]
    np.testing.assert_array_equal(dataset.test, expected)
    np.testing.assert_array_equal(load_array(tmp_path, columns=["x"]), [[5.5], [6.5], [7.5]])
    np.testing.assert_array_equal(load_array(tmp_path)[:, :4], expected)
    np.testing.assert_array_equal(dataset.labels["test"], [0, 1, 2])
    x = np.concatenate([dataset.train, dataset.validation])
    assert sorted(x[:, 0]) == sorted(np.float32([row[0] for row in TRAIN]))
    codes = {row[0]: row[1] for row in TRAIN}
    assert all(row[1] == (codes[round(float(row[0]), 3)] == "a") for row in x)


def test_a_column_that_only_training_has_is_the_label(tmp_path):
    write(tmp_path / "train.csv", TRAIN)
    write(tmp_path / "test.csv", TEST, ("x", "kind"))
    (tmp_path / "sample_submission.csv").write_text("id,y\n1,0\n")
    dataset = load_dataset(tmp_path)
    assert dataset.label == "y" and {*dataset.labels} == {"train", "validation"}
    assert dataset.columns == ("x", "kind=a", "kind=b", "kind=z")
    assert "left out what is in no split: sample_submission.csv" in dataset.notes
    write(tmp_path / "test.csv", TEST, ("x",))
    with pytest.raises(InputError, match=r"test.csv lacks kind,y, .* with --drop kind,y"):
        load_dataset(tmp_path)


def test_gaps_of_the_test_split_are_handled_by_the_same_option(tmp_path):
    write(tmp_path / "train.csv", TRAIN)
    write(tmp_path / "test.csv", [*TEST, ("", "a", 0)])
    with pytest.raises(InputError, match=r"test.csv: line 5, .* --missing mean, indicator or drop"):
        load_dataset(tmp_path)
    assert load_dataset(tmp_path, missing="drop").counts["test"] == 3
    dataset = load_dataset(tmp_path, missing="mean")
    mean = np.asarray(dataset.train)[:, 0].mean(dtype=np.float64)
    np.testing.assert_allclose(dataset.test[-1, 0], mean, rtol=1e-6)


def test_folders_without_a_clear_choice_are_refused(tmp_path):
    for kind in "ab":
        write(tmp_path / f"{kind}_train.csv", TRAIN)
        write(tmp_path / f"{kind}_test.csv", TEST)
    with pytest.raises(InputError, match="train and test tables of several kinds"):
        load_dataset(tmp_path)


def test_a_table_that_is_there_in_two_formats_is_refused(tmp_path):
    folder = tmp_path / "t.parquet"  # a name that Spark gives to folders
    write(folder / "part-0.parquet", TRAIN)
    write(folder / "part-1.parquet", TRAIN)
    assert load_table(folder).rows == 60
    write(folder / "part-1.csv", TRAIN)
    with pytest.raises(InputError, match=r"part-1.csv and part-1.parquet, expected each .* once"):
        load_table(folder)


def test_numbers_that_count_anew_in_each_part_are_no_features(tmp_path):
    for part in "ab":
        rows = [(i + 1, 10 * i, row[0]) for i, row in enumerate(TRAIN)]
        write(tmp_path / f"{part}.csv", rows, ("id", "time", "x"))
    assert load_table(tmp_path).columns == ("x",)
