"""Export of a trained model: the manifest, the model card and the proof."""

from dataclasses import asdict

import numpy as np
import pytest

from vae_builder import VAE, LossSpec, TrainConfig, build_models, export_trained, train
from vae_builder.data import Dataset
from vae_runtime import InputError, InputWarning, evaluate, load
from vae_runtime.errors import OptionError
from vae_runtime.proof.reference import read_reference


@pytest.fixture(scope="module")
def checkpoints():
    return []


@pytest.fixture(scope="module")
def trained(checkpoints):
    x = np.random.default_rng(0).integers(0, 256, (40, 6, 5, 1)).astype(np.uint8)
    config = TrainConfig(
        "dense",
        (7, 5),
        3,
        LossSpec("bce", 0.25),
        epochs=2,
        batch_size=9,
        learning_rate=3e-3,
        ema_momentum=0.7,
        seed=11,
    )
    data = Dataset.from_arrays("noise", x, split_seed=2)
    return train(data, config, on_checkpoint=checkpoints.append)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    steps = []
    path = tmp_path_factory.mktemp("built") / "noise-vae"
    return export_trained(trained, path, on_step=steps.append), steps


def test_manifest_describes_the_training(trained, exported):
    manifest = exported[0].manifest
    assert asdict(manifest.training) == {
        "options": {
            "preset": "dense",
            "hidden": (7, 5),
            "latent_dim": 3,
            "epochs": 2,
            "batch_size": 9,
            "learning_rate": 3e-3,
            "schedule": "cosine",
            "seed": 11,
            "kl_warmup": 0.0,
            "input_dropout": 0.0,
            "free_bits": 0.0,
            "clip_norm": None,
            "ema_momentum": 0.7,
            "patience": None,
            "variance": None,
            "standardize": False,
        },
        # 30-7-5-(3, 3) and 3-5-7-30
        "parameters": (31 * 7 + 8 * 5 + 6 * 3 * 2) + (4 * 5 + 6 * 7 + 8 * 30),
        "seconds": round(trained.seconds, 2),
        "validation": asdict(trained.validation),
        "test": asdict(trained.test),
        "latents": asdict(trained.latents),
    }
    assert manifest.data == trained.data
    assert (manifest.data.train, manifest.data.split_seed) == (34, 2)
    assert manifest.loss == LossSpec("bce", 0.25)
    assert (manifest.input.shape, manifest.latent_dim) == ((6, 5, 1), 3)
    assert manifest.name == "noise-vae"


def test_bundle_computes_the_loss_of_the_trained_model(trained, exported):
    assert exported[0].report.passed
    vae = load(exported[0].path)
    x = trained.held_out
    eps = np.random.default_rng(0).standard_normal((len(x), 3)).astype(np.float32)
    expected = trained.vae.losses_of(x.astype(np.float32) / 255, eps)
    np.testing.assert_allclose(vae.loss(x, eps).loss, expected.loss, rtol=1e-5)


def test_bundle_has_the_averaged_weights(trained, exported, checkpoints):
    vae = VAE(*build_models("dense", (6, 5, 1), 3, (7, 5)), LossSpec("bce", 0.25))
    x = trained.held_out.astype(np.float32) / 255
    eps = np.random.default_rng(0).standard_normal((len(x), 3)).astype(np.float32)
    exports = load(exported[0].path).loss(x, eps).loss
    for kind, same in (("average", True), ("weights", False)):
        vae.set_weights(getattr(checkpoints[-1], kind))
        losses = vae.losses_of(x, eps).loss
        assert np.allclose(exports, losses, rtol=1e-5) == same


def test_proof_contains_the_held_out_samples(trained, exported):
    reference = read_reference(load(exported[0].path).bundle)
    np.testing.assert_array_equal(reference["x"][:-3], trained.held_out.astype(np.float32) / 255)


def test_card_describes_the_training_and_shows_its_curve(trained, exported):
    card = (exported[0].path / "README.md").read_text()
    assert "on 34 samples of `noise`" in card
    assert f"| {trained.test.loss:.2f} |" in card
    assert "clip_norm" not in card and "ema_momentum `0.7`" in card
    assert (exported[0].path / "figures" / "training.png").is_file()


def test_steps_are_reported(exported):
    assert exported[1] == [
        "no anomaly score: 4 normal held-out samples, expected 8 or more",
        "SavedModels",
        "ONNX graphs",
        "reference values by TensorFlow",
        "model card",
        "verification by ONNX Runtime",
    ]


def test_name_opset_and_force_are_passed_on(trained, tmp_path):
    with pytest.raises(OptionError, match="opset is 16, expected one of 17, 18"):
        export_trained(trained, tmp_path / "a", opset=16)
    with pytest.raises(OptionError, match="name is 'a/b', expected 1 to 200 characters"):
        export_trained(trained, tmp_path / "a", name="a/b")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "manifest.json").write_text("old")
    result = export_trained(trained, tmp_path / "a", name="my model", opset=17, force=True)
    assert (result.manifest.name, result.manifest.graphs.loss.opset) == ("my model", 17)


def small_export(dataset, path, loss, **choices):
    config = TrainConfig("dense", (5,), 2, loss, epochs=1, batch_size=9, **choices)
    trained = train(dataset, config)
    export_trained(trained, path)

    def keras_losses(x):
        x = np.asarray(x, np.float32)
        parts = trained.vae.losses_of(x, np.zeros((len(x), 2), np.float32))
        return np.stack([part.numpy() for part in parts])

    return load(path, threads=1), keras_losses


@pytest.mark.parametrize("loss", [LossSpec("bce"), LossSpec("mse")], ids=["bce", "mse"])
def test_uint8_of_0_and_1_means_the_same_on_the_device(loss, tmp_path):
    bits = np.random.default_rng(4).integers(0, 2, (60, 4, 3), dtype=np.uint8)
    with pytest.warns(InputWarning, match="this is 0/1 data"):
        dataset = Dataset.from_arrays("masks", bits)
    vae, keras_losses = small_export(dataset, tmp_path / "masks", loss)
    expected = keras_losses(bits[..., None])
    for x in (bits, bits.astype(bool), bits.astype(np.int64), bits.astype(np.float32)):
        np.testing.assert_allclose([*vae.loss(x)], expected, rtol=1e-5, atol=1e-5)
    zeros = 0 * bits[:2]
    np.testing.assert_allclose([*vae.loss(zeros)], keras_losses(zeros[..., None]), rtol=1e-5)
    with pytest.raises(InputError, match="sample 0 has uint8 values up to 255"):
        vae.loss(255 * bits)
    assert "uint8 0 and 1, as in training, stand for" in (tmp_path / "masks/README.md").read_text()


def test_a_frame_is_scored_by_the_names_of_its_columns(tmp_path):
    import pyarrow as pa

    x = np.random.default_rng(5).normal((0, 10, 200), (1, 5, 20), (60, 3)).astype(np.float32)
    frame = pa.table({name: x[:, i] for i, name in enumerate("abc")})
    dataset = Dataset.from_arrays("t", frame)
    vae, keras_losses = small_export(dataset, tmp_path / "t", LossSpec("mse"), standardize=True)
    other = frame.select(["c", "a", "b"]).append_column("label", pa.array(["x"] * 60))
    np.testing.assert_allclose([*vae.loss(other)], keras_losses(x), rtol=1e-5, atol=1e-5)
    for compute in (vae.reconstruct, lambda x: vae.encode(x).z_mean):
        np.testing.assert_array_equal(compute(other), compute(x))
    assert evaluate(vae, other, draws=1) == evaluate(vae, x, draws=1)
    with pytest.raises(InputError, match="x has no column 'b'"):
        vae.loss(other.drop_columns("b"))
    with pytest.raises(InputError, match="numbers of a table"):
        vae.loss(x.astype(np.uint8))
    ids = frame.set_column(0, "a", pa.array(10**15 + np.arange(60)))
    with pytest.warns(InputWarning, match="^x: column 'a' holds integers beyond"):
        vae.encode(ids)
