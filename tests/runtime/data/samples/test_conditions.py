"""Conditions as users give them: labels and numbers, one for all samples or one for each."""

import numpy as np
import pytest

from vae_runtime.cli.conditions import read_condition
from vae_runtime.data.samples.conditions import (
    ConditionSpec,
    as_condition,
    label_texts,
    zero_condition,
)
from vae_runtime.errors import InputError, OptionError

ANIMALS = ConditionSpec((3,), ("cat", "dog", "owl"))
DIGITS = ConditionSpec((3,), ("0", "7", "12"))
NUMBERS = ConditionSpec((2,))
ROWS = np.eye(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("spec", "condition", "rows"),
    [
        (ANIMALS, "owl", [2, 2, 2]),
        (ANIMALS, ["owl", "cat", "dog"], [2, 0, 1]),
        (ANIMALS, np.array(["dog"], object), [1, 1, 1]),
        (ANIMALS, np.array([b"dog", b"cat", b"dog"]), [1, 0, 1]),
        (DIGITS, 7, [1, 1, 1]),
        (DIGITS, np.array([12, 0, 7], np.uint8), [2, 0, 1]),
        (DIGITS, [12.0, 0.0, 7.0], [2, 0, 1]),
        (DIGITS, ["12", "0", "7"], [2, 0, 1]),
        (DIGITS, ROWS[[2, 2, 0]], [2, 2, 0]),
        (DIGITS, ROWS[[1]], [1, 1, 1]),
    ],
)
def test_labels(spec, condition, rows):
    found = as_condition(spec, condition, 3)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, ROWS[rows])


@pytest.mark.parametrize(
    ("shape", "condition", "expected"),
    [
        ((2,), [1, 2], [[1, 2]] * 3),
        ((2,), [[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4], [5, 6]]),
        ((1,), 0.5, [[0.5]] * 3),
        ((1,), [1, 2, 3], [[1], [2], [3]]),
        ((1, 1), [[4]], [[[4]]] * 3),
    ],
)
def test_numbers(shape, condition, expected):
    found = as_condition(ConditionSpec(shape), condition, 3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("spec", "condition", "message"),
    [
        (None, "owl", "condition is given, but this model takes none: leave it out"),
        (ANIMALS, None, "expects one of the 3 labels 'cat', 'dog', 'owl': give condition="),
        (NUMBERS, None, r"expects numbers of shape \(2,\): give condition="),
        (ANIMALS, "cow", "does not know, 'cow': expected one of the 3 labels"),
        (ANIMALS, ["cow", "bee", "owl"], "'bee', 'cow'"),
        (ANIMALS, ["owl", "cat"], "2 labels for 3 samples"),
        (DIGITS, 7.5, "'7.5'"),
        (NUMBERS, [[1, 2], [3, 4]], "2 rows for 3 samples"),
        (NUMBERS, [1, 2, 3], r"condition has shape \(3,\), expected \(batch, 2\)"),
        (NUMBERS, [[1, np.nan]] * 3, "condition 0 has"),
        (NUMBERS, np.ma.masked_equal([[1, 2]] * 3, 2), "masked"),
        (NUMBERS, [["a", "b"]] * 3, "dtype"),
    ],
)
def test_other_conditions_are_refused(spec, condition, message):
    with pytest.raises(InputError, match=message) as caught:
        as_condition(spec, condition, 3)
    assert "\n" not in str(caught.value)


def test_no_condition():
    assert as_condition(None, None, 3) is None
    assert zero_condition(None, 3) is None
    assert zero_condition(NUMBERS, 3).shape == (3, 2)


def test_texts_of_labels():
    assert label_texts(np.array([1.0, 2.5])) == ["1", "2.5"]
    assert label_texts(np.array([True, False])) == ["True", "False"]


def test_the_option(tmp_path):
    np.save(tmp_path / "numbers.npy", np.arange(6.0).reshape(3, 2))
    np.save(tmp_path / "labels.npy", np.array(["owl", "cat", "cat"]))
    (tmp_path / "labels.txt").write_text("owl\ncat\ncat\n", encoding="utf-8")
    assert read_condition(ANIMALS, None) is None
    assert read_condition(None, "owl") == "owl"  # the model says that it takes none
    assert read_condition(ANIMALS, "owl") == "owl"
    for name in ("labels.npy", "labels.txt"):
        assert read_condition(ANIMALS, str(tmp_path / name)).tolist() == ["owl", "cat", "cat"]
    assert read_condition(NUMBERS, str(tmp_path / "numbers.npy"))[2].tolist() == [4, 5]
    assert read_condition(NUMBERS, "0.5,-1").tolist() == [0.5, -1]
    assert read_condition(ANIMALS, "labels", np.array(["owl"])).tolist() == ["owl"]
    with pytest.raises(InputError, match="the data has no labels"):
        read_condition(ANIMALS, "labels")
    for spec, given in ((ANIMALS, "cow"), (NUMBERS, "1,2,3"), (NUMBERS, "owl")):
        with pytest.raises(OptionError, match="which is no file and no condition of this model"):
            read_condition(spec, given)
