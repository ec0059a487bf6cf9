"""Kills of real training and real export at random moments.

    python tests/faults/run_kills.py --training 500 --export 500 --seed 0

A child trains a run and is killed (SIGKILL); the next child resumes it and is killed, until one
ends normally. Then the run must hold, bit for bit, the weights of an uninterrupted run, and no
other files. After each kill the run folder must be readable, or be refused as no run folder. A
child that exports is killed in the same way. The old or the new bundle must be there, complete and
equal to its proof, or nothing if nothing was there before. After an export that ended normally,
only the bundle may remain.

The exit status is 1 if a promise was broken. Linux and macOS.
"""

import argparse
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import tiny

from vae_builder import load_run
from vae_builder.run.folder import CHECKPOINT_FILE, RESULT_FILE
from vae_builder.training import loop
from vae_builder.training.checkpoint import read_checkpoint
from vae_runtime import InputError

EPOCHS = 6
loop.CHECKPOINT_SECONDS = 0.0  # a checkpoint after each block


def names(folder: Path) -> set[str]:
    """Return the names in a folder; each process writes its own file of TensorBoard events."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return {name.split(".tfevents.")[0] for name in found}


class Killer:
    """Run of build-vae that is killed at random moments.

    The longest wait adapts to the machine, so that about one run in four ends normally.
    """

    def __init__(self, rng: random.Random, words: list[str]) -> None:
        start = time.monotonic()
        tiny.run_command(words)
        self.rng, self.longest = rng, time.monotonic() - start

    def killed(self, words: list[str]) -> bool:
        """Run a command; return whether it was killed before it ended."""
        child = tiny.Child(lambda: tiny.command(words))
        if not select.select([child.out], [], [], self.rng.random() * self.longest)[0]:
            os.kill(child.pid, signal.SIGKILL)
        status, told = child.end()
        was_killed = status == -signal.SIGKILL and not told
        assert was_killed or told == tiny.DONE, told
        self.longest *= 1.08 if was_killed else 0.8
        return was_killed


def state(run: Path) -> str:
    """Return how far a run had come."""
    if (run / RESULT_FILE).exists():
        return "the end"
    try:
        load_run(run)
    except InputError as error:
        if "is not a run folder" in str(error):
            return "nothing yet"
        assert "has not ended" in str(error), error
    if not (run / CHECKPOINT_FILE).exists():
        return "a beginning"
    read_checkpoint(run / CHECKPOINT_FILE)
    return "a checkpoint"


def reload(run: Path) -> int:
    """Load a run that has ended; return its number of epochs."""
    return int(tiny.in_child(lambda: str(len(load_run(run).history))))


def kill_training(kills: int, rng: random.Random, folder: Path) -> tuple[Counter[str], int]:
    """Kill runs, one after the other; return what was found, and how many ended."""
    tiny.make_data(folder)
    data, whole = folder / tiny.DATA, folder / "whole"
    killer = Killer(rng, tiny.train_words(whole, data, EPOCHS))
    epochs = reload(whole)
    found, ended, run = Counter[str](), 0, folder / "0"
    while found.total() < kills:
        started = (run / "run.json").exists()
        words = tiny.resume_words(run) if started else tiny.train_words(run, data, EPOCHS)
        if killer.killed(words):
            found[state(run)] += 1
            continue
        assert tiny.weights(run) == tiny.weights(whole), "the weights differ"
        assert names(run) == names(whole), f"leftovers: {names(run) ^ names(whole)}"
        assert reload(run) == epochs, "epochs are missing"
        ended += 1
        run = folder / str(ended)
    return found, ended


def kill_export(kills: int, rng: random.Random, folder: Path) -> tuple[Counter[str], int]:
    """Kill exports, alternately to a new target and over the bundle that the last one made."""
    tiny.make_data(folder)
    run = folder / "run"
    tiny.run_command(tiny.train_words(run, folder / tiny.DATA))
    killer = Killer(rng, tiny.export_words(folder / "first", run))
    found, ended, old = Counter[str](), 0, None
    while found.total() < kills:
        target = folder / str(ended // 2) / "bundle"
        was_killed = killer.killed(tiny.export_words(target, run))
        new = tiny.digest(target) if target.exists() else None
        left = names(target.parent) if target.parent.exists() else set()
        leftovers = {name for name in left if "/" not in name} - {"bundle"}
        if was_killed:
            assert new or not old, "the old bundle is gone"
            assert len(leftovers) < 2, f"leftovers of more than one kill: {leftovers}"
            found["nothing yet" if new is None else "the old" if new == old else "the new"] += 1
            old = new
            continue
        assert new not in (None, old), "an export that ended wrote nothing"
        assert not leftovers, f"leftovers: {leftovers}"
        ended += 1
        old = new if ended % 2 else None
    return found, ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--training", type=int, default=500, help="kills")
    parser.add_argument("--export", type=int, default=500, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, broken = random.Random(options.seed), 0
    for name, kill in (("training", kill_training), ("export", kill_export)):
        kills = getattr(options, name)
        with tempfile.TemporaryDirectory() as work:
            try:
                found, ended = kill(kills, rng, Path(work))
            except AssertionError as error:
                broken += 1
                print(f"FOUND {name}: {error}", flush=True)
                continue
        outcomes = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
        print(f"{name}: {found.total()} kills, {ended} ended normally: {outcomes}", flush=True)
    print(f"{broken} promises broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
