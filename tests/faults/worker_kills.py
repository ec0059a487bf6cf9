"""Kills of a worker of a training run on two workers, at random moments.

    python tests/faults/worker_kills.py --kills 20 --seed 0

One of two real processes on localhost, chosen at random, is killed (SIGKILL). The other must end
within a minute, with one line and exit status 3. Then both resume, and are killed again, until they
end normally. Then the run must hold, bit for bit, the weights of an undisturbed run with two
workers, and no other files. A new run begins as long as kills are left.

Each kill is independent of the others but for the run that it finds, so the kills can be split:
give another seed to each part. The exit status is 1 if a promise was broken. Linux and macOS.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "support"))

import worker_processes as processes

UNFIT = 3
MAX_SECONDS = 60.0
"""How long the other worker may take to end."""
OFTEN = {
    "vae_builder.training.steps": {"MAX_BLOCK_STEPS": 2},
    "vae_builder.training.loop": {"CHECKPOINT_SECONDS": 0.0},
}
"""A checkpoint after each block of two steps."""
MODELS = ("encoder.keras", "decoder.keras")


def make_data(folder: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 1))
    np.save(folder / "x.npy", x.astype(np.uint8))


def train_words(folder: Path, run: Path, epochs: int) -> list[str]:
    options = ["--hidden=4", "--latent-dim=2", "--batch-size=5", f"--epochs={epochs}"]
    return ["train", str(run), "--data", str(folder / "x.npy"), *options, "--ema-momentum=0.9"]


def files(run: Path) -> set[str]:
    """Return the names in a run folder; each process writes its own file of TensorBoard events."""
    found = (path.relative_to(run).as_posix() for path in run.rglob("*"))
    return {name.split(".tfevents.")[0] for name in found}


def weights(run: Path) -> list[bytes]:
    """Return the stored weights of a run that has ended."""
    import zipfile

    return [zipfile.ZipFile(run / name).read("model.weights.h5") for name in MODELS]


def run_both(folder: Path, words: list[str]) -> float:
    """Run two workers to their end; return the seconds that they took."""
    start = time.monotonic()
    for status, _, err in [w.end() for w in processes.start(folder, [words] * 2, [OFTEN] * 2)]:
        assert status == 0, f"a worker ended with {status}: {err}"
    return time.monotonic() - start


def kill_one(folder: Path, words: list[str], victim: int, wait: float) -> float | None:
    """Kill a worker after some seconds; return how long the other ran on, None if both ended."""
    workers = processes.start(folder, [words] * 2, [OFTEN] * 2)
    workers[victim].process.join(wait)
    if workers[victim].process.is_alive():
        workers[victim].process.kill()
    start = time.monotonic()
    status, _, _ = workers[victim].end()
    other, _, err = workers[1 - victim].end(MAX_SECONDS)
    seconds = time.monotonic() - start
    if (status, other) == (0, 0):
        return None
    assert status == -signal.SIGKILL, f"status {status} of the killed worker"
    # If the run was complete but for the end of the killed worker, the other ends well.
    lines = [
        line
        for line in err.splitlines()
        if not line.startswith(("x.npy: ", "epoch ", "Warning: the"))
    ]
    if other == 0:
        assert not any("Error" in line for line in lines), lines
        return seconds
    assert other == UNFIT, f"status {other} of the other worker: {err}"
    named = (f"worker {victim} (localhost", "a worker has ended")
    told = len(lines) == 1 and lines[0].startswith("Error: ") and any(n in lines[0] for n in named)
    assert told, f"the other worker told {lines}"
    return seconds


def state(run: Path) -> str:
    if not (run / "run.json").exists():
        return "no folder yet"
    if (run / "result.json").exists():
        return "the end"
    return "a checkpoint" if (run / "checkpoint.npz").exists() else "a beginning"


def kill_runs(kills: int, rng: random.Random, folder: Path, epochs: int) -> tuple[Counter, int]:
    """Kill workers of one run after the other; return what was found, and how many runs ended."""
    make_data(folder)
    whole, outputs = folder / "whole", folder / "outputs"
    longest = run_both(outputs, train_words(folder, whole, epochs))
    found, ended, run, slowest = Counter[str](), 0, folder / "0", 0.0
    while found.total() < kills or (run / "run.json").exists():
        started = (run / "run.json").exists()
        words = ["train", str(run), "--resume"] if started else train_words(folder, run, epochs)
        if found.total() < kills:
            victim, wait = rng.randrange(2), rng.random() * longest
            seconds = kill_one(outputs, words, victim, wait)
            longest *= 1.08 if seconds is not None else 0.8
            if seconds is not None:
                slowest = max(slowest, seconds)
                found[f"worker {victim}, {state(run)}"] += 1
                print(
                    f"{found.total()}: worker {victim}, {state(run)}, {seconds:.1f} s", flush=True
                )
                if not (run / "result.json").exists():
                    continue
        if not (run / "result.json").exists():
            run_both(outputs, words)
        assert weights(run) == weights(whole), "the weights differ"
        left = files(run) ^ files(whole)
        assert left <= {"checkpoint.npz"}, f"leftovers: {left}"  # of a kill after the last file
        shutil.rmtree(run)
        ended += 1
        run = folder / str(ended)
    print(f"the other worker ended after at most {slowest:.1f} s")
    return found, ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        try:
            rng = random.Random(options.seed)
            found, ended = kill_runs(options.kills, rng, Path(work), options.epochs)
        except AssertionError as error:
            print(f"FOUND {error}")
            return 1
    outcomes = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
    print(f"{found.total()} kills, {ended} runs ended with the undisturbed weights: {outcomes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
