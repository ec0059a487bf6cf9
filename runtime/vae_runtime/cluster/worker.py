"""A worker: holds the bundle of a job and scores one part after the other.

What goes wrong is returned, not raised, because an engine would repeat an exception or wrap it.
"""

from __future__ import annotations

import errno
import platform
import tempfile
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from vae_runtime.cluster.job import Job, Part, differing_versions, installed_versions
from vae_runtime.cluster.part import Report, score_part
from vae_runtime.cluster.trees import is_url, open_tree
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.errors import BuildVaeError, EngineError, InputError
from vae_runtime.inference.loading import load
from vae_runtime.inference.runtime import VAERuntime

RETRY, SET_ASIDE, STOP = "retry", "set aside", "stop"
"""What to do after a failure: try the part again, go on without it, or end the job."""

_HOPELESS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
"""Errors of the system that the next part would meet too."""


@dataclass(frozen=True)
class Failure:
    """Why a worker could not score a part.

    Attributes:
        then: `RETRY`, `SET_ASIDE` or `STOP`.
        message: one line.
        number: number of the system's error; None if it was another one.
        is_input: whether the data is to blame.
    """

    then: str
    message: str
    number: int | None = None
    is_input: bool = False


@dataclass(frozen=True)
class Shipped:
    """A bundle on its way to workers.

    Attributes:
        path: where it is, if all workers see it there.
        content: the packed bundle; None if there is a path.
        sha256: its SHA-256, which a worker checks.
    """

    path: str | None
    content: bytes | None
    sha256: str


class Worker:
    """The state of a worker for one job. Several threads may share it."""

    def __init__(self, job: Job, bundle: Shipped, *, strict: bool) -> None:
        self._job, self._strict = job, strict
        _take_notes()
        self.failure: Failure | None = None
        self._vae: VAERuntime | None = None
        try:
            self._check_versions()
            self._vae = self._opened(bundle)
        except (BuildVaeError, OSError, MemoryError) as error:
            self.failure = Failure(STOP, f"worker on {platform.node()}: {_one_line(error)}")

    def score(self, part: Part) -> Report | Failure:
        """Score a part."""
        if self._vae is None:
            assert self.failure is not None
            return self.failure
        job = self._job
        _NOTES.lines = []
        try:
            source, out = open_tree(job.reading.source), open_tree(job.out)
            report = score_part(self._vae, part, job, source, out, strict=self._strict)
        except Exception as error:
            remote = is_url(job.reading.source)
            return _failure(error, strict=self._strict, is_remote=remote)
        finally:
            noted, _NOTES.lines = tuple(dict.fromkeys(_NOTES.lines)), None
        return Report(report.rows, report.bad, report.first_reason, noted)

    def _check_versions(self) -> None:
        import pyarrow as pa

        if found := differing_versions(self._job.versions, installed_versions()):
            raise EngineError(
                f"it has {found}: install the same versions on all workers, since the numbers and "
                "the bytes depend on them"
            )
        pa.set_cpu_count(self._job.running.threads)

    def _opened(self, bundle: Shipped) -> VAERuntime:
        if bundle.path is not None:
            return _ready(Path(bundle.path), bundle.sha256, self._job)
        assert bundle.content is not None
        with tempfile.TemporaryDirectory(prefix="build-vae-") as folder:
            path = Path(folder) / "bundle.vae"
            path.write_bytes(bundle.content)
            return _ready(path, bundle.sha256, self._job)


class _Notes(threading.local):
    """What was noticed about the values of the part that this thread scores; None between parts."""

    lines: list[str] | None = None


_NOTES = _Notes()
_show_others = warnings.showwarning
"""What shows all other warnings."""


def _take_notes() -> None:
    """Keep input warnings for the report of their part, from now on and in the whole process."""
    global _show_others
    warnings.simplefilter("always", InputWarning)
    if warnings.showwarning is not _note:
        _show_others, warnings.showwarning = warnings.showwarning, _note


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if _NOTES.lines is not None and issubclass(category, InputWarning):
        _NOTES.lines.append(" ".join(str(message).split()))
    else:
        _show_others(message, category, filename, lineno, file, line)


def _ready(path: Path, sha256: str, job: Job) -> VAERuntime:
    """Load a bundle and open its session, after which its file is no longer needed."""
    running = job.running
    vae = load(
        path,
        precision=running.precision,
        providers=running.providers,
        threads=running.threads,
        batch_size=running.batch_size,
        tuned=False,
        allow_fallback=running.allow_fallback,
        sha256=sha256,
    )
    spec = vae.manifest.input
    zeros = np.zeros((1, *spec.shape), np.uint8 if spec.dtype == "uint8" else np.float32)
    per_sample = vae.per_sample
    if vae.manifest.score is None:
        per_sample.losses(zeros, None, job.condition, per_sample.unscorable())
    else:
        per_sample.scores(zeros, job.condition, vae.calibration, per_sample.unscorable())
    return vae


def _failure(error: Exception, *, strict: bool, is_remote: bool) -> Failure:
    """Decide what is to be done after an error; what a network does to files may pass."""
    where = f"{_one_line(error)} (on {platform.node()})"
    cause = error if isinstance(error, OSError) else error.__cause__
    may_be_result = error is cause or is_url(str(getattr(cause, "filename", "")))
    if isinstance(cause, OSError) and cause.errno in _HOPELESS and may_be_result:
        return Failure(STOP, where, cause.errno)
    # pyarrow raises an OSError without a number for a damaged file.
    of_system = isinstance(cause, OSError) and cause.errno is not None
    if of_system or isinstance(cause, MemoryError) or (cause is not None and is_remote):
        return Failure(RETRY, where)
    if isinstance(error, InputError):
        return Failure(STOP if strict else SET_ASIDE, _one_line(error), is_input=True)
    if isinstance(error, BuildVaeError):
        return Failure(STOP, where)
    return Failure(RETRY, where)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, BuildVaeError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
