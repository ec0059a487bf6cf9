"""Searches that are repeated, interrupted, shared and killed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from optuna.trial import TrialState

from quick_training import DIVERGES_ABOVE, quick_train_run, random_dataset
from vae_builder import load_best, search_options
from vae_builder.search import trials as trials_module
from vae_builder.search.records import run_folder
from vae_builder.search.space import config_of, search_space, usual_params
from vae_builder.search.storage import MAX_RETRIES
from vae_runtime import ExportError, InputError, OptionError, TrainingError

PROCESS = """
import sys
from functools import partial
from quick_training import quick_train_run, random_dataset
from vae_builder import search_options
from vae_builder.search import trials

folder, seconds, count, *storage = sys.argv[1:]
trials.train_run = partial(quick_train_run, seconds=float(seconds))
print("ready", flush=True)
storage = storage[0] if storage else None
print(search_options(folder, random_dataset(12), trials=int(count), storage=storage).ran)
"""


def dataset():
    return random_dataset(12)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(trials_module, "train_run", quick_train_run)


def ended(study):
    """Return what each trial that counts has chosen and reached, in their order."""
    return [
        (trial.state, trial.params, trial.values)
        for trial in study.trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "reason" in trial.user_attrs
    ]


def start(folder, *, seconds, trials, storage=None):
    """Start a process that works on a search, and return it once it is about to."""
    words = [sys.executable, "-c", PROCESS, folder, seconds, trials]
    process = subprocess.Popen(
        [*map(str, words), *([storage] if storage else [])],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def test_the_best_is_better_than_the_defaults(quick, tmp_path):
    result = search_options(tmp_path / "runs", dataset(), trials=25)
    values = [t.values[0] for t in result.study.trials if t.state is TrialState.COMPLETE]
    assert result.ran == 25 == len(ended(result.study))
    assert min(values) == result.study.best_value < 0.8 * values[0]
    best = json.loads((tmp_path / "runs" / "best.json").read_text())
    assert best["trial"] == result.study.best_trial.number and best["trials"] == 25
    finished = {t.number for t in result.study.trials if t.state is TrialState.COMPLETE}
    folders = {p.name for p in (tmp_path / "runs").glob("trial-*")}
    assert folders == {f"trial-{number}" for number in finished}


def test_a_seed_repeats_a_search(quick, tmp_path):
    first, again, other = (
        ended(search_options(tmp_path / name, dataset(), trials=14, seed=seed).study)
        for name, seed in (("a", 3), ("b", 3), ("c", 4))
    )
    assert first == again != other


def test_an_interrupted_search_goes_on_as_if_it_had_not_been(quick, tmp_path, monkeypatch):
    undisturbed = ended(search_options(tmp_path / "a", dataset(), trials=14).study)
    calls = []

    def interrupted(path, data, config, *, force, on_progress):
        calls.append(path)
        if len(calls) in (1, 5, 12):
            path.mkdir()
            raise KeyboardInterrupt
        return quick_train_run(path, data, config, force=force, on_progress=on_progress)

    monkeypatch.setattr(trials_module, "train_run", interrupted)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            search_options(tmp_path / "b", dataset(), trials=14)
    result = search_options(tmp_path / "b", dataset(), trials=14)
    assert ended(result.study) == undisturbed
    assert len(result.study.trials) == 14 + 3
    assert (
        not list((tmp_path / "b").glob("*.lock")) or [*(tmp_path / "b").glob("trial-*.lock")] == []
    )


def test_time_that_is_up_ends_the_call_and_not_the_search(quick, tmp_path, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(trials_module.time, "monotonic", lambda: next(clock))
    first = search_options(tmp_path / "runs", dataset(), trials=14, timeout=40)
    assert 0 < first.ran < 14
    monkeypatch.undo()
    monkeypatch.setattr(trials_module, "train_run", quick_train_run)
    search_options(tmp_path / "runs", dataset(), trials=14)
    undisturbed = search_options(tmp_path / "other", dataset(), trials=14)
    assert ended(first.study) == ended(undisturbed.study)


def test_a_trial_that_fails_does_not_end_the_search(quick, tmp_path):
    result = search_options(tmp_path / "runs", dataset(), trials=25)
    failed = [t for t in result.study.trials if t.state is TrialState.FAIL]
    assert failed and all(t.params["learning_rate"] > 0.99 * DIVERGES_ABOVE for t in failed)
    assert all(t.user_attrs["reason"] == "the loss is nan at step 1" for t in failed)
    assert not any(run_folder(tmp_path / "runs", t.number).exists() for t in failed)


def test_too_little_memory_is_a_failure_of_the_trial(tmp_path, monkeypatch):
    def large(path, data, config, *, force, on_progress):
        if config.latent_dim > 7:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
        return quick_train_run(path, data, config, force=force, on_progress=on_progress)

    monkeypatch.setattr(trials_module, "train_run", large)
    result = search_options(tmp_path / "runs", dataset(), trials=8)
    failed = [t for t in result.study.trials if t.params["latent_dim"] > 7]
    assert failed and all("OOM" in t.user_attrs["reason"] for t in failed)
    assert len(ended(result.study)) == 8


def test_what_ends_every_process_is_not_tried_for_ever(tmp_path, monkeypatch):
    """The first trial, with the default options, interrupts each call."""

    def interrupted(path, data, config, *, force, on_progress):
        if config == usual:
            raise KeyboardInterrupt
        return quick_train_run(path, data, config, force=force, on_progress=on_progress)

    monkeypatch.setattr(trials_module, "train_run", interrupted)
    data = dataset()
    space = search_space(data, {}, with_kl_weight=False)
    usual = config_of(usual_params(space, data, {})[0], data, {})
    for _ in range(MAX_RETRIES + 1):
        with pytest.raises(KeyboardInterrupt):
            search_options(tmp_path / "runs", data, trials=4)
    result = search_options(tmp_path / "runs", data, trials=4)
    assert result.ran == 3  # the one that was given up counts


def test_if_every_trial_fails_the_reason_is_said(quick, tmp_path):
    with pytest.raises(TrainingError, match=r"no trial of .* has finished: the last one failed"):
        search_options(tmp_path / "runs", dataset(), {"learning_rate": 0.5}, trials=3)
    with pytest.raises(InputError, match="no trial has finished"):
        load_best(tmp_path / "runs")


@pytest.mark.parametrize("in_database", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_processes_that_start_at_once_share_a_search(in_database, tmp_path):
    storage = f"sqlite:///{tmp_path}/trials.db" if in_database else None
    arguments = {"seconds": 0.05, "trials": 16, "storage": storage}
    processes = [start(tmp_path / "runs", **arguments) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert all(process.returncode == 0 for process in processes), outputs
    assert sum(int(output) for output, _ in outputs) == 16
    result = search_options(tmp_path / "runs", dataset(), trials=16, storage=storage)
    assert result.ran == 0 and len(ended(result.study)) == 16 == len(result.study.trials)


@pytest.mark.skipif(os.name != "posix", reason="the system cannot tell that a process is gone")
def test_what_a_killed_process_left_is_tried_again(quick, tmp_path):
    runs = tmp_path / "runs"
    process = start(runs, seconds=300, trials=14)
    while not list(runs.glob("trial-*.lock")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    other = search_options(runs, dataset(), trials=2)  # one of the two is running
    assert [t.state for t in other.study.trials].count(TrialState.RUNNING) == 1
    process.send_signal(signal.SIGKILL)
    process.communicate()
    result = search_options(runs, dataset(), trials=14)
    states = [trial.state for trial in result.study.trials]
    assert states.count(TrialState.RUNNING) == 0 and states[0] is TrialState.FAIL
    again = [t for t in result.study.trials if t.user_attrs.get("retry_of") == 0]
    assert [t.params for t in again] == [result.study.trials[0].params]
    assert len(ended(result.study)) == 14


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choices": {"latent_dim": 4}}, "begun with latent_dim None, now it is 4"),
        ({"seed": 1}, "begun with --seed 0, now it is 1"),
        ({"dataset": "other"}, "begun with the data"),
        ({"detect": lambda path: 1.0}, "begun with the objective loss, now it is auroc"),
        ({"storage": "sqlite://"}, "begun with a database False"),
    ],
)
def test_a_search_keeps_its_options(change, message, quick, tmp_path):
    search_options(tmp_path / "runs", dataset(), trials=1)
    data = random_dataset(12, count=200) if change.pop("dataset", "") else dataset()
    with pytest.raises(OptionError, match=message):
        search_options(tmp_path / "runs", data, trials=1, **change)


def test_mistakes_are_one_line(quick, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"holds notes\.txt, which belongs to no search"):
        search_options(tmp_path, dataset(), trials=1)
    with pytest.raises(
        OptionError, match=r"storage .* cannot be opened: .*check --storage"
    ) as found:
        search_options(tmp_path / "runs", dataset(), trials=1, storage="nonsense://")
    assert "\n" not in str(found.value)
    with pytest.raises(OptionError, match="trials is 0"):
        search_options(tmp_path / "runs", dataset(), trials=0)
    with pytest.raises(OptionError, match="KL weight is searched for detection only"):
        search_options(tmp_path / "runs", dataset(), trials=1, with_kl_weight=True)
    with pytest.raises(InputError, match=r"there is no .*search.json: make one with"):
        load_best(tmp_path)
