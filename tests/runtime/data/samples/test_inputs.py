import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.samples.inputs import (
    as_batch,
    check_values,
    to_graph_input,
    to_scaled_float32,
)
from vae_runtime.errors import InputError

UNIT = (0.0, 1.0)


def test_uint8_is_divided_by_255():
    x = to_scaled_float32(np.arange(256, dtype=np.uint8))
    assert x.dtype == np.float32
    assert x.tolist() == [np.float32(i) / np.float32(255) for i in range(256)]


def test_bool_becomes_zero_and_one():
    x = to_scaled_float32(np.array([False, True]))
    assert (x.dtype, x.tolist()) == (np.float32, [0.0, 1.0])


@pytest.mark.parametrize("dtype", ["i1", "u2", "i4", "i8", "u8", "f2", "f8", "g", ">f4", ">i2"])
def test_other_numbers_keep_their_value(dtype):
    x = to_scaled_float32(np.array([[0, 1], [2, 100]], dtype))
    assert x.dtype == np.float32
    assert x.dtype.isnative
    assert x.tolist() == [[0, 1], [2, 100]]


def test_float32_is_not_copied():
    x = np.ones((2, 3), np.float32)
    assert to_scaled_float32(x) is x


def test_overflow_of_float32_is_an_error_that_names_the_sample():
    x = to_scaled_float32(np.array([[0.0], [1e300]]))
    with pytest.raises(InputError, match=r"sample 1 has 1 values that are NaN or infinite"):
        check_values(x, None)


@pytest.mark.parametrize("x", [np.ones(2, complex), np.array(["a"]), np.array([None, 1], object)])
def test_dtypes_without_real_numbers_are_refused(x):
    with pytest.raises(InputError, match=f"dtype {x.dtype}, expected uint8 or float"):
        to_scaled_float32(x)


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[s]", "V4"])
def test_times_and_raw_bytes_are_refused(dtype):
    with pytest.raises(InputError, match="dtype"):
        to_scaled_float32(np.zeros(2, dtype))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("value_range", [UNIT, None])
def test_the_first_sample_that_is_not_finite_is_named(bad, value_range):
    x = np.zeros((5, 2, 2), np.float32)
    x[3, 0, 1] = x[3, 1, 1] = x[4, 0, 0] = bad
    with pytest.raises(InputError, match=r"^row 13 has 2 values that are NaN .* \(of 4\)"):
        check_values(x, value_range, what="row", first=10)


@pytest.mark.parametrize("bad", [-1e-6, 1.0000002, 255])
def test_the_first_sample_out_of_range_is_named(bad):
    x = np.full((4, 3), 0.5, np.float32)
    x[2, 1] = bad
    with pytest.raises(InputError, match=r"^sample 2 has values from .* expected 0 to 1: scale"):
        check_values(x, UNIT)
    check_values(x, None)


@pytest.mark.parametrize("x", [[[0.0, 1.0]], np.zeros((0, 2))])
def test_limits_of_the_range_and_empty_batches_are_accepted(x):
    check_values(np.asarray(x), UNIT)


@given(
    hnp.arrays(np.float32, (3, 4), elements=st.floats(-2, 2, width=32) | st.just(np.nan)),
)
def test_check_values_names_the_first_bad_sample(x):
    bad = [i for i, row in enumerate(x.tolist()) if not all(0 <= value <= 1 for value in row)]
    if not bad:
        check_values(x, UNIT)
        return
    with pytest.raises(InputError, match=f"^sample {bad[0]} "):
        check_values(x, UNIT)


def test_a_batch_is_returned_unchanged():
    x = np.zeros((2, 4, 3, 1), np.uint8)
    assert as_batch(x, (4, 3, 1)) is x


def test_the_channel_axis_is_optional_for_one_channel():
    x = np.arange(24).reshape(2, 4, 3)
    batch = as_batch(x, (4, 3, 1))
    assert batch.shape == (2, 4, 3, 1)
    assert np.shares_memory(batch, x)
    np.testing.assert_array_equal(batch[..., 0], x)


@pytest.mark.parametrize("shape", [(1,), (7, 1), (4, 3, 1), (2, 4, 3, 1), (2, 2, 4, 3, 1)])
def test_the_channel_axis_is_optional_for_any_number_of_axes(shape):
    x = np.arange(2 * np.prod(shape)).reshape(2, *shape[:-1])
    np.testing.assert_array_equal(as_batch(x, shape)[..., 0], x)
    if len(shape) > 2:  # and so is not to have one
        assert as_batch(x[..., np.newaxis], shape[:-1]).shape == x.shape


def test_lists_are_converted():
    assert as_batch([[1, 2], [3, 4]], (2,)).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("found", "shape", "hint"),
    [
        ((4, 3, 1), (4, 3, 1), r"add the batch axis, x\[None\]"),
        ((4, 3), (4, 3, 1), r"add the batch axis, x\[None\]"),
        ((7,), (7,), r"add the batch axis, x\[None\]"),
        ((2, 3, 4, 1), (4, 3, 1), "reshape or resize the data"),
        ((2, 4, 3), (4, 3, 3), "reshape or resize the data"),
        ((2, 3, 4, 3), (4, 3, 3), "reshape or resize the data"),
        ((2, 1, 4, 3), (4, 3, 1), "reshape or resize the data"),
        ((0,), (4, 3, 1), "reshape or resize the data"),
        ((), (3,), "reshape or resize the data"),
        ((2, 12), (4, 3, 1), "reshape or resize the data"),
    ],
)
def test_a_wrong_shape_is_named_with_its_remedy(found, shape, hint):
    expected = ", ".join(map(str, ("batch", *shape)))
    with pytest.raises(InputError, match=hint) as caught:
        as_batch(np.zeros(found), shape)
    assert f"x has shape {found}, expected ({expected})" in str(caught.value)


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(InputError, match="z is not one array: give all samples the same shape"):
        as_batch([[1, 2], [3]], (2,), name="z")


MASKED = np.ma.masked_greater(np.arange(6.0).reshape(3, 2), 4)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (MASKED, r"x has 1 masked values \(of 6\).* fill them with filled"),
        ([MASKED[0], MASKED[2]], r"x\[1\] has 1 masked values \(of 2\)"),
    ],
)
def test_masked_values_are_refused(x, message):
    with pytest.raises(InputError, match=message):
        as_batch(x, (2,))


def test_an_array_with_nothing_masked_is_its_data():
    np.testing.assert_array_equal(as_batch(MASKED[:2], (2,)), MASKED.data[:2])


class Tensor:
    """A tensor of torch that NumPy cannot read."""

    def __init__(self, error):
        self.error = error

    def __array__(self, dtype=None, copy=None):
        raise self.error

    def detach(self):
        """Say what torch says."""


class DeviceArray(Tensor):
    """An array of cupy."""

    detach = property()

    def get(self):
        """Copy to the host."""


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            Tensor(RuntimeError("it requires\ngrad")),
            "type Tensor .* NumPy .it requires grad.: call",
        ),
        (Tensor(TypeError("cuda:0")), r"\(cuda:0\): call \.detach\(\)\.cpu\(\)\.numpy\(\) on it"),
        ([Tensor(TypeError("cuda:0"))], r"call \.detach\(\)\.cpu\(\)\.numpy\(\) on each first"),
        (DeviceArray(TypeError("implicit")), r"type DeviceArray .*: call \.get\(\) on it first"),
        ({"a": 1}, "type dict cannot be read by NumPy: make it a NumPy array first"),
        (None, "type NoneType cannot be read by NumPy"),
    ],
)
def test_what_numpy_cannot_read_is_named_with_its_remedy(x, message):
    with pytest.raises(InputError, match=message) as caught:
        as_batch(x, (2,))
    assert "\n" not in str(caught.value)


BITS = np.array([[[0, 1]], [[1, 1]]], np.uint8)


@pytest.mark.parametrize("x", [BITS, 0 * BITS])
def test_binary_uint8_is_not_divided_even_if_a_batch_is_all_zeros(x):
    found = to_graph_input(x, "float32", UNIT, binary_uint8=True)
    np.testing.assert_array_equal(found, x.astype(np.float32))


@pytest.mark.parametrize("value_range", [UNIT, None])
def test_other_uint8_for_a_binary_model_is_refused(value_range):
    x = BITS.copy()
    x[1, 0, 0] = 255
    with pytest.raises(InputError, match="sample 8 has uint8 values up to 255, this model was"):
        to_graph_input(x, "float32", value_range, binary_uint8=True, first=7)


def test_uint8_of_0_and_1_for_another_model_is_pixels_with_a_warning():
    with pytest.warns(InputWarning, match="hold only 0 and 1, which this model takes as 0 and 1/2"):
        found = to_graph_input(BITS, "float32", UNIT)
    np.testing.assert_array_equal(found, BITS.astype(np.float32) / 255)


def test_uint8_for_a_table_is_refused():
    with pytest.raises(InputError, match="the numbers of a table, which are not divided by 255"):
        to_graph_input(BITS[0], "float32", None, is_table=True)
