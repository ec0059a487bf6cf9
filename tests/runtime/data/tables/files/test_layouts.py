"""Layouts of text tables, read as pandas or plain NumPy reads them."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pytest

from vae_runtime.data.sources import load_array, load_table
from vae_runtime.data.tables.files.parts import open_table
from vae_runtime.errors import InputError

X = np.array([[1.5, -2, 3], [4.25, 5, -6.125], [7, 0.5, 9], [0, 0.25, 10]])
NAMES = ["a", "b", "c"]


def text(delimiter, decimal=".", header=NAMES, x=X):
    rows = [delimiter.join(str(v).replace(".", decimal) for v in row) for row in x]
    return "\n".join([*([delimiter.join(header)] if header else []), *rows, ""])


def written(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.data", "t.DAT", "t.txt", "t.tab"])
@pytest.mark.parametrize(
    ("delimiter", "decimal"),
    [
        *((delimiter, ".") for delimiter in (",", ";", "\t", "|", " ", "   ", " \t ")),
        *((delimiter, ",") for delimiter in (";", "\t", "|", "  ")),
    ],
)
@pytest.mark.parametrize("header", [NAMES, None])
def test_delimiters_and_decimal_marks(tmp_path, name, delimiter, decimal, header):
    table = load_table(written(tmp_path, text(delimiter, decimal, header), name))
    np.testing.assert_array_equal(table.x, X.astype(np.float32))
    assert table.columns == (tuple(NAMES) if header else None)


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
def test_encodings(tmp_path, encoding):
    header = NAMES if encoding.endswith("e") else ["Größe", "b", "c"]
    path = written(tmp_path, text(";", ",", header).encode(encoding))
    table = load_table(path)
    np.testing.assert_array_equal(table.x, X.astype(np.float32))
    assert table.columns == tuple(header)
    assert table.notes == (("is not UTF-8 and is read as cp1252",) if encoding == "cp1252" else ())


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed(tmp_path, suffix, compress):
    path = written(tmp_path, compress(text(",").encode()), f"t.csv{suffix}")
    np.testing.assert_array_equal(load_array(path), X.astype(np.float32))
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match=rf"t\.csv{suffix} "):
        load_array(path)


def test_zip(tmp_path):
    path = tmp_path / "t.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/t.csv", text(","))
        archive.writestr("__MACOSX/data/._t.csv", b"\0")
    np.testing.assert_array_equal(load_array(path), X.astype(np.float32))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("u.csv", text(","))
    with pytest.raises(InputError, match=r"holds 2 files \(data/t.csv, u.csv\), .*: unpack it"):
        load_array(path)


@pytest.mark.parametrize(
    ("above", "names"),
    [
        ("# made by a logger\n# in 2024, by hand\na,b,c\n", ("a", "b", "c")),
        ("% a comment\n\n#a,b,c\n", ("a", "b", "c")),
        ("# a,b,c\n", ("a", "b", "c")),
        ("# one line of text\n", None),
        ("sep=,\na,b,c\n", ("a", "b", "c")),
        (",1999,2000,2001\n", None),
        ("1999,2000,2001\n", None),
    ],
)
def test_lines_above_the_table(tmp_path, above, names):
    if above.startswith(","):
        rows = "".join(f"town {i},{','.join(map(str, row))}\n" for i, row in enumerate(X))
        names = ("1999", "2000", "2001")
    else:
        rows = text(",", header=None)
    table = load_table(written(tmp_path, above + rows))
    if above.startswith("1999"):  # nothing says that these numbers are names
        assert len(table.x) == 5
        return
    np.testing.assert_array_equal(table.x, X.astype(np.float32))
    assert table.columns == names


def test_separators_of_thousands_and_decimal_commas_are_never_mixed_up(tmp_path):
    for content, expected in (
        ('a,b\n"1,234",2\n"1,234,567.5",3\n7,4\n', [[1234, 2], [1234567.5, 3], [7, 4]]),
        ("a;b\n1.234,5;2\n0,125;3\n7;4\n", [[1234.5, 2], [0.125, 3], [7, 4]]),
        ("a;b\n1,234;2.5\n12,345,678;3\n7;4\n", [[1234, 2.5], [12345678, 3], [7, 4]]),
    ):
        x = load_array(written(tmp_path, content))
        np.testing.assert_array_equal(x, np.array(expected, np.float32))
    for content in ("a;b\n1,234;2\n5;3\n7;4\n", "a\tb\n1,234\t2\n5\t3\n7\t4\n"):
        with pytest.raises(InputError, match=r"is '1,234'.*if the commas are decimal commas"):
            load_array(written(tmp_path, content))
    with pytest.raises(InputError, match="is '1,5'"):
        load_array(written(tmp_path, "a;b\n1,5;2\n5;1.234\n7;4\n7;4\n"))


def test_text_with_commas_is_not_called_a_decimal_comma(tmp_path):
    content = 'a,b\n1,2\n2,3\n3,"x, y"\n4,6\n'
    with pytest.raises(InputError) as caught:
        load_array(written(tmp_path, content))
    assert "'x, y'" in str(caught.value) and "commas" not in str(caught.value).split("t.csv")[1]


def test_quoted_cells_with_delimiters_quotes_and_line_ends(tmp_path):
    content = '"first\nname","b, c"\n"1","2"\n3,"4"\n" 5 ",6\n'
    table = load_table(written(tmp_path, content))
    np.testing.assert_array_equal(table.x, [[1, 2], [3, 4], [5, 6]])
    assert table.columns == ("first name", "b, c")


def test_a_table_of_letters_without_a_header(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.choice(["e", "p", "x"], (40, 3))
    rows[0] = "p"
    content = "\n".join(map(",".join, rows))
    table = load_table(written(tmp_path, content))
    assert len(table.x) == 40
    expected = np.concatenate([(rows[:, [i]] == np.array(["e", "p", "x"])) for i in range(3)], 1)
    np.testing.assert_array_equal(table.x, expected)
    named = load_table(written(tmp_path, "odour,shape,kind\n" + content))
    np.testing.assert_array_equal(named.x, expected)
    assert named.columns[:3] == ("odour=e", "odour=p", "odour=x")


def test_scikit_learns_first_line(tmp_path):
    rows = [[5.1, 3.5, 1], [4.9, 3.0, 0], [6.1, 3.1, 1], [6, 3, 2]]
    content = "4,2,setosa,versicolor,virginica\n" + text(",", header=None, x=rows)
    table = load_table(written(tmp_path, content))
    np.testing.assert_array_equal(table.x, np.array(rows, np.float32)[:, :2])
    assert table.labels.tolist() == ["versicolor", "setosa", "versicolor", "virginica"]
    with pytest.raises(InputError, match="line 2 has 3 cells, the first line has 5"):
        load_table(written(tmp_path, content.replace("4,2,", "9,2,")))  # not so many rows


@pytest.mark.parametrize("name", ["Coffee_TRAIN.tsv", "Coffee_TEST.txt", "Coffee_TRAIN"])
def test_the_label_of_the_ucr_archive(tmp_path, name):
    delimiter = "\t" if name.endswith("tsv") else "  "
    x = np.c_[[1, 2, 1, 2], X]
    path = written(tmp_path, text(delimiter, header=None, x=x), name)
    if "." not in name:
        with pytest.raises(InputError, match="has no known format"):
            load_table(path)
        return
    table = load_table(path)
    np.testing.assert_array_equal(table.x, X.astype(np.float32))
    assert (table.label, table.labels.tolist()) == ("column_1", [1, 2, 1, 2])
    assert "holds the labels, by the layout of the file" in table.notes[0]
    plain = load_table(written(tmp_path, text(delimiter, header=None, x=x), "coffee.tsv"))
    assert (plain.x.shape, plain.labels) == ((4, 4), None)


@pytest.mark.parametrize("header", ["pixel{i}", "{i}x1", None])
def test_the_label_of_mnist_as_csv(tmp_path, header):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 784))
    labels = [5, 0, 4, 1, 9, 2]
    names = header and ["label", *(header.format(i=i) for i in range(784))]
    path = written(tmp_path, text(",", header=names, x=np.c_[labels, pixels]))
    table = load_table(path)
    np.testing.assert_array_equal(table.x, pixels)
    assert table.labels.tolist() == labels


def test_rows_of_another_length_and_trailing_delimiters(tmp_path):
    np.testing.assert_array_equal(
        load_array(written(tmp_path, "a,b\n1,2,\n3,4,\n")), [[1, 2], [3, 4]]
    )
    with pytest.raises(InputError, match="line 3 has 1 cells, the first line has 2; line 4 has 3"):
        load_array(written(tmp_path, "a,b\n1,2\n3\n4,5,6\n"))


def test_chunks_give_the_same_as_the_whole(tmp_path):
    path = written(tmp_path, text(","))
    chunks = [*open_table(path).chunks([2, 0], 3)]
    assert [chunk.rows for chunk in chunks] == [3, 1]
    assert [chunk.first for chunk in chunks] == [0, 3]
    assert [chunks[1].place(0), chunks[0].place(2)] == ["line 5", "line 4"]
    cells = [[*map(float, (*a, *b))] for a, b in zip(*(c.columns for c in chunks), strict=True)]
    np.testing.assert_array_equal(cells, X[:, [2, 0]].T)
