"""Kills of real training and real export at random moments.

    python tests/faults/run_kills.py --training 500 --export 500 --seed 0

A child trains a run and is killed (SIGKILL), goes on with it and is killed, again and again until
one comes to its end: then the run must hold, bit for bit, the weights of one that nothing
interrupted, and no other files. After each kill the run folder must be readable, or say that there
is nothing yet. A child that exports is killed likewise: the old bundle must be there, or the new
one, whole and equal to its proof, or nothing where nothing was; and after an export that came to
its end, only the bundle.

Ends with status 1 where a promise was broken. Linux and macOS.
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
from vae_builder.run.runs import CHECKPOINT, RESULT
from vae_builder.training import loop as trainer
from vae_builder.training.checkpoint import read_checkpoint
from vae_runtime import InputError

EPOCHS = 6
trainer.CHECKPOINT_SECONDS = 0.0  # one after each block


def names(folder: Path) -> set[str]:
    """What is in a folder; of TensorBoard's events each process writes a file of its own."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return {name.split(".tfevents.")[0] for name in found}


class Killer:
    """Runs build-vae and kills it at random moments.

    How long it waits at most follows the machine: one run in four or so comes to its end.
    """

    def __init__(self, rng: random.Random, words: list[str]) -> None:
        start = time.monotonic()
        tiny.done(words)
        self.rng, self.longest = rng, time.monotonic() - start

    def killed(self, words: list[str]) -> bool:
        """Whether it was killed before it came to its end."""
        child = tiny.Child(lambda: tiny.command(words))
        if not select.select([child.out], [], [], self.rng.random() * self.longest)[0]:
            os.kill(child.pid, signal.SIGKILL)
        status, told = child.end()
        was_killed = status == -signal.SIGKILL and not told
        assert was_killed or told == tiny.DONE, told
        self.longest *= 1.08 if was_killed else 0.8
        return was_killed


def state(run: Path) -> str:
    """How far a run had come, as far as it can be read."""
    if (run / RESULT).exists():
        return "the end"
    try:
        load_run(run)
    except InputError as error:
        if "is not a run folder" in str(error):
            return "nothing yet"
        assert "has not ended" in str(error), error
    if not (run / CHECKPOINT).exists():
        return "a beginning"
    read_checkpoint(run / CHECKPOINT)
    return "a checkpoint"


def reload(run: Path) -> int:
    """Loads a run that has ended: how many epochs it had."""
    return int(tiny.in_child(lambda: str(len(load_run(run).history))))


def kill_training(kills: int, rng: random.Random, folder: Path) -> tuple[Counter[str], int]:
    """Kills runs, one after the other; what was found, and how many came to their end."""
    tiny.make_data(folder)
    data, whole = folder / tiny.DATA, folder / "whole"
    killer = Killer(rng, tiny.train_words(whole, data, EPOCHS))
    epochs = reload(whole)
    found, ended, run = Counter[str](), 0, folder / "0"
    while found.total() < kills:
        begun = (run / "run.json").exists()
        words = tiny.resume_words(run) if begun else tiny.train_words(run, data, EPOCHS)
        if killer.killed(words):
            found[state(run)] += 1
            continue
        assert tiny.weights(run) == tiny.weights(whole), "other weights"
        assert names(run) == names(whole), f"debris: {names(run) ^ names(whole)}"
        assert reload(run) == epochs, "epochs are missing"
        ended += 1
        run = folder / str(ended)
    return found, ended


def kill_export(kills: int, rng: random.Random, folder: Path) -> tuple[Counter[str], int]:
    """Kills exports where nothing is, until one ends; over what it made, until one ends; again."""
    tiny.make_data(folder)
    run = folder / "run"
    tiny.done(tiny.train_words(run, folder / tiny.DATA))
    killer = Killer(rng, tiny.export_words(folder / "first", run))
    found, ended, old = Counter[str](), 0, None
    while found.total() < kills:
        target = folder / str(ended // 2) / "bundle"
        was_killed = killer.killed(tiny.export_words(target, run))
        new = tiny.digest(target) if target.exists() else None
        left = names(target.parent) if target.parent.exists() else set()
        debris = {name for name in left if "/" not in name} - {"bundle"}
        if was_killed:
            assert new or not old, "the old bundle is gone"
            assert len(debris) < 2, f"debris of more than one kill: {debris}"
            found["nothing yet" if new is None else "the old" if new == old else "the new"] += 1
            old = new
            continue
        assert new not in (None, old), "an export that ended wrote nothing"
        assert not debris, f"debris: {debris}"
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
        print(f"{name}: {found.total()} kills, {ended} came to their end: {outcomes}", flush=True)
    print(f"{broken} promises broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
