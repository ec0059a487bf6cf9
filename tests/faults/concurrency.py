"""Threads that share a loaded model, and processes that load it while it is republished.

    python tests/faults/concurrency.py BUNDLE OTHER --calls 10000 --loads 200

Each of 16 threads makes `--calls` calls of `encode`, `decode` and `loss` on two shared models. One
model computes each call in one thread; the other splits batches between two threads. Each of 8
processes loads a folder `--loads` times and computes a loss, while BUNDLE and OTHER are published
there in turn. Every answer must equal, bit for bit, the answer of the same bundle in one thread. If
two threads share the work, float32 rounding may differ. The exit status is 1 if an answer is wrong
or a load fails.
"""

import argparse
import multiprocessing
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import vae_runtime
from vae_runtime.bundle import publishing as publish

THREADS = 16
BATCHES = (*range(1, 13), 150, 300)
"""Numbers of samples in one call; the last two batches are split."""


def inputs(vae) -> list[dict[str, np.ndarray]]:
    """Return samples and latent vectors in batches of different sizes."""
    rng, spec = np.random.default_rng(0), vae.manifest
    batches = []
    for count in BATCHES:
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
    """Return the number of wrong answers in threads that share a model."""
    alone, shared, split = (vae_runtime.load(bundle, threads=n, tuned=False) for n in (1, 1, 2))
    batches = inputs(alone)
    expected = [[answer(alone, batch, which) for which in range(3)] for batch in batches]

    def is_wrong(i: int, which: int, on_split: int) -> bool:
        found = answer(split if on_split else shared, batches[i], which)
        close = {"rtol": 1e-5, "atol": 1e-5} if on_split else {"rtol": 0, "atol": 0}
        return not np.allclose(found, expected[i][which], **close)

    def work(thread: int) -> int:
        order = np.random.default_rng(thread).integers(0, (len(BATCHES), 3, 2), (calls, 3))
        return sum(is_wrong(i, which, on_split) for i, which, on_split in order)

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(work, range(THREADS)))


def score(path: Path) -> tuple[str, bytes]:
    """Return the digest of the bundle at `path`, and its answer."""
    vae = vae_runtime.load(path, threads=1, tuned=False)
    return vae.bundle.sha256, answer(vae, inputs(vae)[3], 2).tobytes()


def load_repeatedly(target: Path, expected: dict[str, bytes], loads: int, results) -> None:
    wrong, failed, met = 0, [], set()
    for _ in range(loads):
        try:
            digest, found = score(target)
            wrong += expected.get(digest) != found
            met.add(digest)
        except vae_runtime.BuildVaeError as error:
            failed.append(str(error))
    results.put((wrong, failed, met))


def while_republished(
    bundles: list[Path], processes: int, loads: int
) -> tuple[int, list[str], int, int]:
    """Return wrong answers, failed loads, bundles seen, and the number of publications."""
    expected = dict(score(bundle) for bundle in bundles)
    context = multiprocessing.get_context("spawn")
    results, published = context.Queue(), 0
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "bundle"
        shutil.copytree(bundles[0], target)
        args = (target, expected, loads, results)
        readers = [context.Process(target=load_repeatedly, args=args) for _ in range(processes)]
        for reader in readers:
            reader.start()
        while any(reader.is_alive() for reader in readers) and results.qsize() < processes:
            published += 1
            with publish.publishing(target, force=True) as new:
                shutil.copytree(bundles[published % 2], new, dirs_exist_ok=True)
        outcomes = [results.get(timeout=60) for _ in readers]
        for reader in readers:
            reader.join()
    met = set().union(*(digests for _, _, digests in outcomes))
    failed = [text for _, texts, _ in outcomes for text in texts]
    return sum(wrong for wrong, _, _ in outcomes), failed, len(met), published


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
