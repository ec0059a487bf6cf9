"""`VAERuntime.explain`: every score adds up from what it names, and the nearest is the nearest."""

import shutil

import numpy as np
import pytest

from vae_runtime import OptionError, load, pack
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.explanation.unusual import FLOOR

RNG = np.random.default_rng(7)
LOSSES = [("bce", False), ("mse", False), ("gaussian", False), ("gaussian", True)]
SCORES = ["loss", "excess_loss", "squared_error", "novelty", "combined"]
SHORT = [
    ("loss", "bce", False),
    ("loss", "gaussian", True),
    ("excess_loss", "bce", False),
    ("excess_loss", "gaussian", False),
    ("squared_error", "mse", False),
    ("novelty", "bce", False),
    ("combined", "bce", False),
    ("combined", "gaussian", True),
]
"""Scores and losses of an ordinary run; each pair needs a bundle. `--full` has all of them."""
SHAPES = [(8, 8, 1), (9, 7, 3), (11, 2), (4, 4, 4, 1), (6,)]


def batch(shape, n=7, dtype=np.float32):
    x = RNG.random((n, *shape), dtype=np.float32)
    return np.round(255 * x).astype(np.uint8) if dtype == np.uint8 else x


def g(part, spec):
    """The surprise of a part, written independently in float64."""
    return np.log1p(np.exp(2 * (np.log(part) - spec.mean) / spec.std)) ** 2 / 8


def check_sums(vae, x, found, condition=None):
    """Check that the score of the graph is what elements, KL and parts add up to."""
    score, loss = vae.manifest.score, vae.manifest.loss
    scores = vae.score(x, condition=condition)
    assert found.elements.shape == (len(x), *vae.manifest.input.shape)
    assert found.elements.dtype == found.unusual_elements.dtype == np.float32
    for ours, graphs in zip(found.scores, scores, strict=True):
        np.testing.assert_allclose(ours, graphs, rtol=1e-5, atol=1e-6)
    total = found.elements.astype(np.float64).reshape(len(x), -1).sum(axis=1)
    with_kl = total + loss.kl_weight * scores.kl_loss
    if score.name == "loss":
        np.testing.assert_allclose(total, scores.reconstruction_loss, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(with_kl, scores.score, rtol=1e-5, atol=1e-5)
    elif score.name == "excess_loss":
        np.testing.assert_allclose(with_kl, scores.score, rtol=1e-5, atol=2e-5)
    elif score.name == "squared_error":
        np.testing.assert_allclose(total, scores.score, rtol=1e-5)
    elif score.name == "combined":
        name = "squared_error" if loss.reconstruction == "bce" else "excess_loss"
        own = total if name == "squared_error" else with_kl
        np.testing.assert_allclose(found.parts[name].value, own, rtol=1e-5)
    if score.name in ("novelty", "combined"):
        surprise = {
            k: g(part.value.astype(float), score.parts[k]) for k, part in found.parts.items()
        }
        expected = sum(surprise.values())
        np.testing.assert_allclose(scores.score, expected, rtol=2e-3)
        for name, part in found.parts.items():
            np.testing.assert_allclose(part.share, surprise[name] / expected, rtol=1e-3, atol=1e-6)
    else:
        assert found.parts == {}
        assert found.nearest is found.nearest_prototype is found.novelty_share is None


@pytest.mark.parametrize(
    ("name", "reconstruction", "two_heads"),
    [
        pytest.param(name, *loss, marks=() if (name, *loss) in SHORT else pytest.mark.slow)
        for name in SCORES
        for loss in LOSSES
    ],
)
def test_elements_and_parts_add_up_to_the_score(name, reconstruction, two_heads, scored):
    shape = (6,) if two_heads else (8, 8, 1)
    path, *_ = scored(name, reconstruction, shape, two_heads=two_heads)
    vae, x = load(path), batch(shape)
    check_sums(vae, x, vae.explain(x))


@pytest.mark.parametrize(
    "shape",
    [SHAPES[1], *(pytest.param(s, marks=pytest.mark.slow) for s in (SHAPES[0], *SHAPES[2:]))],
)
def test_all_shapes(shape, scored):
    path, *_ = scored("combined", "mse", shape)
    vae, x = load(path), batch(shape)
    found = vae.explain(x)
    check_sums(vae, x, found)
    np.testing.assert_array_equal(found.reconstruction, vae.reconstruct(x))
    assert found.nearest_prototype.shape == x.shape
    none = vae.explain(x[:0])
    assert none.elements.shape == (0, *shape) and len(none) == 0


@pytest.mark.parametrize(
    "options",
    [
        {"standardization": Standardization((0.3,), (0.2,))},
        {"value_range": (0.0, 255.0)},
        {"input_dtype": "uint8"},
    ],
)
@pytest.mark.parametrize("name", ["combined", pytest.param("excess_loss", marks=pytest.mark.slow)])
def test_other_units(name, options, scored):
    path, *_ = scored(name, "gaussian", **options)
    is_uint8 = options.get("input_dtype") == "uint8"
    x = batch((8, 8, 1), dtype=np.uint8 if is_uint8 else np.float32)
    x = 255 * x if "value_range" in options else x
    vae = load(path)
    check_sums(vae, x, vae.explain(x))


def test_a_training_sample_is_nearest_to_itself(scored):
    path, training, _ = scored("combined")
    vae = load(path)
    found = vae.explain(training[::-1])
    assert found.nearest.tolist() == [*range(len(training))][::-1]
    assert found.nearest.dtype == np.int64
    decoded = vae.reconstruct(training[::-1])
    np.testing.assert_allclose(found.nearest_prototype, decoded, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found.novelty_share + found.parts["squared_error"].share, 1, rtol=1e-6
    )


def test_conditional_model(scored):
    path, training, given = scored("combined", labels=("cat", "dog"))
    vae = load(path)
    found = vae.explain(training, condition=given)
    check_sums(vae, training, found, condition=given)
    assert found.nearest.tolist() == [*range(len(training))]
    decoded = vae.reconstruct(training, condition=given)
    np.testing.assert_allclose(found.nearest_prototype, decoded, rtol=1e-4, atol=1e-5)
    other = vae.explain(training, condition=1 - given)
    assert np.abs(other.elements - found.elements).max() > 1e-3


def test_conditional_rows_are_repaired_with_their_condition(scored):
    path, training, given = scored("combined", "mse", (6,), labels=("cat", "dog"))
    vae = load(path)
    both = vae.explain(training[:4], condition=given[:4]).unusual_elements
    alone = [vae.explain(training[i : i + 1], condition=given[i : i + 1]) for i in range(4)]
    np.testing.assert_allclose(
        both, np.concatenate([e.unusual_elements for e in alone]), rtol=1e-4, atol=1e-4
    )


def test_latents_with_axes(tmp_path):
    import keras

    from vae_export import export
    from vae_export.scoring.plan import ScorePlan
    from vae_runtime import LossSpec

    keras.utils.set_random_seed(3)
    x = keras.Input((8, 8, 1))
    h = keras.layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    mean, log_var = (keras.layers.Conv2D(2, 3, strides=2, padding="same")(h) for _ in range(2))
    encoder = keras.Model(x, {"z_mean": mean, "z_log_var": log_var})
    z = keras.Input((2, 2, 2))
    h = keras.layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(z)
    decoder = keras.Model(z, keras.layers.Conv2DTranspose(1, 3, strides=2, padding="same")(h))
    samples = batch((8, 8, 1), 60)
    plan = ScorePlan("combined", training=samples[20:])
    export(encoder, decoder, samples[:20], tmp_path / "v", loss=LossSpec("mse"), scoring=plan)
    vae = load(tmp_path / "v")
    assert vae.manifest.latent_shape == (2, 2, 2)
    found = vae.explain(samples[20:])
    check_sums(vae, samples[20:], found)
    assert found.nearest.tolist() == [*range(40)]


def test_unusual_elements_are_in_standard_deviations_of_normal_samples(scored):
    path, *_ = scored("squared_error")
    vae, x = load(path), batch((8, 8, 1))
    found, calibration = vae.explain(x), vae.calibration
    std = calibration.element_std.astype(float)
    expected = (found.elements - calibration.element_mean) / np.sqrt(
        std**2 + FLOOR**2 * (std**2).mean()
    )
    np.testing.assert_allclose(found.unusual_elements, expected, rtol=1e-4, atol=1e-5)


def test_packed_bundle_and_chunks(scored, tmp_path):
    path, *_ = scored("combined")
    x = batch((8, 8, 1), 9)
    expected = load(path).explain(x)
    pack(path, tmp_path / "small.vae")
    for vae in (load(tmp_path / "small.vae"), load(path, batch_size=2)):
        found = vae.explain(x)
        np.testing.assert_allclose(found.elements, expected.elements, rtol=1e-5, atol=1e-6)
        assert (found.nearest == expected.nearest).all()


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_lower_precision(precision, scored, tmp_path):
    from vae_export import VariantPlan, quantize

    path, training, _ = scored("combined")
    copy = shutil.copytree(path, tmp_path / "small-vae")
    samples = np.concatenate([training, batch((8, 8, 1), 60)])
    plan = VariantPlan((precision,), samples[:80], samples[80:], allow_drift=(precision,))
    quantize(copy, plan)
    if precision not in load(copy).manifest.variants:
        pytest.skip("this model has no such variant")
    exact, vae = load(copy).explain(training), load(copy, precision=precision)
    found = vae.explain(training)
    np.testing.assert_allclose(found.elements, exact.elements, atol=0.3)
    np.testing.assert_array_equal(found.scores.score, vae.score(training).score)
    assert (found.nearest == exact.nearest).mean() > 0.5


def test_data_frames(scored):
    import pandas as pd

    path, training, _ = scored("combined", "mse", (6,))
    vae = load(path)
    frame = pd.DataFrame(training[:3])
    np.testing.assert_array_equal(vae.explain(frame).elements, vae.explain(training[:3]).elements)


def test_a_bundle_without_score(small_models, tmp_path):
    from vae_export import export

    x = batch((5,))
    export(*small_models(shape=(5,)), x[:5], tmp_path / "v")  # too few to calibrate anything
    with pytest.raises(OptionError, match="has no anomaly score: export the model again"):
        load(tmp_path / "v").explain(x)
