"""Fuzzing of whole bundles: random mutants, or every byte flip of a manifest.

    python tests/fuzz/bundles.py --mutations 100000 --seed 0
    python tests/fuzz/bundles.py --flips

By default, two small bundles are exported first, which needs TensorFlow. `mutations.py` makes the
mutants, `judge.py` decides which results are allowed. Mutants are loaded in separate processes, so
that a crash or a hang is counted and the others continue. A mutant may use 256 MB more than the
process already has. The exit status is 1 if a promise was broken.
"""

import argparse
import faulthandler
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from judge import Judge, PromiseBrokenError, keep
from mutations import FLIPS, MANIFEST, Mutant, flipped, seeded

TIMEOUT = 30.0
"""Seconds without an answer after which a process is killed."""

MAX_EXTRA_BYTES = 256 << 20


def export_small(folder: Path) -> None:
    """Export two small untrained bundles."""
    import numpy as np

    from vae_builder import build_models
    from vae_export import export
    from vae_runtime import LossSpec

    for preset, loss, shape in (("dense", "bce", (8, 8, 1)), ("conv", "mse", (9, 7, 3))):
        encoder, decoder = build_models(preset, shape, 3, (8, 6), seed=1)
        samples = np.random.default_rng(2).random((10, *shape), dtype=np.float32)
        export(encoder, decoder, samples, folder / preset, loss=LossSpec(loss, 1.0))


def mutant_count(judge: Judge, options: argparse.Namespace) -> int:
    """Return the number of mutants."""
    return FLIPS * len(judge.mutator.folder[MANIFEST]) if options.flips else options.mutations


def mutant(judge: Judge, options: argparse.Namespace, number: int) -> Mutant:
    """Return mutant `number`; it depends only on that, the bundle and the options."""
    if options.flips:
        manifest = flipped(judge.mutator.folder[MANIFEST], number)
        return Mutant("flip", files=judge.mutator.folder | {MANIFEST: manifest})
    return judge.mutator.mutant(seeded(options.seed, number))


def work(options: argparse.Namespace, first: int, channel) -> None:
    """Judge every `jobs`-th mutant from number `first` on, and send each outcome."""
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as folder:
        judges = []
        for place, bundle in enumerate(options.bundles):
            (Path(folder) / str(place)).mkdir()
            judges.append(Judge(bundle, Path(folder) / str(place)))
        limit_memory()
        for number in range(first, mutant_count(judges[0], options), options.jobs):
            judge = judges[0 if options.flips else number % len(judges)]
            changed = mutant(judge, options, number)
            channel.send((number, changed.kind, None))
            if options.keep:  # before it is opened: it may crash this process
                keep(changed, options.keep / str(number))
            try:
                channel.send((number, changed.kind, judge.judge(changed)))
                discard(options.keep, number)
            except PromiseBrokenError as finding:
                channel.send((number, changed.kind, finding))
    channel.send(None)


def discard(folder: Path | None, number: int) -> None:
    if folder:
        shutil.rmtree(folder / str(number), ignore_errors=True)
        (folder / f"{number}.vae").unlink(missing_ok=True)


def limit_memory() -> None:
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        held = next(int(line.split()[1]) for line in status.splitlines() if "VmData" in line) << 10
        resource.setrlimit(resource.RLIMIT_DATA, (held + MAX_EXTRA_BYTES, -1))


def restarting_job(options: argparse.Namespace, job: int) -> Iterator[tuple[int, str, object]]:
    """Yield the outcomes of one job; after a crash or hang, go on with the next mutant."""
    first = job
    while True:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=work, args=(options, first, theirs), daemon=True)
        process.start()
        theirs.close()
        started = None
        try:
            while ours.poll(TIMEOUT if started else 120):
                message = ours.recv()
                if message is None:
                    process.join()
                    return
                started = message if message[2] is None else started
                yield message
            fault = f"no answer in {TIMEOUT:.0f} s"
        except EOFError:
            process.join()
            fault = f"the process died with status {process.exitcode}"
        process.kill()
        process.join()
        if started is None:
            raise SystemExit(f"a judging process does not start: {fault}")
        yield started[0], started[1], PromiseBrokenError(fault)
        first = started[0] + options.jobs


def campaign(options: argparse.Namespace) -> int:
    """Judge all mutants and print the totals; return the number of broken promises."""
    outcomes: Counter[tuple[str, str]] = Counter()
    findings = 0
    start = time.monotonic()
    jobs = [restarting_job(options, job) for job in range(options.jobs)]
    for number, kind, outcome in interleaved(jobs):
        if isinstance(outcome, PromiseBrokenError):
            findings += 1
            print(f"FOUND {number}, {kind}: {outcome}", flush=True)
        outcomes[kind, "FOUND" if isinstance(outcome, PromiseBrokenError) else str(outcome)] += 1
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{count:8,}  {kind}: {outcome}")
    total, seconds = sum(outcomes.values()), time.monotonic() - start
    print(f"{total:,} mutants in {seconds:.0f} s: {findings} promises broken")
    return findings


def interleaved(jobs) -> Iterator[tuple[int, str, object]]:
    """Yield the outcomes of several jobs, which run in parallel, in turns."""
    while jobs:
        for job in list(jobs):
            message = next((sent for sent in job if sent[2] is not None), None)
            if message is None:
                jobs.remove(job)
            else:
                yield message


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE")
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flips", action="store_true", help="every flip of a manifest instead")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--keep", type=Path, help="folder for mutants that broke a promise")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if not options.bundles:
            exporter = multiprocessing.get_context("spawn").Process(
                target=export_small, args=(Path(folder),)
            )
            exporter.start()
            exporter.join()
            options.bundles = sorted(Path(folder).iterdir())
        return 1 if campaign(options) else 0


if __name__ == "__main__":
    sys.exit(main())
