"""Fuzzing of whole bundles: random mutants, and every flip of a manifest.

    python tests/fuzz/bundles.py --mutations 100000 --seed 0
    python tests/fuzz/bundles.py --flips

Without a BUNDLE two small ones are exported first, which takes TensorFlow. What a mutant is stands
in `mutations.py`, what it may lead to in `judge.py`. Mutants are loaded in processes of their own,
so that one that crashes or hangs is counted, and the rest goes on; a mutant may cost 256 MB beyond
what the process has. Ends with status 1 where a promise was broken.
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

HANG = 30.0
"""Seconds without an answer after which a process is ended."""

BYTES = 256 << 20


def export_small(folder: Path) -> None:
    """Exports two small bundles, untrained."""
    import numpy as np

    from vae_builder import build_models
    from vae_export import export
    from vae_runtime import LossSpec

    for preset, loss, shape in (("dense", "bce", (8, 8, 1)), ("conv", "mse", (9, 7, 3))):
        encoder, decoder = build_models(preset, shape, 3, (8, 6), seed=1)
        samples = np.random.default_rng(2).random((10, *shape), dtype=np.float32)
        export(encoder, decoder, samples, folder / preset, loss=LossSpec(loss, 1.0))


def count(judge: Judge, options: argparse.Namespace) -> int:
    """How many mutants there are."""
    return FLIPS * len(judge.mutator.folder[MANIFEST]) if options.flips else options.mutations


def mutant(judge: Judge, options: argparse.Namespace, number: int) -> Mutant:
    """The mutant of a number; it follows from that, the bundle and the options alone."""
    if options.flips:
        manifest = flipped(judge.mutator.folder[MANIFEST], number)
        return Mutant("flip", files=judge.mutator.folder | {MANIFEST: manifest})
    return judge.mutator.mutant(seeded(options.seed, number))


def work(options: argparse.Namespace, first: int, channel) -> None:
    """Judges the mutants from a number on, every `jobs`-th, and tells what became of each."""
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as folder:
        judges = []
        for place, bundle in enumerate(options.bundles):
            (Path(folder) / str(place)).mkdir()
            judges.append(Judge(bundle, Path(folder) / str(place)))
        limit_memory()
        for number in range(first, count(judges[0], options), options.jobs):
            judge = judges[0 if options.flips else number % len(judges)]
            changed = mutant(judge, options, number)
            channel.send((number, changed.kind, None))
            if options.keep:  # before it is opened: it may be the last
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
        resource.setrlimit(resource.RLIMIT_DATA, (held + BYTES, -1))


def watched(options: argparse.Namespace, job: int) -> Iterator[tuple[int, str, object]]:
    """What became of the mutants of one job; a process that dies is begun anew behind its last."""
    first = job
    while True:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.Process(target=work, args=(options, first, theirs), daemon=True)
        process.start()
        theirs.close()
        begun = None
        try:
            while ours.poll(HANG if begun else 120):
                message = ours.recv()
                if message is None:
                    process.join()
                    return
                begun = message if message[2] is None else begun
                yield message
            fault = f"no answer in {HANG:.0f} s"
        except EOFError:
            process.join()
            fault = f"the process died with status {process.exitcode}"
        process.kill()
        process.join()
        if begun is None:
            raise SystemExit(f"a process that judges does not start: {fault}")
        yield begun[0], begun[1], PromiseBrokenError(fault)
        first = begun[0] + options.jobs


def campaign(options: argparse.Namespace) -> int:
    """Judges all mutants and prints the totals; the number of broken promises."""
    outcomes: Counter[tuple[str, str]] = Counter()
    findings = 0
    start = time.monotonic()
    for _, kind, outcome in merged([watched(options, job) for job in range(options.jobs)]):
        if isinstance(outcome, PromiseBrokenError):
            findings += 1
            print(f"FOUND {_}, {kind}: {outcome}", flush=True)
        outcomes[kind, "FOUND" if isinstance(outcome, PromiseBrokenError) else str(outcome)] += 1
    for (kind, outcome), count in sorted(outcomes.items()):
        print(f"{count:8,}  {kind}: {outcome}")
    total, seconds = sum(outcomes.values()), time.monotonic() - start
    print(f"{total:,} mutants in {seconds:.0f} s: {findings} promises broken")
    return findings


def merged(jobs) -> Iterator[tuple[int, str, object]]:
    """What several jobs tell, in turns; they run side by side."""
    while jobs:
        for job in list(jobs):
            message = next((told for told in job if told[2] is not None), None)
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
