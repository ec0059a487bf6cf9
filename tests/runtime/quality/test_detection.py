"""AUROC, average precision and the ROC curve, compared with counts over all pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vae_runtime import evaluate, load
from vae_runtime.errors import InputError, OptionError
from vae_runtime.quality.calibrate import calibrate
from vae_runtime.quality.detection import auroc, average_precision, roc_curve


@st.composite
def scored(draw):
    """Scores, many of them equal and some infinite, and which samples are anomalous."""
    count = draw(st.integers(2, 30))
    values = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0, np.inf])
    scores = draw(hnp.arrays(np.float32, count, elements=values))
    anomalous = draw(hnp.arrays(bool, count))
    anomalous[0], anomalous[1] = True, False
    return scores, anomalous


@given(scored())
def test_auroc_counts_pairs(case):
    scores, anomalous = case
    pairs = [(t > s) + 0.5 * (t == s) for t in scores[anomalous] for s in scores[~anomalous]]
    assert auroc(scores, anomalous) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auroc(-scores, anomalous) == pytest.approx(1 - np.mean(pairs), abs=1e-12)


@given(scored())
def test_average_precision_adds_up_over_thresholds(case):
    scores, anomalous = case
    expected, recall = 0.0, 0.0
    for threshold in sorted({*scores.tolist()}, reverse=True):
        detected = scores >= threshold
        now = (detected & anomalous).sum() / anomalous.sum()
        expected += (now - recall) * (detected & anomalous).sum() / detected.sum()
        recall = now
    assert average_precision(scores, anomalous) == pytest.approx(expected, abs=1e-12)


@given(scored())
def test_the_roc_curve_holds_every_threshold_and_the_area(case):
    scores, anomalous = case
    x, y = roc_curve(scores, anomalous).T
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()
    area = float(((x[1:] - x[:-1]) * (y[1:] + y[:-1]) / 2).sum())
    assert area == pytest.approx(auroc(scores, anomalous), abs=1e-12)
    for threshold in scores:
        false_alarms = (scores[~anomalous] >= threshold).mean()
        detected = (scores[anomalous] >= threshold).mean()
        on_left = np.interp(false_alarms, x, y, left=0)
        first = y[x == false_alarms].min() if (x == false_alarms).any() else on_left
        last = y[x == false_alarms].max() if (x == false_alarms).any() else on_left
        assert first - 1e-9 <= detected <= last + 1e-9


def test_values_of_scikit_learn():
    """`roc_auc_score` and `average_precision_score` of version 1.9.1 on the same numbers."""
    normal = [0.1, 0.4, 0.8, -0.3, 0.9, 0.0, 1.5, 0.7, 0.4]
    anomalous = [0.4, 0.4, 1.5, 0.9, 2.2]
    scores, labels = np.float32([*normal, *anomalous]), np.repeat([False, True], (9, 5))
    assert auroc(scores, labels) == pytest.approx(0.7333333333333334, abs=1e-12)
    assert average_precision(scores, labels) == pytest.approx(0.6351515151515151, abs=1e-12)


@pytest.fixture(scope="module")
def calibrated(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detection")
    normal = np.random.default_rng(7).random((250, 12), dtype=np.float32)
    for tails in ("upper", "both"):
        calibrate(exported("dense", "mse", (12,)), normal, tails=tails, output=folder / tails)
    return folder


@pytest.fixture(scope="module")
def labelled():
    """30 rows like the calibration's, and 10 with values three times as large."""
    x = np.random.default_rng(9).random((40, 12), dtype=np.float32)
    labels = np.repeat(["ok", "hot", "cold"], (30, 6, 4))
    x[30:] *= 3
    return x, labels


@pytest.mark.parametrize("tails", ["upper", "both"])
def test_rates_of_a_bundle(tails, calibrated, labelled):
    x, labels = labelled
    vae = load(calibrated / tails)
    found = evaluate(vae, x, labels=labels, normal=["ok"], draws=1).detection
    scores, ok = vae.score(x), labels == "ok"
    assert (found.normal, found.anomalous, found.score) == (30, 10, vae.manifest.score.name)
    ranked = scores.score if tails == "upper" else -scores.p_value
    assert found.auroc == auroc(ranked, ~ok) > 0.8
    assert found.average_precision == average_precision(ranked, ~ok)
    assert [rates.alpha for rates in found.alarms] == [0.1, 0.05, 0.01]
    for rates in found.alarms:
        alarms = scores.p_value <= np.float32(rates.alpha)
        assert rates.detection_rate == alarms[~ok].mean()
        assert rates.false_alarm_rate == alarms[ok].mean()


def test_what_cannot_be_compared(calibrated, labelled):
    x, labels = labelled
    vae = load(calibrated / "upper")
    assert evaluate(vae, x, labels=labels, draws=1).detection is None
    for wrong, normal, error, message in (
        (None, ["ok"], InputError, "the data has no labels, expected one for each sample, because"),
        (labels[1:], ["ok"], InputError, "labels has 39 entries for 40 samples: give one for each"),
        (labels, ["OK"], OptionError, "no sample has the label 'OK', expected 'cold', 'hot', 'ok'"),
        (labels, ["ok", "hot", "cold"], InputError, "all of 40 samples are normal, expected"),
    ):
        with pytest.raises(error) as caught:
            evaluate(vae, x, labels=wrong, normal=normal, draws=1)
        assert str(caught.value).startswith(message)
