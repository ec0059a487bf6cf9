"""Many threads on one loaded model, and processes that load it while it is republished.

    python tests/faults/concurrency.py BUNDLE OTHER --calls 10000 --loads 200

Each of 16 threads makes so many calls in turn of `encode`, `decode` and `loss` on models that all
share: one that computes each call in one thread, one whose batches two threads share or part. Each
of 8 processes loads a folder so many times while BUNDLE and OTHER are published there in turn, and
computes a loss. Every answer must be, bit for bit, the one that the same bundle gave to one thread
before; where two share the work, but for the rounding of float32. Ends with status 1 where one is
not, or where a load fails.
"""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from kills import load_publish

import vae_runtime

THREADS = 16
COUNTS = (*range(1, 13), 150, 300)
"""Samples of a call; the last two are parted."""


def inputs(vae) -> list[dict[str, np.ndarray]]:
    """What each call takes: batches of different sizes."""
    rng, spec = np.random.default_rng(0), vae.manifest
    batches = []
    for count in COUNTS:
        x = rng.random((count, *spec.input.shape), dtype=np.float32)
        z = rng.standard_normal((count, spec.latent_dim)).astype(np.float32)
        batches.append({"x": x, "z": z})
    return batches


def answer(vae, batch, which: int) -> np.ndarray:
    if which == 0:
        return vae.encode(batch["x"]).z_mean
    if which == 1:
        return vae.decode(batch["z"])
    return vae.loss(batch["x"], batch["z"]).loss


def wrong_in_threads(bundle: Path, calls: int) -> int:
    """How many answers of threads that share a model were wrong."""
    alone, shared, parted = (vae_runtime.load(bundle, threads=n, tuned=False) for n in (1, 1, 2))
    batches = inputs(alone)
    right = [[answer(alone, batch, which) for which in range(3)] for batch in batches]

    def is_wrong(i: int, which: int, *, by_two: int) -> bool:
        found = answer(parted if by_two else shared, batches[i], which)
        close = {"rtol": 1e-5, "atol": 1e-5} if by_two else {"rtol": 0, "atol": 0}
        return not np.allclose(found, right[i][which], **close)

    def work(thread: int) -> int:
        order = np.random.default_rng(thread).integers(0, (len(COUNTS), 3, 2), (calls, 3))
        return sum(is_wrong(i, which, by_two=by_two) for i, which, by_two in order)

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(work, range(THREADS)))


def score(path: Path) -> tuple[str, bytes]:
    """The digest of the bundle that is there, and its answer."""
    vae = vae_runtime.load(path, threads=1, tuned=False)
    return vae.bundle.sha256, answer(vae, inputs(vae)[3], 2).tobytes()


def load_often(target: Path, right: dict[str, bytes], loads: int, results) -> None:
    wrong, failed, met = 0, [], set()
    for _ in range(loads):
        try:
            digest, found = score(target)
            wrong += right.get(digest) != found
            met.add(digest)
        except vae_runtime.BuildVaeError as error:
            failed.append(str(error))
    results.put((wrong, failed, met))


def while_republished(
    bundles: list[Path], processes: int, loads: int
) -> tuple[int, list[str], int, int]:
    """Wrong answers, failed loads, bundles met, and how often one was published meanwhile."""
    publish, right = load_publish(), dict(score(bundle) for bundle in bundles)
    context = multiprocessing.get_context("spawn")
    results, published = context.Queue(), 0
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "bundle"
        shutil.copytree(bundles[0], target)
        words = (target, right, loads, results)
        readers = [context.Process(target=load_often, args=words) for _ in range(processes)]
        for reader in readers:
            reader.start()
        while any(reader.is_alive() for reader in readers) and results.qsize() < processes:
            published += 1
            with publish.publishing(target, force=True) as new:
                shutil.copytree(bundles[published % 2], new, dirs_exist_ok=True)
        told = [results.get(timeout=60) for _ in readers]
        for reader in readers:
            reader.join()
    met = set().union(*(digests for _, _, digests in told))
    failed = [text for _, texts, _ in told for text in texts]
    return sum(wrong for wrong, _, _ in told), failed, len(met), published


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs=2, type=Path, metavar="BUNDLE")
    parser.add_argument("--calls", type=int, default=10_000, help="of each thread")
    parser.add_argument("--loads", type=int, default=200, help="of each process")
    parser.add_argument("--processes", type=int, default=8)
    options = parser.parse_args()
    wrong = wrong_in_threads(options.bundles[0], options.calls)
    print(f"{THREADS} threads, {THREADS * options.calls:,} calls: {wrong} wrong answers")
    other, failed, met, published = while_republished(
        options.bundles, options.processes, options.loads
    )
    print(
        f"{options.processes} processes, {options.processes * options.loads:,} loads, "
        f"{published} times republished, {met} bundles met: {other} wrong answers, "
        f"{len(failed)} loads failed"
    )
    for text in failed[:3]:
        print(f"FOUND {text}")
    return 1 if wrong or other or failed else 0


if __name__ == "__main__":
    sys.exit(main())
