"""Data frames with text, categories, booleans and gaps: encoded as a file of the same table."""

import numpy as np
import pyarrow as pa
import pytest

from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.samples.frames import FrameTable
from vae_runtime.data.samples.inputs import as_batch
from vae_runtime.data.sources import load_table
from vae_runtime.data.tables.encoding import ColumnEncoding, TableEncoding
from vae_runtime.data.tables.options import TableOptions
from vae_runtime.data.tables.table import read_table
from vae_runtime.errors import InputError

ROWS = [
    (1.5, True, "red", 3, "a"),
    (2.5, False, "blue", None, "b"),
    (None, None, None, 7, "a"),
    (4.0, True, "red", 9, None),
]
NAMES = ("size", "open", "colour", "count", "kind")
COLUMNS = {name: [row[i] for row in ROWS] for i, name in enumerate(NAMES)}
ENCODING = TableEncoding(
    (
        ColumnEncoding("count", "number", fill=(5.0,), indicator=True),
        ColumnEncoding("colour", "category", ("blue", "red"), fill=(0.25, 0.75)),
        ColumnEncoding("open", "boolean", fill=(0.5,)),
    ),
    "indicator",
)
EXPECTED = [[3, 0, 0, 1, 1], [5, 1, 1, 0, 0], [7, 0, 0.25, 0.75, 0.5], [9, 0, 0, 1, 1]]


def pyarrow_table():
    return pa.table(COLUMNS)


def pyarrow_dictionary():
    table = pa.table(COLUMNS)
    return table.set_column(2, "colour", table["colour"].dictionary_encode())


def pandas_frame():
    return pytest.importorskip("pandas").DataFrame(COLUMNS)


def pandas_nullable():
    frame = pandas_frame().convert_dtypes()
    return frame.astype({"colour": "category", "kind": "string"})


def polars_frame():
    return pytest.importorskip("polars").DataFrame(COLUMNS)


def polars_categorical():
    pl = pytest.importorskip("polars")
    return pl.DataFrame(COLUMNS).with_columns(pl.col("colour").cast(pl.Categorical))


MAKERS = [
    *(pyarrow_table, pyarrow_dictionary, pandas_frame, pandas_nullable),
    *(polars_frame, polars_categorical),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_frame_is_encoded_by_the_model(make):
    x = as_batch(make(), (5,), columns=ENCODING)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, np.array(EXPECTED, np.float32))


@pytest.mark.parametrize("make", MAKERS)
def test_a_frame_reads_as_the_file(make, tmp_path):
    lines = [",".join(NAMES), *(",".join("" if c is None else str(c) for c in row) for row in ROWS)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    options = TableOptions(missing="indicator", label="kind")
    table = read_table(FrameTable(make(), "x"), options)
    file = load_table(tmp_path / "t.csv", options)
    assert table.fit() == file.fit()
    np.testing.assert_array_equal(table.x, file.x)
    assert table.labels.tolist() == file.labels.tolist() == ["a", "b", "a", ""]


def test_a_row_of_a_frame():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(COLUMNS)
    x = as_batch([frame.iloc[0], frame.iloc[3]], (5,), columns=ENCODING)
    np.testing.assert_array_equal(x, np.array(EXPECTED, np.float32)[[0, 3]])


def test_cells_that_cannot_be_encoded():
    table = pa.table({"colour": ["red", "green"], "open": ["true", "x"], "count": ["1", "?"]})
    with pytest.warns(
        InputWarning, match="row 1, column 'colour' is 'green'; row 1, column 'open' is 'x'"
    ):
        x = as_batch(table, (5,), columns=ENCODING)
    np.testing.assert_array_equal(x[0], [1, 0, 0, 1, 1])
    assert np.isnan(x[1, 2:4]).all() and np.isinf(x[1, 4])
    with pytest.raises(InputError, match="lacks 1 of the 3 columns that the model takes, open; it"):
        as_batch(table.drop_columns("open"), (5,), columns=ENCODING)


def test_an_array_holds_the_encoded_elements():
    x = np.array(EXPECTED, np.float32)
    assert as_batch(x, (5,), columns=ENCODING) is x
    with pytest.raises(InputError) as caught:
        as_batch(x[:, :3], (5,), columns=ENCODING)
    assert str(caught.value) == (
        "x has shape (4, 3), expected (batch, 5): give the columns 'count', 'count is missing', "
        "'colour=blue', 'colour=red', 'open' in this order, or a data frame"
    )


def test_an_empty_frame():
    assert as_batch(pa.table({n: [] for n in NAMES}), (5,), columns=ENCODING).shape == (0, 5)
