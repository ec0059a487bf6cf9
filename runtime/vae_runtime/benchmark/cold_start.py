"""Cold start: from the start of a process to its first score, and the memory that it then holds.

Each start is a fresh Python process that imports, loads the bundle and scores one sample. The
bundle's files and the libraries are in the system's file cache from the second start on, so this
is the cold start of a process, not of a machine.

Memory is the largest resident size so far: `VmHWM` of /proc/self/status on Linux, the `ru_maxrss`
of `getrusage` elsewhere (Linux adds to that one the size of the process that started it), libraries
and the interpreter included.
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

from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.errors import MeasurementError

PROGRAM = """
import sys
import numpy
import vae_runtime
path, precision, *providers = sys.argv[1:]
vae = vae_runtime.load(path, precision=precision, providers=providers)
vae.loss(numpy.zeros((1, *vae.manifest.input.shape), vae.manifest.input.dtype))
print(flush=True)
from vae_runtime.benchmark.cold_start import resident_bytes
print(resident_bytes(), flush=True)
"""
"""What a process that starts cold runs; it prints a line with its first score, and its memory."""


@dataclass(frozen=True)
class ColdStart:
    """From the start of a process to its first score; several starts together."""

    runtime: Annotated[str, "what scored, with its version"]
    precision: Annotated[str, "of what it scored with: float32, or a variant of the bundle"]
    starts: Annotated[int, "processes that were started"]
    median_ms: Annotated[float, "median time, in milliseconds"]
    fastest_ms: Annotated[float, "shortest"]
    slowest_ms: Annotated[float, "longest"]
    resident_mb: Annotated[float | None, "largest resident size, median, in 10^6 bytes"]


def cold_starts(
    path: Path, precisions: Sequence[str], providers: Sequence[str], count: int, runtime: str
) -> tuple[ColdStart, ...]:
    """Starts processes that load a bundle and score one sample.

    Args:
        path: the bundle, a folder or a single file.
        precisions: which graphs; they take turns.
        providers: short names.
        count: how many processes for each precision, one after the other.
        runtime: what to call it.

    Returns:
        One entry for each precision.

    Raises:
        MeasurementError: a process failed.
    """
    rounds = [[_start_once(path, name, providers) for name in precisions] for _ in range(count)]
    return tuple(
        put_together(runtime, *zip(*starts, strict=True), precision=name)
        for name, starts in zip(precisions, zip(*rounds, strict=True), strict=True)
    )


def _start_once(path: Path, precision: str, providers: Sequence[str]) -> tuple[float, int | None]:
    """Seconds until a process has scored, and its largest resident size in bytes."""
    import subprocess  # here, so that they cost the start of other processes nothing
    import tempfile

    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        began = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(path.absolute()), precision, *providers],
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


def put_together(
    runtime: str,
    seconds: Sequence[float],
    sizes: Sequence[int | None],
    *,
    precision: str = FLOAT32,
) -> ColdStart:
    """Puts several starts together.

    Args:
        runtime: what scored.
        seconds: of each start.
        sizes: largest resident size of each, in bytes; None where it is not known.
        precision: of what scored.
    """
    known = [size for size in sizes if size is not None]
    return ColdStart(
        runtime=runtime,
        precision=precision,
        starts=len(seconds),
        median_ms=1e3 * float(np.median(seconds)),
        fastest_ms=1e3 * min(seconds),
        slowest_ms=1e3 * max(seconds),
        resident_mb=float(np.median(known)) / 1e6 if known else None,
    )


def resident_bytes() -> int | None:
    """Largest resident size of this process so far; None where the system does not tell."""
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
    """This process's environment, for a Python that finds the same modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def last_line(text: str) -> str:
    """The last line of what a process wrote to standard error: Python's own message."""
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "it wrote no message"
