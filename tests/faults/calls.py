"""Interception of a child's system calls that change files, for fault injection.

The child sets a filter on its system calls (seccomp). Calls that open for writing, write, flush,
rename or make folders go to the parent, which lets each call pass or returns an error. So faults
also reach what TensorFlow and HDF5 write in C++. Linux on x86-64 and ARM; no privileges needed.
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
"""By machine: the kernel's code for it, the number of `seccomp`, the intercepted calls."""

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
    """A system call that changes a file: its name, and the file."""

    name: str
    path: Path


@dataclass(frozen=True)
class ChildResult:
    """Result of a child: exit status, output of its function, and the intercepted calls."""

    status: int
    output: str
    calls: list[Call]


Fault = Callable[[int], int]


def intercepted(work: Callable[[], str], folder: Path, fault: Fault = lambda _: 0) -> ChildResult:
    """Run `work` in a child and intercept its calls on files below `folder`.

    `fault` maps the number of a call, counted from 1, to its errno; 0 lets the call pass.
    """
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            socket.send_fds(theirs, [b"."], [_install_filter()])
            theirs.sendall(work().encode())
            os._exit(0)
        os._exit(1)
    theirs.close()
    with ours:
        output, calls = _answer_calls(ours, folder.resolve(), fault)
    return ChildResult(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode(), calls)


def _install_filter() -> int:
    """Set the filter on this process; return a descriptor that receives its calls."""
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


def _answer_calls(child: socket.socket, folder: Path, fault: Fault) -> tuple[bytes, list[Call]]:
    """Answer a child's calls until it has ended."""
    output, calls = bytearray(), list[Call]()
    listener = socket.recv_fds(child, 1, 1)[1][0]
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    waiting.register(child, select.POLLIN)
    try:
        while True:
            for descriptor, event in waiting.poll():
                if descriptor == listener and event & select.POLLIN:
                    with contextlib.suppress(FileNotFoundError):  # the child was killed meanwhile
                        _answer_call(listener, folder, fault, calls)
                elif descriptor == child.fileno():
                    if not (data := child.recv(1 << 16)):
                        return bytes(output), calls
                    output += data
    finally:
        os.close(listener)


def _answer_call(listener: int, folder: Path, fault: Fault, calls: list[Call]) -> None:
    question = bytearray(QUESTION.size)
    fcntl.ioctl(listener, RECEIVE, question)
    which, thread, _, number, _, _, *arguments = QUESTION.unpack(question)
    name, code = MACHINES[platform.machine()][2][number], 0
    path = _changed_file(name, thread, arguments)
    if path and path.is_relative_to(folder):
        calls.append(Call(name, path.relative_to(folder)))
        code = fault(len(calls))
    reply = REPLY.pack(which, 0, -code, 0 if code else GO_ON)
    fcntl.ioctl(listener, ANSWER, bytearray(reply))


def _changed_file(name: str, thread: int, arguments: list[int]) -> Path | None:
    """Return the file that a call would change; None if it only reads."""
    at = name.endswith("at") or name == "renameat2"
    if name.startswith("open") and not arguments[1 + at] & (os.O_ACCMODE | os.O_CREAT):
        return None
    if name.startswith(("open", "mkdir")):
        return _read_path(thread, arguments[at])
    if name.startswith("rename"):
        return _read_path(thread, arguments[3 if at else 1])
    with contextlib.suppress(OSError):
        return Path(f"/proc/{thread}/fd/{arguments[0]}").readlink()
    return None


def _read_path(thread: int, address: int) -> Path:
    """Read a path from a child's memory; the tests use absolute paths."""
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as memory:
        memory.seek(address)
        return Path(os.fsdecode(memory.read(PATH_MAX).split(b"\0")[0]))
