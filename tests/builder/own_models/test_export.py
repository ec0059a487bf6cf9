"""Export of the user's Keras models, in memory or in files, by Python and by command line."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_models import Sampling
from vae_builder import (
    Dataset,
    LossSpec,
    export_model,
    export_models,
    load_model,
    plan_variants,
)
from vae_builder.cli import export as cli_export
from vae_export.adoption.tracing import readings
from vae_export.variants import building, measure
from vae_runtime import Bundle, load
from vae_runtime.errors import ExportError, InputError, OptionError
from vae_runtime.proof.reference import read_reference

pytestmark = pytest.mark.usefixtures("same_weights_every_time")


class Unregistered(layers.Layer):
    def call(self, x):
        return 2 * x


class VAE(keras.Model):
    """As on keras.io: a subclassed model with a functional encoder and decoder."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder

    def train_step(self, data):
        raise NotImplementedError


@keras.saving.register_keras_serializable("test_export")
class Registered(keras.Model):
    """Makes its own encoder and decoder, so that Keras can read it from a file."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = build()

    def call(self, x):
        return self.decoder(self.encoder(x)[2])


def build(shape=(8, 8, 1), first=None):
    x = keras.Input(shape)
    h = layers.Flatten()(x if first is None else first(x))
    h = layers.Dense(6, activation="relu")(h)
    z_mean, z_log_var = layers.Dense(2, name="z_mean")(h), layers.Dense(2, name="z_log_var")(h)
    encoder = keras.Model(x, [z_mean, z_log_var, Sampling()([z_mean, z_log_var])], name="encoder")
    z = keras.Input((2,))
    h = layers.Dense(int(np.prod(shape)), activation="sigmoid")(z)
    return encoder, keras.Model(z, layers.Reshape(shape)(h), name="decoder")


@pytest.fixture(scope="module")
def dataset():
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    return Dataset.from_arrays("noise", x, split_seed=2)


@pytest.fixture
def files(dataset, tmp_path):
    """Paths of an encoder, a decoder and their data; and the two models."""
    encoder, decoder = build()
    paths = [tmp_path / name for name in ("enc.keras", "dec.keras", "x.npy")]
    encoder.save(paths[0])
    decoder.save(paths[1])
    np.save(paths[2], dataset.train)
    return *paths, encoder, decoder


def check(bundle, encoder, decoder, images):
    """Check that the bundle computes the same as the models."""
    vae = load(bundle)
    x = images.astype(np.float32) / 255
    np.testing.assert_allclose(vae.encode(images).z_mean, encoder(x)[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(vae.encode(images).z_log_var, encoder(x)[1], rtol=1e-4, atol=1e-5)
    z = np.random.default_rng(1).standard_normal((5, 2)).astype(np.float32)
    np.testing.assert_allclose(vae.decode(z), decoder(z), rtol=1e-4, atol=1e-6)


def test_models_in_memory(dataset, tmp_path):
    vae = VAE(*build())
    steps = []
    result = export_models(
        vae.encoder,
        vae.decoder,
        dataset,
        tmp_path / "a",
        loss=LossSpec("bce", 0.5),
        name="my own",
        opset=17,
        on_step=steps.append,
    )
    assert result.report.passed and len(steps) == 6
    assert steps[0] == "no anomaly score: 4 normal held-out samples, expected 8 or more"
    m = result.manifest
    assert (m.training, m.name, m.graphs.loss.opset) == (None, "my own", 17)
    assert m.loss == LossSpec("bce", 0.5, decoder="logits")
    assert (m.data.name, m.data.sha256, m.data.split_seed) == ("noise", dataset.digest, 2)
    assert (m.data.train, m.data.validation, m.data.test) == (34, 2, 4)
    check(result.path, vae.encoder, vae.decoder, dataset.test)
    reference = read_reference(Bundle(result.path))
    np.testing.assert_array_equal(reference["x"][:-3], dataset.test.astype(np.float32) / 255)
    with pytest.raises(ExportError, match="exists: give --force"):
        export_models(*build(), dataset, tmp_path / "a")
    export_models(*build(), dataset, tmp_path / "a", force=True)


def flat_vae():
    """Return a VAE in one functional model, and its encoder and decoder."""
    encoder, decoder = build()
    x = keras.Input((8, 8, 1))
    return keras.Model(x, decoder(encoder(x)[2]), name="flat"), encoder, decoder


def test_one_vae_in_memory_and_in_files(dataset, tmp_path, call):
    vae = Registered()
    vae(np.zeros((1, 8, 8, 1), np.float32))
    check(export_model(vae, dataset, tmp_path / "a").path, vae.encoder, vae.decoder, dataset.test)
    vae.save(tmp_path / "vae.keras")  # its class is registered, so Python can read it
    result = export_models(tmp_path / "vae.keras", dataset=dataset, path=tmp_path / "b")
    check(result.path, vae.encoder, vae.decoder, dataset.test)
    flat, encoder, decoder = flat_vae()
    flat.save(tmp_path / "flat.keras")
    np.save(tmp_path / "x.npy", dataset.train)
    words = ("--model", tmp_path / "flat.keras", "--data", tmp_path / "x.npy", "-q")
    status, _, err = call("export", tmp_path / "c", *words, "--input-shape", "8,8,1")
    assert status == 0, err
    check(tmp_path / "c", encoder, decoder, dataset.test)
    adoption = Bundle(tmp_path / "c").manifest.adoption
    assert (adoption.encoder_outputs, adoption.scale) == ("separate", "log_var")


def test_one_vae_that_is_refused(dataset, tmp_path):
    message = "is a folder, and a SavedModel is one function, not an encoder and a decoder"
    refuse(ExportError, message, tmp_path, dataset=dataset, path=tmp_path / "a")
    refuse(OptionError, "dataset or path is left out: call export_models(encoder, de", build()[0])


@pytest.fixture
def fast(monkeypatch):
    """Measure variants briefly and quantize them in one way: their speed is not under test."""
    monkeypatch.setattr(building, "METHODS", {**building.METHODS, "int8": ("dynamic",)})
    monkeypatch.setattr(measure, "ROUNDS", 1)
    monkeypatch.setattr(measure, "SECONDS_PER_ROUND", 0.0)


def test_variants_are_exported_with_the_models(tmp_path, fast):
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    dataset = Dataset.from_arrays("noise", x, test_fraction=0.5)
    plan = plan_variants(dataset, ("int8", "float16"), allow_drift=("int8", "float16"))
    np.testing.assert_array_equal(plan.calibration, dataset.train)
    np.testing.assert_array_equal(plan.held_out, dataset.test)
    result = export_models(*build(), dataset, tmp_path / "a", variants=plan)
    assert [outcome.precision for outcome in result.variants] == ["int8", "float16"]
    assert list(Bundle(result.path).manifest.variants) == ["float16", "int8"]
    exact = load(result.path).loss(dataset.test).loss
    for outcome in result.variants:
        assert outcome.variant.drift.samples == dataset.counts["test"] == 30
        vae = load(result.path, precision=outcome.precision)
        assert vae.verify().passed
        losses = vae.loss(dataset.test).loss
        assert 0 < np.abs(losses - exact).max() < 0.05 * exact.min()


def test_variants_need_enough_test_samples(dataset):
    with pytest.raises(InputError, match="4 held-out samples, expected 20 or more"):
        plan_variants(dataset, ("int8",))
    assert plan_variants(dataset, ("float32",)).precisions == ("float32",)


def test_models_in_files(files, dataset, tmp_path):
    encoder, decoder = files[-2:]
    result = export_models(files[0], str(files[1]), dataset, tmp_path / "a")
    check(result.path, encoder, decoder, dataset.test)


def test_command_line(files, dataset, tmp_path, call):
    enc, dec, data, encoder, decoder = files
    words = ("export", tmp_path / "a", "--encoder", enc, "--decoder", dec, "--data", data)
    status, out, err = call(*words, "--loss", "mse", "--kl-weight", "0.25", "--split-seed", "3")
    assert (status, err.splitlines()[0]) == (
        0,
        "x.npy: 29 train, 2 validation, 3 test samples of shape (8, 8, 1)",
    )
    assert "a: 6 samples on cpu: PASSED" in out and "test loss" not in out
    assert err.splitlines()[-1] == "exporting: verification by ONNX Runtime"
    m = Bundle(tmp_path / "a").manifest
    assert m.loss == LossSpec("mse", 0.25)
    assert (m.training, m.data.name, m.data.split_seed) == (None, "x.npy", 3)
    check(tmp_path / "a", encoder, decoder, dataset.test)
    status, _, err = call("verify", tmp_path / "a", "--against", "saved-model")
    assert status == 0, err
    status, out, _ = call("inspect", tmp_path / "a")
    assert status == 0 and "mse of values + 0.25 * kl" in out


def test_the_sigmoid_can_be_kept(files, tmp_path, call):
    enc, dec, data, encoder, decoder = files
    words = ("export", tmp_path / "a", "--encoder", enc, "--decoder", dec, "--data", data)
    status, _, err = call(*words, "--keep-sigmoid", "-q")
    assert status == 0, err
    assert Bundle(tmp_path / "a").manifest.loss.decoder == "probabilities"
    x = np.load(data)[:4] / np.float32(255)
    p = np.clip(np.float64(decoder(encoder(x)[0])), 1e-7, 1 - 1e-7)
    bce = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum((1, 2, 3))
    found = load(tmp_path / "a").loss(x).reconstruction_loss
    np.testing.assert_allclose(found, bce, rtol=1e-5)


def spread(activation=None, name=None):
    """Return an encoder whose second output is linear, or has an activation."""
    x = keras.Input((8, 8, 1))
    h = layers.Dense(6, activation="tanh")(layers.Flatten()(x))
    second = layers.Dense(2, activation, bias_initializer="ones", name=name)(h)
    return keras.Model(x, [layers.Dense(2)(h), second], name="encoder")


@pytest.mark.parametrize(
    ("scale", "activation", "sigma"),
    [
        ("log_std", None, np.exp),
        ("std", "softplus", lambda s: s),
        ("var", "softplus", np.sqrt),
    ],
)
def test_the_graphs_convert_the_stated_scale(scale, activation, sigma, files, tmp_path, call):
    encoder, data = spread(activation), files[2]
    encoder.save(tmp_path / "spread.keras")
    words = ("export", tmp_path / "a", "--encoder", tmp_path / "spread.keras", "-q")
    status, _, err = call(*words, "--decoder", files[1], "--data", data, "--scale", scale)
    assert status == 0, err
    x = np.load(data)[:9] / np.float32(255)
    mean, s = (np.float64(output) for output in encoder(x))
    kl = 0.5 * (sigma(s) ** 2 + mean**2 - 1 - 2 * np.log(sigma(s))).sum(1)
    vae = load(tmp_path / "a")
    np.testing.assert_allclose(vae.loss(x).kl_loss, kl, rtol=2e-6)
    np.testing.assert_allclose(vae.encode(x).z_log_var, 2 * np.log(sigma(s)), rtol=1e-5, atol=1e-6)


def test_unclear_scales_are_tried_on_the_data(dataset, files, tmp_path):
    named = spread(name="sigma")
    message = "gives 'sigma', by its name a standard deviation, expected a log variance: say what"
    refuse(ExportError, message, *(named, files[-1], dataset, tmp_path / "a"))
    low = Dataset.from_arrays("low", np.full((40, 8, 8, 1), -9, np.float32))
    named.layers[-1].kernel.assign(np.full((6, 2), 0.01, np.float32))
    named.layers[2].kernel.assign(np.ones((64, 6), np.float32))
    named.layers[-1].bias.assign([0, 0])  # above 0 for noise, below for this data
    options = {"loss": LossSpec("mse"), "scale": "std"}
    message = "gives 'sigma' down to -0.06, --scale std takes numbers above 0"
    refuse(ExportError, message, *(named, files[-1], low, tmp_path / "a"), **options)


def test_the_choices_of_scale_are_those_of_the_export():
    assert cli_export.SCALES == readings.SCALES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--scale", "std"), "--scale needs --encoder and --decoder, or --model: leave it out"),
        *(
            (words, "--keep-sigmoid needs --encoder, --decoder and --loss bce: leave it out")
            for words in (
                ("--keep-sigmoid",),
                ("--keep-sigmoid", "--encoder", "a.keras"),
                (
                    *("--keep-sigmoid", "--encoder", "a.keras", "--decoder", "b.keras"),
                    *("--data", "digits", "--loss", "mse"),
                ),
            )
        ),
        (
            ("--model", "a.keras", "--encoder", "b.keras"),
            "--model cannot be given with --encoder or --decoder: it holds both; leave one out",
        ),
        (
            ("--model", "a.keras"),
            "--model needs --data: give the data that the models were trained on",
        ),
        (
            ("--model", "a.keras", "--run", "c"),
            "--model cannot be given with --run: the run keeps its own options; leave one out",
        ),
        (
            ("--input-shape", "8,8,1"),
            "--input-shape needs --encoder and --decoder, or --model: leave it out",
        ),
        (("--encoder", "a.keras"), "--encoder needs --decoder: give both, or one VAE by --model"),
        (("--decoder", "a.keras"), "--decoder needs --encoder: give both, or one VAE by --model"),
        (
            ("--encoder", "a.keras", "--decoder", "b.keras"),
            "--encoder and --decoder need --data: give the data that the models were trained on",
        ),
        (
            ("--encoder", "a.keras", "--decoder", "b.keras", "--run", "c"),
            "--encoder cannot be given with --run: the run keeps its own options; leave one out",
        ),
        (
            ("--decoder", "b.keras", "--run", "c"),
            "--decoder cannot be given with --run: the run keeps its own options; leave one out",
        ),
        *(
            (
                ("--encoder", "a.keras", "--decoder", "b.keras", "--data", "digits", *option),
                f"{option[0]} cannot be given with --encoder and --decoder: the models were "
                "trained already; leave one out",
            )
            for option in (
                ("--preset", "dense"),
                ("--hidden", "4"),
                ("--latent-dim", "20"),
                ("--epochs", "30"),
                ("--batch-size", "64"),
                ("--learning-rate", "0.002"),
                ("--seed", "0"),
            )
        ),
    ],
)
def test_options_that_do_not_go_together(words, message, tmp_path, call):
    status, out, err = call("export", tmp_path / "a", *words)
    assert (status, out, err) == (3, "", f"Error: {message}\n")
    assert not [*tmp_path.iterdir()]


def refuse(error, message, *arguments, **options):
    with pytest.raises(error) as caught:
        export_models(*arguments, **options)
    assert message in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_that_does_not_fit_the_models_is_refused(dataset, tmp_path):
    flat = build((64,))
    refuse(
        InputError,
        "the models take samples of shape (60,), the data has (8, 8, 1): give the data the models'",
        *(*build((60,)), dataset, tmp_path / "a"),
    )
    x = np.linspace(-1, 1, 40 * 64, dtype=np.float32).reshape(40, 64)
    wide = Dataset.from_arrays("wide", x)
    refuse(InputError, "has values from -1", *(*flat, wide, tmp_path / "a"))
    export_models(*flat, wide, tmp_path / "a", loss=LossSpec("mse"))


def test_invalid_losses_are_refused(dataset, tmp_path, files, call):
    refuse(
        OptionError,
        "decoder is 'values', the bce loss takes logits or probabilities",
        *(*build(), dataset, tmp_path / "a"),
        loss=LossSpec("bce", decoder="values"),
    )
    words = ("--encoder", files[0], "--decoder", files[1], "--data", files[2], "--kl-weight", "nan")
    status, _, err = call("export", tmp_path / "a", *words, "-q")
    assert (status, err) == (3, "Error: kl_weight is nan, expected 0 or more\n")


def test_lambda_in_a_file_is_named_but_not_run(dataset, tmp_path):
    doubling = layers.Lambda(lambda t: 2 * t, output_shape=(8, 8, 1), name="doubling")
    encoder, decoder = build(first=doubling)
    encoder.save(tmp_path / "enc.keras")
    refuse(
        ExportError,
        "enc.keras cannot be read: layer 'doubling' is a Lambda, whose code would have to be run: "
        "write it as a Layer class with @keras.saving.register_keras_serializable, or pass the "
        "model object",
        *(tmp_path / "enc.keras", decoder, dataset, tmp_path / "a"),
    )
    result = export_models(encoder, decoder, dataset, tmp_path / "a")
    check(result.path, encoder, decoder, dataset.test)


def test_unregistered_class_in_a_file_is_named(dataset, tmp_path):
    encoder, decoder = build(first=Unregistered())
    encoder.save(tmp_path / "enc.keras")
    refuse(
        ExportError,
        "enc.keras cannot be read: the class 'Unregistered' in it is not known here: decorate it "
        "with @keras.saving.register_keras_serializable() and pass the model object",
        *(tmp_path / "enc.keras", decoder, dataset, tmp_path / "a"),
    )
    assert export_models(encoder, decoder, dataset, tmp_path / "a").report.passed


def test_files_without_a_model_are_refused(dataset, tmp_path):
    encoder, decoder = build()
    encoder.save(tmp_path / "enc.keras")
    (tmp_path / "cut.keras").write_bytes((tmp_path / "enc.keras").read_bytes()[:500])
    encoder.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "junk.keras").write_text("none")
    for name, message in {
        "none.keras": "none.keras is not a file, expected a model (.keras, .h5, or the folder of a",
        "cut.keras": "cut.keras cannot be read: ",
        "junk.keras": "junk.keras cannot be read: ",
        "model.weights.h5": "model.weights.h5 holds weights only, expected a whole model: build",
        ".": "is not a file, expected a model",
    }.items():
        refuse(ExportError, message, tmp_path / name, decoder, dataset, tmp_path / "a")
        refuse(ExportError, message, encoder, tmp_path / name, dataset, tmp_path / "a")
    with pytest.raises(ExportError, match="is not a file"):
        load_model(tmp_path / "none.keras")
    assert not (tmp_path / "a").exists()
