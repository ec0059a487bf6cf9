"""Tables to train on: what each column becomes, options, missing values, labels."""

import numpy as np
import pytest

from vae_runtime.data.sources import load_table
from vae_runtime.data.tables.options import TableOptions
from vae_runtime.errors import InputError, OptionError

N = 40
RNG = np.random.default_rng(0)
SIZES = RNG.normal(size=N).round(3)
COLOURS = RNG.choice(["red", "green"], N)


def table_of(tmp_path, cells, **options):
    rows = zip(*cells.values(), strict=True)
    path = tmp_path / "t.csv"
    path.write_text("\n".join(map(",".join, [cells, *(map(str, row) for row in rows)])))
    return load_table(path, TableOptions(**options))


def test_text_becomes_categories_only_if_it_repeats(tmp_path):
    columns = {
        "size": SIZES,
        "colour": COLOURS,
        "name": [f"n{i}" for i in range(N)],
        "town": [f"t{i % 20}" for i in range(N)],
        "street": [f"s{i % 21}" for i in range(N)],
        "unit": ["cm"] * N,
        "empty": [""] * N,
    }
    table = table_of(tmp_path, columns)
    towns = sorted({f"t{i}" for i in range(20)})
    assert table.columns == (
        *("size", "colour=green", "colour=red"),
        *(f"town={town}" for town in towns),
    )
    expected = np.c_[
        SIZES,
        COLOURS == "green",
        COLOURS == "red",
        np.array(columns["town"])[:, None] == np.array(towns),
    ]
    np.testing.assert_array_equal(table.x, expected.astype(np.float32))
    left_out, categories = table.notes
    assert left_out == (
        "left out 'name' (text with 40 different values), 'street' (text with 21 different "
        "values), 'unit' (text that is always 'cm'), 'empty' (no values): take as categories with "
        "--categorical name,street,unit"
    )
    assert categories == (
        "'colour' (2 categories: green, red), 'town' (20 categories: t0, t1, t10, t11, t12, t13, "
        "...): one 0/1 element for each category; leave out with --drop colour,town"
    )


def test_more_than_50_texts_are_not_categories_by_default(tmp_path):
    columns = {"size": range(102), "code": [f"c{i % 51}" for i in range(102)]}
    assert table_of(tmp_path, columns).columns == ("size",)
    found = table_of(tmp_path, columns, categorical=("code",))
    assert len(found.columns) == 52


def test_codes_become_categories_if_they_are_asked_for(tmp_path):
    codes = [3, 1, 10, 1] * 10
    table = table_of(tmp_path, {"code": codes, "size": SIZES}, categorical=("code",))
    assert table.columns == ("code=1", "code=3", "code=10", "size")
    expected = np.array(codes)[:, None] == [1, 3, 10]
    np.testing.assert_array_equal(table.x[:, :3], expected)


@pytest.mark.parametrize("words", [("True", "False"), ("true", "false"), ("TRUE", "FALSE")])
def test_booleans_are_numbers(tmp_path, words):
    table = table_of(tmp_path, {"size": SIZES, "open": [words[i % 3 > 0] for i in range(N)]})
    assert table.columns == ("size", "open")
    np.testing.assert_array_equal(table.x[:, 1], [i % 3 == 0 for i in range(N)])


def test_words_among_numbers_are_refused_by_name(tmp_path):
    ages = [*range(20, 20 + N - 3), "unknown", "*", "*"]
    with pytest.raises(InputError) as caught:
        table_of(tmp_path, {"size": SIZES, "age": ages})
    assert str(caught.value) == (
        f"{tmp_path / 't.csv'}: line 39, column 'age' is 'unknown', and elsewhere '*', ... (3 such "
        "cells), expected finite numbers: leave these columns out with --drop age, make categories "
        "with --categorical age, or repair these cells"
    )
    assert table_of(tmp_path, {"size": SIZES, "age": ages}, drop=("age",)).columns == ("size",)


def test_numbers_with_units_are_text(tmp_path):
    columns = {
        "size": SIZES,
        "price": [f"${i},200" for i in range(N)],
        "share": ["5 %", "8 %"] * 20,
    }
    columns["price"] = [f'"{price}"' for price in columns["price"]]
    table = table_of(tmp_path, columns)
    assert table.columns == ("size", "share=5 %", "share=8 %")
    assert "'price' (text with 40 different values)" in table.notes[0]


GAPS = {"size": [*SIZES[:-2], "", "NA"], "colour": ["", *COLOURS[1:]], "n": RNG.permutation(N)}


def test_missing_values_are_an_error_that_names_all_columns(tmp_path):
    with pytest.raises(InputError) as caught:
        table_of(tmp_path, GAPS)
    assert str(caught.value) == (
        f"{tmp_path / 't.csv'}: line 40, column 'size' has no value ('') and 1 more such cells; "
        "line 2, column 'colour' has no value (''), expected finite numbers: for the missing "
        "values give --missing mean or indicator to fill them in, --missing drop to leave out "
        "their rows (37 of 40 are complete), or --drop size,colour"
    )


def test_rows_with_missing_values_are_left_out(tmp_path):
    table = table_of(tmp_path, GAPS, missing="drop", label="n")
    expected = np.c_[SIZES, COLOURS == "green", COLOURS == "red"][1:-2]
    np.testing.assert_array_equal(table.x, expected.astype(np.float32))
    np.testing.assert_array_equal(table.labels, GAPS["n"][1:-2])
    assert table.notes[0] == "left out 3 of 40 rows, which have missing values in size,colour"
    with pytest.raises(InputError, match="each of the 4 rows has a missing value, in a,b: give"):
        columns = {"a": [1, "", 2, ""], "b": ["", 1, "", 2], "c": [1, 2, 3, 1]}
        table_of(tmp_path, columns, missing="drop")


def test_missing_values_are_filled_in(tmp_path):
    table = table_of(tmp_path, GAPS, missing="indicator")
    assert table.columns == (
        *("size", "size is missing", "colour=green", "colour=red", "colour is missing", "n"),
    )
    np.testing.assert_allclose(table.x[-1, :2], [SIZES[:-2].mean(), 1], rtol=1e-6)
    share = (COLOURS[1:] == "green").mean()
    np.testing.assert_allclose(table.x[0, 2:5], [share, 1 - share, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("label", "expected"),
    [(["b", "a"] * 20, ["b", "a"] * 20), ([2, 7] * 20, [2.0, 7.0] * 20)],
)
def test_labels_are_kept_aside(tmp_path, label, expected):
    table = table_of(tmp_path, {"size": SIZES, "kind": label}, label="kind")
    assert (table.columns, table.label, table.labels.tolist()) == (("size",), "kind", expected)


def test_a_column_that_is_called_label_is_a_feature_with_a_note(tmp_path):
    table = table_of(tmp_path, {"size": SIZES, "species": COLOURS})
    assert len(table.columns) == 3
    assert table.notes[-1] == ("'species' is trained on: if it is the label, give --label species")


def test_columns_are_exactly_those(tmp_path):
    columns = {
        "id": range(N),
        "size": SIZES,
        "colour": COLOURS,
        "name": map("n{}".format, range(N)),
    }
    columns["name"] = [*columns["name"]]
    table = table_of(tmp_path, columns, columns=("colour", "id"))
    assert table.columns == ("colour=green", "colour=red", "id")
    with pytest.raises(InputError, match=r"--columns names 'name' \(text with 40 different"):
        table_of(tmp_path, columns, columns=("size", "name"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ("x",), "label": "y"}, "no column 'x', which --columns names; nor 'y', which"),
        ({"drop": ("a",), "label": "a"}, "a is given to --label and to --drop"),
        ({"columns": ("a", "b"), "label": "a"}, "a is given to --columns and to --label"),
        ({"categorical": ("a",), "drop": ("a",)}, "a is given to --categorical and to --drop"),
        ({"missing": "zero"}, "missing is 'zero', expected one of error, drop, mean, indicator"),
        ({"unknown_category": "x"}, "unknown_category is 'x', expected one of error, zeros"),
    ],
)
def test_options_that_do_not_fit(tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        table_of(tmp_path, {"a": SIZES, "b": SIZES}, **options)
