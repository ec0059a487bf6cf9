"""System calls of a child that change files, each shown to its parent before it happens.

A child puts a filter on its system calls (seccomp) that hands those that open for writing, write,
flush, rename or make folders to its parent, which lets each pass or answers it with an error. So
a fault also reaches what TensorFlow and HDF5 write in C++. Linux, on x86-64 and ARM; no privileges.
"""

import contextlib
import ctypes
import fcntl
import os
import platform
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

X86_64 = {
    1: "write",
    2: "open",
    18: "pwrite64",
    20: "writev",
    40: "sendfile",
    74: "fsync",
    75: "fdatasync",
    77: "ftruncate",
    82: "rename",
    83: "mkdir",
    257: "openat",
    258: "mkdirat",
    264: "renameat",
    285: "fallocate",
    296: "pwritev",
    316: "renameat2",
}
AARCH64 = {
    34: "mkdirat",
    38: "renameat",
    46: "ftruncate",
    47: "fallocate",
    56: "openat",
    64: "write",
    66: "writev",
    68: "pwrite64",
    70: "pwritev",
    71: "sendfile",
    82: "fsync",
    83: "fdatasync",
    276: "renameat2",
}
MACHINES = {"x86_64": (0xC000003E, 317, X86_64), "aarch64": (0xC00000B7, 277, AARCH64)}
"""By machine: how the kernel names it, the number of `seccomp`, the calls that are watched."""

NO_NEW_PRIVILEGES, SET_FILTER = 38, 1
ALL_THREADS, NEW_LISTENER, OR_NO_THREAD = 1, 8, 16
ALLOW, ASK = 0x7FFF0000, 0x7FC00000
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
RECEIVE, ANSWER, GO_ON = 0xC0502100, 0xC0182101, 1
QUESTION = struct.Struct("QIIiIQ6Q")  # id, thread, flags, number, architecture, address, arguments
REPLY = struct.Struct("QqiI")  # id, value, error, flags
PATH_MAX = 4096


@dataclass(frozen=True)
class Call:
    """A system call that changes files: its name, and the file."""

    name: str
    path: Path


@dataclass(frozen=True)
class Ended:
    """What became of a child: its status, what it told, and the calls that it made."""

    status: int
    told: str
    calls: list[Call]


Fault = Callable[[int], int]


def watched(work: Callable[[], str], folder: Path, fault: Fault = lambda _: 0) -> Ended:
    """Runs `work` in a child; `fault` of n is the errno that its n-th call below `folder` ends in.

    Calls are counted from 1; one with the errno 0 happens.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            socket.send_fds(theirs, [b"."], [_hand_over_calls()])
            theirs.sendall(work().encode())
            os._exit(0)
        os._exit(1)
    theirs.close()
    with ours:
        told, calls = _attend(ours, folder.resolve(), fault)
    return Ended(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), told.decode(), calls)


def _hand_over_calls() -> int:
    """Puts the filter on this process; a descriptor that receives its calls."""
    architecture, seccomp, names = MACHINES[platform.machine()]
    rules = [(LOAD, 0, 0, 4), (JUMP_IF_EQUAL, 1, 0, architecture), (RETURN, 0, 0, ALLOW)]
    rules.append((LOAD, 0, 0, 0))
    rules += [(JUMP_IF_EQUAL, len(names) - i, 0, number) for i, number in enumerate(names)]
    rules += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ASK)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(struct.pack("HP", len(rules), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    flags = ALL_THREADS | NEW_LISTENER | OR_NO_THREAD
    listener = libc.syscall(seccomp, SET_FILTER, flags, program)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "the filter is refused")
    return int(listener)


def _attend(child: socket.socket, folder: Path, fault: Fault) -> tuple[bytes, list[Call]]:
    """Answers a child's calls until it has ended."""
    told, calls = bytearray(), list[Call]()
    listener = socket.recv_fds(child, 1, 1)[1][0]
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    waiting.register(child, select.POLLIN)
    try:
        while True:
            for descriptor, event in waiting.poll():
                if descriptor == listener and event & select.POLLIN:
                    with contextlib.suppress(FileNotFoundError):  # it was killed meanwhile
                        _answer(listener, folder, fault, calls)
                elif descriptor == child.fileno():
                    if not (data := child.recv(1 << 16)):
                        return bytes(told), calls
                    told += data
    finally:
        os.close(listener)


def _answer(listener: int, folder: Path, fault: Fault, calls: list[Call]) -> None:
    question = bytearray(QUESTION.size)
    fcntl.ioctl(listener, RECEIVE, question)
    which, thread, _, number, _, _, *arguments = QUESTION.unpack(question)
    name, code = MACHINES[platform.machine()][2][number], 0
    path = _changed(name, thread, arguments)
    if path and path.is_relative_to(folder):
        calls.append(Call(name, path.relative_to(folder)))
        code = fault(len(calls))
    reply = REPLY.pack(which, 0, -code, 0 if code else GO_ON)
    fcntl.ioctl(listener, ANSWER, bytearray(reply))


def _changed(name: str, thread: int, arguments: list[int]) -> Path | None:
    """The file that a call would change; None where it only reads."""
    at = name.endswith("at") or name == "renameat2"
    if name.startswith("open") and not arguments[1 + at] & (os.O_ACCMODE | os.O_CREAT):
        return None
    if name.startswith(("open", "mkdir")):
        return _text(thread, arguments[at])
    if name.startswith("rename"):
        return _text(thread, arguments[3 if at else 1])
    with contextlib.suppress(OSError):
        return Path(f"/proc/{thread}/fd/{arguments[0]}").readlink()
    return None


def _text(thread: int, address: int) -> Path:
    """A path in a child's memory; the tests give absolute ones."""
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        return Path(os.fsdecode(memory.read(PATH_MAX).split(b"\0")[0]))
