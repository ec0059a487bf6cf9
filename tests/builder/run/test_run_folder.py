"""What a run folder may hold, what `force` deletes, and errors for damage and for other folders."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from small_runs import CONFIG, StopError, X, weights
from vae_builder import Source, load_run, resume_run, train_run
from vae_builder.data import Dataset
from vae_builder.run import runs
from vae_runtime.errors import ExportError, InputError
from vae_runtime.files.atomic_files import writer_tag


def test_a_run_is_overwritten_only_with_force(data, tmp_path):
    train_run(tmp_path / "run", Source(str(data)), CONFIG)
    before = weights(load_run(tmp_path / "run"))
    with pytest.raises(ExportError, match=r"exists: give --resume .*--force"):
        train_run(tmp_path / "run", Source(str(data)), replace(CONFIG, seed=9))
    assert weights(load_run(tmp_path / "run")) == before
    train_run(tmp_path / "run", Source(str(data)), replace(CONFIG, seed=9), force=True)
    assert weights(load_run(tmp_path / "run")) != before


FOREIGN_FILES = {
    "notes.txt": "notes.txt",
    ".x.npy.a-1.writing": ".x.npy.a-1.writing",
    "my-vae/manifest.json": "my-vae",
    "tensorboard/mine.csv": "tensorboard/mine.csv",
}


@pytest.mark.parametrize(("name", "named"), FOREIGN_FILES.items())
def test_force_refuses_files_that_belong_to_no_run(finished, tmp_path, name, named):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text("mine")
    before = {path: path.is_file() and path.read_bytes() for path in run.rglob("*")}
    other = re.escape(str(run / named))
    with pytest.raises(ExportError, match=f"^{other} is not part of the run .*: move it"):
        train_run(run, Dataset.from_arrays("x", X), CONFIG, force=True)
    assert {path: path.is_file() and path.read_bytes() for path in run.rglob("*")} == before


def test_force_removes_all_files_of_a_run(finished, tmp_path, monkeypatch):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "checkpoint.npz").touch()
    for name in ("checkpoint.npz", "encoder.keras"):
        (run / f".{name}.{dead_owner()}.writing{Path(name).suffix}").touch()

    def stop(*args):
        assert not [*run.iterdir()]
        raise StopError

    monkeypatch.setattr(runs, "write_json", stop)
    with pytest.raises(StopError):
        train_run(run, Dataset.from_arrays("x", X), CONFIG, force=True)


def test_folders_that_hold_no_run_are_refused(data, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    for path in (tmp_path / "mine", data):
        with pytest.raises(ExportError, match="choose another name"):
            train_run(path, Source(str(data)), CONFIG, force=True)
    for function in (load_run, resume_run):
        with pytest.raises(InputError, match=r"is not a run folder \(no run.json\)"):
            function(tmp_path / "mine")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    train_run(path, Dataset.from_arrays("x", X), CONFIG)
    return path


@pytest.mark.parametrize("name", ["result.json", "history.csv", "encoder.keras", "held_out.npz"])
def test_a_damaged_result_is_named(finished, tmp_path, name):
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / name).write_bytes(b"{}")
    with pytest.raises(InputError, match=r"run cannot be read as a run: .*: train it again$"):
        load_run(tmp_path / "run")


def dead_owner():
    """Return the owner part of a temporary name, of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{writer_tag().partition('-')[0]}-{process.pid}"


def test_files_left_by_a_killed_run_are_removed(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    before = {path.name for path in run.iterdir()}
    dead = dead_owner()
    for name in ("checkpoint.npz", f".checkpoint.npz.{dead}.writing"):
        (run / name).touch()
    (run / f".encoder.keras.{dead}.writing.keras").touch()
    resume_run(run)
    assert {path.name for path in run.iterdir()} == before


def test_run_record_holds_the_source_of_the_data(data, tmp_path):
    train_run(tmp_path / "run", Source(str(data), split_seed=4, test_fraction=0.2), CONFIG)
    record = json.loads((tmp_path / "run" / "run.json").read_bytes())
    assert record["source"]["source"] == str(data)
    assert (record["source"]["split_seed"], record["source"]["test_fraction"]) == (4, 0.2)
    assert set(record["versions"]) == {"tensorflow", "keras", "numpy", "build-vae"}
