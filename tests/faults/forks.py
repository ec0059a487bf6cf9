"""A process that forks while its threads score, verify, and load models.

    python tests/faults/forks.py BUNDLE --forks 200

Each child computes losses with both models of its parent, one of which splits batches between two
threads, loads the bundle itself, verifies it, and ends: half of the children at once, half as a
Python program does. The losses must equal those that the parent computed before its first fork, up
to the rounding of float32. The exit status is 1 if a child hangs, gives a wrong loss or fails.
"""

import argparse
import faulthandler
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np

import vae_runtime

BATCHES = (1, 40, 300)
"""Numbers of samples in one call; the last batch is split."""

# Python 3.12 warns that a fork of a process with threads may hang, which is what is tested here.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)


def samples(vae) -> list[np.ndarray]:
    rng, shape = np.random.default_rng(0), vae.manifest.input.shape
    return [rng.random((count, *shape), dtype=np.float32) for count in BATCHES]


def wrong_losses(vae, expected: list[np.ndarray]) -> int:
    found = [vae.loss(x).loss for x in samples(vae)]
    return sum(
        not np.allclose(each, right, rtol=1e-5) for each, right in zip(found, expected, strict=True)
    )


def check_in_child(models, bundle: Path, expected: list[np.ndarray]) -> int:
    """Return 0 if everything works in this child of a fork."""
    wrong = sum(wrong_losses(vae, expected) for vae in models)
    own = vae_runtime.load(bundle, threads=2, tuned=False)
    wrong += wrong_losses(own, expected)
    return wrong or int(not all(vae.verify().passed for vae in (*models, own)))


def keep_busy(models, bundle: Path, bench_too: bool) -> None:
    """Start threads that use the models, and load others, until the process ends."""
    alone, split = models
    x = samples(split)

    def load_and_score() -> None:
        vae_runtime.load(bundle, threads=2, tuned=False).reconstruct(x[0])

    def run_bench() -> None:
        vae_runtime.bench(bundle, batches=(1,), threads=(2,), seconds=0.1)

    def repeat(work) -> None:
        while True:
            work()

    works = [lambda: split.loss(x[2]), lambda: split.loss(x[1]), lambda: split.encode(x[2])]
    works += [lambda: alone.loss(x[1]), split.verify, load_and_score, load_and_score]
    for work in works + [run_bench] * bench_too:
        threading.Thread(target=repeat, args=(work,), daemon=True).start()


def status_of(pid: int, seconds: float) -> int | None:
    """Return the exit status of a child, or None if it had to be killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGABRT)  # faulthandler then says where it hangs
    os.waitpid(pid, 0)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--forks", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60, help="after which a child hangs")
    parser.add_argument("--bench", action="store_true", help="also measure speed meanwhile")
    options = parser.parse_args()
    faulthandler.enable()
    alone, split = (vae_runtime.load(options.bundle, threads=n, tuned=False) for n in (1, 2))
    expected = [alone.loss(x).loss for x in samples(alone)]
    keep_busy((alone, split), options.bundle, options.bench)
    rng, hung, failed = np.random.default_rng(0), 0, 0
    for number in range(options.forks):
        time.sleep(rng.uniform(0, 0.03))
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = check_in_child((alone, split), options.bundle, expected)
            finally:
                if number % 2:
                    os._exit(status)
            sys.exit(status)
        status = status_of(pid, options.seconds)
        hung += status is None
        failed += bool(status)
    print(f"{options.forks} forks: {hung} children hung, {failed} failed or were wrong")
    sys.stdout.flush()
    os._exit(1 if hung or failed else 0)  # the threads never end


if __name__ == "__main__":
    main()
