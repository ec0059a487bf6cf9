"""Forks of a process that has a model loaded, as servers make them.

Only the thread that forks goes on in the child. A lock that another thread holds stays locked there
for ever, and a session of ONNX Runtime waits for ever for its threads. So a fork waits until no
session is being opened, and in the child every `ForkAware` object is renewed before any other code
runs: it has a new lock, and no sessions or threads of its parent. Windows has no fork.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from typing import Any
from weakref import WeakSet

MAX_WAIT_SECONDS = 10.0
"""How long a fork waits for one lock. Its holder may itself wait for a lock that a library holds
during the fork, so waiting for ever could be a deadlock."""

_TELEMETRY = "onnxruntime" in sys.modules or os.environ.get("ORT_DISABLE_TELEMETRY", "1") != "1"
"""Whether ONNX Runtime may have a thread that collects events; see `inference.providers`."""

_registry = threading.RLock()
_living: WeakSet[ForkAware] = WeakSet()
_held: list[Any] = []


class ForkAware:
    """An object with a lock that a fork waits for; the child has a new lock.

    The lock may be held while another thread must not fork: because native code initializes itself,
    or a module is being imported. Only locks that are acquired `last` may be acquired while another
    one is held, and a fork acquires them last too.
    """

    def __init__(self, *, last: bool = False) -> None:
        self.last = last
        self.lock = threading.RLock()  # reentrant: a signal handler may fork
        with _registry:
            _living.add(self)

    def renew(self) -> None:
        """Replace what does not work in the child of a fork; no other thread runs yet."""
        self.lock = threading.RLock()


IMPORTING = ForkAware(last=True)
"""Its lock is held while a library is imported: a half imported module stays locked in a child."""


def leak(value: object) -> None:
    """Keep an object until the process ends: ending a parent's session would wait for threads."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))


def _before() -> None:
    _registry.acquire()
    for each in sorted(_living, key=lambda each: each.last):
        if each.lock.acquire(timeout=MAX_WAIT_SECONDS):
            _held.append(each.lock)


def _in_parent() -> None:
    while _held:
        _held.pop().release()
    _registry.release()


def _in_child() -> None:
    global _registry
    _registry = threading.RLock()
    _held.clear()
    for each in list(_living):
        each.renew()
    if _TELEMETRY:
        _leave_without_destructors()


def _leave_without_destructors() -> None:
    """Let this process end before ONNX Runtime waits for a thread that only its parent has.

    Python has ended by then, and C's streams are flushed. Only the GNU C library can do this.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # what is registered last runs first
        libc.on_exit(libc._exit, None)
        libc.__cxa_atexit(libc.fflush, None, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
