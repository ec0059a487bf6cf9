"""Conditional VAEs: own models, training, commands."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import float64_losses as f64
from keras_models import Sampling
from vae_builder import Dataset, LossSpec, TrainConfig, export_models, export_trained, train
from vae_export import adopt
from vae_export.variants import measure
from vae_runtime import Bundle, evaluate, load
from vae_runtime.data.samples.conditions import Conditions, ConditionSpec
from vae_runtime.errors import ExportError, InputError

pytestmark = pytest.mark.usefixtures("same_weights_every_time")

SHAPE = (6,)
LABELS = ("cat", "dog", "owl")
SPEC = ConditionSpec((3,), LABELS)


def encoder(condition, *, first=True, sampled=False):
    """Return an encoder of x and a condition; `condition` is an Input, None leaves it out."""
    x = keras.Input(SHAPE, name="pixels")
    h = x
    if condition is not None:
        h = layers.Concatenate()([x, layers.Flatten()(embedded(condition))])
    h = layers.Dense(8, "tanh")(h)
    mean, log_var = layers.Dense(2, name="mean")(h), layers.Dense(2, name="log_var")(h)
    outputs = [mean, log_var, Sampling()([mean, log_var])] if sampled else [mean, log_var]
    inputs = x if condition is None else [x, condition] if first else [condition, x]
    return keras.Model(inputs, outputs)


def decoder(condition, *, first=True):
    z = keras.Input((2,))
    h = z
    if condition is not None:
        h = layers.Concatenate()([z, layers.Flatten()(embedded(condition))])
    h = layers.Dense(6, "sigmoid")(layers.Dense(8, "tanh")(h))
    return keras.Model(z if condition is None else [z, condition] if first else [condition, z], h)


def embedded(condition):
    return layers.Embedding(5, 3)(condition) if condition.dtype == "int32" else condition


def one_hot(name=None):
    return keras.Input((3,), name=name)


def index(shape=(1,)):
    return keras.Input(shape, dtype="int32", name="label")


CASES = {
    "x first": lambda: (encoder(one_hot()), decoder(one_hot()), False),
    "condition first": lambda: (
        encoder(one_hot("y"), first=False),
        decoder(one_hot("y"), first=False),
        True,
    ),
    "sampled": lambda: (encoder(one_hot(), sampled=True), decoder(one_hot()), False),
    "decoder alone": lambda: (encoder(None), decoder(one_hot()), False),
    "encoder alone": lambda: (encoder(one_hot()), decoder(None), False),
}


def call(model, first, c, swapped=False):
    if len(model.inputs) == 1:
        return model(first)
    return model([c, first] if swapped else [first, c])


def data(n=40):
    rng = np.random.default_rng(0)
    return rng.random((n, 6), dtype=np.float32), rng.integers(0, 3, n)


@pytest.mark.parametrize("case", CASES)
def test_models_are_adopted(case):
    enc, dec, swapped = CASES[case]()
    x, y = data(9)
    c = np.eye(3, dtype=np.float32)[y]
    found = adopt(enc, dec, None, SHAPE, conditions=Conditions(SPEC, c), samples=x)
    code, expected = found.encoder([x, c]), call(enc, x, c, swapped)
    np.testing.assert_allclose(code["z_mean"], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(code["z_log_var"], expected[1], rtol=1e-5, atol=1e-6)
    z = np.asarray(code["z_mean"])
    logits = np.asarray(found.decoder([z, c]))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), call(dec, z, c, swapped), rtol=1e-5)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_models_that_take_a_label_as_a_number(shape):
    """Labels 1, 2 and 4 are embedded: the graph computes the number from the one-hot vector."""
    x, y = data(9)
    numbers = np.array([1, 2, 4])[y].reshape(9, *shape)
    spec, c = ConditionSpec((3,), ("1", "2", "4")), np.eye(3, dtype=np.float32)[y]
    enc, dec = encoder(index(shape)), decoder(index(shape))
    found = adopt(enc, dec, None, SHAPE, conditions=Conditions(spec, c))
    np.testing.assert_allclose(found.encoder([x, c])["z_mean"], enc([x, numbers])[0], rtol=1e-5)
    with pytest.raises(
        ExportError, match=r"dtype int32, the data's conditions are one of the 3 labels"
    ):
        adopt(enc, dec, None, SHAPE, conditions=Conditions(SPEC, c))


class Subclassed(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.hidden, self.heads = layers.Dense(8, "tanh"), [layers.Dense(n) for n in units]

    def call(self, x, condition):
        h = self.hidden(keras.ops.concatenate([x, condition], axis=-1))
        outputs = [head(h) for head in self.heads]
        return outputs if len(outputs) > 1 else outputs[0]


def test_subclassed_models_of_two_arguments():
    x, y = data(9)
    c = np.eye(3, dtype=np.float32)[y]
    enc, dec = Subclassed((2, 2)), Subclassed((6,))
    z = np.asarray(enc(x, c)[0])
    output = dec(z, c)
    found = adopt(enc, dec, None, SHAPE, conditions=Conditions(SPEC, c))
    np.testing.assert_allclose(found.encoder([x, c])["z_mean"], z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.decoder([z, c]), output, rtol=1e-5, atol=1e-6)


def test_a_condition_without_data_is_refused():
    with pytest.raises(ExportError, match=r"has 2 inputs .* give the conditions with the data"):
        adopt(encoder(one_hot()), decoder(one_hot()), None, SHAPE)


@pytest.fixture(scope="module")
def exported_own(tmp_path_factory):
    keras.utils.set_random_seed(1)
    models = encoder(one_hot()), decoder(one_hot())
    x, y = data(200)
    path = tmp_path_factory.mktemp("conditional") / "a"
    labels = np.array(LABELS)[y]
    dataset = Dataset.from_arrays("x", x, condition=labels, test_fraction=0.3)
    assert export_models(*models, dataset, path, loss=LossSpec("bce", 0.5)).report.passed
    return path, models, x, labels


def expected_losses(models, x, c, eps):
    z_mean, z_log_var = models[0]([x, c])
    decoded = models[1]([f64.sampled(z_mean, z_log_var, eps), c])
    return f64.cross_entropy(x, decoded), f64.kl(z_mean, z_log_var)


def test_own_models(exported_own):
    path, models, x, labels = exported_own
    vae = load(path)
    m = vae.manifest
    assert m.condition == SPEC
    assert [t.name for t in m.graphs.loss.inputs] == ["x", "eps", "condition"]
    assert [t.name for t in m.graphs.decoder.inputs] == ["z", "condition"]
    eps = np.random.default_rng(1).standard_normal((200, 2)).astype(np.float32)
    c = np.eye(3, dtype=np.float32)[[LABELS.index(label) for label in labels]]
    reconstruction, kl = expected_losses(models, x, c, eps)
    losses = vae.loss(x, eps, condition=labels)
    np.testing.assert_allclose(losses.reconstruction_loss, reconstruction, rtol=2e-6)
    np.testing.assert_allclose(losses.kl_loss, kl, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(losses.loss, reconstruction + 0.5 * kl, rtol=2e-6)
    np.testing.assert_array_equal(losses.loss, vae.loss(x, eps, condition=c).loss)
    owls = expected_losses(models, x, np.eye(3, dtype=np.float32)[[2] * 200], eps)
    found = vae.loss(x, eps, condition="owl")
    np.testing.assert_allclose(found.reconstruction_loss, owls[0], rtol=2e-6)
    assert not np.allclose(found.loss, losses.loss, rtol=1e-3)
    z = np.asarray(models[0]([x, c])[0])
    np.testing.assert_allclose(vae.reconstruct(x, condition=c), models[1]([z, c]), rtol=1e-4)
    drawn = np.random.default_rng(5).standard_normal((3, 2)).astype(np.float32)
    samples = vae.sample(3, seed=5, condition=LABELS)
    np.testing.assert_allclose(samples, models[1]([drawn, np.eye(3)]), rtol=1e-4)
    assert vae.interpolate(x[0], x[1], 4, condition="dog").shape == (4, 6)
    split = vae.with_batch_size(7).loss(x, eps, condition=labels).loss  # chunks keep their rows
    np.testing.assert_allclose(split, losses.loss, rtol=1e-6)
    mean = evaluate(vae, x, condition=labels, draws=2).at_mean
    assert mean.loss == pytest.approx(vae.loss(x, condition=labels).loss.mean(), rel=1e-6)


@pytest.mark.parametrize("use", ["encode", "reconstruct", "loss", "decode", "sample", "evaluate"])
def test_a_missing_condition_is_an_error_with_the_remedy(use, exported_own):
    vae, x = load(exported_own[0]), exported_own[2]
    calls = {
        "decode": lambda: vae.decode(x[:, :2]),
        "sample": lambda: vae.sample(3),
        "evaluate": lambda: evaluate(vae, x),
    }
    with pytest.raises(InputError, match=r"condition is missing, .* 'dog', 'owl': give condition="):
        calls.get(use, lambda: getattr(vae, use)(x))()


def test_commands(exported_own, tmp_path, call, monkeypatch):
    path, _, x, labels = exported_own
    vae = load(path)
    losses, scores = vae.loss(x, condition=labels), vae.score(x, condition=labels)
    expected = {"loss": losses.loss, "score": scores.score, "p_value": scores.p_value}
    np.savez(tmp_path / "x.npz", X=x, y=labels)
    np.save(tmp_path / "y.npy", labels)
    (tmp_path / "y.txt").write_text("\n".join(labels))
    source, out = tmp_path / "x.npz", tmp_path / "s.csv"
    for condition in ("labels", tmp_path / "y.npy", tmp_path / "y.txt"):
        status, _, err = call("score", path, source, "--condition", condition, "-o", out)
        assert status == 0, err
        found = np.genfromtxt(out, delimiter=",", names=True)
        for column, values in expected.items():
            np.testing.assert_allclose(found[column], values, rtol=1e-5)
    monkeypatch.setattr(measure, "ROUNDS", 1)
    monkeypatch.setattr(measure, "SECONDS_PER_ROUND", 0.0)
    allow = ("--allow-drift", "float16,int8", "-q")
    for words in (
        ("evaluate", path, source, "--condition", "labels", "-k", "2"),
        ("reconstruct", path, source, "--condition", "owl", "-o", tmp_path / "r.npy"),
        ("sample", path, "-n", "2", "--condition", "dog", "-o", tmp_path / "s.npy"),
        ("edge", path, "-o", tmp_path / "edge"),
        ("verify", path, "--against", "saved-model"),
        ("quantize", path, "--data", source, *allow),
        ("pack", path, "-o", tmp_path / "a.vae"),
        ("verify", tmp_path / "a.vae"),
        ("bench", path, "--no-tensorflow", "--seconds", "0.05", "--batch", "4", "-q"),
    ):
        status, out, err = call(*words)
        assert status == 0, err
    assert list(Bundle(path).manifest.variants) == ["float16", "int8"]
    status, out, _ = call("inspect", path)
    assert "condition   one of the 3 labels 'cat', 'dog', 'owl'" in out
    status, _, err = call("score", path, source)
    assert status == 3 and "--condition on the command line" in err
    status, _, err = call("score", path, source, "--condition", "cow")
    assert status == 3 and "--condition is 'cow', which is no file and no condition" in err
    card = (path / "README.md").read_text("utf-8")
    assert "vae.loss(x, condition=c)" in card and "The model is conditional" in card


def test_numbers_as_a_condition(tmp_path):
    """Two numbers for each sample, in any shape."""
    x, _ = data()
    c = np.random.default_rng(2).standard_normal((40, 1, 2)).astype(np.float32)
    condition = keras.Input((1, 2))
    models = encoder(condition), decoder(keras.Input((1, 2)))
    dataset = Dataset.from_arrays("x", x, condition=c)
    np.testing.assert_array_equal(dataset.conditions["train"].spec.shape, (1, 2))
    export_models(*models, dataset, tmp_path / "a")
    vae = load(tmp_path / "a")
    reconstruction, kl = expected_losses(models, x, c, np.zeros((40, 2)))
    np.testing.assert_allclose(vae.loss(x, condition=c).loss, reconstruction + kl, rtol=2e-6)
    np.testing.assert_allclose(
        vae.loss(x, condition=c[3]).loss[3], vae.loss(x, condition=c).loss[3], rtol=1e-6
    )
    m = json.loads((tmp_path / "a" / "manifest.json").read_text("utf-8"))
    assert m["condition"] == {"shape": [1, 2], "categories": None}


@pytest.mark.parametrize("preset", [pytest.param("dense", marks=pytest.mark.slow), "conv"])
def test_training(preset, tmp_path):
    """Samples are their label and a little noise: a condition leaves the latents nothing to say."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    x = np.clip(0.8 * (y == np.arange(3)[:, None]).T + 0.1, 0, 1)[:, :, None].astype(np.float32)
    x = np.repeat(x, 4, axis=1) + 0.02 * rng.standard_normal((300, 12, 1)).astype(np.float32)
    dataset = Dataset.from_arrays("x", x, condition=y, layout="series")
    config = TrainConfig(preset, (8,), 2, LossSpec("mse"), epochs=200, learning_rate=5e-3)
    trained = train(dataset, config)
    assert trained.explained.left < 0.05 and trained.test.kl_loss < 0.5
    path = export_trained(trained, tmp_path / "a").path
    vae = load(path)
    for label in (0, 1, 2):
        pattern = np.repeat(np.where(np.arange(3) == label, 0.9, 0.1), 4)
        drawn = vae.sample(20, condition=label)[..., 0]
        assert np.abs(drawn.mean(axis=0) - pattern).max() < 0.15
    losses = vae.loss(x, condition=y)
    wrong = vae.loss(x, condition=(y + 1) % 3)
    assert losses.loss.mean() < 0.2 < wrong.loss.mean()
    again = vae.loss(x, condition=y.astype(str)).loss
    np.testing.assert_array_equal(losses.loss, again)


def test_a_run_is_resumed_with_its_conditions(tmp_path, call):
    x, y = data(60)
    np.savez(tmp_path / "x.npz", X=x, y=y)
    options = ("--hidden", "4", "--latent-dim", "2", "--epochs", "2", "-q")
    words = ("train", tmp_path / "run", "--data", tmp_path / "x.npz", "--condition", "labels")
    status, _, err = call(*words, *options)
    assert status == 0, err
    status, _, err = call("export", tmp_path / "a", "--run", tmp_path / "run", "-q")
    assert status == 0, err
    assert Bundle(tmp_path / "a").manifest.condition == ConditionSpec((3,), ("0", "1", "2"))
    status, _, err = call("export", tmp_path / "b", "--data", "digits", "--condition", "cat")
    assert status == 2


def test_keras_fit():
    x, y = data(60)
    dataset = Dataset.from_arrays("x", x, condition=y)
    from vae_builder import VAE, build_models

    vae = VAE(*build_models("dense", SHAPE, 2, (8,), condition_shape=(3,)))
    vae.compile(optimizer="adam")
    c = dataset.conditions["train"].values
    history = vae.fit(
        [np.asarray(dataset.train), c], np.asarray(dataset.train), epochs=2, verbose=0
    )
    assert history.history["loss"][1] < history.history["loss"][0]
    assert vae([np.asarray(dataset.train)[:3], c[:3]]).shape == (3, 6)
