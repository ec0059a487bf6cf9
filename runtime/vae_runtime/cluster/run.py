"""`score`: the plan, the folder of results and the engine of a job, put together."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.packing import pack
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.cluster import folder
from vae_runtime.cluster.engines.protocol import Engine, Task
from vae_runtime.cluster.job import Job, Reading, Running, installed_versions
from vae_runtime.cluster.loop import RunningParts
from vae_runtime.cluster.plan import plan
from vae_runtime.cluster.report import JobReport, Progress
from vae_runtime.cluster.trees import absolute_location, open_tree
from vae_runtime.cluster.worker import Shipped
from vae_runtime.data.samples.conditions import as_condition
from vae_runtime.decision.calibration import read_calibration
from vae_runtime.errors import OptionError
from vae_runtime.inference.loading import check_precision
from vae_runtime.inference.tuning import check_positive, default_batch_size

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
    running = RunningParts(parts, done, tree, on_progress, strict=strict)
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
