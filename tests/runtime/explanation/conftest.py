"""Bundles with every kind of score, from small models with random weights, and trained ones."""

import numpy as np
import pytest

from no_figures import no_figures


@pytest.fixture(scope="session")
def scored(small_models, tmp_path_factory):
    """Return a function that exports a small model with a score, once per configuration.

    `scored("novelty", shape=(6,))` returns the path of its bundle and its training samples. Tests
    must not change it.
    """
    known = {}

    def make(name, reconstruction="bce", shape=(8, 8, 1), *, two_heads=False, labels=(), **options):
        key = (name, reconstruction, shape, two_heads, labels, *options.items())
        if key not in known:
            from vae_builder import build_models
            from vae_export import export
            from vae_export.scoring.plan import ScorePlan
            from vae_runtime import LossSpec
            from vae_runtime.data.samples.conditions import Conditions, ConditionSpec

            rng = np.random.default_rng(2)
            condition = {"condition_shape": (len(labels),)} if labels else {}
            encoder, decoder = build_models(
                "dense", shape, 3, (8, 6), seed=1, two_heads=two_heads, **condition
            )
            for weight in (*encoder.weights, *decoder.weights):
                weight.assign(weight + 0.1 * rng.standard_normal(weight.shape).astype(np.float32))
            x = rng.random((100, *shape), dtype=np.float32)
            if options.get("input_dtype") == "uint8":
                x = np.round(255 * x).astype(np.uint8)
            if "value_range" in options:
                x = x * np.float32(255)
            decoder_kind = "mean_log_var" if two_heads else None
            loss = LossSpec(reconstruction, 0.5, decoder=decoder_kind)
            given = training_given = None
            if labels:
                spec = ConditionSpec((len(labels),), labels)
                rows = np.eye(len(labels), dtype=np.float32)[rng.integers(0, len(labels), 100)]
                given, training_given = Conditions(spec, rows[:40]), Conditions(spec, rows[40:])
            plan = ScorePlan(name, training=x[40:], training_conditions=training_given)
            path = tmp_path_factory.mktemp("scored") / "small-vae"
            with no_figures():
                export(
                    *(encoder, decoder, x[:40], path),
                    **{"loss": loss, "conditions": given, "scoring": plan, **options},
                )
            known[key] = path, x[40:], None if training_given is None else training_given.values
        return known[key]

    return make


@pytest.fixture(scope="session")
def trained_digits(tmp_path_factory):
    """A bundle of the embedded digits, trained for a few seconds, and the test digits."""
    from vae_builder import TrainConfig, export_trained, load_dataset, train
    from vae_runtime import load_array

    config = TrainConfig(hidden=(128, 64), latent_dim=10, epochs=4, batch_size=64)
    path = tmp_path_factory.mktemp("trained") / "digits-vae"
    with no_figures():
        export_trained(train(load_dataset("digits"), config), path)
    return path, load_array("digits").astype(np.float32)[..., np.newaxis] / 255


@pytest.fixture(scope="session")
def trained_table(tmp_path_factory):
    """A bundle of a table whose columns depend on each other, and other rows of it."""
    import csv

    from vae_builder import LossSpec, TrainConfig, export_trained, load_dataset, train

    rng = np.random.default_rng(5)
    hidden = rng.normal(size=(900, 3))
    x = hidden @ rng.normal(size=(3, 10)) + 0.2 * rng.normal(size=(900, 10))
    x = 50 + np.tanh(0.3 * x) * 10.0 ** rng.uniform(-1, 2, 10)
    names = tuple(f"sensor {i}" for i in range(10))
    folder = tmp_path_factory.mktemp("trained")
    with (folder / "sensors.csv").open("w", newline="") as file:
        csv.writer(file).writerows([names, *x[:700].tolist()])
    config = TrainConfig("table", loss=LossSpec("gaussian"), latent_dim=4, standardize=True)
    trained = train(load_dataset(str(folder / "sensors.csv")), config)
    with no_figures():
        export_trained(trained, folder / "sensors-vae")
    return folder / "sensors-vae", x[700:].astype(np.float32)
