"""Which integers float32 rounds, compared with Python's exact arithmetic."""

import struct
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_runtime.data.numbers.rounding import InputWarning, rounded_columns, warn_of_rounding


def fits(value):
    try:
        return struct.unpack("f", struct.pack("f", value))[0] == value
    except OverflowError:
        return False


@given(
    st.integers(-(2**63), 2**63 - 1)
    | st.builds(lambda m, e: m << e, st.integers(-(2**24), 2**24), st.integers(0, 38))
)
def test_an_integer_column_is_rounded_if_a_value_does_not_fit(value):
    x = np.array([[value, 1], [0, 2]])
    assert rounded_columns(x) == (set() if fits(value) else {0})


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1700000000123, 1700000000124], {1}),
        ([2**24 + 1, 0], {1}),
        ([2**24, 2**40], set()),
        ([1700000000.5, 1700000000], set()),  # a measurement
        ([123456789012345678901234567890.0, 1], set()),
        ([np.nan, 123456789], {1}),
    ],
)
def test_float64_counts_as_integers_if_all_are(column, expected):
    x = np.stack([[0.5, 1e9 + 0.5], column], axis=1)
    assert rounded_columns(x) == expected


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8, bool])
def test_narrow_dtypes_are_not_looked_at(dtype):
    assert rounded_columns(np.ones((2, 3), dtype)) == set()


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        ([1], ("a", "id"), "t: column 'id' holds integers beyond 16,777,216, which float32 rounds"),
        ([1, 0], ("a", "id"), "t: columns 'a', 'id' hold integers"),
        ([3], None, "t: column 3 holds"),
        (range(7), None, "t: columns 0, 1, 2, 3, 4 and 2 more hold"),
    ],
)
def test_the_warning_names_the_columns(columns, names, message):
    with pytest.warns(InputWarning, match=message) as caught:
        warn_of_rounding(columns, names, what="t")
    assert len(caught) == 1
    assert "\n" not in str(caught[0].message)


def test_no_columns_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_rounding([], None, what="t")
