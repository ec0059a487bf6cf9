"""Times and identifiers in the forms that public tables have, and headers of years."""

import csv
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from vae_builder import load_dataset
from vae_runtime.data.sources import load_table
from vae_runtime.data.tables.files.parts import open_table
from vae_runtime.data.tables.model_rows import ModelRows

N = 1500
RNG = np.random.default_rng(0)
GAP = np.where(np.arange(N) == 7, np.nan, np.arange(N) * 0.5)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Time", np.sort(RNG.integers(0, 1000, N))),  # several rows have one time
        ("Time", np.arange(N) // 8),  # the first 1000 rows have few
        ("seconds", np.arange(N) * 0.5),
        ("timestamp", RNG.integers(1e9, 1.5e9, N)),  # shuffled
        ("time", GAP),
        ("Row.names", np.delete(np.arange(N + 1), 5)),
        ("customerid", RNG.permutation(N)),
        ("patient", np.arange(N) + 1),
    ],
)
def test_times_and_identifiers_are_left_out(tmp_path, name, values):
    lines = [f"a,{name}", *(f"{a},{v}" for a, v in zip(RNG.normal(size=N), values, strict=True))]
    (tmp_path / "t.csv").write_text("\n".join(lines).replace("nan", ""))
    assert load_table(tmp_path / "t.csv").columns == ("a",)


def test_years_of_a_sorted_table_are_a_feature(tmp_path):
    rows = zip(np.sort(RNG.integers(1990, 2011, N)), RNG.normal(size=N), strict=True)
    (tmp_path / "t.csv").write_text("\n".join(["year,a", *(f"{y},{a}" for y, a in rows)]))
    assert load_table(tmp_path / "t.csv").columns == ("year", "a")


@pytest.mark.parametrize("step", [1, 5])
def test_years_behind_several_names_are_a_header(tmp_path, step):
    years = [str(1960 + step * i) for i in range(6)]
    header = ["Country Name", "Country Code", *years]
    rows = [[f"Land {i}", f"L{i}", *map(str, RNG.normal(size=6).round(2))] for i in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(map(",".join, [header, *rows])))
    table = load_table(tmp_path / "t.csv")
    assert table.columns == tuple(years)
    np.testing.assert_array_equal(table.x, np.array([row[2:] for row in rows], np.float32))


def test_records_of_numpy_are_a_table(tmp_path):
    records = np.array([(1.5, "a"), (2.5, "b")] * 10, dtype=[("v", "f8"), ("kind", "U1")])
    np.save(tmp_path / "r.npy", records)
    dataset = load_dataset(tmp_path / "r.npy")
    assert dataset.columns == ("v", "kind=a", "kind=b")
    assert {tuple(row) for row in dataset.train.tolist()} == {(1.5, 1, 0), (2.5, 0, 1)}


def test_an_identifier_with_a_gap_in_the_first_row_is_left_out(tmp_path):
    lines = ["a,id", "0.5,", *(f"{a},{i}" for i, a in enumerate(RNG.normal(size=50)))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert load_table(tmp_path / "t.csv").columns == ("a",)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "t.jsonl"])
def test_names_of_rows_are_whole(tmp_path, name):
    ids = [10**17, 10**17 + 1, 7]
    names = ["NA", "007", "x" * 300]
    if name.endswith("parquet"):
        parquet.write_table(pa.table({"id": ids, "name": names, "a": [1.0, 2, 3]}), tmp_path / name)
    elif name.endswith("csv"):
        rows = [f"{i},{n},{a}" for i, n, a in zip(ids, names, (1, 2, 3), strict=True)]
        (tmp_path / name).write_text("\n".join(["id,name,a", *rows]))
    else:
        rows = [{"id": i, "name": n, "a": a} for i, n, a in zip(ids, names, (1, 2, 3), strict=True)]
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    (rows,) = ModelRows(open_table(tmp_path / name), ("a",)).chunks(texts=["id", "name"])
    assert rows.texts == {"id": [*map(str, ids)], "name": names}
    np.testing.assert_array_equal(rows.x, [[1], [2], [3]])


def test_arff_leaves_the_limit_of_csv(tmp_path):
    pytest.importorskip("scipy")
    (tmp_path / "t.arff").write_text("@relation r\n@attribute a numeric\n@data\n1\n2\n3\n")
    limit = csv.field_size_limit()
    load_table(tmp_path / "t.arff")
    assert csv.field_size_limit() == limit


def test_a_column_of_splits_is_left_out(tmp_path):
    rows = [
        f"{a},{s}" for a, s in zip(RNG.normal(size=9), ["train"] * 6 + ["test"] * 3, strict=True)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["a,split", *rows]))
    table = load_table(tmp_path / "t.csv")
    assert table.columns == ("a",)
    assert "'split' (splits (train, test): to use them, save a file for each" in table.notes[0]
    (tmp_path / "t.csv").write_text("\n".join(["a,split", *rows]).replace("train", "left"))
    assert load_table(tmp_path / "t.csv").columns == ("a", "split=left", "split=test")


def test_records_of_numbers_are_a_table(tmp_path):
    np.save(tmp_path / "r.npy", np.array([(1, 2.5), (2, 3.5)] * 10, [("k", "i4"), ("v", "f8")]))
    dataset = load_dataset(tmp_path / "r.npy")
    assert dataset.columns == ("k", "v")
    assert {tuple(row) for row in dataset.train.tolist()} == {(1, 2.5), (2, 3.5)}
