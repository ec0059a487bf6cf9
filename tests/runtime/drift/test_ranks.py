"""p-values of a stream: against the textbook's formula, which keeps all scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_runtime import InputError
from vae_runtime.drift.ranks import BLOCK, Cells, uniform_noise


def p_values(calibration, scores, seed=0):
    cells = Cells(calibration)
    stream = np.zeros_like(cells.calibration)
    noise = uniform_noise(seed, 0, len(scores))
    return cells.p_values(stream, cells.find(np.asarray(scores, float)), noise)


def textbook(calibration, scores, noise):
    """Smoothed conformal p-values among all earlier scores, one by one."""
    bag, found = [*calibration], []
    for score, v in zip(scores, noise, strict=True):
        bag.append(score)
        above, equal = sum(s > score for s in bag), sum(s == score for s in bag)
        found.append((above + v * equal) / len(bag))
    return np.array(found)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=8),
    st.lists(st.integers(0, 4), max_size=30),
)
def test_tied_scores_are_ranked_as_in_the_textbook(calibration, scores):
    """Where each score of the stream equals one of calibration, nothing is lost."""
    calibration = [*range(5), *calibration]
    expected = textbook(calibration, scores, uniform_noise(0, 0, len(scores)))
    np.testing.assert_allclose(p_values(calibration, scores), expected, rtol=1e-12)


def test_a_rank_is_uncertain_only_within_its_gap():
    rng = np.random.default_rng(1)
    calibration, scores = rng.normal(size=50), rng.normal(size=3 * BLOCK + 7)
    found = p_values(calibration, scores)
    exact = textbook(calibration, scores, np.full(len(scores), 0.5))
    gaps = np.searchsorted(np.sort(calibration), scores)
    earlier = np.array([(gaps[:i] == gap).sum() for i, gap in enumerate(gaps)])
    total = 50 + 1 + np.arange(len(scores))
    assert (np.abs(found - exact) <= (earlier + 1) / total).all()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("n", [1, 20, 300])
def test_p_values_of_exchangeable_scores_are_uniform_and_independent(n, tied):
    """Each of the first 16 p-values over 2,000 streams, and products of neighbours."""
    rng = np.random.default_rng(2)
    found = []
    for i in range(2000):
        scores = rng.standard_t(3, n + 16)
        scores = np.round(scores) if tied else scores
        found.append(p_values(scores[:n], scores[n:], seed=i))
    found = np.array(found)
    deciles = np.apply_along_axis(lambda p: np.histogram(p, 10, (0, 1))[0], 0, found)
    chi_square = ((deciles - 200) ** 2 / 200).sum(axis=0)  # 9 degrees of freedom
    assert chi_square.max() < 33  # 0.9999 quantile
    centred = found - 0.5
    products = (centred[:, 1:] * centred[:, :-1]).mean(axis=0)
    assert np.abs(products).max() < 4 / 12 / np.sqrt(2000)


def test_ranks_among_calibration_scores_alone_depend_on_each_other():
    """A product of neighbours as above shows it."""
    rng = np.random.default_rng(2)
    calibration, pairs = rng.normal(size=(20_000, 20)), rng.normal(size=(20_000, 2, 1))
    p = ((calibration[:, np.newaxis] > pairs).sum(axis=2) + rng.random((20_000, 2))) / 21
    assert (p - 0.5).prod(axis=1).mean() > 4 / 12 / np.sqrt(20_000)


def test_unusual_scores_have_small_p_values():
    calibration = np.arange(99.0)
    for unusual in (np.inf, np.nan, 1e9):
        assert p_values(calibration, [unusual])[0] <= 1 / 100
    assert p_values(calibration, [-np.inf])[0] >= 99 / 100
    assert p_values(calibration, [np.nan, np.inf, np.nan]).max() <= 3 / 100


def test_noise_is_a_function_of_seed_and_number():
    whole = uniform_noise(3, 0, 1000)
    for first, count in [(0, 1), (1, 1), (4, 3), (7, 501), (999, 1), (1000, 0)]:
        np.testing.assert_array_equal(uniform_noise(3, first, count), whole[first : first + count])
    assert len({*whole, *uniform_noise(4, 0, 1000)}) == 2000
    assert 0 < whole.min() < 0.01 and 0.99 < whole.max() < 1
    # Philox's raw words are stable across versions of NumPy; these are its first ones of key 3
    words = np.random.Philox(key=3).random_raw(2)
    np.testing.assert_allclose(whole[:2], words / 2.0**64, rtol=1e-12)


@pytest.mark.parametrize("scores", [[], [[1.0]], ["a"], [1j]])
def test_calibration_scores_that_are_none(scores):
    with pytest.raises(InputError, match="expected"):
        Cells(scores)
