"""`score`: the parts of a source, scored by an engine, each until it is there or set aside.

The engine schedules; here is decided what is tried again. A part whose worker dies, or that fails
for a reason that may pass, is tried three times in all. A part whose input is damaged is set aside
at once. The job goes on in both cases. Only what the next part would meet too, such as a full disk,
ends it.
"""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.packing import pack
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.cluster import folder
from vae_runtime.cluster.engines.protocol import Died, Engine, Outcome, Task
from vae_runtime.cluster.job import Job, Part, Reading, Running, installed_versions
from vae_runtime.cluster.part import Report, part_file
from vae_runtime.cluster.plan import plan
from vae_runtime.cluster.report import JobReport, Progress, SetAside
from vae_runtime.cluster.trees import Tree, absolute_location, is_url, open_tree
from vae_runtime.cluster.worker import RETRY, SET_ASIDE, Failure, Shipped
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.samples.conditions import as_condition
from vae_runtime.decision.calibration import read_calibration
from vae_runtime.errors import EngineError, InputError, OptionError
from vae_runtime.inference.loading import check_precision
from vae_runtime.inference.tuning import check_positive, default_batch_size

MAX_TRIES = 3
"""How often a part is tried before it is set aside."""

MAX_WARNINGS = 5
"""Most different lines about values that are shown."""

VISIBLE_SECONDS = 10.0
"""How long a shared folder may take to show the first part that a worker wrote."""

PATIENCE_SECONDS = 60.0
"""If no part ends for so long, a line says what to look at."""

_ENGINES = {"local": "LocalEngine", "ray": "RayEngine", "dask": "DaskEngine"}
ENGINES = tuple(_ENGINES)
"""Names of the engines."""


def score(
    source: str | os.PathLike[str],
    bundle: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    engine: str = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus: float = 0,
    resume: bool = False,
    strict: bool = False,
    key: str | None = None,
    ids: Sequence[str] = (),
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    condition: Any = None,
    alpha: float | None = None,
    precision: str = FLOAT32,
    providers: str | Sequence[str] = "cpu",
    threads: int | None = None,
    batch_size: int | None = None,
    allow_fallback: bool = False,
    sha256: str | None = None,
    part_rows: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> JobReport:
    """Score all samples of a source into a folder, on many processors or machines.

    A script that calls this function must do so below `if __name__ == "__main__":`, because worker
    processes import the script.

    Args:
        source: a folder of Parquet files, `.npz`, `.npy` or pictures, at any depth, or one such
            file; a path, or a URL that fsspec knows, such as `s3://bucket/folder`. All workers must
            see it there.
        bundle: the bundle, a folder or a single file. Workers receive it from here.
        out: a new folder for the results, or one to go on in; a path or a URL. All workers must see
            it there.
        engine: `local` (processes of this machine), `ray` or `dask`.
        workers: how many parts are scored at once; by default as many as there are processors.
        address: address of a running cluster of Ray or Dask. By default a cluster on this machine
            is started for the length of the job.
        gpus: GPUs that Ray gives to each worker; may be a fraction.
        resume: go on in a folder that holds results of this job: finished parts are kept.
        strict: end the job at the first row that cannot be scored.
        key: column of Parquet files, or array of `.npz` files, that holds the samples.
        ids: columns of Parquet files, or of their folders, that the scores carry.
        image_size: height and width to resize pictures to, in pixels.
        channels: 1 to read pictures as grey, 3 as RGB; by default as the model takes them.
        condition: condition of all samples; None if the model takes none.
        alpha: false-alarm rate; adds the column `alarm`.
        precision: precision of the graphs.
        providers: execution providers, as for `vae_runtime.load`.
        threads: threads of each worker, 1 by default: more workers are faster than more threads.
        batch_size: samples in one run of a graph; by default fitted to a processor's cache. What
            `bench` saved is not used, so that all machines compute in the same chunks.
        allow_fallback: as for `vae_runtime.load`.
        sha256: expected digest of the bundle.
        part_rows: rows of a part, or pictures; see `vae_runtime.cluster.plan.plan`.
        on_progress: called after each part, and every second.

    Returns:
        What was done. `failed` has the parts that were set aside.

    Raises:
        InputError: the source cannot be used, or a row with `strict`.
        OptionError: an option is out of range, or the folder belongs to another job.
        BundleError: the bundle cannot be used.
        EngineError: the cluster does not answer, or its workers cannot do the job.
        MissingExtraError: the engine, pyarrow, Pillow or a client of an object store is missing.
        OSError: the folder of results cannot be read or written.
    """
    if engine not in _ENGINES:
        raise OptionError(f"engine is {engine!r}, expected one of {', '.join(ENGINES)}")
    check_positive(workers=workers, threads=threads, batch_size=batch_size, part_rows=part_rows)
    opened = Bundle(bundle, sha256=sha256)
    manifest = opened.manifest
    check_precision(opened, precision)
    if alpha is not None:
        read_calibration(opened, precision).threshold(alpha)
    as_condition(manifest.condition, condition, 1)
    job = Job(
        opened.sha256,
        absolute_location(out),
        Reading(absolute_location(source), key, tuple(ids), image_size, channels),
        Running(
            batch_size or default_batch_size(manifest.input.shape),
            threads or 1,
            precision,
            (providers,) if isinstance(providers, str) else tuple(providers),
            allow_fallback,
        ),
        condition,
        alpha,
        installed_versions(),
    )
    tree = open_tree(job.out)
    if (written := folder.begin(tree)) is not None:
        folder.check_same_job(tree, job, written, resume=resume)
    parts = plan(job, manifest, part_rows)
    done = folder.finished(tree, parts, job.reading.source)
    if written is None:
        folder.write_job(tree, job)
    tree.tidy(all_writers=False)
    running = _Running(parts, done, tree, on_progress, strict=strict)
    if running.waiting:
        shipped = _shipped(opened, by_path=engine == "local")
        task = Task(job, shipped, strict, workers, address, gpus)
        running.run(lambda: _start(engine, task))
    folder.write_failed(tree, running.failed)
    tree.tidy(all_writers=True)
    return running.report()


def _start(engine: str, task: Task) -> Engine:
    """Import an engine and start it."""
    module = import_module(f"vae_runtime.cluster.engines.{engine}")
    started: Engine = getattr(module, _ENGINES[engine])(task)
    return started


def _shipped(bundle: Bundle, *, by_path: bool) -> Shipped:
    """Return the bundle as workers get it: its path, or a packed copy."""
    if by_path:
        return Shipped(str(bundle.path), None, bundle.sha256)
    with tempfile.TemporaryDirectory(prefix="build-vae-") as temporary:
        packed = pack(bundle.path, Path(temporary) / "bundle.vae")
        return Shipped(None, packed.path.read_bytes(), packed.sha256)


class _Running:
    """The parts of a job on their way."""

    def __init__(
        self,
        parts: Sequence[Part],
        done: set[str],
        out: Tree,
        on_progress: Callable[[Progress], None] | None,
        *,
        strict: bool,
    ) -> None:
        self._strict = strict
        self.waiting = deque(part for part in parts if part.name not in done)
        self.failed: list[SetAside] = []
        self._parts, self._out, self._on_progress = parts, out, on_progress
        self._before = sum(part.rows for part in parts if part.name in done)
        self._resumed = len(parts) - len(self.waiting)
        self._total = sum(part.rows for part in self.waiting)
        self._rows = self._bad = self._finished = self._deaths = 0
        self._tries: Counter[str] = Counter()
        self._reason: str | None = None
        self._warned: set[str] = set()
        self._started = self._last = time.monotonic()
        self._seconds = 0.0

    def run(self, start: Callable[[], Engine]) -> None:
        """Score all parts that wait."""
        engine = start()
        self._started = self._last = time.monotonic()
        try:
            self._loop(engine)
        finally:
            self._seconds = time.monotonic() - self._started
            engine.close()

    def report(self) -> JobReport:
        """Say what was done."""
        return JobReport(
            self._before + self._rows,
            len(self._parts),
            self._resumed,
            self._bad,
            self._reason,
            tuple(self.failed),
            self._rows / self._seconds if self._seconds else None,
            self._out.location,
        )

    def _loop(self, engine: Engine) -> None:
        held, asked, capacity = 0, -1.0, 1
        while self.waiting or held:
            if time.monotonic() - asked > 1:
                capacity, asked = engine.capacity, time.monotonic()
            while self.waiting and held < capacity:
                engine.submit(self.waiting.popleft())
                held += 1
            outcome = engine.result(1.0)
            if outcome is not None:
                held -= 1
                self._last = time.monotonic()
                self._take(outcome, capacity)
            self._tell()

    def _take(self, outcome: Outcome, capacity: int) -> None:
        part, result = outcome.part, outcome.result
        if isinstance(result, Report):
            self._take_report(part, result)
        elif isinstance(result, Died):
            self._deaths += 1
            if self._finished == 0 and self._deaths >= MAX_TRIES * max(2, capacity):
                raise EngineError(
                    f"{self._deaths} workers ended before any part did ({result.reason}): they may "
                    "lack memory, or cannot start; try --engine local --workers 1"
                )
            self._again(part, f"its worker died: {result.reason}", result.deaths)
        elif result.then == RETRY:
            self._again(part, result.message, 1)
        elif result.then == SET_ASIDE:
            self.failed.append(SetAside(part.name, str(part), result.message))
        else:
            raise _stopped(result)

    def _take_report(self, part: Part, report: Report) -> None:
        if not self._finished:
            self._check_visible(part)
        self._finished += 1
        self._rows += report.rows
        self._total += report.rows - part.rows  # pages of pictures
        self._bad += report.bad
        self._reason = self._reason or report.first_reason
        for line in report.warnings:
            if line not in self._warned and len(self._warned) < MAX_WARNINGS:
                self._warned.add(line)
                warnings.warn(line, InputWarning, stacklevel=2)

    def _again(self, part: Part, reason: str, tries: int) -> None:
        self._tries[part.name] += tries
        if self._tries[part.name] < MAX_TRIES:
            self.waiting.append(part)
        else:
            reason = f"{reason} ({self._tries[part.name]} times)"
            if self._strict:
                raise EngineError(f"{part}: {reason}: finished parts are kept; use --resume")
            self.failed.append(SetAside(part.name, str(part), reason))

    def _check_visible(self, part: Part) -> None:
        """Raise `EngineError` if workers write into a folder of their own."""
        path = Path(self._out.location, part_file(part))
        end = time.monotonic() + VISIBLE_SECONDS
        while not is_url(self._out.location) and not path.is_file():
            if time.monotonic() > end:
                raise EngineError(
                    f"a worker wrote {path}, which is not here: give a folder that all machines "
                    "share, or an object store"
                )
            time.sleep(0.1)

    def _tell(self) -> None:
        now = time.monotonic()
        waited = now - self._last if now - self._last > PATIENCE_SECONDS else None
        if self._on_progress:
            self._on_progress(Progress(self._rows, self._total, now - self._started, waited))


def _stopped(failure: Failure) -> Exception:
    """Return the error that ends the job."""
    if failure.number is not None:
        return EngineError(
            f"{failure.message}: free some space or change the permissions, then go on with "
            "--resume"
        )
    if failure.is_input:
        return InputError(failure.message)
    return EngineError(failure.message)
