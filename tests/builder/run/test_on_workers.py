"""Training on two workers: real processes on localhost, started as any launcher starts them.

Compared with one worker, and with two replicas in one process.
"""

import os
import signal
import time
import zipfile

import numpy as np
import pytest

import worker_processes
from worker_processes import PROCESSES, start, train_both, wait_for

if not hasattr(os, "fork"):
    pytest.skip("needs fork and signals of POSIX", allow_module_level=True)

EPOCHS, BATCH = 4, 15
CHOICES = {"hidden": (8, 6), "latent_dim": 2, "batch_size": BATCH, "epochs": EPOCHS}
EVERYTHING = {
    **CHOICES,
    "learning_rate": 0.01,
    "kl_warmup": 2.0,
    "input_dropout": 0.15,
    "ema_momentum": 0.9,
    "clip_norm": 50.0,
}
"""A batch that two replicas do not divide, and options that a replica could break."""
OFTEN = {
    "vae_builder.training.steps": {"MAX_BLOCK_STEPS": 5},
    "vae_builder.training.loop": {"CHECKPOINT_SECONDS": 0.0},
}


def words(options):
    texts = {k: ",".join(map(str, v)) if isinstance(v, tuple) else v for k, v in options.items()}
    return [f"--{name.replace('_', '-')}={text}" for name, text in texts.items()]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a file of 303 pictures of waves, which a model can learn: 258 to train on."""
    path = tmp_path_factory.mktemp("data") / "waves.npy"
    rng = np.random.default_rng(0)
    phase, frequency = rng.random((303, 1)) * 6, 0.2 + 0.1 * rng.random((303, 1))
    x = 0.5 + 0.4 * np.sin(np.arange(36) * frequency + phase)
    np.save(path, np.round(255 * x).astype(np.uint8).reshape(-1, 6, 6, 1))
    return path


@pytest.fixture(scope="module")
def pair(data, tmp_path_factory):
    """Return the folder and the workers of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("pair")
    command = ["train", folder / "run", "--data", data, *words(EVERYTHING)]
    workers = start(folder, [command] * 2)
    ends = [worker.end() for worker in workers]
    assert [status for status, *_ in ends] == [0, 0], ends
    return folder / "run", workers, ends


def weights(run):
    return [
        zipfile.ZipFile(run / f"{name}.keras").read("model.weights.h5")
        for name in ("encoder", "decoder")
    ]


def in_child(tmp_path, data, cases):
    """Return weights and other results of `train_both`, for one replica and for two."""
    file = tmp_path / "found.npz"
    child = PROCESSES.Process(target=train_both, args=(file, data, cases))
    child.start()
    child.join()
    assert child.exitcode == 0
    found = dict(np.load(file))

    def part(name, count, what):
        return [v for k, v in sorted(found.items()) if k.startswith(f"{name}/{count}/{what}")]

    return part


def require_equal(part, name):
    """Check that one replica and two gave the same up to rounding."""
    for one, two in zip(part(name, 1, "weight"), part(name, 2, "weight"), strict=True):
        assert np.linalg.norm(one - two) <= 1e-5 * np.linalg.norm(one)
    assert part(name, 2, "validation")[0] == pytest.approx(part(name, 1, "validation")[0], rel=1e-6)
    assert part(name, 1, "epochs") == part(name, 2, "epochs")


def trained_weights(run):
    from vae_builder import load_run

    vae = load_run(run).vae
    return [weight.numpy() for weight in (*vae.encoder.weights, *vae.decoder.weights)]


@pytest.fixture(scope="module")
def in_one_process(data, tmp_path_factory):
    return in_child(tmp_path_factory.mktemp("both"), data, {"all": dict(EVERYTHING)})


def test_two_workers_give_the_weights_and_the_loss_of_one(pair, in_one_process):
    """Two replicas in one process give the same, bit for bit."""
    require_equal(in_one_process, "all")
    run, _, _ = pair
    last = (run / "history.csv").read_text().splitlines()[-1].split(",")
    assert float(last[6]) == in_one_process("all", 2, "validation")[0]
    for one, two in zip(in_one_process("all", 2, "weight"), trained_weights(run), strict=True):
        assert np.array_equal(one, two)


def test_workers_have_the_same_weights_and_read_their_share_only(pair):
    _, workers, _ = pair
    first, second = (worker.seen() for worker in workers)
    assert first["weights"] == second["weights"]
    steps = 258 // BATCH * EPOCHS
    assert (first["samples"], second["samples"]) == (7 * steps, 8 * steps)


def test_the_chief_alone_writes_and_tells(pair):
    run, _, ((_, out, err), (_, other_out, other_err)) = pair
    assert out.startswith("test loss ") and f"wrote {run}" in out
    assert "waves.npy: 258 train" in err
    assert (other_out, other_err) == ("worker 1 is done; worker 0 has the model\n", "")
    assert len([*(run / "tensorboard").iterdir()]) == 1
    assert {path.name for path in run.iterdir()} == {
        *("run.json", "result.json", "history.csv", "held_out.npz", "tensorboard"),
        *("encoder.keras", "decoder.keras"),
    }


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_weights_after_a_kill(data, pair, tmp_path):
    run = tmp_path / "run"
    command = ["train", run, "--data", data, *words(EVERYTHING)]
    workers = start(tmp_path / "killed", [command] * 2, [OFTEN] * 2)
    wait_for(run / "checkpoint.npz", workers[0])
    workers[1].process.kill()
    killed = time.monotonic()
    status, _, err = workers[0].end(60.0)
    assert (status, workers[1].end()[0]) == (3, -signal.SIGKILL)
    assert time.monotonic() - killed < 60
    assert err.splitlines()[-1].startswith("Error: worker 1 (localhost:")
    assert err.count("Error") == 1 and "start all workers again with --resume" in err
    assert not (run / "result.json").exists()
    resumed = start(tmp_path / "resumed", [["train", run, "--resume"]] * 2)
    assert [worker.end()[0] for worker in resumed] == [0, 0]
    assert weights(run) == weights(pair[0])
    assert resumed[0].seen()["samples"] < pair[1][0].seen()["samples"]


def test_workers_with_other_options_end_with_a_line(data, tmp_path):
    run = tmp_path / "run"
    command = ["train", run, "--data", data, *words(CHOICES)]
    for status, out, err in [w.end() for w in start(tmp_path, [command, [*command, "--seed=5"]])]:
        assert (status, out) == (3, "")
        assert err.endswith(
            "has option seed 5, worker 0 has 0: give all workers the same options\n"
        )
        assert err.startswith("Error: worker 1 (localhost:") and err.count("\n") == 1
    assert not run.exists()


@pytest.mark.slow
def test_other_failures_end_with_a_line(data, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other.npy"
    x = np.load(data)
    x[7, 0, 0] ^= 1
    np.save(other, x)
    command = ["train", run, "--data", data, *words(CHOICES)]
    with_other_data = ["train", run, "--data", other, *words(CHOICES)]
    die = {"vae_builder.run.on_workers": {"multi_worker": worker_processes.DIE}}
    soon = {"vae_builder.workers.strategy": {"START_SECONDS": 6.0}}
    full = {"vae_builder.run.on_workers": {"start_run": worker_processes.FULL}}
    gone = "Error: training was ended by SIGKILL: start all workers again with --resume\n"
    differs = "has other data: SHA-256"
    for name, both, settings, told in (
        ("data", [command, with_other_data], [{}, {}], [differs, differs]),
        ("no data", [command, [*command[:3], "none.npy"]], [{}, {}], ["has ended:", "none.npy"]),
        ("resume", [command, ["train", run, "--resume"]], [{}, {}], ["has command"] * 2),
        ("absent", [[*command, "--connect-timeout=2"], []], [{}, {}], ["did not answer within 2"]),
        ("dies early", [command] * 2, [soon, die], ["did not connect all", gone]),
        ("the chief dies early", [command] * 2, [die, soon], [gone, "did not connect all"]),
        ("full disk", [command] * 2, [full, {}], ["No space left", "worker 0 (localhost"]),
    ):
        ends = [worker.end() for worker in start(tmp_path / name, both, settings)]
        for (status, out, err), expected in zip(ends, told, strict=True):
            assert status == (-signal.SIGKILL if expected == gone else 3), (name, status, err)
            assert expected in err and err.count("\n") == 1 and not out, (name, err)
        assert not run.exists()


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["meeting", "connecting", "training"])
def test_sigterm_ends_a_worker_at_any_moment(data, tmp_path, moment):
    run = tmp_path / "run"
    command = ["train", run, "--data", data, *words({**CHOICES, "epochs": 100_000})]
    die = {"vae_builder.run.on_workers": {"multi_worker": worker_processes.DIE}}
    others = {"meeting": [], "connecting": command, "training": command}
    settings = [OFTEN, die if moment == "connecting" else OFTEN]
    workers = start(tmp_path, [command, others[moment]], settings)
    if moment == "training":
        wait_for(run / "checkpoint.npz", workers[0])
    else:
        if moment == "connecting":
            workers[1].end()
        time.sleep(3)
    workers[0].process.terminate()
    assert workers[0].end(10.0)[0] == -signal.SIGTERM


def test_a_finished_run_is_resumed_at_once(pair, tmp_path):
    run, _, _ = pair
    before = weights(run)
    told = [w.end() for w in start(tmp_path, [["train", run, "--resume"]] * 2)]
    assert [status for status, *_ in told] == [0, 0], told
    assert "test loss" in told[0][1] and "worker 1 is done" in told[1][1]
    assert weights(run) == before


GAUSSIAN = {"loss": "gaussian", "standardize": True, **CHOICES}
CASES = {
    "plain": CHOICES,
    "conv": {**CHOICES, "preset": "conv", "hidden": (4, 6)},
    "everything": EVERYTHING,
    "free bits": {**EVERYTHING, "free_bits": 0.1},
    "conditional": {**EVERYTHING, "conditional": True},
    "patience": {**EVERYTHING, "patience": 2, "epochs": 40},
    "optimal variance": {**GAUSSIAN, "variance": "optimal"},
    "learned variance": {**GAUSSIAN, "variance": "learned"},
    "variance of the decoder": {**GAUSSIAN, "variance": "decoder"},
    "constant rate": {**CHOICES, "schedule": "constant", "loss": "mse"},
}


@pytest.mark.slow
def test_two_replicas_give_the_weights_of_one(data, tmp_path):
    """After 204 steps."""
    cases = {
        name: options | {"epochs": max(12, options["epochs"])} for name, options in CASES.items()
    }
    part = in_child(tmp_path, data, cases)
    for name in CASES:
        require_equal(part, name)


@pytest.mark.slow
def test_three_workers_repeat_themselves(data, tmp_path):
    found = []
    for i in range(2):
        command = ["train", tmp_path / f"run{i}", "--data", data, *words(EVERYTHING)]
        workers = start(tmp_path / str(i), [command] * 3)
        assert [worker.end()[0] for worker in workers] == [0, 0, 0]
        found += [worker.seen()["weights"] for worker in workers]
        assert [w.seen()["samples"] for w in workers] == [5 * (258 // BATCH) * EPOCHS] * 3
    assert len({*found}) == 1


def test_more_devices_than_there_are_end_with_a_line(call, data, tmp_path):
    status, out, err = call("train", tmp_path / "run", "--data", data, "--devices", "9")
    assert (status, out) == (3, "")
    assert err.startswith("Error: --devices is 9, this machine has ") and err.endswith("or all\n")
    assert call("train", tmp_path / "run", "--devices", "0")[0] == 2
