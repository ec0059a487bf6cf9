"""The detector of drift: its promise, its delay, and what it reports."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_runtime import DriftDetector, InputError, OptionError
from vae_runtime.drift.elements import MAX_ELEMENTS, ElementReference
from vae_runtime.drift.martingale import Martingale


def normal(rng, count):
    return rng.normal(size=count)


def tied(rng, count):
    return rng.integers(0, 5, count).astype(float)


def alarms(streams, samples, n, *, draw=normal, quiet=0, change=lambda x: x, seed=0):
    """The number of the sample of each stream's alarm, -1 without, and the reports."""
    rng = np.random.default_rng(seed)
    reports = []
    for i in range(streams):
        calibration, scores = draw(rng, n), draw(rng, samples)
        scores[quiet:] = change(scores[quiet:])
        reports.append(DriftDetector(calibration, seed=i).update(scores))
    at = [-1 if report.alarm_at is None else report.alarm_at for report in reports]
    return np.array(at), reports


@pytest.mark.parametrize(("n", "draw"), [(20, normal), (300, normal), (300, tied)])
def test_few_streams_without_drift_raise_an_alarm(n, draw):
    at, _ = alarms(200, 400, n, draw=draw)
    assert (at >= 0).sum() <= 7  # 2 are allowed in the mean; more than 7 have probability 0.001


@pytest.mark.slow
@pytest.mark.parametrize(("n", "draw"), [(20, normal), (1000, normal), (1000, tied)])
def test_false_alarms_of_2000_streams(n, draw):
    at, _ = alarms(2000, 3000, n, draw=draw, seed=11)
    assert (at >= 0).mean() <= 0.01


def test_ranks_among_calibration_scores_alone_would_raise_more():
    """The same martingale on p-values that share their calibration scores."""
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(60):
        calibration, scores = np.sort(normal(rng, 100)), normal(rng, 1000)
        below = np.searchsorted(calibration, scores)
        _, log_values = Martingale().after((100 - below + rng.random(1000)) / 101)
        false += log_values.max() >= np.log(100)
    assert false >= 5  # at most 0.6 in the mean are allowed


@pytest.mark.parametrize(
    ("change", "most"),
    [
        (lambda x: x + 0.5, 90),
        (lambda x: x + 1, 35),
        (lambda x: x - 1, 35),
        (lambda x: np.where(np.arange(len(x)) % 20 == 7, x + 4, x), 300),
    ],
)
@pytest.mark.parametrize(("quiet", "factor"), [(0, 1), (3000, 2.2)])
def test_changes_are_found_soon(change, most, quiet, factor):
    """Half a standard deviation up, one up, one down, and one sample in twenty far too high."""
    at, reports = alarms(11, quiet + 600, 1000, quiet=quiet, change=change, seed=3)
    delays = at[at >= quiet] - quiet + 1
    assert len(delays) > 8
    assert np.median(delays) <= factor * most
    starts = [report.since for report in reports if report.alarm and report.alarm_at >= quiet]
    assert abs(np.median(starts) - quiet) <= 40


BATCHES = st.lists(st.integers(0, 400), max_size=6)


@settings(max_examples=30)
@given(BATCHES)
def test_batches_do_not_matter(cuts):
    """Nor does it matter when a state is taken over by another detector."""
    rng = np.random.default_rng(5)
    calibration, scores = tied(rng, 60), tied(rng, 400)
    scores[250:] += 1.5
    errors = rng.random((400, 3))
    reference = ElementReference(np.full(3, 0.5), np.full(3, 0.3), 60)
    whole = DriftDetector(calibration, reference=reference, seed=9)
    expected = whole.update(scores, errors)
    assert expected.alarm and 250 <= expected.alarm_at < 400
    detector = DriftDetector(calibration, reference=reference, seed=9)
    edges = [0, *sorted(cuts), 400]
    for start, end in pairwise(edges):
        later = DriftDetector(calibration, reference=reference, seed=9)
        later.state = detector.state
        later.update(scores[start:end], errors[start:end])
        detector = later
    found = detector.report()
    assert found.to_dict() == expected.to_dict()
    np.testing.assert_array_equal(found.elements.z, expected.elements.z)


def test_another_seed_gives_other_noise():
    rng = np.random.default_rng(0)
    calibration, scores = tied(rng, 100), tied(rng, 100)
    values = {DriftDetector(calibration, seed=s).update(scores).log_martingale for s in (0, 1, 1)}
    assert len(values) == 2


def test_histograms_count_all_samples_and_those_since_the_change():
    rng = np.random.default_rng(2)
    detector = DriftDetector(normal(rng, 1000))
    report = detector.update(normal(rng, 2000))
    assert not report.alarm and sum(report.histogram) == 2000
    assert np.abs(np.array(report.histogram) - 200).max() < 60
    report = detector.update(normal(rng, 300) + 1)
    assert report.alarm and 2000 < report.alarm_at < 2100
    assert abs(report.since - 2000) < 60
    assert sum(report.histogram) == 2300
    assert sum(report.recent_histogram) == 2300 - report.since
    assert report.recent_histogram[0] > 4 * report.recent_histogram[9]
    assert report.martingale <= report.maximum and report.maximum >= 100


def test_an_alarm_stays():
    """Also where the stream becomes normal again, and the martingale falls below its minimum."""
    rng = np.random.default_rng(0)
    calibration, scores = normal(rng, 500), np.concatenate([normal(rng, 14) + 2, normal(rng, 6000)])
    detector = DriftDetector(calibration)
    first = detector.update(scores[:14])
    last = detector.update(scores[14:])
    at_once = DriftDetector(calibration).update(scores)
    for report in (first, last, at_once):
        assert report.alarm and (report.alarm_at, report.since) == (10, 0)
    assert last.log_martingale < -0.5 and last.log_maximum >= first.log_maximum


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_samples_that_cannot_be_scored_are_unusual(fault):
    rng = np.random.default_rng(4)
    detector = DriftDetector(normal(rng, 1000))
    report = detector.update(np.full(30, fault))
    assert report.unscorable == 30 and report.alarm_at < 20 and report.since == 0
    assert "30 samples cannot be scored" in str(report)


def test_elements_that_moved():
    """Means since the change, against those that NumPy computes, and the ones that changed."""
    rng = np.random.default_rng(6)
    before = rng.gamma(2, size=(1000, 4, 3))
    reference = ElementReference(before.mean(axis=0), before.std(axis=0), 1000)
    detector = DriftDetector(before.sum(axis=(1, 2)), reference=reference)
    assert detector.report().elements is None
    errors = rng.gamma(2, size=(600, 4, 3))
    errors[400:, 2, 1] += 4
    errors[400:, 0, 0] -= 2
    errors[500] = np.nan
    report = detector.update(errors.sum(axis=(1, 2)), errors)
    assert report.alarm and abs(report.since - 400) < 20
    found = report.elements
    recent = np.delete(errors, 500, axis=0)[report.since :]
    assert found.samples == len(recent)
    np.testing.assert_allclose(found.mean, recent.mean(axis=0))
    error = before.std(axis=0) * np.sqrt(1 / len(recent) + 1 / 1000)
    np.testing.assert_allclose(found.z, (recent.mean(axis=0) - before.mean(axis=0)) / error)
    assert [row["element"] for row in found.largest(2)] == [[2, 1], [0, 0]]
    assert np.abs(np.delete(found.z.ravel(), [0, 7])).max() < 4
    assert "[2, 1]" in str(report)


def test_elements_that_never_varied():
    reference = ElementReference(np.zeros(2), np.zeros(2), 10, ("a", "b"))
    detector = DriftDetector(np.arange(10.0), reference=reference)
    report = detector.update([99.0], [[0.0, 1.0]])
    assert report.elements.z.tolist() == [0, np.inf]
    assert report.to_dict()["elements"][0]["element"] == "b"
    assert report.to_dict()["elements"][0]["z"] is None


def test_large_samples_have_no_elements():
    mean = np.zeros(MAX_ELEMENTS + 1)
    detector = DriftDetector([1.0], reference=ElementReference(mean, mean, 1))
    assert detector.update([1.0]).elements is None
    assert detector.state.element_sums is None


@pytest.mark.parametrize(
    ("scores", "errors", "message"),
    [
        ([[1.0]], None, "scores has shape"),
        (["a"], None, "expected a vector of numbers"),
        ([1.0], None, "errors is missing"),
        ([1.0], [[1.0, 2.0, 3.0]], r"errors has shape \(1, 3\), expected \(1, 2\)"),
    ],
)
def test_wrong_shapes_change_nothing(scores, errors, message):
    reference = ElementReference(np.zeros(2), np.ones(2), 3)
    detector = DriftDetector([1.0, 2.0, 3.0], reference=reference)
    with pytest.raises(InputError, match=message):
        detector.update(scores, errors)
    assert detector.report().samples == 0


@pytest.mark.parametrize(
    "options", [{"delta": 0}, {"delta": 1}, {"delta": np.nan}, {"seed": -1}, {"seed": 10**18}]
)
def test_options_out_of_range(options):
    with pytest.raises(OptionError, match="expected"):
        DriftDetector([1.0], **options)


def test_no_samples_are_no_news():
    report = DriftDetector([1.0, 2.0]).update([])
    assert (report.samples, report.alarm, report.martingale) == (0, False, pytest.approx(1))
    assert str(report).startswith("0 samples, no drift found")
