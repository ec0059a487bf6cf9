"""The score of a model: which one is chosen, and what it is fitted to."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from vae_builder import build_models
from vae_export import ScorePlan
from vae_export.scoring.fit import fit_score, has_unit_length
from vae_runtime import LossSpec, OptionError
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.bundle.scores import ActivationSpec
from vae_runtime.data.numbers.standardization import Standardization

SHAPE = (5, 4, 1)
RNG = np.random.default_rng(0)
TRAINING = RNG.random((60, *SHAPE), dtype=np.float32)
HELD_OUT = RNG.random((40, *SHAPE), dtype=np.float32)
BCE = LossSpec("bce", 0.5)


@pytest.fixture(scope="module")
def models():
    encoder, decoder = build_models("dense", SHAPE, 2, (8, 6), seed=1)
    return {"encoder": encoder, "decoder": decoder}


def fit(models, plan, loss=BCE, held_out=HELD_OUT, input_spec=None):
    spec = input_spec or InputSpec(SHAPE, range=(0.0, 1.0))
    return fit_score(models, loss, spec, plan, held_out, None)


@pytest.mark.parametrize(
    ("plan", "name"),
    [
        (ScorePlan(), "squared_error"),
        (ScorePlan(training=TRAINING[:19]), "squared_error"),
        (ScorePlan(training=TRAINING[:20]), "combined"),
        (ScorePlan("loss", TRAINING), "loss"),
        (ScorePlan("novelty", TRAINING, tails="both"), "novelty"),
    ],
)
def test_the_score_that_is_chosen(models, plan, name):
    found = fit(models, plan)
    assert (found.spec.name, found.spec.tails) == (name, plan.tails)
    assert (found.novelty is not None) == (name in ("novelty", "combined"))
    assert found.model.scorer.name == name
    assert list(found.spec.faults()) == []
    assert (found.spec.part_samples > 0) == (name in ("novelty", "combined"))


@pytest.mark.parametrize("training", [None, TRAINING[:19]])
@pytest.mark.parametrize("name", ["novelty", "combined"])
def test_a_score_that_needs_training_samples_says_so(models, name, training):
    message = f"score {name} .*there are fewer than 20: choose squared_error, excess_loss or loss"
    with pytest.raises(OptionError, match=message):
        fit(models, ScorePlan(name, training))


@pytest.mark.parametrize("name", ["novelty", "combined"])
def test_an_encoder_without_a_hidden_layer_has_novelty_of_z_mean(name):
    x = keras.Input(SHAPE)
    h = keras.layers.Flatten()(x)
    heads = {key: keras.layers.Dense(2)(h) for key in ("z_mean", "z_log_var")}
    encoder, (_, decoder) = keras.Model(x, heads), build_models("dense", SHAPE, 2, (8,), seed=1)
    found = fit({"encoder": encoder, "decoder": decoder}, ScorePlan(name, TRAINING))
    assert found.spec.novelty.activations == (ActivationSpec("z_mean", 2, 2),)
    assert not found.spec.novelty.unit_length
    center = np.asarray(encoder(TRAINING)["z_mean"]).mean(axis=0)
    np.testing.assert_allclose(found.novelty.gaussians[0].center, center, atol=1e-5)
    assert list(found.spec.faults()) == []


def test_constants_come_from_training_samples_and_parts_from_their_own(models):
    found = fit(models, ScorePlan(training=TRAINING))
    encoder = models["encoder"]
    layers = [encoder.get_layer(name).output for name in ("hidden_1", "hidden_2")]
    hidden = keras.Model(encoder.input, layers)

    def activations(x):
        for h in map(np.float64, hidden(x)):
            yield h / np.maximum(np.linalg.norm(h, axis=1, keepdims=True), 1e-6)

    rows = found.division.parts
    assert found.spec.part_samples == len(rows) == 13
    for i, (own, parts) in enumerate(
        zip(activations(TRAINING), activations(HELD_OUT[rows]), strict=True), 1
    ):
        gaussian = found.novelty.gaussians[i - 1]
        np.testing.assert_allclose(gaussian.center, own.mean(axis=0), atol=1e-5)
        axes = np.float64(gaussian.axes)
        middle = axes @ np.diag(np.float64(gaussian.variances)) @ axes.T
        beside = float(gaussian.rest_variance) * (np.eye(len(axes)) - axes @ axes.T)
        centered = parts - own.mean(axis=0)
        inverse = np.linalg.inv(middle + beside)
        logarithms = np.log(np.einsum("ni,ij,nj->n", centered, inverse, centered))
        stated = found.spec.parts[f"novelty_{i}"]
        assert stated.mean == pytest.approx(logarithms.mean(), rel=1e-3, abs=1e-3)
        assert stated.std == pytest.approx(logarithms.std(ddof=1), rel=1e-3)
    logits = np.float64(models["decoder"](encoder(HELD_OUT[rows])["z_mean"]))
    error = (np.float64(HELD_OUT[rows]) - 1 / (1 + np.exp(-logits))) ** 2
    logarithms = np.log(error.reshape(len(rows), -1).sum(axis=1))
    assert found.spec.parts["squared_error"].mean == pytest.approx(logarithms.mean(), rel=1e-4)
    assert found.spec.parts["squared_error"].std == pytest.approx(logarithms.std(ddof=1), rel=1e-3)


def test_prototypes_are_training_samples(models):
    found = fit(models, ScorePlan(training=TRAINING))
    z_mean = np.asarray(models["encoder"](TRAINING)["z_mean"])
    np.testing.assert_allclose(found.novelty.z_mean, z_mean, rtol=1e-4, atol=1e-6)
    hidden = np.asarray(found.model.activations(tf.constant(TRAINING))[2])
    start, expected = 0, []
    for gaussian in found.novelty.gaussians:
        part = hidden[:, start : start + len(gaussian.center)] - gaussian.center
        expected.append(part @ gaussian.axes)
        start += len(gaussian.center)
    np.testing.assert_allclose(
        found.novelty.coordinates, np.concatenate(expected, axis=1), rtol=1e-3, atol=1e-5
    )


def test_samples_that_are_not_normal_serve_nothing(models):
    normal = np.arange(40) % 3 > 0
    division = fit(models, ScorePlan(training=TRAINING, normal=normal)).division
    used = np.concatenate(list(vars(division).values()))
    assert sorted(used) == list(np.flatnonzero(normal))


def test_equal_samples_leave_a_spread(models):
    found = fit(models, ScorePlan(training=TRAINING), held_out=np.repeat(HELD_OUT[:1], 40, axis=0))
    assert all(part.std == pytest.approx(1e-3) for part in found.spec.parts.values())


def test_raw_pixels_and_floats_give_the_same_constants(models):
    pixels = np.round(255 * TRAINING).astype(np.uint8)
    held_out = np.round(255 * HELD_OUT).astype(np.uint8)
    raw = fit(
        models, ScorePlan(training=pixels), held_out=held_out, input_spec=InputSpec(SHAPE, "uint8")
    )
    floats = fit(
        models,
        ScorePlan(training=np.float32(pixels) / 255),
        held_out=np.float32(held_out) / 255,
    )
    for a, b in zip(raw.novelty.gaussians, floats.novelty.gaussians, strict=True):
        np.testing.assert_allclose(a.center, b.center, rtol=1e-5, atol=1e-6)
    for part, stated in raw.spec.parts.items():
        assert stated.mean == pytest.approx(floats.spec.parts[part].mean, rel=1e-3, abs=1e-3)


def test_training_samples_are_standardized_by_the_model(models):
    standardization = Standardization((50.0,), (20.0,))
    spec = InputSpec(SHAPE, standardization=standardization)
    loss = LossSpec("mse")
    raw = fit(
        models,
        ScorePlan(training=50 + 20 * TRAINING),
        loss,
        50 + 20 * HELD_OUT,
        spec,
    )
    plain = fit(models, ScorePlan(training=TRAINING), loss, HELD_OUT, InputSpec(SHAPE))
    for a, b in zip(raw.novelty.gaussians, plain.novelty.gaussians, strict=True):
        np.testing.assert_allclose(a.center, b.center, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 8, 1), True), ((6, 3), True), ((9,), False), ((199,), False), ((200,), True)],
)
def test_only_activations_of_tables_keep_their_length(shape, expected):
    """A long vector is a picture or a series that was flattened."""
    assert has_unit_length(InputSpec(shape)) is expected


@pytest.mark.parametrize(
    ("loss", "name"),
    [
        (BCE, "squared_error"),
        (LossSpec("mse"), "excess_loss"),
        (LossSpec("gaussian", variance=0.3), "excess_loss"),
    ],
)
def test_without_training_samples_the_loss_decides(models, loss, name):
    assert fit(models, ScorePlan(), loss).spec.name == name
