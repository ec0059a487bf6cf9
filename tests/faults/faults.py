"""Faults at every system call that writes: the command's message, and what is left on disk.

    python tests/faults/faults.py [training export pack sign bench] [--faults 10]

A command writes a training run, or replaces a bundle, a single file, a signature or a saved tuning.
Each system call that opens for writing, writes, flushes, renames or makes a folder fails in turn,
also those of TensorFlow and HDF5. Either one call fails with EIO, or, as on a full disk, all calls
from this one on fail with ENOSPC. The command must end with status 3 and one line that names the
place and the cause. It must leave either the old or the new content, complete, and nothing else. A
training run must then resume to the same weights as without a fault, and leave nothing else.

The exit status is 1 if a promise was broken. Linux.
"""

import argparse
import errno
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import calls
import tiny

from vae_runtime.benchmark.report import BenchReport
from vae_runtime.benchmark.timing import Timing
from vae_runtime.cli import bench as bench_cli
from vae_runtime.inference.tuning import Tuning, TuningKey
from vae_runtime.trust.signing import check_signature

CODES = (errno.EIO, errno.ENOSPC)
PLACE = TuningKey("ab" * 32, "1.2.3", ("cpu",), "a processor", 4)
TIMING = Timing("ONNX Runtime 1.2.3", "float32", 1, 1, 256, 10, 0.1, None, None, 1e4, 0.0)
BEST = {"float32": Tuning(2, 64)}
REPORT = BenchReport("vae", PLACE, 3, (TIMING,), (), (TIMING,), (), BEST, (), ())


@dataclass(frozen=True)
class Command:
    """A command under test; both functions take the folder of its inputs and its target.

    `words` returns the command line. `read` reads what was written, and raises if it is incomplete.
    """

    words: Callable[[Path, Path], list[str]]
    read: Callable[[Path, Path], object]
    resumes: bool = False


def read_signature(home: Path, target: Path) -> None:
    check_signature(home / "bundle", home / "key.pub", target)


def read_tuning(_: Path, target: Path) -> None:
    files = [path for path in target.rglob("*") if path.is_file()]
    assert [json.loads(path.read_bytes())["tuning"] for path in files] == [vars(Tuning(2, 64))]


COMMANDS = {
    "training": Command(
        lambda home, target: tiny.train_words(target, home / tiny.DATA),
        lambda _, target: tiny.weights(target),
        resumes=True,
    ),
    "export": Command(
        lambda home, target: tiny.export_words(target, home / "run"),
        lambda _, target: tiny.digest(target),
    ),
    "pack": Command(
        lambda home, target: ["pack", str(home / "bundle"), "-o", str(target)],
        lambda _, target: tiny.digest(target),
    ),
    "sign": Command(
        lambda home, target: [
            *("sign", str(home / "bundle"), "-o", str(target)),
            *("--private-key", str(home / "key.pem")),
        ],
        read_signature,
    ),
    "bench": Command(
        lambda home, target: ["bench", str(home / "bundle"), "--save", "--quiet"], read_tuning
    ),
}


def make_inputs(home: Path) -> None:
    """Make data, a run and its bundle."""
    home.mkdir()
    tiny.make_data(home)
    tiny.run_command(tiny.train_words(home / "run", home / tiny.DATA))
    tiny.run_command(tiny.export_words(home / "bundle", home / "run"))


def make_keys(home: Path) -> None:
    """Make a key pair; the signing modules are imported here, once for all children."""
    import model_signing.signing
    import model_signing.verifying
    from cryptography.hazmat.primitives import serialization as keys
    from cryptography.hazmat.primitives.asymmetric import ec

    assert model_signing.signing and model_signing.verifying
    key = ec.generate_private_key(ec.SECP256R1())
    pem, info = keys.Encoding.PEM, keys.PublicFormat.SubjectPublicKeyInfo
    private = key.private_bytes(pem, keys.PrivateFormat.PKCS8, keys.NoEncryption())
    (home / "key.pem").write_bytes(private)
    (home / "key.pub").write_bytes(key.public_key().public_bytes(pem, info))


class Trial:
    """A command in a separate folder; the constructor runs it once without a fault."""

    def __init__(self, command: Command, home: Path, folder: Path) -> None:
        self.command, self.home, self.folder = command, home, folder
        self.target = folder / "target"
        os.environ["XDG_CACHE_HOME"] = str(self.target)  # bench saves here
        self.words = command.words(home, self.target)
        folder.mkdir()
        if self.words[0] == "export":
            shutil.copytree(home / "bundle", self.target)
        elif not command.resumes:
            tiny.run_command(self.words)
        self.before = shutil.copytree(folder, folder.with_name(f"{folder.name} before"))
        self.calls = calls.intercepted(self.run, folder).calls
        self.whole, self.names = self.read(), self.left()

    def run(self) -> str:
        return tiny.command(self.words)

    def read(self) -> object:
        return self.command.read(self.home, self.target)

    def left(self) -> list[str]:
        """Return the names of all files; TensorBoard's event files without number and time."""
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))
        return sorted({name.split(".tfevents.")[0] for name in found})

    def fail(self, at: int, code: int) -> str:
        """Run the command with a failing call; return the call's name."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.before, self.folder)

        def fault(number: int) -> int:
            return code if number == at or (number > at and code == errno.ENOSPC) else 0

        ended = calls.intercepted(self.run, self.folder, fault)
        call = self.calls[at - 1]
        where = f"call {at}, {call.name} {call.path}, {errno.errorcode[code]}"
        try:
            assert ended.status == 0, "the process died"
            if ended.output != tiny.DONE or not may_succeed(call):
                self.check_message(*json.loads(ended.output), code)
            if self.command.resumes:
                self.resume()
            self.read()
            assert self.left() == self.names, f"leftovers: {set(self.left()) ^ set(self.names)}"
        except Exception as error:
            raise AssertionError(f"{where}: {error!r}") from error
        return call.name

    def check_message(self, status: int, text: str, code: int) -> None:
        assert status == 3, f"status {status}: {text}"
        lines = text.splitlines()
        assert len(lines) == 1, text
        assert lines[0].startswith("Error: "), text
        assert str(self.folder) in text, text
        assert os.strerror(code) in text, text
        assert ": " in text.partition(os.strerror(code))[2], f"no remedy: {text}"

    def resume(self) -> None:
        """Resume the run if it has begun, else start it; check its weights."""
        begun = (self.target / "run.json").exists()
        tiny.run_command(tiny.resume_words(self.target) if begun else self.words)
        assert self.read() == self.whole, "the weights differ"


def may_succeed(call: calls.Call) -> bool:
    """Whether the command may succeed anyway: the folder exists, or another probe of it works."""
    return call.name == "mkdir" or (call.name, call.path) == ("openat", Path())


def chosen_faults(count: int, faults: int | None) -> list[tuple[int, int]]:
    """Return numbers of calls, from 1, with error codes: all, or `faults` evenly spread ones."""
    every = [(at, code) for at in range(1, count + 1) for code in CODES]
    if faults is None or faults >= len(every):
        return every
    spread = (round(i * (count - 1) / max(1, faults - 1)) for i in range(faults))
    return [(1 + at, CODES[i % 2]) for i, at in enumerate(spread)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commands", nargs="*", choices=[[], *COMMANDS], metavar="COMMAND")
    parser.add_argument("--faults", type=int, help="faults for each command [default: all]")
    options = parser.parse_args()
    bench_cli.bench = lambda *_, **__: REPORT
    total = broken = 0
    with tempfile.TemporaryDirectory() as work:
        home = Path(work).resolve() / "home"
        make_inputs(home)
        names = options.commands or COMMANDS
        if "sign" in names:
            make_keys(home)
        for number, name in enumerate(names):
            trial = Trial(COMMANDS[name], home, home.with_name(str(number)))
            survived = Counter[str]()
            for at, code in chosen_faults(len(trial.calls), options.faults):
                try:
                    survived[trial.fail(at, code)] += 1
                except AssertionError as error:
                    broken += 1
                    print(f"FOUND {name}: {error}", flush=True)
            total += survived.total()
            kinds = ", ".join(f"{count} {call}" for call, count in sorted(survived.items()))
            print(f"{name}: {len(trial.calls)} calls, faults survived: {kinds}", flush=True)
    print(f"{total + broken} faults: {broken} promises broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
