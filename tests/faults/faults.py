"""Faults at every system call that writes: what the command says, and what is left on disk.

    python tests/faults/faults.py [training export pack sign bench] [--faults 10]

A command writes: a training run, or a bundle, a single file, a signature, a saved tuning in the
place of an old one. Each of its system calls that opens for writing, writes, flushes, renames or
makes a folder fails in turn, those of TensorFlow and HDF5 too: once with EIO, and, as on a disk
that is full, from there on with ENOSPC. Each time the command must end with status 3 and one line
that names the place and the cause, and leave the old content or the new, whole, and nothing else.
A training run must then go on to the weights of one without a fault, and leave nothing else.

Ends with status 1 where a promise was broken. Linux.
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
from vae_runtime.inference.tuning import Place, Tuning
from vae_runtime.trust.signing import check_signature

CODES = (errno.EIO, errno.ENOSPC)
PLACE = Place("ab" * 32, "1.2.3", ("cpu",), "a processor", 4)
TIMING = Timing("ONNX Runtime 1.2.3", "float32", 1, 1, 256, 10, 0.1, None, None, 1e4, 0.0)
BEST = {"float32": Tuning(2, 64)}
REPORT = BenchReport("vae", PLACE, 3, (TIMING,), (), (TIMING,), (), BEST, (), ())


@dataclass(frozen=True)
class Subject:
    """A command: what its words are, what it writes, and how that is read; raises where not whole.

    Words and reader take the folder of its inputs and the target.
    """

    words: Callable[[Path, Path], list[str]]
    read: Callable[[Path, Path], object]
    resumes: bool = False


def read_signature(home: Path, target: Path) -> None:
    check_signature(home / "bundle", home / "key.pub", target)


def read_tuning(_: Path, target: Path) -> None:
    files = [path for path in target.rglob("*") if path.is_file()]
    assert [json.loads(path.read_bytes())["tuning"] for path in files] == [vars(Tuning(2, 64))]


SUBJECTS = {
    "training": Subject(
        lambda home, target: tiny.train_words(target, home / tiny.DATA),
        lambda _, target: tiny.weights(target),
        resumes=True,
    ),
    "export": Subject(
        lambda home, target: tiny.export_words(target, home / "run"),
        lambda _, target: tiny.digest(target),
    ),
    "pack": Subject(
        lambda home, target: ["pack", str(home / "bundle"), "-o", str(target)],
        lambda _, target: tiny.digest(target),
    ),
    "sign": Subject(
        lambda home, target: [
            *("sign", str(home / "bundle"), "-o", str(target)),
            *("--private-key", str(home / "key.pem")),
        ],
        read_signature,
    ),
    "bench": Subject(
        lambda home, target: ["bench", str(home / "bundle"), "--save", "--quiet"], read_tuning
    ),
}


def make_inputs(home: Path) -> None:
    """Data, a run, and its bundle."""
    home.mkdir()
    tiny.make_data(home)
    tiny.done(tiny.train_words(home / "run", home / tiny.DATA))
    tiny.done(tiny.export_words(home / "bundle", home / "run"))


def make_keys(home: Path) -> None:
    """A pair of keys; signing and checking are imported here, once for all children."""
    import model_signing.signing
    import model_signing.verifying
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    assert model_signing.signing and model_signing.verifying
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    shown = form.PublicFormat.SubjectPublicKeyInfo
    (home / "key.pem").write_bytes(private)
    (home / "key.pub").write_bytes(key.public_key().public_bytes(form.Encoding.PEM, shown))


class Trial:
    """One command in a folder of its own, at first without a fault."""

    def __init__(self, subject: Subject, home: Path, folder: Path) -> None:
        self.subject, self.home, self.folder = subject, home, folder
        self.target = folder / "target"
        os.environ["XDG_CACHE_HOME"] = str(self.target)  # where bench saves
        self.words = subject.words(home, self.target)
        folder.mkdir()
        if self.words[0] == "export":
            shutil.copytree(home / "bundle", self.target)
        elif not subject.resumes:
            tiny.done(self.words)
        self.before = shutil.copytree(folder, folder.with_name(f"{folder.name} before"))
        self.calls = calls.watched(self.run, folder).calls
        self.whole, self.names = self.read(), self.left()

    def run(self) -> str:
        return tiny.command(self.words)

    def read(self) -> object:
        return self.subject.read(self.home, self.target)

    def left(self) -> list[str]:
        """Names of all that is there, those of TensorBoard's events without number and time."""
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*"))
        return sorted({name.split(".tfevents.")[0] for name in found})

    def fail(self, at: int, code: int) -> str:
        """Lets a call fail; the call."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.before, self.folder)

        def fault(number: int) -> int:
            return code if number == at or (number > at and code == errno.ENOSPC) else 0

        ended = calls.watched(self.run, self.folder, fault)
        call = self.calls[at - 1]
        where = f"call {at}, {call.name} {call.path}, {errno.errorcode[code]}"
        try:
            assert ended.status == 0, "the process died"
            if ended.told != tiny.DONE or not has_another_way(call):
                self.check_words(*json.loads(ended.told), code)
            if self.subject.resumes:
                self.go_on()
            self.read()
            assert self.left() == self.names, f"debris: {set(self.left()) ^ set(self.names)}"
        except Exception as error:
            raise AssertionError(f"{where}: {error!r}") from error
        return call.name

    def check_words(self, status: int, said: str, code: int) -> None:
        assert status == 3, f"status {status}: {said}"
        lines = said.splitlines()
        assert len(lines) == 1, said
        assert lines[0].startswith("Error: "), said
        assert str(self.folder) in said, said
        assert os.strerror(code) in said, said
        assert ": " in said.partition(os.strerror(code))[2], f"no remedy: {said}"

    def go_on(self) -> None:
        """The next run: it goes on where there is something, or begins."""
        begun = (self.target / "run.json").exists()
        tiny.done(tiny.resume_words(self.target) if begun else self.words)
        assert self.read() == self.whole, "other weights"


def has_another_way(call: calls.Call) -> bool:
    """Whether a command may go on: the folder is there, or a probe of it may be made otherwise."""
    return call.name == "mkdir" or (call.name, call.path) == ("openat", Path())


def chosen(count: int, faults: int | None) -> list[tuple[int, int]]:
    """Numbers of calls, from 1, with codes: all, or so many, from the first to the last."""
    every = [(at, code) for at in range(1, count + 1) for code in CODES]
    if faults is None or faults >= len(every):
        return every
    spread = (round(i * (count - 1) / max(1, faults - 1)) for i in range(faults))
    return [(1 + at, CODES[i % 2]) for i, at in enumerate(spread)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="*", choices=[[], *SUBJECTS], metavar="SUBJECT")
    parser.add_argument("--faults", type=int, help="of each subject, spread [default: all]")
    options = parser.parse_args()
    bench_cli.bench = lambda *_, **__: REPORT
    total = broken = 0
    with tempfile.TemporaryDirectory() as work:
        home = Path(work).resolve() / "home"
        make_inputs(home)
        subjects = options.subjects or SUBJECTS
        if "sign" in subjects:
            make_keys(home)
        for number, name in enumerate(subjects):
            trial = Trial(SUBJECTS[name], home, home.with_name(str(number)))
            met = Counter[str]()
            for at, code in chosen(len(trial.calls), options.faults):
                try:
                    met[trial.fail(at, code)] += 1
                except AssertionError as error:
                    broken += 1
                    print(f"FOUND {name}: {error}", flush=True)
            total += met.total()
            kinds = ", ".join(f"{count} {call}" for call, count in sorted(met.items()))
            print(f"{name}: {len(trial.calls)} calls, faults that held: {kinds}", flush=True)
    print(f"{total + broken} faults: {broken} promises broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
