"""A bundle's parity check in a process of its own, with limits on its memory and its time.

What a graph computes is known only when it runs: sizes may follow from its inputs, and ONNX Runtime
may end the process on a graph that no check objects to. So a bundle that is not trusted can be run
where that hurts nobody: in a child that may hold so much memory beyond what it starts with, and
compute for so long. Whatever becomes of it is reported. On Linux the child may also gain no new
privileges, and leaves no core file.

This bounds damage by accident and by size. It is not a wall against code: an ONNX Runtime that can
be made to run an attacker's code runs it as the user who called.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_runtime.errors import BuildVaeError, BundleError, OptionError

MEMORY = 1024
"""MiB that a child may hold beyond what it starts with."""

SECONDS = 60.0
"""Seconds that it may compute, and that it may take."""

_REFUSED, _OUT_OF_MEMORY = 3, 5
_PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True)
class SandboxReport:
    """What a child reported of a bundle.

    Attributes:
        passed: whether all differences are within the manifest's tolerances.
        table: `str` of the child's `BundleReport`.
        report: its `to_dict`.
    """

    passed: bool
    table: str
    report: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types, as of a bundle that is verified without a sandbox."""
        return self.report

    def __str__(self) -> str:
        """The report as tables."""
        return self.table


def verify_in_sandbox(
    bundle: str | os.PathLike[str],
    *,
    memory: int = MEMORY,
    seconds: float = SECONDS,
    precision: str | None = None,
    sha256: str | None = None,
    providers: Sequence[str] = ("cpu",),
    threads: int | None = None,
    batch_size: int | None = None,
    allow_fallback: bool = False,
) -> SandboxReport:
    """Loads and verifies a bundle in a child process.

    Args:
        bundle: the bundle, a folder or a single file.
        memory: MiB that the child may hold beyond what it starts with.
        seconds: how long it may compute, and take.
        precision: only this one, `float32` or a variant; all where left out.
        sha256: the digest that the bundle must have.
        providers: as for `load`.
        threads: as for `load`.
        batch_size: as for `load`.
        allow_fallback: as for `load`.

    Returns:
        The child's report.

    Raises:
        BundleError: the child was ended by a limit or crashed, or refused the bundle.
        OptionError: a limit is not positive, or this system has none.
    """
    if sys.platform != "linux":
        raise OptionError(f"the sandbox needs Linux, this is {sys.platform}: verify without it")
    if memory < 1 or not 0 < seconds < 1e9:
        raise OptionError(f"memory {memory} and seconds {seconds} must be more than 0")
    options = {
        "precision": precision,
        "sha256": sha256,
        "providers": list(providers),
        "threads": threads,
        "batch_size": batch_size,
        "allow_fallback": allow_fallback,
        "tuned": False,
    }
    words = json.dumps([os.fspath(bundle), memory, seconds, options])
    command = [sys.executable, "-P", "-c", f"from {__name__} import _child; _child()", words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        child = subprocess.run(
            command, capture_output=True, env=environment, timeout=seconds + 10, check=False
        )
    except subprocess.TimeoutExpired:
        raise _ended(bundle, f"was ended after {seconds:g} s: it did not come to an end") from None
    return _reported(bundle, child, memory, seconds)


def _reported(
    bundle: str | os.PathLike[str],
    child: subprocess.CompletedProcess[bytes],
    memory: int,
    seconds: float,
) -> SandboxReport:
    status = child.returncode
    if status == _REFUSED:
        raise BundleError(f"in the sandbox: {child.stdout.decode(errors='replace')}")
    if status == _OUT_OF_MEMORY:
        raise _ended(bundle, f"asked for more than {memory} MiB of memory")
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _ended(bundle, f"was ended after {seconds:g} s of computing, or for its memory")
    if status < 0:
        name = signal.Signals(-status).name
        raise _ended(bundle, f"crashed with {name}, in {memory} MiB of memory")
    try:
        told = json.loads(child.stdout)
        return SandboxReport(told["passed"], told["table"], told["report"])
    except (ValueError, LookupError, TypeError):
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise _ended(bundle, f"ended with status {status}: {' '.join(last):.200}") from None


def _ended(bundle: str | os.PathLike[str], what: str) -> BundleError:
    return BundleError(
        f"{os.fspath(bundle)} {what}: do not use it, or raise the limits of the sandbox if you "
        "trust it"
    )


def _child() -> None:
    """What runs in the child: limits itself, verifies, tells, and ends."""
    from vae_runtime.inference.providers import onnxruntime
    from vae_runtime.trust.verification import verify_bundle

    bundle, memory, seconds, options = json.loads(sys.argv[1])
    if options["threads"] is None:
        options["threads"] = 1  # each thread has a stack, which counts
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no report
    status = 0
    try:
        onnxruntime()
        _limit(memory, seconds)
        report = verify_bundle(bundle, **options)
        told = {"passed": report.passed, "table": str(report), "report": report.to_dict()}
        text = json.dumps(told)
    except BuildVaeError as error:
        text, status = " ".join(str(error).split()), _REFUSED
        if "bad_alloc" in text or "ailed to allocate memory" in text:
            status = _OUT_OF_MEMORY
    except MemoryError:
        text, status = "", _OUT_OF_MEMORY
    out.write(text)
    out.flush()
    os._exit(status)


def _limit(memory: int, seconds: float) -> None:
    """Bounds this process: what it may hold, compute, and become."""
    import resource

    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    status = Path("/proc/self/status").read_text()
    held = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    for limit, value in (
        (resource.RLIMIT_DATA, (held << 10) + (memory << 20)),
        (resource.RLIMIT_CPU, int(seconds) + 1),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (lowest, lowest))
