"""Tables and data frames as data sets: splits, labels, and what is fitted on the training rows."""

import numpy as np
import pyarrow as pa
import pytest

from vae_builder.data import Dataset, load_dataset
from vae_builder.training.train import data_spec
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.errors import InputError, OptionError

N = 60
RNG = np.random.default_rng(0)
SIZES = RNG.normal(size=N).astype(np.float32).astype(float).round(3)
COLOURS = RNG.choice(["red", "green"], N).tolist()
KINDS = [f"k{i % 3}" for i in range(N)]
GAPS = [None if i % 7 == 2 else float(s) for i, s in enumerate(SIZES)]


def frame(**columns):
    return pa.table({"row": SIZES * 1000, **columns})


def write(path, columns):
    lines = [",".join(columns)]
    for row in zip(*columns.values(), strict=True):
        lines.append(",".join("" if cell is None else str(cell) for cell in row))
    path.write_text("\n".join(lines))
    return path


def splits(dataset):
    return {name: np.asarray(getattr(dataset, name)) for name in ("train", "validation", "test")}


def row_of(x):
    """Which row a sample is, by its first column."""
    known = {np.float32(size * 1000): i for i, size in enumerate(SIZES)}
    return [known[value] for value in x[:, 0]]


@pytest.mark.parametrize("source", ["file", "frame"])
def test_labels_are_split_as_the_samples_are(tmp_path, source):
    columns = {"row": SIZES * 1000, "colour": COLOURS, "kind": KINDS}
    if source == "file":
        dataset = load_dataset(write(tmp_path / "t.csv", columns), label="kind")
    else:
        dataset = Dataset.from_arrays("x", pa.table(columns), label="kind")
    assert dataset.columns == ("row", "colour=green", "colour=red")
    assert dataset.label == "kind" and data_spec(dataset).label == "kind"
    for name, x in splits(dataset).items():
        rows = row_of(x)
        assert dataset.labels[name].tolist() == [KINDS[i] for i in rows]
        np.testing.assert_array_equal(x[:, 1], [COLOURS[i] == "green" for i in rows])


def test_a_table_is_split_as_its_array_is(tmp_path):
    path = write(tmp_path / "t.csv", {"row": SIZES * 1000, "colour": COLOURS})
    dataset = load_dataset(path, split_seed=3)
    plain = Dataset.from_arrays("x", (SIZES * 1000)[:, None], split_seed=3)
    for name, x in splits(plain).items():
        np.testing.assert_array_equal(splits(dataset)[name][:, 0], x[:, 0])


@pytest.mark.parametrize("source", ["file", "frame"])
def test_means_are_those_of_the_training_rows(tmp_path, source):
    columns = {"row": SIZES * 1000, "size": GAPS}
    if source == "file":
        dataset = load_dataset(write(tmp_path / "t.csv", columns), missing="indicator")
    else:
        dataset = Dataset.from_arrays("x", pa.table(columns), missing="indicator")
    training = [GAPS[i] for i in row_of(dataset.train) if GAPS[i] is not None]
    for x in splits(dataset).values():
        gap = [GAPS[i] is None for i in row_of(x)]
        filled = [np.mean(training) if g else GAPS[i] for g, i in zip(gap, row_of(x), strict=True)]
        np.testing.assert_allclose(x[:, 1], filled, rtol=1e-6)
        np.testing.assert_array_equal(x[:, 2], gap)
    assert data_spec(dataset).table == dataset.table
    assert dataset.table.columns[1].fill == pytest.approx((np.mean(training),), rel=1e-7)


def test_a_plain_table_has_no_encoding(tmp_path):
    dataset = load_dataset(write(tmp_path / "t.csv", {"a": SIZES, "b": SIZES * 2}))
    assert (dataset.table, dataset.labels, dataset.columns) == (None, None, ("a", "b"))


def test_splits_of_frames():
    test = frame(colour=COLOURS).slice(0, 10)
    dataset = Dataset.from_arrays("x", frame(colour=COLOURS), test=test)
    assert len(dataset.test) == 10 and row_of(dataset.test) == [*range(10)]
    other = frame(colour=["red"] * (N - 1) + ["purple"])
    with pytest.raises(InputError, match="x: test samples: row 59, column 'colour' is 'purple'"):
        Dataset.from_arrays("x", frame(colour=COLOURS), test=other)
    zeros = Dataset.from_arrays("x", frame(colour=COLOURS), test=other, unknown_category="zeros")
    assert zeros.test[-1, 1:].tolist() == [0, 0]
    dropped = Dataset.from_arrays("x", frame(size=GAPS), test=frame(size=GAPS), missing="drop")
    assert len(dropped.test) == sum(gap is not None for gap in GAPS)


def test_a_frame_names_what_is_left_out():
    names = [f"n{i}" for i in range(N)]
    with pytest.warns(InputWarning, match="x: left out 'name' .text with 60"):
        dataset = Dataset.from_arrays("x", frame(colour=COLOURS, name=names))
    assert dataset.columns == ("row", "colour=green", "colour=red")


def test_labels_of_arrays():
    x = np.arange(20.0)[:, None]
    dataset = Dataset.from_arrays("x", x, labels=np.arange(20) * 10)
    for name, own in splits(dataset).items():
        np.testing.assert_array_equal(dataset.labels[name], own[:, 0] * 10)
    by_split = {"train": ["a"] * 20, "test": ["b"] * 3}
    dataset = Dataset.from_arrays("x", x, test=x[:3], labels=by_split)
    assert {k: len(v) for k, v in dataset.labels.items()} == dataset.counts
    assert dataset.labels["test"].tolist() == ["b"] * 3
    with pytest.raises(InputError, match=r"x: labels of shape \(5,\) for 20 train samples"):
        Dataset.from_arrays("x", x, labels=np.arange(5))
    with pytest.raises(
        InputError, match=r"x: labels of shape \(5,\) for 20 train samples: give one"
    ):
        Dataset.from_arrays("x", x, test=x, validation=x, labels=np.arange(5))


def test_options_that_arrays_do_not_have():
    with pytest.raises(OptionError, match="x is no data frame, its columns have no names"):
        Dataset.from_arrays("x", np.zeros((9, 2)), missing="mean")
    with pytest.raises(OptionError, match="digits is no table"):
        load_dataset("digits", label="y")


def test_names_that_no_manifest_can_hold_are_refused_before_training():
    long = {
        f"column {i} {'x' * 150}": [f"{k % 30} {'y' * 190}" for k in range(N)] for i in range(40)
    }
    with pytest.raises(InputError, match=r"names and categories of 1201 elements, .* --drop"):
        Dataset.from_arrays("x", frame(**long))
