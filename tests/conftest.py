"""Fixtures for the tests of all packages: small models, exported once per session."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import contextlib
import shutil
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from no_figures import no_figures

hypothesis.settings.register_profile("no deadline", deadline=None)  # machines may be busy
hypothesis.settings.load_profile("no deadline")


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--full"):
        skip = pytest.mark.skip(reason="takes minutes: run with --full")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)


@pytest.fixture
def same_weights_every_time():
    import keras

    keras.utils.set_random_seed(1)


@pytest.fixture(scope="session")
def small_models():
    """Return a function that builds a small encoder and decoder with fixed random weights."""

    def make(preset="dense", shape=(8, 8, 1), latent_dim=3):
        from vae_builder import build_models

        encoder, decoder = build_models(preset, shape, latent_dim, (8, 6), seed=1)
        rng = np.random.default_rng(3)
        for weight in (*encoder.weights, *decoder.weights):  # zero biases would hide mistakes
            weight.assign(weight + 0.1 * rng.standard_normal(weight.shape).astype(np.float32))
        return encoder, decoder

    return make


@pytest.fixture(scope="session")
def exported(small_models, tmp_path_factory):
    """Return a function that exports a small model with random weights, once per configuration.

    `exported("conv", "mse", (9, 7, 3))` returns the path of its bundle. Tests must not change it.
    With a name as `score` the bundle has that anomaly score, with training and more held-out
    samples; by default it has a squared error that 5 samples calibrate.
    """
    known: dict[tuple, Path] = {}

    def make(
        preset="dense",
        reconstruction="bce",
        shape=(8, 8, 1),
        latent_dim=3,
        kl_weight=1.0,
        variance=None,
        score=None,
        tails="upper",
        figures=False,
        **options,
    ):
        sizes = (preset, reconstruction, shape, latent_dim, kl_weight, variance)
        key = (*sizes, score, tails, figures, *options.items())
        if key not in known:
            from vae_export import ScorePlan, export
            from vae_runtime import LossSpec

            encoder, decoder = small_models(preset, shape, latent_dim)
            rng, count = np.random.default_rng(2), 60 if score else 10
            samples, training = (rng.random((n, *shape), dtype=np.float32) for n in (count, 100))
            if options.get("input_dtype") == "uint8":
                samples, training = (
                    np.round(255 * x).astype(np.uint8) for x in (samples, training)
                )
            plan = ScorePlan(score, training if score else None, tails=tails)
            loss = LossSpec(reconstruction, kl_weight, variance=variance)
            path = tmp_path_factory.mktemp("bundle") / "small-vae"
            with contextlib.nullcontext() if figures else no_figures():
                export(encoder, decoder, samples, path, loss=loss, scoring=plan, **options)
            known[key] = path
        return known[key]

    return make


@pytest.fixture
def tunings(tmp_path, monkeypatch):
    """Redirect the folder of saved tunings to a temporary one, and return it."""
    from vae_runtime.inference import tuning

    path = tmp_path / "tunings"
    monkeypatch.setattr(tuning, "_folder", lambda: path)
    return path


@pytest.fixture
def bundle(exported, tmp_path):
    """Return a copy of a small dense bce bundle that the test may change."""
    return Path(shutil.copytree(exported(), tmp_path / "small-vae"))


@pytest.fixture
def call(capsys):
    """Return a function from words to exit status, standard output and standard error."""
    from vae_runtime.cli.main import run

    def call(*words):
        capsys.readouterr()
        status = run([str(word) for word in words])
        return status, *capsys.readouterr()

    return call


@pytest.fixture(scope="module")
def images():
    """Return small grey pictures, shape (40, 8, 8, 1), uint8."""
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)


@pytest.fixture
def data(images, tmp_path):
    """Return the path of an .npy file with the pictures."""
    path = tmp_path / "images.npy"
    np.save(path, images)
    return path
