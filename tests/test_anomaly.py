"""A bundle finds what is unusual: a short form of `benchmarks/anomaly.py`."""

import numpy as np
import pytest
import scipy.stats

import vae_runtime
from no_figures import no_figures
from vae_builder import Dataset, TrainConfig, export_trained, load_dataset, train
from vae_runtime import load_array
from vae_runtime.data.sources import load_samples

NORMAL = 3
"""Other digits have fainter strokes, and less loss."""


def auroc(scores, unusual):
    """Area under the ROC curve: how often an unusual sample scores higher than a normal one."""
    count = unusual.sum() * (~unusual).sum()
    return scipy.stats.mannwhitneyu(scores[unusual], scores[~unusual]).statistic / count


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Scores of all embedded test digits by a model of the threes, and which are no threes."""
    digits = load_dataset("digits")
    of_class = digits.train[digits.labels["train"] == NORMAL]
    dataset = Dataset.from_arrays("threes", of_class, test_fraction=0.2)
    trained = train(dataset, TrainConfig(hidden=(128, 64), latent_dim=10, epochs=60))
    with no_figures():
        path = export_trained(trained, tmp_path_factory.mktemp("anomaly") / "threes-vae").path
    vae = vae_runtime.load(path, threads=1)
    assert vae.manifest.score.name == "combined"
    return vae.score(load_array("digits")), load_samples("digits").labels != NORMAL


def test_other_digits_score_higher(scored):
    scores, unusual = scored
    found = auroc(scores.score, unusual)
    assert found > 0.9
    assert found > auroc(scores.loss, unusual) + 0.05


def test_other_digits_have_smaller_p_values(scored):
    scores, unusual = scored
    assert np.median(scores.p_value[unusual]) < 0.05 < 0.2 < np.median(scores.p_value[~unusual])
    assert scores.alarms(0.05)[unusual].mean() > 0.5
    assert scores.alarms(0.05)[~unusual].mean() < 0.2
