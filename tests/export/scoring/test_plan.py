"""Choices for the score, and the division of the held-out samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_export import ScorePlan
from vae_export.scoring.plan import divide
from vae_runtime import OptionError

X = np.zeros((30, 4), np.float32)


@given(st.integers(8, 5000), st.booleans(), st.integers(1, 2000))
def test_groups_are_disjoint_and_none_is_empty(count, with_parts, limit):
    rows = np.arange(100, 100 + count)
    groups = divide(rows, with_parts=with_parts, limit=limit)
    together = np.concatenate([groups.parts, groups.calibration, groups.check])
    assert sorted(together) == list(rows)
    assert len(groups.calibration) == min(limit, count // 2)
    assert len(groups.check) >= 1
    # With fewer than 10 samples for the parts there are none: training samples stand in.
    assert (len(groups.parts) > 0) == (with_parts and count >= 30)
    assert len(groups.parts) == 0 or 10 <= len(groups.parts) <= 200


def test_samples_are_divided_at_random_but_always_alike():
    rows = np.arange(1000)
    groups = divide(rows, with_parts=True, limit=2000)
    assert [len(group) for group in vars(groups).values()] == [200, 500, 300]
    for group in vars(groups).values():
        assert 400 < group.mean() < 600 and not (np.diff(group) > 0).all()
    again = divide(rows, with_parts=True, limit=2000)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(vars(groups).values(), vars(again).values(), strict=True)
    )


def test_normal_samples_are_counted():
    assert ScorePlan().normal_count(12) == 12
    assert ScorePlan(normal=np.array([True, False, True])).normal_count(3) == 2


@pytest.mark.parametrize("normal", [None, np.arange(20) < 7])
def test_a_named_score_needs_samples_to_calibrate_it(normal):
    count = 7 if normal is None else 20
    assert not ScorePlan(normal=normal).check_samples(count)
    assert ScorePlan("loss").check_samples(8)
    message = "score is loss, but 7 held-out samples are normal, expected 8 or more to calibrate it"
    with pytest.raises(OptionError, match=message):
        ScorePlan("loss", normal=normal).check_samples(count)


def test_samples_of_another_plan_fill_gaps():
    given_samples = ScorePlan(training=X, normal=np.ones(3, bool))
    filled = ScorePlan("loss", tails="both").with_samples(given_samples)
    assert (filled.name, filled.tails) == ("loss", "both")
    assert filled.training is X and filled.normal is given_samples.normal
    own = ScorePlan(training=X[:5], normal=np.zeros(3, bool))
    assert own.with_samples(given_samples) is own
    assert own.with_samples(None) is own
    mask = ScorePlan(normal=np.zeros(3, bool))
    assert mask.with_samples(given_samples).normal is mask.normal


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (ScorePlan("nats"), "score is 'nats', expected loss, excess_loss, squared_error, novelty"),
        (ScorePlan(tails="lower"), "tails is 'lower', expected upper or both"),
    ],
)
def test_unknown_names_are_refused(plan, message):
    with pytest.raises(OptionError, match=message):
        plan.check()


def test_known_names_pass():
    for name in (None, "loss", "excess_loss", "squared_error", "novelty", "combined"):
        ScorePlan(name, tails="both").check()
