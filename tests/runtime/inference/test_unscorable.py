"""One sample that cannot be scored costs no other sample its score, and never looks normal."""

import numpy as np
import pytest

import vae_runtime
from vae_runtime import InputError, InputWarning

SIZES = [{"threads": 1}, {"threads": 1, "batch_size": 7}, {"threads": 2, "batch_size": 7}]


def samples(shape, count=150):
    return np.random.default_rng(0).random((count, *shape), dtype=np.float32)


@pytest.mark.parametrize("options", SIZES)
@pytest.mark.parametrize(
    ("loss", "shape", "values"),
    [
        ("mse", (12,), [np.nan, np.inf, -np.inf, 1e300, 1e25]),
        ("bce", (8, 8, 1), [np.nan, -np.inf, -9999, 1.5]),
    ],
)
def test_bad_samples_have_infinite_loss_and_the_others_their_own(
    exported, loss, shape, values, options
):
    vae = vae_runtime.load(exported("dense", loss, shape), **options)
    x = samples(shape).astype(np.float64)
    expected = vae.loss(x)
    bad = [3 + 11 * i for i in range(len(values))]
    for i, value in zip(bad, values, strict=True):
        x[i].flat[5] = value
    before = x.copy()
    with pytest.warns(InputWarning) as caught:
        found = vae.loss(x, strict=False)
    numbers = ", ".join(map(str, bad))
    assert [str(w.message).split(" cannot")[0] for w in caught] == [f"samples {numbers} of 150"]
    for part, other in zip(found, expected, strict=True):
        assert np.isposinf(part[bad]).all()
        np.testing.assert_allclose(np.delete(part, bad), np.delete(other, bad), rtol=1e-6)
    np.testing.assert_array_equal(x, before)
    with pytest.raises(InputError, match="sample 3 "):
        vae.loss(x)


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch_of_bad_samples_only(exported, count):
    vae = vae_runtime.load(exported(), threads=1)
    with pytest.warns(InputWarning, match=r"loss inf: sample 0 has 64 values that are NaN"):
        found = vae.loss(np.full((count, 8, 8), np.nan), strict=False)
    assert np.isposinf([*found]).all()


def test_good_samples_and_no_samples_are_as_with_strict(exported):
    vae = vae_runtime.load(exported(), threads=1)
    for count in (0, 1, 20):
        x = samples((8, 8, 1), count)
        for part, other in zip(vae.loss(x, strict=False), vae.loss(x), strict=True):
            np.testing.assert_array_equal(part, other)


def test_a_wrong_shape_is_an_error_in_any_case(exported):
    vae = vae_runtime.load(exported(), threads=1)
    with pytest.raises(InputError, match="x has shape"):
        vae.loss(np.zeros((2, 5)), strict=False)
