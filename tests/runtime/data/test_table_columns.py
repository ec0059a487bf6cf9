"""Which columns of a table are read: not row numbers, row names and times; or those of a model."""

import numpy as np
import pytest

from vae_builder.data import Dataset, load_dataset
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.sources import load_array, load_table
from vae_runtime.data.tables.names import unique_names
from vae_runtime.data.tables.options import TableOptions
from vae_runtime.errors import InputError, OptionError

N = 30
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 2)).round(4)
COUNT = [*range(N)]
SHUFFLED = [int(i) for i in RNG.permutation(N)]


def write(tmp_path, name, first, x=X, others="a,b"):
    """Write a CSV file with one more column in front of x; without a header if `name` is None."""
    lines = [] if name is None else [f"{name},{others}"]
    lines += [",".join(map(str, row)) for row in zip(first, *x.T, strict=True)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("", COUNT),
        ("", [i + 1 for i in COUNT]),
        ("", [i + 2000 for i in COUNT]),
        ("", SHUFFLED),
        ("", COUNT[: N // 2] * 2),
        ("Unnamed: 0", COUNT),
        ("", [i / 4 for i in COUNT]),
        ("", [f"row {i}" for i in COUNT]),
        ("model", [f"car {i}" for i in COUNT]),
        ("id", COUNT),
        ("PassengerId", [i + 1 for i in COUNT]),
        ("row_no", COUNT),
        ("#", COUNT),
        ("customer_id", [i * 7919 for i in SHUFFLED]),
        ("time", [i**1.5 for i in COUNT]),
        ("Year", [1950 + i for i in COUNT]),
        ("timestamp", [2e9 - 60 * i for i in COUNT]),
        ("x", [1_700_000_000_000 + 60_000 * i for i in COUNT]),
        ("when", [f"2024-01-{i + 1:02} 00:00:00+01:00" for i in COUNT]),
        ("when", [f"{i % 12 + 1}/31/2024" for i in COUNT]),
        ("when", [f"{i + 1}-Jan-2024" for i in COUNT]),
        (None, COUNT),
    ],
)
@pytest.mark.filterwarnings("ignore:.*float32 rounds")
def test_no_features_are_left_out_and_named(tmp_path, name, first):
    path = write(tmp_path, name, first)
    dataset = load_dataset(path)
    assert dataset.columns == (("a", "b") if name is not None else ("column_2", "column_3"))
    found = np.concatenate([dataset.train, dataset.validation, dataset.test])
    assert sorted(found.tolist()) == sorted(X.astype(np.float32).tolist())
    np.testing.assert_array_equal(load_array(path), X.astype(np.float32))
    label = {"": "Unnamed: 0", None: "column_1"}.get(name, name)
    (note,) = dataset.notes
    assert note.startswith(f"left out {label!r} (")
    if isinstance(first[0], str):
        assert "--keep-columns" not in note
        return
    kept = load_table(path, TableOptions(keep_columns=[label]))
    np.testing.assert_array_equal(kept.x, np.c_[first, X].astype(np.float32))
    assert kept.notes == () and f"--keep-columns {label}" in note.replace("'", "")


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("age", SHUFFLED),
        ("grade", [i // 2 for i in COUNT]),
        ("refractive_index", [1.5 + i / 100 for i in SHUFFLED]),
        ("store_id", [i % 5 for i in COUNT]),
        ("year", [1950 + i // 3 for i in COUNT]),
        ("time", SHUFFLED),
        ("total", [1000.5 * i for i in COUNT]),
        ("number_of_rooms", [i % 7 for i in COUNT]),
        ("date", [20240100 + i for i in SHUFFLED]),
        ("acid", [i * 3 for i in SHUFFLED]),
        (None, SHUFFLED),
        (None, [i * 0.5 for i in COUNT]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*float32 rounds")
def test_features_stay(tmp_path, name, first):
    table = load_table(write(tmp_path, name, first))
    np.testing.assert_array_equal(table.x, np.c_[first, X].astype(np.float32))
    assert (table.columns, table.notes) == (name and (name, "a", "b"), ())


def test_numbers_that_count_under_another_name_stay_with_a_note(tmp_path):
    table = load_table(write(tmp_path, "height", [58 + i for i in COUNT]))
    assert table.columns == ("height", "a", "b")
    assert table.notes == (
        "height counts up by one and is kept: if it numbers rows, give --drop height",
    )


def test_the_rule_looks_at_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("vae_runtime.data.tables.files.chunks.HEAD_ROWS", 10)
    assert load_table(write(tmp_path, "id", COUNT)).columns == ("a", "b")
    broken = [*COUNT[:-1], 3]
    assert load_table(write(tmp_path, "id", broken)).columns == ("id", "a", "b")


def test_headers_of_pandas_and_r(tmp_path):
    """Numbered columns, with and without an index, and a header with one cell less."""
    expected = X.astype(np.float32)
    for name, others, first in (("", "0,1", COUNT), ('""', '"a","b"', COUNT)):
        found = load_table(write(tmp_path, name, first, others=others))
        np.testing.assert_array_equal(found.x, expected)
    (tmp_path / "t.csv").write_text("0,1\n" + "".join(f"{a},{b}\n" for a, b in X))
    np.testing.assert_array_equal(load_array(tmp_path / "t.csv"), expected)
    rows = "".join(f'"{i + 1}",{a},{b}\n' for i, (a, b) in enumerate(X))
    (tmp_path / "t.csv").write_text('"a","b"\n' + rows)
    table = load_table(tmp_path / "t.csv")
    np.testing.assert_array_equal(table.x, expected)
    assert table.columns == ("a", "b")


def test_drop_and_keep(tmp_path):
    path = write(tmp_path, "id", COUNT)
    assert load_table(path, TableOptions(drop=["a"])).columns == ("b",)
    assert load_table(path, TableOptions(drop=["a"], keep_columns=["id"])).columns == ("id", "b")
    for options, message in (
        ({"drop": ["x", "y"]}, "has no column 'x', 'y', which --drop names; it has id,a,b"),
        ({"keep_columns": ["x"]}, "has no column 'x', which --keep-columns names"),
        ({"drop": ["a"], "keep_columns": ["a"]}, "a is given to --keep-columns and to --drop"),
        ({"drop": ["id", "a", "b"]}, "--drop names all columns"),
    ):
        with pytest.raises(OptionError, match=message):
            load_dataset(path, **options)
    with pytest.raises(OptionError, match="digits is no table"):
        load_dataset("digits", drop=["a"])


def test_a_model_picks_its_columns_by_name(tmp_path):
    path = write(tmp_path, "", COUNT)
    expected = X.astype(np.float32)
    np.testing.assert_array_equal(load_array(path, columns=("b", "a")), expected[:, ::-1])
    np.testing.assert_array_equal(load_array(path, columns=("a",)), expected[:, :1])
    with_index = load_array(path, columns=("", "b"))  # as bundles of earlier versions name it
    np.testing.assert_array_equal(with_index, np.c_[COUNT, X[:, 1]].astype(np.float32))
    with pytest.raises(InputError) as caught:
        load_array(path, columns=("c", "a", "d, e"))
    assert str(caught.value) == (
        f"{path} lacks 2 of the 3 columns that the model takes, 'c,\"d, e\"'; it has "
        "'Unnamed: 0,a,b': add or rename them"
    )


def test_a_model_and_a_table_without_names(tmp_path):
    plain = np.c_[COUNT, X].astype(np.float32)
    path = write(tmp_path, None, COUNT)
    np.testing.assert_array_equal(load_array(path, columns=("a", "b", "c")), plain)
    np.testing.assert_array_equal(load_array(path, columns=("column_2", "column_3")), plain[:, 1:])
    np.testing.assert_array_equal(load_array(path, columns=3), plain)
    np.testing.assert_array_equal(load_array(path, columns=2), plain[:, 1:])
    with pytest.raises(InputError, match="lacks 2 of the 2 columns"):
        load_array(path, columns=("a", "b"))


def test_a_row_of_another_length_is_found_although_columns_are_chosen(tmp_path):
    path = write(tmp_path, "", COUNT)
    path.write_text(path.read_text().replace("\n3,", "\n3,7,"))
    for options in ({}, {"columns": ("b", "a")}):
        with pytest.raises(InputError, match="line 5 has 4 cells, the first line has 3: repair"):
            load_array(path, **options)


def test_all_faults_are_named_at_once(tmp_path):
    rows = [
        f"{i},{'' if i % 3 else i / 7},{'x' if i % 3 else i},{'' if i else 1},{i % 4}"
        for i in range(9)
    ]
    rows[1] = rows[1].replace("x", "7")
    rows[2] = rows[2].replace("x", "9")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["id,a,b,c,d", *rows]))
    with pytest.raises(InputError) as caught:
        load_dataset(path)
    assert str(caught.value) == (
        f"{path}: line 6, column 'b' is 'x' and 3 more such cells; line 3, column 'a' has no value "
        "('') and 5 more such cells; line 3, column 'c' has no value ('') and 7 more such cells, "
        "expected finite numbers: leave these columns out with --drop b, make categories with "
        "--categorical b, or repair these cells; for the missing values give --missing mean or "
        "indicator to fill them in, --missing drop to leave out their rows (1 of 9 are complete), "
        "or --drop a,c"
    )
    assert load_dataset(path, drop=["a", "b", "c"]).columns == ("d",)
    assert load_array(path, columns=["d"]).tolist() == [[i % 4] for i in range(9)]
    with pytest.raises(InputError, match=r"column 'a' has .*: the model needs these columns"):
        load_array(path, columns=["d", "a"])
    wide = [f"c{i}" for i in range(30)]
    path.write_text(",".join([*wide, "d"]) + "\n" + "," * 30 + "1\n" + "1," * 30 + "1\n")
    with pytest.raises(InputError) as caught:
        load_dataset(path)
    assert "and 25 more faults of columns, expected finite numbers: for the missing" in str(
        caught.value
    )
    assert f"--drop {','.join(wide)}" in str(caught.value)


def test_parquet_of_pandas(tmp_path):
    """The index that pandas stores, by its metadata or by its name, dates, and row names."""
    pa = pytest.importorskip("pyarrow")
    import json

    import pyarrow.parquet as pq

    days = pa.array(np.datetime64("2024-01-01", "us") + np.array(SHUFFLED) * 86_400_000_000)
    columns = {"b": X[:, 1], "day": days, "a": X[:, 0], "sensor": SHUFFLED}
    path = tmp_path / "t.parquet"
    expected = X.astype(np.float32)
    for index in ("sensor", "__index_level_0__"):
        names = [index if name == "sensor" else name for name in columns]
        table = pa.Table.from_arrays([pa.array(c) for c in columns.values()], names)
        if index == "sensor":
            pandas = {"index_columns": [index], "columns": [], "column_indexes": []}
            table = table.replace_schema_metadata({"pandas": json.dumps(pandas)})
        pq.write_table(table, path)
        dataset = load_dataset(path)
        assert dataset.columns == ("b", "a")
        assert dataset.notes[0].startswith(f"left out 'day' (dates), '{index}' (")
        assert load_table(path, TableOptions(keep_columns=[index])).columns == ("b", "a", index)
        np.testing.assert_array_equal(load_array(path), expected[:, ::-1])
        np.testing.assert_array_equal(load_array(path, columns=("a", "b")), expected)
    names = pa.array([f"n{i}" for i in COUNT])
    pq.write_table(pa.table({"name": names, "a": X[:, 0]}), path)
    assert load_table(path).columns == ("a",)
    with pytest.raises(InputError, match=r"lacks 2 of the 3 columns .*, c,d; it has name,a"):
        load_array(path, columns=("a", "c", "d"))


def test_names_that_repeat_differ():
    assert unique_names(["a", "", "a", "a.1", " b "]) == ("a", "Unnamed: 1", "a.1", "a.1.1", "b")


def test_a_warning_names_integers_that_float32_rounds(tmp_path):
    """Identifiers of 15 digits are rounded, multiples of 2^30 and fractions are not integers."""
    numbers = [123_456_789_012_345 + i for i in SHUFFLED]
    for name, first in (("card", numbers), ("even", [i << 30 for i in SHUFFLED])):
        path = write(tmp_path, name, first)
        if name == "even":
            load_array(path)
            continue
        for columns in (None, ("b", "card")):
            with pytest.warns(InputWarning, match="column 'card' holds integers beyond"):
                load_array(path, columns=columns)


def test_an_index_in_a_data_frame_is_named(tmp_path):
    columns = {"Unnamed: 0": COUNT, "a": X[:, 0], "b": X[:, 1]}
    rows = [*zip(*columns.values(), strict=True)]
    frame = np.array(rows, [(name, np.float64) for name in columns])
    with pytest.warns(InputWarning, match="x: 'Unnamed: 0' looks like row numbers, .* trained on"):
        assert Dataset.from_arrays("x", frame).columns == tuple(columns)
    assert Dataset.from_arrays("x", frame[["a", "b"]]).columns == ("a", "b")
