"""`Dataset`: dtypes and axes, splits, digest and errors."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_builder.data import Dataset, Rows
from vae_runtime.errors import InputError, OptionError


def numbered(n, shape=(2, 3)):
    """Samples whose first value is their index."""
    x = np.zeros((n, *shape), np.float32)
    x.reshape(n, -1)[:, 0] = np.arange(n)
    return x


def numbers(x):
    return x.reshape(len(x), -1)[:, 0].astype(int).tolist()


@pytest.mark.parametrize(
    ("shape", "input_shape"),
    [((9, 5), (5,)), ((9, 4, 6), (4, 6, 1)), ((9, 4, 6, 1), (4, 6, 1)), ((9, 4, 6, 7), (4, 6, 7))],
)
def test_images_get_a_channel_axis_but_vectors_do_not(shape, input_shape):
    dataset = Dataset.from_arrays("x", np.zeros(shape, np.uint8))
    assert dataset.input_shape == input_shape
    assert dataset.train.shape[1:] == dataset.validation.shape[1:] == input_shape
    assert dataset.test.shape[1:] == input_shape


@pytest.mark.parametrize(
    ("layout", "shape", "input_shape"),
    [
        ("vectors", (9, 5), (5,)),
        ("series", (9, 5), (5, 1)),
        ("series", (9, 5, 3), (5, 3)),
        ("images", (9, 5, 3), (5, 3, 1)),
        ("volumes", (9, 5, 3, 7), (5, 3, 7, 1)),
        ("volumes", (9, 1, 28, 28), (1, 28, 28, 1)),
        ("volumes", (9, 5, 3, 7, 2), (5, 3, 7, 2)),
        (None, (9, 5, 3, 7, 2), (5, 3, 7, 2)),
        (None, (9, 2, 5, 3, 7, 2), (2, 5, 3, 7, 2)),
    ],
)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_layout_says_what_samples_are(layout, shape, input_shape, mapped, tmp_path):
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    if mapped:
        np.save(tmp_path / "x.npy", x)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    dataset = Dataset.from_arrays("x", x[:5], validation=x[5:7], test=x[7:], layout=layout)
    assert dataset.input_shape == dataset.test.shape[1:] == input_shape
    np.testing.assert_array_equal(np.asarray(dataset.test).ravel(), x[7:].ravel())
    assert not dataset.channel_added


@pytest.mark.parametrize(
    ("layout", "shape", "expected"),
    [
        ("vectors", (9, 5, 3), "(n, d): reshape"),
        ("series", (9, 5, 3, 1), "(n, steps) or (n, steps, channels): reshape"),
        ("images", (9, 5), "(n, height, width) or (n, height, width, channels): reshape"),
        ("volumes", (9, 5, 3), "(n, depth, height, width) or (n, depth, height, width, channels)"),
    ],
)
def test_shapes_of_another_layout_are_refused(layout, shape, expected):
    with pytest.raises(InputError, match="choose another --layout") as caught:
        Dataset.from_arrays("x", np.zeros(shape), layout=layout)
    assert f"x: samples have shape {shape}, expected {expected}" in str(caught.value)


def test_an_unknown_layout_is_refused():
    with pytest.raises(OptionError, match="layout is 'rows', expected one of vectors, series"):
        Dataset.from_arrays("x", np.zeros((9, 5)), layout="rows")


@pytest.mark.parametrize("mapped", [False, True])
def test_a_model_decides_about_a_channel_axis_of_one(mapped, tmp_path):
    x = np.random.default_rng(0).random((9, 5, 3), dtype=np.float32)
    if mapped:
        np.save(tmp_path / "x.npy", x)
        x = np.load(tmp_path / "x.npy", mmap_mode="r")
    dataset = Dataset.from_arrays("x", x, validation=x, test=x)
    assert dataset.channel_added and dataset.input_shape == (5, 3, 1)
    series = dataset.in_shape((5, 3))
    np.testing.assert_array_equal(np.asarray(series.train), x)
    np.testing.assert_array_equal(np.asarray(series.in_shape((5, 3, 1)).test), x[..., None])
    assert dataset.in_shape((5, 3, 1)) is dataset.in_shape((15,)) is dataset
    asked = Dataset.from_arrays("x", x, layout="images")
    assert asked.in_shape((5, 3)) is asked  # the axis was asked for


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("u1", "uint8"),
        ("i8", "float32"),
        ("u2", "float32"),
        ("?", "float32"),
        ("f2", "float32"),
        (">f4", "float32"),
        ("f8", "float32"),
    ],
)
def test_dtypes(dtype, kept):
    two = 1 if dtype == "?" else 2
    x = np.array([[0, 1], [two, 0], [1, 1], [0, 0]], dtype)
    dataset = Dataset.from_arrays("x", x[:2], validation=x[2:3], test=x[3:])
    assert dataset.train.dtype.name == kept
    assert dataset.train.tolist() == [[0, 1], [two, 0]]
    assert dataset.validation.tolist() == [[1, 1]]
    assert dataset.test.tolist() == [[0, 0]]


@given(
    n=st.integers(3, 200),
    validation_fraction=st.floats(0.001, 0.499),
    test_fraction=st.floats(0.001, 0.5),
    seed=st.integers(0, 2**70),
)
def test_splits_are_a_partition_and_none_is_empty(n, validation_fraction, test_fraction, seed):
    dataset = Dataset.from_arrays(
        "x",
        numbered(n),
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        split_seed=seed,
    )
    splits = [dataset.train, dataset.validation, dataset.test]
    assert sorted(i for x in splits for i in numbers(x)) == list(range(n))
    assert min(map(len, splits)) >= 1
    assert dataset.counts == dict(
        zip(["train", "validation", "test"], map(len, splits), strict=True)
    )


def test_counts_follow_the_fractions():
    dataset = Dataset.from_arrays("x", numbered(200), validation_fraction=0.2, test_fraction=0.3)
    assert dataset.counts == {"train": 100, "validation": 40, "test": 60}


def test_split_depends_on_the_seed_which_is_recorded():
    one, same, other = (Dataset.from_arrays("x", numbered(50), split_seed=s) for s in (7, 7, 8))
    assert one.split_seed == 7
    assert numbers(one.test) == numbers(same.test)
    assert numbers(one.test) != numbers(other.test)
    assert numbers(one.test) == sorted(numbers(one.test))


def test_split_of_seed_0_is_the_same_in_every_release():
    dataset = Dataset.from_arrays("x", numbered(20))
    assert (numbers(dataset.validation), numbers(dataset.test)) == ([5], [0, 6])


def test_given_splits_override_fractions():
    held = numbered(4) + 100
    validation_given = Dataset.from_arrays("x", numbered(10), validation=held)
    assert numbers(validation_given.validation) == [100, 101, 102, 103]
    assert sorted(numbers(validation_given.train) + numbers(validation_given.test)) == [*range(10)]
    assert validation_given.split_seed == 0
    test_given = Dataset.from_arrays("x", numbered(10), test=held)
    assert numbers(test_given.test) == [100, 101, 102, 103]
    both = Dataset.from_arrays("x", numbered(1), validation=held, test=held)
    assert both.counts == {"train": 1, "validation": 4, "test": 4}
    assert both.split_seed is None


@pytest.mark.parametrize("kind", [np.asarray, Rows])
def test_digest_is_the_sha256_of_dtype_shape_and_bytes(kind):
    x = np.arange(12, dtype=np.uint8).reshape(6, 2)
    dataset = Dataset.from_arrays("x", kind(x[:3]), validation=kind(x[3:4]), test=kind(x[4:]))
    content = b"uint8 (3, 2)\n\0\1\2\3\4\5uint8 (1, 2)\n\6\7uint8 (2, 2)\n\x08\x09\x0a\x0b"
    assert dataset.digest == hashlib.sha256(content).hexdigest()


def test_digest_does_not_depend_on_chunks_or_memory_order(monkeypatch):
    x = np.random.default_rng(0).random((7, 5, 3)).astype(np.float32)
    digest = Dataset.from_arrays("x", x, validation=x, test=x).digest
    monkeypatch.setattr("vae_builder.data.rows.MAX_CHUNK_BYTES", 100)
    fortran = np.asfortranarray(x)
    assert Dataset.from_arrays("y", fortran, validation=fortran, test=fortran).digest == digest


@pytest.mark.parametrize("split", [0, 1, 2])
def test_digest_changes_with_one_pixel(split):
    arrays = [np.zeros((3, 2, 2), np.uint8) for _ in range(3)]
    before = Dataset.from_arrays("x", arrays[0], validation=arrays[1], test=arrays[2]).digest
    arrays[split][-1, -1, -1] = 9
    after = Dataset.from_arrays("x", arrays[0], validation=arrays[1], test=arrays[2]).digest
    assert before != after


def test_digest_changes_with_shape_and_dtype():
    digests = {
        Dataset.from_arrays("x", x, validation=x, test=x).digest
        for x in (
            np.zeros((4, 8), np.uint8),
            np.zeros((8, 4), np.uint8),
            np.zeros((4, 2), np.float32),
            np.zeros((8, 1), np.float32),
        )
    }
    assert len(digests) == 4


def test_require_range_names_the_split_and_the_sample():
    x = np.zeros((4, 2), np.float32)
    bad = x.copy()
    bad[2, 1] = 1.5
    dataset = Dataset.from_arrays("x", x, validation=x, test=bad)
    dataset.require_range(None)
    dataset.require_range((0, 2))
    with pytest.raises(InputError, match=r"^test sample 2 has values from 0 to 1\.5"):
        dataset.require_range((0, 1))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("split", "what"), [("validation", "validation sample 3"), ("test", "test sample 3")]
)
def test_values_that_are_not_finite_name_the_sample(value, split, what):
    arrays = {s: np.zeros((5, 2)) for s in ("train", "validation", "test")}
    arrays[split][3, 0] = value
    with pytest.raises(InputError, match=rf"^rows: {what} has 1 values that are NaN"):
        Dataset.from_arrays("rows", **arrays)


def test_nan_before_the_split_is_named_by_its_index_in_the_file():
    x = numbered(100)
    x[41] = np.nan
    with pytest.raises(InputError, match=r"^rows\.npz: sample 41 has 6 values that are NaN"):
        Dataset.from_arrays("rows.npz", x)


def test_integers_other_than_uint8_keep_their_values():
    dataset = Dataset.from_arrays("x", np.full((9, 2), 255, np.int64))
    assert dataset.train.dtype == np.float32
    assert dataset.train.max() == 255
    with pytest.raises(InputError, match="scale the data to that range, give uint8 pixels"):
        dataset.require_range((0.0, 1.0))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((6,), "give samples, not labels"),
        ((0, 4), "is empty"),
        ((4, 0, 3), "is empty"),
        ((4, 1, 28, 28), r"channels first.*np\.moveaxis\(x, 1, -1\)"),
        ((4, 3, 32, 32), r"channels first.*np\.moveaxis\(x, 1, -1\)"),
    ],
)
def test_invalid_shapes_are_refused(shape, message):
    with pytest.raises(InputError, match=message) as caught:
        Dataset.from_arrays("faces", np.zeros(shape, np.uint8))
    assert str(caught.value).startswith(f"faces: samples have shape {shape}")


@pytest.mark.parametrize("shape", [(4, 3, 8, 4), (4, 1, 8, 1), (4, 2, 8, 8)])
def test_shapes_that_may_be_channels_last_are_accepted(shape):
    assert Dataset.from_arrays("x", np.zeros(shape, np.uint8)).input_shape == shape[1:]


@pytest.mark.parametrize("x", [np.array([["a"]] * 9), np.ones((9, 2), complex)])
def test_invalid_dtypes_are_refused(x):
    with pytest.raises(InputError, match=r"^x: samples have dtype .*expected uint8 or float"):
        Dataset.from_arrays("x", x)


def test_too_few_samples_to_split_are_refused():
    x = numbered(2)
    with pytest.raises(InputError, match="x: 2 samples, expected at least 3 to draw the validatio"):
        Dataset.from_arrays("x", x)
    with pytest.raises(InputError, match="1 samples, expected at least 2 to draw the test split"):
        Dataset.from_arrays("x", x[:1], validation=x)
    assert Dataset.from_arrays("x", x, validation=x).counts["train"] == 1


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (np.zeros((2, 5), np.float32), r"test samples have shape \(5,\)"),
        (np.zeros((2, 4), np.uint8), "dtype uint8, train samples .* and float32"),
    ],
)
def test_splits_that_differ_in_shape_or_dtype_are_refused(other, message):
    x = np.zeros((2, 4), np.float32)
    with pytest.raises(InputError, match=message):
        Dataset.from_arrays("x", x, validation=x, test=other)


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize("option", ["validation_fraction", "test_fraction"])
def test_fractions_must_lie_between_0_and_1(option, value):
    with pytest.raises(OptionError, match=f"^{option} is {value}, expected a share above 0"):
        Dataset.from_arrays("x", numbered(9), **{option: value})


def test_fractions_must_leave_training_samples():
    with pytest.raises(OptionError, match="leave nothing to train on"):
        Dataset.from_arrays("x", numbered(9), validation_fraction=0.5, test_fraction=0.5)


def test_seed_below_0_is_refused():
    with pytest.raises(OptionError, match="split_seed is -1, expected 0 or more"):
        Dataset.from_arrays("x", numbered(9), split_seed=-1)


@pytest.mark.parametrize("shape", [(50, 3), (50, 4, 5, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_standardization_agrees_with_numpy(shape, dtype, monkeypatch):
    """With chunks of a few samples, a large mean and a constant column."""
    monkeypatch.setattr("vae_builder.data.rows.MAX_CHUNK_BYTES", 1000)
    rng = np.random.default_rng(0)
    x = rng.integers(100, 120, shape).astype(dtype)
    x[..., 1] = 7
    if dtype == np.float32:
        x[..., 0] += 100_000
    dataset = Dataset.from_arrays("x", x)
    values = np.asarray(dataset.train, np.float64) / (255 if dtype == np.uint8 else 1)
    axes = tuple(range(len(shape) - 1))
    found, deviation = dataset.standardization(), values.std(axis=axes)
    np.testing.assert_allclose(found.mean, values.mean(axis=axes), rtol=1e-6)
    np.testing.assert_allclose(found.scale, np.where(deviation > 1e-9, deviation, 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "count"),
    [((3,), 2000), ((28, 28, 2), 2000), ((128, 128, 1), 256), ((512, 512, 1), 64)],
)
def test_held_out_are_the_first_test_samples_fewer_if_they_are_large(shape, count):
    numbers = (np.arange(2001) % 251).astype(np.uint8).reshape(-1, *[1] * len(shape))
    one = np.zeros((1, *shape), np.uint8)
    test = np.broadcast_to(numbers, (2001, *shape))
    kept = Dataset.from_arrays("x", one, validation=one, test=test).held_out()
    assert kept.shape == (count, *shape)
    np.testing.assert_array_equal(kept.reshape(count, -1)[:, 0], numbers[:count].ravel())
