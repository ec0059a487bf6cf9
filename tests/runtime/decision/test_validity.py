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


class Model:
    """Scores of a model that was trained before: the same in every split."""

    def __init__(self, scores):
        self.scores = scores

    def fit(self, training):
        return self.scores


class NearestNeighbour:
    """Distance to the nearest training sample: a training sample is its own."""

    def __init__(self, digits):
        flat = digits.reshape(len(digits), -1)
        self.distances = scipy.spatial.distance.cdist(flat, flat).astype(np.float32)

    def fit(self, training):
        return self.distances[:, training].min(axis=1)


class PrincipalComponents:
    """Squared error of the best linear autoencoder of the training samples, 30 latents."""

    def __init__(self, digits):
        self.flat = digits.reshape(len(digits), -1).astype(np.float64)

    def fit(self, training):
        centred = self.flat - self.flat[training].mean(axis=0)
        _, vectors = np.linalg.eigh(centred[training].T @ centred[training])
        return ((centred @ vectors[:, :-30]) ** 2).sum(axis=1).astype(np.float32)


def redrawn(model, size, tails, *, calibrate_on_training=False):
    """Return the p-values of the new samples of each split, shape (SPLITS, NEW)."""
    rng = np.random.default_rng(0)
    ends = np.cumsum([TRAINING, CALIBRATION, NEW])
    found = []
    for _ in range(SPLITS):
        training, calibration, new, _ = np.split(rng.permutation(size), ends)
        scores = model.fit(training)
        seen = training[:CALIBRATION] if calibrate_on_training else calibration
        found.append(p_values(scores[new], np.sort(scores[seen]), tails))
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


@pytest.fixture(scope="module")
def models(digits, vae):
    few = digits[:500]
    return {
        "vae": (Model(vae.loss(digits).loss), len(digits)),
        "nearest neighbour": (NearestNeighbour(few), len(few)),
        "principal components": (PrincipalComponents(few), len(few)),
    }


@pytest.mark.parametrize("tails", TAILS)
@pytest.mark.parametrize("name", ["vae", "nearest neighbour", "principal components"])
def test_the_false_alarm_rate_is_the_promised_one(models, name, tails):
    counts = alarms(redrawn(*models[name], tails), ALPHA).sum(axis=1)
    assert abs(fit_of_the_mean(counts, tails)) < 3
    assert fit_of_the_spread(counts, tails) > P_LIMIT


@pytest.mark.parametrize("tails", TAILS)
@pytest.mark.parametrize("name", ["nearest neighbour", "principal components"])
def test_calibration_on_training_samples_is_found_out(models, name, tails):
    p = redrawn(*models[name], tails, calibrate_on_training=True)
    counts = alarms(p, ALPHA).sum(axis=1)
    assert fit_of_the_mean(counts, tails) > 3
    assert fit_of_the_spread(counts, tails) < P_LIMIT


def test_one_new_sample_is_equally_likely_to_have_each_rank(models):
    first = redrawn(*models["vae"], "upper")[:, 0]
    ranks = np.rint(first * (CALIBRATION + 1)).astype(int)
    assert ranks.min() >= 1 and ranks.max() <= CALIBRATION + 1
    uniform = scipy.stats.randint(1, CALIBRATION + 2)
    edges = np.array([0, 20, 40, 60, 80, CALIBRATION + 1])
    observed = np.histogram(ranks, bins=edges + 0.5)[0]
    expected = SPLITS * np.diff(uniform.cdf(edges))
    assert scipy.stats.chisquare(observed, expected).pvalue > P_LIMIT


@pytest.mark.parametrize("tails", TAILS)
def test_equal_scores_only_lower_the_rate(models, tails):
    model, size = models["vae"]
    coarse = Model(np.round(model.scores / 4))
    assert len(np.unique(coarse.scores)) < 20
    counts = alarms(redrawn(coarse, size, tails), ALPHA).sum(axis=1)
    assert fit_of_the_mean(counts, tails) < 3
    assert counts.mean() > 0


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
