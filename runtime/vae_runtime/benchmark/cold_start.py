"""Cold start: time from the start of a process to its first score, and the memory it holds then.

Each start is a new Python process that imports, loads the bundle and scores one sample. From the
second start on, the files of the bundle and of the libraries are in the system's file cache. So
this is the cold start of a process, not of a machine.

Memory is the peak resident size, with the interpreter and its libraries: `VmHWM` of
/proc/self/status on Linux, `ru_maxrss` of `getrusage` elsewhere. On Linux, `ru_maxrss` also counts
the size of the parent process.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from vae_runtime.errors import MeasurementError

CHILD_PROGRAM = """
import sys
import numpy
import vae_runtime
path, precision, *providers = sys.argv[1:]
vae = vae_runtime.load(path, precision=precision, providers=providers)
m = vae.manifest
condition = m.condition and numpy.zeros((1, *m.condition.shape))
vae.loss(numpy.zeros((1, *m.input.shape), m.input.dtype), condition=condition)
print(flush=True)
from vae_runtime.benchmark.cold_start import peak_resident_bytes
print(peak_resident_bytes(), flush=True)
"""
"""Program of each process: it prints an empty line after its first score, then its peak memory."""


@dataclass(frozen=True)
class ColdStart:
    """Statistics of several cold starts."""

    runtime: Annotated[str, "name of the runtime, with its version"]
    precision: Annotated[str, "float32, or the name of a variant of the bundle"]
    starts: Annotated[int, "number of processes started"]
    median_ms: Annotated[float, "median time to the first score, in milliseconds"]
    fastest_ms: Annotated[float, "shortest time"]
    slowest_ms: Annotated[float, "longest time"]
    resident_mb: Annotated[float | None, "median of the peak resident sizes, in 10^6 bytes"]


def cold_starts(
    path: Path, precisions: Sequence[str], providers: Sequence[str], count: int, runtime: str
) -> tuple[ColdStart, ...]:
    """Start `count` processes per precision, one after the other; precisions take turns.

    `runtime` is the name to report. A process that fails raises MeasurementError.
    """
    rounds = [[_start_once(path, name, providers) for name in precisions] for _ in range(count)]
    return tuple(
        summarize_starts(runtime, name, [starts[i] for starts in rounds])
        for i, name in enumerate(precisions)
    )


def _start_once(path: Path, precision: str, providers: Sequence[str]) -> tuple[float, int | None]:
    """Return the seconds until a new process has scored, and its peak resident size in bytes."""
    import subprocess  # imported here: the processes that are timed import this module too
    import tempfile

    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", CHILD_PROGRAM, str(path.absolute()), precision, *providers],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=child_environment(),
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            seconds = time.perf_counter() - began
            size = process.stdout.read().strip()
        if process.returncode:
            errors.seek(0)
            raise MeasurementError(
                f"a process that loads {path} ended with status {process.returncode}: "
                f"{last_line(errors.read())}: try build-vae verify first"
            )
    return seconds, int(size) if size.isdecimal() else None


def summarize_starts(
    runtime: str, precision: str, starts: Sequence[tuple[float, int | None]]
) -> ColdStart:
    """Summarize the seconds and peak bytes (None if unknown) of several starts."""
    seconds = [start[0] for start in starts]
    known = [start[1] for start in starts if start[1] is not None]
    return ColdStart(
        runtime=runtime,
        precision=precision,
        starts=len(starts),
        median_ms=1e3 * float(np.median(seconds)),
        fastest_ms=1e3 * min(seconds),
        slowest_ms=1e3 * max(seconds),
        resident_mb=float(np.median(known)) / 1e6 if known else None,
    )


def peak_resident_bytes() -> int | None:
    """Return this process's peak resident size; None if the system does not report it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        peak = next(line for line in lines if line.startswith("VmHWM:"))
        return 1024 * int(peak.split()[1])
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    peak_size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_size if sys.platform == "darwin" else 1024 * peak_size


def child_environment() -> dict[str, str]:
    """Return this process's environment, with a PYTHONPATH that finds the same modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def last_line(text: str) -> str:
    """Return the last line of a process's standard error, which holds Python's own message."""
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "it wrote no message"
