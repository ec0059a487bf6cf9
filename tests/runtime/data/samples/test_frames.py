"""Tables in memory: columns by name, whichever library holds them."""

import numpy as np
import pyarrow as pa
import pytest

from vae_runtime.data.samples.frames import clean_name, column_names, is_frame
from vae_runtime.data.samples.inputs import as_batch
from vae_runtime.errors import InputError

VALUES = np.array([[1.5, -2, 30], [4, 5, 6]])
NAMES = ("a", "b", "c")


class Frame:
    """What pandas and polars have in common: labels, and a column for each."""

    def __init__(self, columns):
        self.columns, self._data = list(columns), dict(columns)

    def __getitem__(self, label):
        return self._data[label]


def columns(order):
    return {name: VALUES[:, NAMES.index(name)] for name in order}


def structured(named):
    x = np.zeros(2, [(name, np.float64) for name in named])
    for name, values in named.items():
        x[name] = values
    return x


@pytest.mark.parametrize("make", [Frame, pa.table, structured])
@pytest.mark.parametrize("order", ["abc", "cab"])
@pytest.mark.parametrize("extra", [{}, {"label": np.ones(2)}])
def test_columns_are_taken_by_name(make, order, extra):
    frame = make({**extra, **columns(order)})
    assert is_frame(frame)
    assert column_names(frame) == (*extra, *order)
    np.testing.assert_array_equal(as_batch(frame, (3,), columns=NAMES), VALUES)


@pytest.mark.parametrize("make", [Frame, pa.table, structured])
def test_without_known_names_a_frame_is_its_values(make):
    x = as_batch(make(columns("cab")), (3,))
    np.testing.assert_array_equal(x, VALUES[:, [2, 0, 1]])


def test_numbered_columns_are_taken_by_number():
    frame = Frame({2: VALUES[:, 2], 0: VALUES[:, 0], 1: VALUES[:, 1]})
    assert column_names(frame) is None
    for names in (None, NAMES):
        np.testing.assert_array_equal(as_batch(frame, (3,), columns=names), VALUES)


def test_numbers_of_named_columns_are_not_scaled():
    pixels = np.array([0, 255], np.uint8)
    frame = Frame(dict.fromkeys(NAMES, pixels))
    named, plain = as_batch(frame, (3,), columns=NAMES), as_batch(frame, (3,))
    assert (named.dtype, named.max(), plain.dtype) == (np.float32, 255, np.uint8)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame(columns("ab")), "x has no column 'c', expected columns 'a', 'b', 'c': add what"),
        (Frame({"c": VALUES[:, 2]}), "x has no columns 'a', 'b', expected"),
        (Frame({**columns("abc"), " a": VALUES[:, 0]}), "x has column 'a' more than once"),
        (Frame({**columns("bc"), "a": ["u", "v"]}), r"column 'a' holds no numbers \(<U1\)"),
        (Frame({**columns("bc"), "a": [None, "v"]}), r"column 'a' holds no numbers \(.*text"),
        (Frame({**columns("bc"), "a": np.zeros(2, "M8[s]")}), r"column 'a' .*datetime64"),
    ],
)
def test_columns_that_cannot_be_taken_are_named(frame, message):
    with pytest.raises(InputError, match=message):
        as_batch(frame, (3,), columns=NAMES)


def test_a_missing_value_of_an_object_column_becomes_nan():
    frame = Frame({**columns("bc"), "a": np.array([None, 2], object)})
    assert np.isnan(as_batch(frame, (3,), columns=NAMES)[0, 0])


def test_a_missing_value_of_a_dictionary_stays_missing():
    """pyarrow's own conversion gives it the first value of the dictionary."""
    codes = pa.array([5.0, None]).dictionary_encode()
    x = as_batch(pa.table({**columns("bc"), "a": codes}), (3,), columns=NAMES)
    np.testing.assert_array_equal(x[:, 0], [5, np.nan])


@pytest.mark.parametrize("x", [VALUES, VALUES.tolist(), [], {"a": 1}, "text", None])
def test_other_things_are_no_frames(x):
    assert not is_frame(x)
    assert column_names(x) is None


def test_names_are_one_line():
    assert clean_name(" a\n b ") == "a  b"
