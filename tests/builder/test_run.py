"""The run folder: what was trained comes back exactly, and damage is named."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from vae_builder import VAE, LossSpec, TrainConfig, build_models, load_run, save_run, train
from vae_builder.data import Dataset
from vae_runtime.errors import ExportError, InputError

CONFIG = TrainConfig(hidden=(4,), latent_dim=2, epochs=2, batch_size=8, seed=3)


@pytest.fixture(scope="module")
def trained():
    x = np.random.default_rng(0).integers(0, 256, (30, 5, 4, 1)).astype(np.uint8)
    return train(Dataset.from_arrays("noise", x), CONFIG)


@pytest.fixture
def run(trained, tmp_path):
    return save_run(trained, tmp_path / "run")


def test_round_trip_is_exact(trained, run):
    loaded = load_run(run)
    fields = ("config", "data", "history", "validation", "test", "seconds")
    assert {name: getattr(loaded, name) for name in fields} == {
        name: getattr(trained, name) for name in fields
    }
    assert loaded.held_out.dtype == trained.held_out.dtype
    np.testing.assert_array_equal(loaded.held_out, trained.held_out)
    for part in ("encoder", "decoder"):
        one, other = (getattr(t.vae, part).get_weights() for t in (trained, loaded))
        assert len(one) == len(other) > 0
        assert all(map(np.array_equal, one, other))
    assert (loaded.vae.spec, loaded.vae.seed) == (trained.vae.spec, 3)
    x = np.random.default_rng(1).random((3, 5, 4, 1), dtype=np.float32)
    np.testing.assert_array_equal(loaded.vae(x), trained.vae(x))


def test_round_trip_of_another_kind(trained, tmp_path):
    x = np.random.default_rng(0).random((12, 5, 7, 3), dtype=np.float32)
    loss = LossSpec("mse", 0.5)
    config = TrainConfig(preset="conv", hidden=(3, 2), latent_dim=1, loss=loss, epochs=1)
    vae = VAE(*build_models("conv", (5, 7, 3), 1, (3, 2), seed=1), loss)
    other = replace(trained, vae=vae, config=config, held_out=x)
    loaded = load_run(save_run(other, tmp_path / "run"))
    assert (loaded.config, loaded.vae.spec, loaded.held_out.dtype) == (config, loss, np.float32)
    np.testing.assert_array_equal(loaded.vae(x), vae(x))


def test_files_and_what_people_read_in_them(trained, run):
    assert {path.name for path in run.iterdir()} == {
        "run.json",
        "history.csv",
        "encoder.keras",
        "decoder.keras",
        "held_out.npz",
    }
    record = json.loads((run / "run.json").read_text())
    assert (record["format"], record["format_version"]) == ("build-vae-run", 1)
    assert record["config"]["seed"] == 3
    with (run / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["validation_kl_loss"]) == trained.history[1].validation.kl_loss
    assert float(rows[0]["train_loss"]) == trained.history[0].train.loss


@pytest.mark.parametrize("made", [False, True])
def test_folder_without_a_run(made, tmp_path):
    path = tmp_path / "nothing"
    if made:
        path.mkdir()
    with pytest.raises(InputError) as caught:
        load_run(path)
    assert str(caught.value) == (
        f"{path} is not a run folder (no run.json): make one with build-vae train nothing"
    )


@pytest.mark.parametrize("file", ["history.csv", "encoder.keras", "decoder.keras", "held_out.npz"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_file_that_is_missing_or_damaged(file, damage, run):
    path = run / file
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20])
    if (file, damage) == ("history.csv", "cut"):  # the last numbers are cut: a row too short
        path.write_bytes(path.read_bytes().rsplit(b",", 3)[0])
    with pytest.raises(InputError, match=r"^.*run cannot be read as a run: .*: train it again$"):
        load_run(run)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"seed": 3', '"seed": -3', "seed is -3"),
        ('"format_version": 1', '"format_version": 2', "format_version: expected 1, found 2"),
        ('"epochs": 2,', "", "config: key 'epochs' is missing"),
        ('"epochs": 2,', '"epochs": 2, "epochs": 2,', "has the key 'epochs' twice"),
        ('"epochs": 2,', '"epochs": "two",', "config.epochs: expected an integer"),
        ("{", "", "is not JSON"),
    ],
)
def test_damaged_json(old, new, message, run):
    path = run / "run.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_run(run)
    assert f"run cannot be read as a run: {message}" in str(caught.value)


def test_pickled_objects_are_never_loaded(run):
    np.savez(run / "held_out.npz", x=np.array([{}], object))
    with pytest.raises(InputError, match=r"cannot be read as a run: .*allow_pickle"):
        load_run(run)


def test_existing_run_is_replaced_with_force_only(trained, run):
    before = (run / "run.json").read_bytes()
    other = replace(trained, seconds=99.0)
    with pytest.raises(ExportError, match="exists: give --force to replace it, or another name"):
        save_run(other, run)
    assert (run / "run.json").read_bytes() == before
    save_run(other, run, force=True)
    assert load_run(run).seconds == 99.0
    assert [path.name for path in run.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("force", [False, True])
def test_folder_that_is_no_run_is_never_replaced(force, trained, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ExportError, match=r"exists and has no run\.json: choose another name"):
        save_run(trained, tmp_path, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_failure_leaves_nothing(trained, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez_compressed", fail)
    with pytest.raises(ExportError, match="No space left on device: free some space and export"):
        save_run(trained, tmp_path / "run")
    assert not [*tmp_path.iterdir()]
