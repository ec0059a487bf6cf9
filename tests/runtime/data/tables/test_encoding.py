"""Encoding of columns: categories, booleans, missing values, against NumPy written by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_runtime.data.tables.encoding import ColumnEncoding, TableEncoding, fit_columns

COLOUR = ColumnEncoding("colour", "category", ("blue", "red"))
NUMBER = ColumnEncoding("size", "number")
BOOLEAN = ColumnEncoding("open", "boolean")


def encoded(encoding, *cells):
    columns = zip(encoding.columns, cells, strict=True)
    return encoding.apply([column.read(own)[0] for column, own in columns])


@given(st.lists(st.sampled_from(["blue", " red ", "", "NA", "green"]), min_size=1))
@pytest.mark.parametrize("unknown", ["error", "zeros"])
def test_a_category_is_one_of_its_elements(unknown, cells):
    x = encoded(TableEncoding((COLOUR,), "error", unknown), cells)
    zeros = [0, 0] if unknown == "zeros" else [np.nan] * 2
    rows = {"blue": [1, 0], "red": [0, 1], "green": zeros}
    expected = [rows.get(cell.strip(), [np.nan] * 2) for cell in cells]
    np.testing.assert_array_equal(x, expected)


def test_numbers_are_the_same_category_however_they_are_written():
    codes = ColumnEncoding("code", "category", ("1", "2.5", "10"))
    expected = np.eye(3)[[0, 2, 1, 0]]
    for cells in (["1", "10.0", "2.50", "01"], np.array([1, 10, 2.5, 1])):
        np.testing.assert_array_equal(encoded(TableEncoding((codes,)), cells), expected)


def test_booleans_are_words_or_numbers():
    values, bad = BOOLEAN.read(["True", "FALSE", "1", "0.0", "", "yes", "2"])
    np.testing.assert_array_equal(values[:5], [1, 0, 1, 0, np.nan])
    assert bad == [5, 6]


def test_a_word_among_numbers_is_never_filled_in():
    column = ColumnEncoding("size", "number", fill=(3.0,))
    values, bad = column.read(["1", "", "abc"])
    x = TableEncoding((column,), "mean").apply([values])
    assert bad == [2] and x.tolist() == [[1], [3], [np.inf]]


@pytest.mark.parametrize("rule", ["mean", "indicator"])
def test_what_is_filled_in_is_fitted_on_the_training_rows(rule):
    sizes = np.array([1, np.nan, 4, 7, 100])
    colours = np.array([0, 1, -1, 1, 0.0])
    plain = np.arange(5.0)
    training = np.array([0, 1, 2, 3])
    encoding = fit_columns(
        [(NUMBER, sizes), (COLOUR, colours), (ColumnEncoding("n", "number"), plain)],
        rule,
        "error",
        training,
    )
    x = encoding.apply([sizes, colours, plain])
    size = [1, (1 + 4 + 7) / 3, 4, 7, 100]
    blue, red = [1, 0, 1 / 3, 0, 1], [0, 1, 2 / 3, 1, 0]
    if rule == "mean":
        assert encoding.elements == ("size", "colour=blue", "colour=red", "n")
        np.testing.assert_allclose(x, np.c_[size, blue, red, plain], rtol=1e-6)
        return
    assert encoding.elements == (
        *("size", "size is missing", "colour=blue", "colour=red", "colour is missing", "n"),
    )
    gaps = [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]
    np.testing.assert_allclose(x, np.c_[size, gaps[0], blue, red, gaps[1], plain], rtol=1e-6)
    assert encoding.sources == ("size", "size", "colour", "colour", "colour", "n")
    assert [*encoding.faults()] == []


@pytest.mark.parametrize(
    ("encoding", "fault"),
    [
        (TableEncoding(()), "columns is empty"),
        (TableEncoding((NUMBER, NUMBER)), "names one twice"),
        (TableEncoding((ColumnEncoding("a", "category"),)), "has 0 categories"),
        (TableEncoding((ColumnEncoding("a", "number", ("x",)),)), "has 1 categories"),
        (TableEncoding((ColumnEncoding("a", "category", ("x", "x")),)), "a category twice"),
        (TableEncoding((ColumnEncoding("a", "category", ("", "x")),)), "or an empty one"),
        (TableEncoding((NUMBER,), "mean"), "does not fit missing 'mean'"),
        (TableEncoding((ColumnEncoding("a", "number", fill=(1.0,)),)), "does not fit missing"),
        (
            TableEncoding((ColumnEncoding("a", "number", fill=(1.0, 2.0)),), "mean"),
            "has 2 values to fill in, expected 1",
        ),
        (
            TableEncoding((ColumnEncoding("a", "number", indicator=True),), "indicator"),
            "has an indicator and nothing to fill in",
        ),
    ],
)
def test_contradictions_are_found(encoding, fault):
    assert any(fault in found for found in encoding.faults())


def test_only_plain_numbers_need_no_encoding():
    assert TableEncoding((NUMBER,)).is_plain
    for columns, missing in (
        ((BOOLEAN,), "error"),
        ((NUMBER, COLOUR), "error"),
        ((NUMBER,), "drop"),
    ):
        assert not TableEncoding(columns, missing).is_plain
