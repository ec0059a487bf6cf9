"""Kills of processes that publish: what a reader finds, and what is left behind.

    python tests/faults/kills.py --kills 1000 --seed 0

A child replaces old content with new: a bundle's folder (exchanged in one step, in two steps, or
new), a single file as `pack` writes it, or a file of a run folder. It is killed (SIGKILL) before
each of its system calls in turn, then at random moments. After each kill the old or the new content
must be there, complete. There may be nothing if nothing was there before, or, for a folder that is
exchanged in two steps, until the next run restores the old one. Then new content is written without
a kill, and nothing else may remain.

The exit status is 1 if a promise was broken. Linux and macOS.
"""

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vae_runtime.bundle import publishing as publish
from vae_runtime.files import archive, atomic_files

FILE_SIZES = {"manifest.json": 4, "deep/file": 200_000, "graph.onnx": 50_000}
FILE_EVENTS = ("open", "os.", "shutil.", "tempfile.")


def write_folder(target: Path, content: bytes) -> None:
    with publish.publishing(target, force=True) as folder:
        for name, size in FILE_SIZES.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content * size)


def write_in_two_steps(target: Path, content: bytes) -> None:
    publish._exchange = lambda first, second: False
    write_folder(target, content)


def read_folder(target: Path) -> bytes | None:
    if not target.exists():
        return None
    found = {name: (target / name).read_bytes() for name in FILE_SIZES}
    kinds = {data[:1] for data in found.values()}
    whole = all(data == data[:1] * FILE_SIZES[name] for name, data in found.items())
    if len(kinds) != 1 or not whole or len(list(target.rglob("*"))) != len(FILE_SIZES) + 1:
        raise AssertionError("mixed or incomplete content")
    return kinds.pop()


def write_pack(target: Path, content: bytes) -> None:
    with atomic_files.replacing(target) as file:
        archive.write(file, ((name, content * size) for name, size in FILE_SIZES.items()))


def read_pack(target: Path) -> bytes | None:
    if not target.exists():
        return None
    with target.open("rb") as file:
        entries = archive.read_directory(file, target.stat().st_size)
        data = b"".join(archive.read_entry(file, entry)[:1] for entry in entries.values())
    assert data == data[:1] * len(FILE_SIZES)
    return data[:1]


def write_file(target: Path, content: bytes) -> None:
    with atomic_files.replacing(target) as file:
        for _ in range(20):
            file.write(content * 5000)


def read_file(target: Path) -> bytes | None:
    if not target.exists():
        return None
    data = target.read_bytes()
    assert data == data[:1] * 100_000, "incomplete content"
    return data[:1]


@dataclass(frozen=True)
class Target:
    """How a target is written and read, whether it replaces an old one, and may be missing."""

    write: Callable[[Path, bytes], None]
    read: Callable[[Path], bytes | None]
    replaces: bool = True
    may_be_missing: bool = False


TARGETS = {
    "new folder": Target(write_folder, read_folder, replaces=False),
    "folder, exchanged": Target(write_folder, read_folder),
    "folder, two steps": Target(write_in_two_steps, read_folder, may_be_missing=True),
    "single file": Target(write_pack, read_pack),
    "file of a run": Target(write_file, read_file),
}


class KillBeforeCall:
    """Kill of this process before its n-th system call on files."""

    def __init__(self, at: int) -> None:
        self.left = at
        sys.addaudithook(self.hook)
        for owner, name in ((os, "fsync"), (publish, "_exchange")):
            setattr(owner, name, self.counted(getattr(owner, name)))

    def hook(self, event: str, _: object) -> None:
        if event.startswith(FILE_EVENTS):
            self.step()

    def counted(self, function):
        def call(*arguments):
            self.step()
            return function(*arguments)

        return call

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def start_writer(kind: Target, target: Path, content: bytes, step: int | None = None) -> int:
    """Start a child that writes, and is killed before call `step`; return its process ID."""
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            if step:
                KillBeforeCall(step)
            kind.write(target, content)
            status = 0
        os._exit(status)
    return pid


def exit_status(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def examine(kind: Target, target: Path) -> str:
    """Check what a reader finds after a kill, and that the next run leaves only its content."""
    found = kind.read(target)
    allowed = {b"o", b"n"} if kind.replaces else {None, b"n"}
    if found not in allowed | ({None} if kind.may_be_missing else set()):
        raise AssertionError(f"found {found!r}")
    assert exit_status(start_writer(kind, target, b"x")) == 0, "the next run fails"
    assert kind.read(target) == b"x", "the next run did not write"
    left = sorted(path.name for path in target.parent.iterdir())
    assert left == [target.name], f"leftovers: {left}"
    return {None: "nothing yet", b"o": "old", b"n": "new"}[found]


def kill_once(kind: Target, folder: Path, *, step: int | None, wait: float) -> tuple[bool, str]:
    """Kill one child; return whether it came before the end, and what was found."""
    folder.mkdir()
    target = folder / "target"
    if kind.replaces:
        assert exit_status(start_writer(kind, target, b"o")) == 0
    pid = start_writer(kind, target, b"n", step)
    if step is None:
        time.sleep(wait)
        os.kill(pid, signal.SIGKILL)
    status = exit_status(pid)
    assert status in (0, -signal.SIGKILL), f"status {status}"
    return status != 0, examine(kind, target)


def kill_at_every_step(kind: Target, folder: Path, found: Counter[str]) -> int:
    """Kill before each system call in turn; return the number of calls."""
    step = 1
    while True:
        killed, what = kill_once(kind, folder / f"step {step}", step=step, wait=0)
        if not killed:
            return step - 1
        found[what] += 1
        step += 1


def duration(kind: Target, folder: Path) -> float:
    folder.mkdir()
    start = time.monotonic()
    exit_status(start_writer(kind, folder / "target", b"o"))
    exit_status(start_writer(kind, folder / "target", b"n"))
    return (time.monotonic() - start) / 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000, help="total number at random moments")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to write [default: temporary files]")
    options = parser.parse_args()
    rng, total, broken = random.Random(options.seed), 0, 0
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        for number, (name, kind) in enumerate(TARGETS.items()):
            folder, found = Path(work) / str(number), Counter[str]()
            folder.mkdir()
            steps = random_kills = 0
            try:
                steps = kill_at_every_step(kind, folder, found)
                longest = 1.2 * duration(kind, folder / "time")
                while random_kills < options.kills // len(TARGETS):
                    where = folder / f"{random_kills} {rng.random()}"
                    killed, what = kill_once(kind, where, step=None, wait=rng.random() * longest)
                    found[what] += 1
                    random_kills += killed
            except AssertionError as error:
                broken += 1
                print(f"FOUND {name}: {error}")
            total += steps + random_kills
            outcomes = ", ".join(f"{count} {what}" for what, count in sorted(found.items()))
            print(f"{name}: {steps} steps, {random_kills} random kills: {outcomes}", flush=True)
    print(f"{total} kills: {broken} promises broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
