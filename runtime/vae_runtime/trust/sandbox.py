"""The parity check of a bundle in a child process with limits on memory and time.

What a graph computes is known only when it runs: sizes may depend on its inputs, and ONNX Runtime
may crash on a graph that passes every check. So you can run a bundle that you do not trust in a
child process, which has limits on computing time and on the memory beyond what it starts with. A
crash or an exceeded limit becomes one error. The child cannot gain new privileges, and it leaves no
core file.

The limits protect against accidents and excessive sizes. They do not protect against code: if a
graph can make ONNX Runtime execute an attacker's code, that code runs as the calling user.
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

DEFAULT_MEMORY_MIB = 1024
"""Memory limit in MiB, beyond what the child process starts with."""

DEFAULT_SECONDS = 60.0
"""Limit in seconds of the child's computing time."""

_REFUSED, _OUT_OF_MEMORY = 3, 5
_OUT_OF_MEMORY_SIGNS = ("bad_alloc", "ailed to allocate memory", "out of memory")
_PR_SET_NO_NEW_PRIVS = 38


@dataclass(frozen=True)
class SandboxReport:
    """The child's `BundleReport`: its `passed`, its table (`str`) and its `to_dict`."""

    passed: bool
    table: str
    report: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types, the same as without a sandbox."""
        return self.report

    def __str__(self) -> str:
        return self.table


def verify_in_sandbox(
    bundle: str | os.PathLike[str],
    *,
    memory: int = DEFAULT_MEMORY_MIB,
    seconds: float = DEFAULT_SECONDS,
    precision: str | None = None,
    sha256: str | None = None,
    providers: Sequence[str] = ("cpu",),
    threads: int | None = None,
    batch_size: int | None = None,
    allow_fallback: bool = False,
) -> SandboxReport:
    """Verify a bundle in a child process.

    Args:
        bundle: the bundle, a folder or a single file.
        memory: memory limit in MiB, beyond what the child starts with.
        seconds: limit of the child's computing time; it may take 10 s more in all.
        precision: as for `verify_bundle`, as are the other options.
        sha256: expected digest of the bundle.
        providers: execution providers.
        threads: number of threads, 1 by default: each has a stack, which counts as memory.
        batch_size: samples in one run of a graph.
        allow_fallback: run on the CPU if a provider is missing.

    Raises:
        BundleError: the child refused the bundle, exceeded a limit, or crashed.
        OptionError: a limit is not positive, or this is not Linux.
    """
    if sys.platform != "linux":
        raise OptionError(f"the sandbox needs Linux, this is {sys.platform}: verify without it")
    if memory < 1 or not 0 < seconds < 1e9:
        raise OptionError(f"memory {memory} and seconds {seconds} must be more than 0")
    options = {
        "precision": precision,
        "sha256": sha256,
        "providers": list(providers),
        "threads": threads or 1,
        "batch_size": batch_size,
        "allow_fallback": allow_fallback,
        "tuned": False,
    }
    arguments = json.dumps([os.fspath(bundle), memory, seconds, options])
    command = [sys.executable, "-P", "-c", f"from {__name__} import _child; _child()", arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        child = subprocess.run(
            command, capture_output=True, env=environment, timeout=seconds + 10, check=False
        )
    except subprocess.TimeoutExpired:
        raise _error(bundle, f"was ended after {seconds:g} s: it did not finish") from None
    return _read_report(bundle, child, memory, seconds)


def _read_report(
    bundle: str | os.PathLike[str],
    child: subprocess.CompletedProcess[bytes],
    memory: int,
    seconds: float,
) -> SandboxReport:
    status = child.returncode
    if status == _REFUSED:
        raise BundleError(f"in the sandbox: {child.stdout.decode(errors='replace')}")
    if status == _OUT_OF_MEMORY:
        raise _error(bundle, f"asked for more than {memory} MiB of memory")
    if status in (-signal.SIGXCPU, -signal.SIGKILL):
        raise _error(bundle, f"was ended after {seconds:g} s of computing, or for its memory")
    if status < 0:
        name = signal.Signals(-status).name
        raise _error(bundle, f"crashed with {name}, in {memory} MiB of memory")
    try:
        return SandboxReport(**json.loads(child.stdout))
    except (ValueError, TypeError):
        last = child.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise _error(bundle, f"ended with status {status}: {' '.join(last):.200}") from None


def _error(bundle: str | os.PathLike[str], what: str) -> BundleError:
    return BundleError(
        f"{os.fspath(bundle)} {what}: do not use it, or raise the limits of the sandbox if you "
        "trust it"
    )


def _child() -> None:
    """Run in the child process: set the limits, verify, write the report, and exit."""
    from vae_runtime.inference.providers import import_onnxruntime
    from vae_runtime.trust.verification import verify_bundle

    bundle, memory, seconds, options = json.loads(sys.argv[1])
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # keep what libraries print out of the report
    status = 0
    try:
        import_onnxruntime()
        _set_limits(memory, seconds)
        report = verify_bundle(bundle, **options)
        text = json.dumps(vars(SandboxReport(report.passed, str(report), report.to_dict())))
    except BuildVaeError as error:
        text, status = " ".join(str(error).split()), _REFUSED
        if any(sign in text for sign in _OUT_OF_MEMORY_SIGNS):
            status = _OUT_OF_MEMORY
    except MemoryError:
        text, status = "", _OUT_OF_MEMORY
    out.write(text)
    out.flush()
    os._exit(status)


def _set_limits(memory: int, seconds: float) -> None:
    """Limit this process: no new privileges, `memory` MiB more than now, no core file."""
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
