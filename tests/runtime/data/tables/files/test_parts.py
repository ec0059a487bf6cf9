"""Folders whose files are parts of one table."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from vae_runtime.data.sources import load_array, load_table
from vae_runtime.errors import InputError

X = np.random.default_rng(0).normal(size=(12, 2)).round(4)


def write_parts(folder, writer, order=("a", "b")):
    for i, part in enumerate(np.split(X, 3)):
        names = order if i else order[::-1]
        columns = {name: part[:, "ab".index(name)] for name in names}
        writer(folder / f"part-{i}", columns)


def as_csv(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        ",".join(columns),
        *(",".join(map(str, r)) for r in zip(*columns.values(), strict=True)),
    ]
    path.with_suffix(".csv").write_text("\n".join(lines))


def as_parquet(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path.with_suffix(".parquet"))


@pytest.mark.parametrize("writer", [as_csv, as_parquet])
def test_parts_are_read_in_order_and_by_name(tmp_path, writer):
    write_parts(tmp_path, writer)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "README.txt").write_text("what this is")
    (tmp_path / ".part-9.csv").write_text("c\n1\n")
    table = load_table(tmp_path)
    assert table.columns == ("b", "a")
    np.testing.assert_array_equal(table.x, X[:, ::-1].astype(np.float32))
    assert table.notes == ("read 3 files as parts of one table",)
    np.testing.assert_array_equal(load_array(tmp_path, columns=["a"]), X[:, :1].astype(np.float32))


@pytest.mark.parametrize("writer", [as_csv, as_parquet])
def test_folders_of_hive_give_columns(tmp_path, writer):
    for i, part in enumerate(np.split(X, 4)):
        folder = tmp_path / f"site=town%20{i % 2}" / f"level={i}"
        writer(folder / "part", {"a": part[:, 0], "b": part[:, 1]})
    table = load_table(tmp_path)
    assert table.columns == ("a", "b", "site=town 0", "site=town 1", "level")
    order = [0, 2, 1, 3]
    expected = np.concatenate([np.split(X, 4)[i] for i in order])
    np.testing.assert_array_equal(table.x[:, :2], expected.astype(np.float32))
    np.testing.assert_array_equal(table.x[:, 4], np.repeat(order, 3))
    np.testing.assert_array_equal(table.x[:, 3], np.repeat([0, 0, 1, 1], 3))


def test_parts_with_other_columns_are_named(tmp_path):
    as_csv(tmp_path / "p0", {"a": [1, 2], "b": [3, 4]})
    as_csv(tmp_path / "p1", {"a": [1, 2], "c": [3, 4]})
    with pytest.raises(InputError) as caught:
        load_table(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: p1.csv lacks b and has c besides, expected the columns of p0.csv: give one "
        "of the files, or a folder whose tables have the same columns"
    )


def test_a_fault_names_the_part(tmp_path):
    as_csv(tmp_path / "p0", {"a": [1.5, 2], "b": [3, 4]})
    as_csv(tmp_path / "p1", {"a": [1, 2], "b": [3, ""]})
    with pytest.raises(InputError, match=r"p1\.csv line 3, column 'b' has no value"):
        load_table(tmp_path)


def test_pictures_beside_a_table_stay_pictures(tmp_path):
    from PIL import Image

    as_csv(tmp_path / "labels", {"a": [1, 2]})
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "a.png")
    assert load_array(tmp_path).shape == (1, 2, 2, 1)
