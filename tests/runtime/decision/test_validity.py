"""The promise of p-values, over 500 re-drawn splits of the embedded digits.

If calibration and new samples are exchangeable, the number of alarms among m new samples has a
beta-binomial distribution, whatever the scores are: their ranks in a random split are all equally
likely. If the model has seen the calibration samples in training, it has not.
"""

import numpy as np
import pytest
import scipy.spatial
import scipy.stats

import vae_runtime
from vae_runtime.decision.conformal import alarms, p_values
from vae_runtime.decision.rates import expected_rate

SPLITS = 500
TRAINING, CALIBRATION, NEW = 200, 100, 200
ALPHA = 0.1
LEFT_OUT = 8
"""Components of 16 that the linear autoencoder does not have."""

TAILS = ["upper", "both"]
P_LIMIT = 0.001
"""p-value below which a goodness-of-fit test rejects. Seeds are fixed: it is met or not."""


@pytest.fixture(scope="module")
def digits():
    """The embedded test split, 24 x 24 pixels averaged to 8 x 8, values in [0, 1]."""
    pixels = vae_runtime.load_array("digits")[:, 2:26, 2:26].astype(np.float32) / 255
    return pixels.reshape(-1, 8, 3, 8, 3).mean(axis=(2, 4))[..., None]


@pytest.fixture(scope="module")
def vae(exported):
    return vae_runtime.load(exported("dense", "mse"), threads=1)


def nearest_neighbour(flat):
    """Return a score: distance to the nearest training sample; a training sample is its own."""
    distances = scipy.spatial.distance.cdist(flat, flat).astype(np.float32)
    return lambda training: distances[:, training].min(axis=1)


def principal_components(flat):
    """Return a score: squared error of the training samples' best linear autoencoder."""

    def scores(training):
        centred = flat - flat[training].mean(axis=0)
        _, vectors = np.linalg.eigh(centred[training].T @ centred[training])
        return ((centred @ vectors[:, :LEFT_OUT]) ** 2).sum(axis=1).astype(np.float32)

    return scores


@pytest.fixture(scope="module")
def splits():
    """Indices of training, calibration and new samples, for each split."""
    rng = np.random.default_rng(0)
    ends = np.cumsum([TRAINING, CALIBRATION])
    return [np.split(rng.permutation(TRAINING + CALIBRATION + NEW), ends) for _ in range(SPLITS)]


@pytest.fixture(scope="module")
def scores(digits, vae, splits):
    """Scores of all samples, for each model and each split, shape (SPLITS, samples)."""
    samples = digits[: TRAINING + CALIBRATION + NEW]
    small = samples.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)
    models = {
        "nearest neighbour": nearest_neighbour(small),
        "principal components": principal_components(small),
    }
    found = {
        name: np.array([model(training) for training, *_ in splits])
        for name, model in models.items()
    }
    # The bundle was not trained on any of the samples.
    return found | {"vae": np.tile(vae.loss(samples).loss, (SPLITS, 1))}


def p_of_new_samples(scores, splits, tails, *, calibrate_on_training=False):
    """Return the p-values of the new samples of each split, shape (SPLITS, NEW)."""
    found = []
    for row, (training, calibration, new) in zip(scores, splits, strict=True):
        seen = training[:CALIBRATION] if calibrate_on_training else calibration
        found.append(p_values(row[new], np.sort(row[seen]), tails))
    return np.array(found)


def alarms_promised(tails):
    spacings = {"upper": 10, "both": 2 * 5}[tails]  # floor(0.1 * 101), 2 * floor(0.05 * 101)
    return scipy.stats.betabinom(NEW, spacings, CALIBRATION + 1 - spacings)


def fit_of_the_spread(counts, tails):
    """Return the p-value of a chi-square test of the numbers of alarms, in about ten bins."""
    promised = alarms_promised(tails)
    edges = np.unique([-1, *promised.ppf(np.arange(0.1, 0.95, 0.1)), NEW])
    expected = SPLITS * np.diff(promised.cdf(edges))
    observed = np.histogram(counts, bins=edges + 0.5)[0]
    return scipy.stats.chisquare(observed, expected).pvalue


def fit_of_the_mean(counts, tails):
    """Return by how many standard errors the mean rate is above its expectation."""
    error = alarms_promised(tails).std() / NEW / np.sqrt(SPLITS)
    return (counts.mean() / NEW - expected_rate(ALPHA, CALIBRATION, tails)) / error


@pytest.mark.parametrize("tails", TAILS)
@pytest.mark.parametrize("model", ["vae", "nearest neighbour", "principal components"])
def test_the_false_alarm_rate_is_the_promised_one(scores, splits, model, tails):
    p = p_of_new_samples(scores[model], splits, tails)
    counts = alarms(p, ALPHA).sum(axis=1)
    assert abs(fit_of_the_mean(counts, tails)) < 3
    assert fit_of_the_spread(counts, tails) > P_LIMIT


@pytest.mark.parametrize("tails", TAILS)
@pytest.mark.parametrize("model", ["nearest neighbour", "principal components"])
def test_calibration_on_training_samples_is_found_out(scores, splits, model, tails):
    p = p_of_new_samples(scores[model], splits, tails, calibrate_on_training=True)
    counts = alarms(p, ALPHA).sum(axis=1)
    assert fit_of_the_mean(counts, tails) > 3
    assert fit_of_the_spread(counts, tails) < P_LIMIT


def test_the_rank_of_one_new_sample_is_uniform(scores, splits):
    first = p_of_new_samples(scores["vae"], splits, "upper")[:, 0]
    ranks = np.rint(first * (CALIBRATION + 1))
    assert ranks.min() >= 1 and ranks.max() <= CALIBRATION + 1
    edges = np.array([0, 20, 40, 60, 80, CALIBRATION + 1])
    observed = np.histogram(ranks, bins=edges + 0.5)[0]
    expected = SPLITS * np.diff(edges) / (CALIBRATION + 1)
    assert scipy.stats.chisquare(observed, expected).pvalue > P_LIMIT


@pytest.mark.parametrize("tails", TAILS)
def test_equal_scores_only_lower_the_rate(scores, splits, tails):
    coarse = np.round(scores["vae"] / 4)
    assert len(np.unique(coarse)) < 20
    counts = alarms(p_of_new_samples(coarse, splits, tails), ALPHA).sum(axis=1)
    assert counts.mean() > 0
    assert fit_of_the_mean(counts, tails) < 3


def test_a_planted_anomaly_has_a_smaller_p_than_a_normal_sample(digits, vae):
    calibration = np.sort(vae.loss(digits[:500]).loss)
    normal, planted = digits[500:600], digits[500:600].copy()
    planted[:, 1:5, 1:5] = 1  # a bright square
    p_normal, p_planted = (p_values(vae.loss(x).loss, calibration) for x in (normal, planted))
    assert (p_planted <= p_normal).all()
    assert np.median(p_planted) < 0.05 < np.median(p_normal)


@pytest.mark.parametrize("tails", TAILS)
def test_scores_at_infinity_and_nan_have_the_smallest_p(digits, vae, tails):
    calibration = np.sort(vae.loss(digits[:99]).loss)
    p = p_values([np.inf, np.nan], calibration, tails)
    assert alarms(p, 0.01 if tails == "upper" else 0.02).all()
    low = p_values([-np.inf], calibration, tails)
    assert alarms(low, 0.02).all() == (tails == "both")
