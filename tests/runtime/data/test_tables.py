"""CSV and Parquet files: layouts that can be read, and errors that name the bad cell."""

import sys

import numpy as np
import pytest

from vae_builder.data import Dataset, load_dataset
from vae_builder.training.train import data_spec
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.sources import load_array, load_table
from vae_runtime.errors import InputError, MissingExtraError, OptionError

X = np.array([[1, 2.5, -3], [4e-3, 5, 6], [7, 8, 9], [0, 0.1, 0.2]])


def text(x=X, delimiter=",", header=None, end="\n"):
    rows = [delimiter.join(map(str, row)) for row in x]
    return end.join([*([delimiter.join(header)] if header else []), *rows, ""])


def write(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [None, ["a", "b", "c"]])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["t.csv", "t.TSV"])
def test_csv(tmp_path, delimiter, header, end, name):
    x = load_array(write(tmp_path, text(X, delimiter, header, end), name))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, X.astype(np.float32))


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff1,2\n3,4\n",
        "1,2\n3,4",
        "\n\n1,2\n\n3,4\n\n",
        '"1","2"\n"3",4\n',
        " 1 , 2 \n 3,4\n",
        'width,"a, b; c"\n1,2\n3,4\n',
        '"two\nlines",b\n1,2\n3,4\n',
        "a,\n1,2\n3,4\n",
        "# width,height\n1,2\n3,4\n",
    ],
)
def test_csv_layouts_of_other_programs(tmp_path, content):
    assert load_array(write(tmp_path, content)).tolist() == [[1, 2], [3, 4]]


def test_one_column_and_one_row(tmp_path):
    assert load_array(write(tmp_path, "x\n1\n2\n")).tolist() == [[1], [2]]
    assert load_array(write(tmp_path, "1,2,3\n")).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("extension", ["csv", "parquet"])
def test_table_as_data_set(tmp_path, extension):
    x = np.random.default_rng(0).random((40, 3)).astype(np.float32)
    path = tmp_path / f"t.{extension}"
    if extension == "csv":
        write(tmp_path, text(x, header=["a", "b", "c"]))
    else:
        write_parquet(path, {name: x[:, i] for i, name in enumerate("abc")})
    dataset = load_dataset(path)
    assert dataset.name == path.name
    assert dataset.input_shape == (3,)
    rows = np.concatenate([dataset.train, dataset.validation, dataset.test])
    assert sorted(rows.tolist()) == sorted(x.tolist())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a,b\n1,2\n3,x\n",
            r"line 3, column 'b' is 'x', expected finite numbers: leave .* --drop b",
        ),
        ("1,2\n3,4\n3,2#5\n", r"line 3, column 'column_2' is '2#5', expected"),
        ("1,2\n3,x\ny,4\n", r"line 3, column 'column_1' is 'y'; line 2, column 'column_2' is 'x'"),
        ("1,x\n3,4\n", r"line 1, column 'column_2' is 'x', expected"),
        ("a,b\n\n1,2\n,4\n", r"line 4, column 'a' has no value \(''\), expected finite numbers: "),
        ("a,b\n1,NA\n1,2\n", r"line 2, column 'b' has no value \('NA'\)"),
        ("a,b\n1,2\n1,nan\n", r"line 3, column 'b' has no value \('nan'\)"),
        ("NA,NA\n1,2\n", r"line 1, column 'column_1' has no value \('NA'\)"),
        ("inf,inf\n1,2\n", r"line 1, column 'column_1' is 'inf'; .* expected finite"),
        ("a,b\n1,-inf\n", r"line 2, column 'b' is '-inf', expected finite"),
        ("1,2\n1,1e39\n", r"line 2, column 'column_2' is '1e39', expected finite"),
        ("a;b\n1,5;2\n2.5;3\n2;3\n", r"line 2, column 'a' is '1,5', .*decimal commas, write"),
        ("a;b\n1,500;2\n2;3\n2;3\n", r"line 2, column 'a' is '1,500', .*mark thousands, remove"),
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 cells, the first line has 2: repair"),
        ("a,b\n1,2\n1\n", "line 3 has 1 cells, the first line has 2: repair"),
        ("a,b,c\n1,2\n1,3\n", "line 2 has 2 cells, the first line has 3; line 3 .*: repair"),
        ("1,1_0\n1,2\n", "line 1, column 'column_2' is '1_0'"),
        ("", "has 0 columns and no rows"),
        ("\n\n", "has 0 columns and no rows"),
        ("a,b\n", "has 2 columns and no rows"),
        (b"a,b\n1,\xff\n1,2\n", "line 2, column 'b' is 'ÿ'"),
        (b"\0\xff\0\xff", "is not a readable text file"),
        (b"1,2\n" * 20000 + b"\0", "is not a readable CSV file .*NUL"),
        ("1," + "9" * 200_000 + "\n", "is not a readable CSV file .*field larger"),
    ],
)
def test_csv_that_is_refused(tmp_path, content, message):
    path = write(tmp_path, content)
    for load in (load_array, load_dataset):
        with pytest.raises(InputError, match=message) as caught:
            load(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"key": "a"}, {"channels": 1}, {"image_size": (2, 2)}])
@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_options_that_do_not_apply_to_a_table(tmp_path, options, name):
    with pytest.raises(OptionError, match="drop"):
        load_array(write(tmp_path, "1,2\n", name), **options)


def write_parquet(path, columns, **options):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    columns = [(n, c if isinstance(c, pa.Array) else pa.array(c)) for n, c in columns.items()]
    table = pa.Table.from_arrays([c for _, c in columns], [n for n, _ in columns])
    pq.write_table(table, path, **options)
    return path


@pytest.mark.parametrize("dtype", ["u1", "i8", "f2", "f4", "f8", "?"])
def test_parquet(tmp_path, dtype):
    x = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    path = write_parquet(tmp_path / "t.parquet", dict(zip("abc", x.T.copy(), strict=True)))
    found = load_array(path)
    assert found.dtype == np.float32
    assert found.tolist() == x.astype(float).tolist()


def test_parquet_of_decimals_and_long_integers(tmp_path):
    from decimal import Decimal

    columns = {"a": [Decimal("1.50"), Decimal("2.25")], "b": [2**53 + 1, -(2**40) - 1]}
    with pytest.warns(InputWarning, match=r"t\.parquet: column 'b' holds integers beyond"):
        found = load_array(write_parquet(tmp_path / "t.parquet", columns))
    expected = np.array([[1.5, 2**53 + 1], [2.25, -(2**40) - 1]]).astype(np.float32)
    np.testing.assert_array_equal(found, expected)


def test_parquet_in_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("vae_runtime.data.tables.files.chunks.CHUNK_ROWS", 7)
    x = np.arange(200.0).reshape(2, 100)
    path = write_parquet(tmp_path / "t.parquet", {"a": x[0], "b": x[1]}, row_group_size=10)
    np.testing.assert_array_equal(load_array(path), x.T)
    x[1, 57] = np.nan
    write_parquet(path, {"a": x[0], "b": x[1]}, row_group_size=10)
    with pytest.raises(InputError, match=r"row 57, column 'b' has no value \('nan'\)"):
        load_array(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [1, 2], "b": ["x", "3"]}, "row 0, column 'b' is 'x', expected finite numbers"),
        ({"a": [[1], [2]]}, r"no columns of numbers or categories, .* 'a' \(list<.*>\)"),
        ({"a": [1, 2], "b": [1, None]}, r"row 1, column 'b' has no value"),
        ({"a": [True, None]}, r"row 1, column 'a' has no value"),
        ({"a": [None, None]}, r"no columns of numbers or categories, .* 'a' \(no values\)"),
        ({"a": [0.5, float("-inf")]}, "row 1, column 'a' is '-inf', expected finite numbers"),
        ({"a": [0.5, 1e39]}, r"row 1, column 'a' is '1e\+39', expected finite numbers"),
        ({"a": np.zeros(0)}, "has 1 columns and no rows"),
    ],
)
def test_parquet_that_is_refused(tmp_path, columns, message):
    path = write_parquet(tmp_path / "t.parquet", columns)
    for load in (load_array, load_dataset):
        with pytest.raises(InputError, match=message) as caught:
            load(path)
        assert str(caught.value).startswith(str(path))
        assert "\n" not in str(caught.value)


def test_damaged_parquet(tmp_path):
    path = write_parquet(tmp_path / "t.parquet", {"a": np.arange(1000.0)})
    content = path.read_bytes()
    for damaged in (b"", b"hello", content[:-20], b"PAR1" + content[500:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"t\.parquet is not a readable Parquet file"):
            load_array(path)


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write(tmp_path, b"PAR1", "t.parquet")
    with pytest.raises(MissingExtraError) as caught:
        load_array(path)
    assert str(caught.value) == (
        'reading Parquet needs pyarrow, which is not installed: pip install "build-vae[parquet]"'
    )


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (None, None),
        (["a", " b ", "c"], ("a", "b", "c")),
        (['"two\nlines"', "b" * 300, '"x, y"'], ("two lines", "b" * 200, "x, y")),
    ],
)
def test_column_names(tmp_path, header, columns):
    path = write(tmp_path, text(X, ",", header))
    assert load_table(path).columns == columns
    dataset = load_dataset(path)
    assert dataset.columns == columns
    assert data_spec(dataset).columns == columns


def test_column_names_in_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"t": [1.0, 2.0, 3.0], "p": [4, 5, 6]}), tmp_path / "t.parquet")
    assert load_table(tmp_path / "t.parquet").columns == ("t", "p")


def test_number_of_column_names_must_match_the_shape():
    with pytest.raises(InputError, match=r"2 names of columns for samples of shape \(3,\)"):
        Dataset.from_arrays("x", X, columns=("a", "b"))


def test_column_names_that_are_too_long_for_the_manifest_are_omitted():
    x = np.zeros((4, 2000))
    dataset = Dataset.from_arrays("x", x, columns=tuple(f"{i:0200}" for i in range(2000)))
    assert data_spec(dataset).columns is None
