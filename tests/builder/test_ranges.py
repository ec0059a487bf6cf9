"""Raw values of any range: trained, exported and scored as their values scaled to [0, 1]."""

import keras
import numpy as np
import pytest

from float64_losses import cross_entropy, kl, squared
from vae_builder import Dataset, LossSpec, TrainConfig, export_models, export_trained, load_run
from vae_builder import train as train_vae
from vae_runtime import InputError, evaluate, load
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.data.samples.inputs import likely_range
from vae_runtime.errors import OptionError

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 6, 6, 1))


def trained(x, value_range, loss="bce"):
    spec = LossSpec(loss, variance=0.05 if loss == "gaussian" else None)
    variance = "fixed" if loss == "gaussian" else None
    config = TrainConfig(
        hidden=(8,), latent_dim=2, epochs=2, loss=spec, value_range=value_range, variance=variance
    )
    return train_vae(Dataset.from_arrays("raw", x), config)


def expected(models, x, low, high, loss):
    """The losses in float64, from Keras's own outputs for values that are scaled here."""
    encoder, decoder = models
    scaled = (np.float64(x) - low) / (high - low)
    code = encoder(np.float32(scaled))
    z_mean, z_log_var = code["z_mean"].numpy(), code["z_log_var"].numpy()
    output = np.float64(decoder(z_mean).numpy())
    if loss == "bce":
        decoded = 1 / (1 + np.exp(-output))
        reconstruction = cross_entropy(scaled, decoded)
    else:
        decoded, error = output, squared(scaled, output)
        reconstruction = error / (2 * 0.05) + scaled[0].size * np.log(2 * np.pi * 0.05) / 2
        reconstruction = error if loss == "mse" else reconstruction
    return reconstruction, kl(z_mean, z_log_var), low + (high - low) * decoded


RANGES = {
    "floats of 0 to 255": (PIXELS.astype(np.float32), 0, 255),
    "uint16": ((PIXELS * 257).astype(np.uint16), 0, 65535),
    "around 0": ((PIXELS / 127.5 - 1).astype(np.float32), -1, 1),
    "far from 0": ((PIXELS + 1e6).astype(np.float32), 1e6, 1e6 + 255),
}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Return a function that trains and exports a model of a range, once for each."""
    known = {}

    def make(name, loss="bce"):
        if (name, loss) not in known:
            x, low, high = RANGES[name]
            model = trained(x, (low, high), loss)
            path = tmp_path_factory.mktemp("range") / "raw"
            export_trained(model, path)
            known[name, loss] = (model.vae.encoder, model.vae.decoder), load(path)
        return known[name, loss]

    return make


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("floats of 0 to 255", "bce"),
        ("uint16", "mse"),
        pytest.param("uint16", "bce", marks=pytest.mark.slow),
        pytest.param("around 0", "bce", marks=pytest.mark.slow),
        pytest.param("far from 0", "bce", marks=pytest.mark.slow),
        pytest.param("floats of 0 to 255", "gaussian", marks=pytest.mark.slow),
    ],
)
def test_losses_are_those_of_the_scaled_values(bundles, name, loss):
    x, low, high = RANGES[name]
    models, vae = bundles(name, loss)
    assert vae.verify().passed
    assert vae.manifest.input.range == ((low, high) if loss == "bce" else None)
    reconstruction, kl_loss, decoded = expected(models, x, low, high, loss)
    found = vae.loss(x)
    np.testing.assert_allclose(found.reconstruction_loss, reconstruction, rtol=2e-5)
    np.testing.assert_allclose(found.kl_loss, kl_loss, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(vae.reconstruct(x), decoded, rtol=1e-5, atol=1e-5 * (high - low))
    assert low <= vae.sample(4).min() or loss == "mse"


def test_uint8_counts_as_numbers(bundles):
    x = RANGES["floats of 0 to 255"][0]
    _, vae = bundles("floats of 0 to 255")
    np.testing.assert_array_equal(vae.loss(x.astype(np.uint8)).loss, vae.loss(x).loss)
    dark = np.zeros((3, 6, 6, 1), np.uint8)
    np.testing.assert_array_equal(vae.loss(dark).loss, vae.loss(dark.astype(np.float32)).loss)


def test_training_on_uint8_with_its_range_is_training_on_uint8():
    """The seed is the same, so only the rounding of the division differs."""
    pixels = PIXELS.astype(np.uint8)
    raw, usual = trained(pixels, (0, 255)), trained(pixels, None)
    assert raw.test.loss == pytest.approx(usual.test.loss, rel=1e-4)
    assert raw.explained.mean_sample == pytest.approx(usual.explained.mean_sample, rel=1e-5)
    assert raw.data == usual.data  # the digest is that of the data as it was given


def test_evaluation_compares_with_the_mean_of_the_scaled_values(bundles):
    x = RANGES["floats of 0 to 255"][0]
    found = evaluate(bundles("floats of 0 to 255")[1], x, draws=1).explained
    scaled = np.float64(x) / 255
    mean = np.broadcast_to(scaled.mean(axis=0), scaled.shape)
    assert found.mean_sample == pytest.approx(cross_entropy(scaled, mean).mean(), rel=1e-5)


def test_values_outside_the_range(bundles):
    _, bce = bundles("floats of 0 to 255")
    _, mse = bundles("uint16", "mse")
    x = np.full((1, 6, 6, 1), 256, np.float32)
    with pytest.raises(InputError, match=r"values from 256 to 256, expected 0 to 255"):
        bce.loss(x)
    assert np.isfinite(mse.loss(x * 1000).loss).all()


def test_values_that_look_scaled_already_are_warned_of(bundles):
    _, vae = bundles("floats of 0 to 255")
    with pytest.warns(InputWarning, match=r"takes raw values from 0 to 255 .* give raw values"):
        vae.loss(PIXELS[:2] / np.float32(255))


@pytest.mark.parametrize(
    ("x", "ends"),
    [
        (PIXELS.astype(np.float32), "0,255"),
        ((PIXELS * 257).astype(np.uint16), "0,65535"),
        ((PIXELS / 127.5 - 1).astype(np.float32), "-1,1"),
        ((PIXELS * 0.01).astype(np.float32), "0,2.55"),
    ],
)
def test_the_message_proposes_the_range_of_the_data(x, ends):
    with pytest.raises(InputError, match=rf"or train with --range {ends} or --loss gaussian"):
        trained(x, None)  # refused before it starts
    config = TrainConfig(value_range=tuple(map(float, ends.split(","))))
    Dataset.from_arrays("raw", x).require_range(config.sample_range)


def test_likely_ranges():
    assert likely_range(0, 1000) == (0, 1023)
    assert likely_range(5, 4000) == (0, 4095)
    assert likely_range(-5, 4000) == (-5, 4000)
    assert likely_range(0, 70000) == (0, 70000)


def test_own_models_take_raw_values(tmp_path):
    keras.utils.set_random_seed(1)
    x, z = keras.Input((6, 6, 1)), keras.Input((2,))
    hidden = keras.layers.Dense(6, "tanh")(keras.layers.Flatten()(x))
    code = {name: keras.layers.Dense(2)(hidden) for name in ("z_mean", "z_log_var")}
    logits = keras.layers.Reshape((6, 6, 1))(keras.layers.Dense(36)(z))
    encoder, decoder = keras.Model(x, code), keras.Model(z, logits)
    raw = RANGES["floats of 0 to 255"][0]
    dataset = Dataset.from_arrays("raw", raw)
    export_models(encoder, decoder, dataset, tmp_path / "own", value_range=(0, 255))
    vae = load(tmp_path / "own")
    reconstruction, kl_loss, decoded = expected((encoder, decoder), raw, 0, 255, "bce")
    np.testing.assert_allclose(vae.loss(raw).loss, reconstruction + kl_loss, rtol=2e-6)
    np.testing.assert_allclose(vae.reconstruct(raw), decoded, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("ends", [(1, 1), (255, 0), (0, np.inf), (np.nan, 1)])
def test_a_range_that_is_none(ends):
    with pytest.raises(OptionError, match="expected a lower and a higher number"):
        TrainConfig(value_range=ends)


def test_a_range_and_a_standardization_are_one_too_many():
    with pytest.raises(OptionError, match=r"standardize and value_range .* leave one out"):
        TrainConfig(value_range=(0, 255), standardize=True, loss=LossSpec("mse"))


def test_a_manifest_may_not_contradict_itself():
    scaled = Standardization.of_range(0, 255)
    good = InputSpec((4,), "float32", (0, 255), scaled, undivided_uint8=True)
    assert list(good.faults(LossSpec())) == []
    for bad in (
        InputSpec((4,), "float32", (0, 1), scaled, undivided_uint8=True),
        InputSpec((4,), "float32", (0, 1), scaled),
        InputSpec((4,), "float32", (0, 1), None, undivided_uint8=True),
        InputSpec((4,), "uint8", None, scaled, undivided_uint8=True),
        InputSpec((4,), "float32", (0, 1), Standardization((0,) * 4, (9,) * 4), True),
    ):
        assert list(bad.faults(LossSpec()))


def test_command_line(tmp_path, call):
    np.save(tmp_path / "x.npy", RANGES["around 0"][0])
    run, bundle = tmp_path / "run", tmp_path / "raw"
    words = ["--hidden", "8", "--latent-dim", "2", "--epochs", "1", "-q", "--range", "-1,1"]
    assert call("train", run, "--data", tmp_path / "x.npy", *words)[0] == 0
    assert load_run(run).config.value_range == (-1, 1)
    assert call("export", bundle, "--run", run, "-q")[0] == 0
    assert load(bundle).manifest.input.range == (-1, 1)
    png = tmp_path / "r.png"
    assert call("reconstruct", bundle, tmp_path / "x.npy", "-o", png, "--compare")[0] == 0
    words = ["--batch", "1", "--threads", "1", "--seconds", "0.1", "--no-tensorflow"]
    assert call("bench", bundle, *words)[0] == 0
    assert "-1 to 1 scaled to 0 to 1 in the graphs" in call("inspect", bundle)[1]
    status, _, err = call("train", run, "--force", "--data", tmp_path / "x.npy", "--range", "9")
    assert status == 2
    assert "'9' is not LOW,HIGH, such as 0,255" in err
