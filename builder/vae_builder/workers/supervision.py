"""Supervision of a worker's process, which TensorFlow may keep from ending.

While TensorFlow connects workers, no other Python code of the process runs, and for as long as the
process lives TensorFlow catches SIGTERM. So the command runs in a child, and its parent, which has
not imported TensorFlow, supervises it:

- SIGTERM ends both at any moment, other signals reach the child;
- the child ends if its work inside `limited` takes too long;
- if the child is killed or crashes, the parent says so in one line and ends the same way;
- if the parent is killed, the child is killed too.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import select
import signal
import struct
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

UNFIT = 3
"""Exit status if the limit was exceeded; that of `vae_runtime.cli.main`."""
POLL_SECONDS = 0.2
"""Longest time until the parent sees that its child has ended."""
PR_SET_PDEATHSIG = 1
"""Linux: which signal a process gets when its parent ends."""

_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
]
"""Signals that the parent handles."""

_announcements: int | None = None
"""In a child, the pipe on which it announces the seconds of a limit; 0 ends the limit."""


def supervise() -> None:
    """Go on in a child of this process; the parent supervises it and never returns.

    Call this before TensorFlow is imported. Systems without `fork` go on unsupervised.
    """
    global _announcements
    if not hasattr(os, "fork"):
        return
    receiving, sending = os.pipe()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.flush()  # or both processes would write what is left
    parent = os.getpid()
    with warnings.catch_warnings():
        # Python warns of threads: those of NumPy's library are prepared for a fork.
        warnings.simplefilter("ignore", DeprecationWarning)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until the parent can handle them
        child = os.fork()
    if child:
        os.close(sending)
        _end_as(child, receiving)
    os.close(receiving)
    _announcements = sending
    _die_with(parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Let the parent end this process if the block takes longer; without a parent, no limit."""
    _announce(seconds)
    try:
        yield
    finally:
        _announce(0.0)


def _announce(seconds: float) -> None:
    if _announcements is not None:
        os.write(_announcements, struct.pack("d", seconds))


def _die_with(parent: int) -> None:
    """Let this process be killed when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:

        def watch() -> None:
            while os.getppid() == parent:
                time.sleep(POLL_SECONDS)
            os._exit(UNFIT)

        threading.Thread(target=watch, daemon=True).start()
    if os.getppid() != parent:
        os._exit(UNFIT)


def _end_as(child: int, announcements: int) -> NoReturn:
    """Wait for the child, and end as it ends."""
    terminated = False

    def terminate(number: int, frame: FrameType | None) -> None:
        nonlocal terminated
        terminated = True
        os.kill(child, signal.SIGKILL)

    def pass_on(number: int, frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in _SIGNALS:
        signal.signal(number, terminate if number == signal.SIGTERM else pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    status = _wait(child, announcements)
    if terminated:
        status = -signal.SIGTERM
    elif status < 0:
        name = signal.Signals(-status).name
        _tell(f"training was ended by {name}: start all workers again with --resume")
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def _wait(child: int, announcements: int) -> int:
    """Return the exit status of the child, as in `subprocess`; end it if it exceeds its limit."""
    seconds, deadline, pipes = 0.0, math.inf, [announcements]
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            _tell(
                "a worker has ended or cannot be reached: TensorFlow did not connect all within "
                f"{math.ceil(seconds)} s: start all workers again"
            )
            return UNFIT
        if select.select(pipes, [], [], POLL_SECONDS)[0]:
            content = os.read(announcements, struct.calcsize("d"))
            if content:
                (seconds,) = struct.unpack("d", content)
                deadline = time.monotonic() + seconds if seconds else math.inf
            else:
                pipes = []  # the child is about to end


def _tell(reason: str) -> None:
    if sys.stderr is not None:  # closed by the caller
        print(f"Error: {reason}", file=sys.stderr, flush=True)
