import numpy as np
import pytest

from vae_builder import Dataset, train
from vae_builder.config import TrainConfig
from vae_builder.training.defaults import config_for
from vae_runtime.loss import LossSpec


def dataset(shape, *, high=1.0, is_table=False, binary=False):
    x = np.random.default_rng(0).random((60, *shape)) * high
    x = (x > 0.5) * 1.0 if binary else x
    return Dataset.from_arrays("x", x.astype(np.float32), is_table=is_table)


@pytest.mark.parametrize(
    "data, preset, loss, standardize",
    [
        (dataset((6,), is_table=True), "table", "gaussian", True),
        (dataset((6,), high=90.0), "table", "gaussian", True),
        (dataset((6,)), "table", "bce", False),
        (dataset((6,), is_table=True, binary=True), "table", "bce", False),
        (dataset((250,), is_table=True), "dense", "gaussian", True),
        (dataset((250,)), "dense", "bce", False),
        (dataset((4, 4, 1)), "dense", "bce", False),
    ],
)
def test_preset_and_loss_follow_from_the_data(data, preset, loss, standardize):
    config = config_for(data)
    assert (config.preset, config.loss.reconstruction) == (preset, loss)
    assert config.standardize == standardize
    assert config.variance == {"gaussian": "decoder"}.get(loss) if preset == "table" else True


@pytest.mark.parametrize("columns, latent_dim", [(1, 1), (2, 1), (4, 3), (13, 10), (64, 20)])
def test_the_latent_dim_of_a_table_follows_from_its_columns(columns, latent_dim):
    assert config_for(dataset((columns,), is_table=True)).latent_dim == latent_dim


def test_choices_win():
    data = dataset((6,), is_table=True)
    config = config_for(data, preset="dense", loss=LossSpec("mse"), latent_dim=2, epochs=None)
    assert config == TrainConfig("dense", latent_dim=2, loss=LossSpec("mse"))
    assert config_for(data, variance="optimal").variance == "optimal"
    assert config_for(data, kl_weight=0.5).loss.kl_weight == 0.5


def test_training_improves_on_the_factor_analysis_that_it_starts_from():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, size=(1000, 1))
    x = np.concatenate([np.cos(angle), np.sin(angle), np.cos(2 * angle)], axis=1)
    x = (x + rng.normal(size=x.shape) * 0.05).astype(np.float32)
    data = Dataset.from_arrays("circle", x, is_table=True)
    # One step at learning rate 0 leaves the factor analysis.
    start = train(data, config_for(data, epochs=1, batch_size=850))
    trained = train(data, config_for(data, learning_rate=0.01, epochs=60))
    assert trained.test.loss < start.test.loss - 0.5
