"""`build-vae search`, and the export of what it has found."""

import csv
import json
import sys

import numpy as np
import pytest

from messages import one_line
from vae_runtime import Bundle

FAST = ("--preset", "dense", "--hidden", "4", "--latent-dim", "2", "--epochs", "2")
GIVEN = (*FAST, "--loss", "mse", "--kl-warmup", "0", "--input-dropout", "0")


def write_table(path, rng, *, faults=False):
    """Write 160 rows of three columns that depend on each other; faults break the dependence."""
    a = rng.random((160, 1))
    x = np.concatenate([a, 1 - a, a], axis=1) + 0.01 * rng.standard_normal((160, 3))
    states = np.array(["ok"] * 160)
    if faults:
        x[80:] = rng.random((80, 3))
        states[80:] = "worn"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", *(["state"] if faults else [])])
        writer.writerows([*row, *([s] if faults else [])] for row, s in zip(x, states, strict=True))
    return path


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "sensors.csv", np.random.default_rng(0))


def test_the_best_trial_is_exported_and_named_in_the_manifest(call, table, tmp_path):
    runs = tmp_path / "runs"
    code, out, err = call("search", runs, "--data", table, *GIVEN, "--trials", 2)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].split() == ["trial", "loss", "learning_rate", "seconds"]
    assert lines[-2] == "2 finished"
    assert lines[-1].endswith(f"next: build-vae export NAME --search {runs}")
    assert "trial 0: loss " in err and "trial 1: loss " in err
    rows = list(csv.DictReader((runs / "trials.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["finished"] * 2
    assert (runs / "history.png").read_bytes().startswith(b"\x89PNG")
    best = min(rows, key=lambda row: float(row["loss"]))
    code, out, err = call("export", tmp_path / "vae", "--search", runs, "-q")
    assert code == 0, err
    training = Bundle(tmp_path / "vae").manifest.training
    value = float(best["loss"])
    expected = f"trial {best['trial']} of 2, lowest validation loss {value:.4f}"
    assert training.options["search"] == expected
    assert training.validation.loss == pytest.approx(value)
    # The same command again has nothing left to do.
    code, again, err = call("search", runs, "--data", table, *GIVEN, "--trials", 2)
    assert code == 0 and "trial 0:" not in err and again.splitlines()[0] == lines[0]


@pytest.mark.slow
def test_detection_is_the_objective(call, table, tmp_path):
    checked = write_table(tmp_path / "checked.csv", np.random.default_rng(1), faults=True)
    words = ("search", tmp_path / "runs", "--data", table, *GIVEN, "--trials", 1)
    detect = ("--objective", "auroc", "--labelled", checked, "--labels", "state", "--normal", "ok")
    code, out, err = call(*words, *detect)
    assert code == 0, err
    assert out.split()[:4] == ["trial", "auroc", "kl_weight", "learning_rate"]
    best = json.loads((tmp_path / "runs" / "best.json").read_text())
    assert best["objective"] == "auroc" and 0.5 < best["value"] <= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--labels", "state"), "--labels is for --objective auroc"),
        (("--objective", "auroc"), "--objective auroc needs --labelled"),
        (("--objective", "auroc", "--labelled", "DATA"), "give other samples"),
        (("--timeout", "soon"), "'soon' is not a time, such as 90s, 15m or 1h"),
        (("--timeout", "0m"), "'0m' is not a time"),
        (("--trials", "0"), "0 is not in the range"),
        (("--storage", "nonsense://"), "check --storage"),
    ],
)
def test_mistakes_are_one_line(words, message, call, table, tmp_path):
    words = [table if word == "DATA" else word for word in words]
    code, _, err = call("search", tmp_path / "runs", "--data", table, *GIVEN, "-q", *words)
    assert code != 0 and message in err
    assert err.startswith("Usage") or one_line(err)


def test_a_missing_optuna_is_one_line_with_the_command(call, table, tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.startswith(("optuna", "vae_builder.search"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = call("search", tmp_path / "runs", "--data", table)
    assert code == 3 and 'pip install "build-vae[search]"' in err and one_line(err)
    assert not (tmp_path / "runs").exists()


def test_export_refuses_options_beside_a_search(call, tmp_path):
    code, _, err = call("export", tmp_path / "vae", "--search", tmp_path, "--epochs", 3)
    assert code != 0 and "--epochs cannot be given with --search" in err
    code, _, err = call("export", tmp_path / "vae", "--search", tmp_path, "--run", tmp_path)
    assert code != 0 and "--search cannot be given with --run" in err
    code, _, err = call("export", tmp_path / "vae", "--search", tmp_path)
    assert code != 0 and "make one with build-vae search" in err
