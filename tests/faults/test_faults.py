"""After faults, kills and on full disks, the old or the new content is there, complete."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import vae_runtime
from vae_runtime import ExportError
from vae_runtime.bundle.publishing import publishing
from vae_runtime.files.atomic_files import replacing, writer_is_gone, writer_tag

resource = pytest.importorskip("resource", reason="needs fork, signals and limits of POSIX")

HERE = Path(__file__).parent


@pytest.mark.parametrize("kills", [10, pytest.param(1000, marks=pytest.mark.slow)])
def test_kills(kills):
    memory = Path("/dev/shm")  # flushing is fast there; the full test uses the disk
    where = ["--folder", memory] if kills < 100 and memory.is_dir() else []
    args = [sys.executable, HERE / "kills.py", "--kills", str(kills), *where]
    result = subprocess.run(args, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith(" kills: 0 promises broken\n")
    assert "old" in result.stdout
    assert "new" in result.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's filters of system calls")
@pytest.mark.parametrize(
    "faults", [["--faults", "1"], pytest.param([], marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_fault_at_each_call_that_writes(faults):
    commands = ["training", "export", "pack", "bench"]
    if importlib.util.find_spec("model_signing"):
        commands.append("sign")
    args = [sys.executable, HERE / "faults.py", *commands, *faults]
    result = subprocess.run(args, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith(" faults: 0 promises broken\n")
    assert [line.partition(":")[0] for line in result.stdout.splitlines()[:-1]] == commands


@pytest.mark.parametrize(
    ("training", "export"), [(1, 1), pytest.param(500, 500, marks=pytest.mark.slow)]
)
def test_kills_of_training_and_export(training, export):
    kills = ["--training", str(training), "--export", str(export)]
    args = [sys.executable, HERE / "run_kills.py", *kills]
    result = subprocess.run(args, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"training: {training} kills" in result.stdout
    assert f"export: {export} kills" in result.stdout
    assert result.stdout.endswith("\n0 promises broken\n")


def test_leftovers_of_killed_writers_are_removed(tmp_path):
    path = tmp_path / "a[1].vae"
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    host = writer_tag().partition("-")[0]
    dead, alive = f"{host}-{process.pid}", f"{host}-{os.getppid()}"
    elsewhere = f"0badcafe-{process.pid}"
    assert [writer_is_gone(name) for name in (dead, alive, elsewhere, "notes", f"{host}-")] == [
        *(True, False, False, False, False)
    ]
    for name in (dead, alive, elsewhere):
        (tmp_path / f".{path.name}.{name}.writing").touch()
    with replacing(path) as file:
        file.write(b"new")
    left = {entry.name for entry in tmp_path.iterdir()}
    assert left == {path.name, *(f".{path.name}.{name}.writing" for name in (alive, elsewhere))}


@contextlib.contextmanager
def disk(folder, size, *options):
    """Mount a separate file system, which may be small; only root can do so."""
    folder.mkdir(exist_ok=True)
    args = ["mount", "-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs", folder]
    if sys.platform != "linux" or subprocess.run(args, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(target, size):
    with publishing(target, force=True) as folder:
        (folder / "graph.onnx").write_bytes(b"x" * size)
        (folder / "manifest.json").write_text("{}")


def test_a_full_disk(exported, tmp_path):
    with disk(tmp_path / "disk", "200k") as folder:
        fill(folder / "bundle", 50_000)
        (folder / "small.vae").write_bytes(b"old")
        with pytest.raises(ExportError, match="No space left on device: free some space"):
            fill(folder / "bundle", 300_000)
        (folder / "ballast").write_bytes(b"x" * 120_000)
        with pytest.raises(ExportError, match="cannot be written: No space left on device"):
            vae_runtime.pack(exported(), folder / "small.vae")
        assert {p.name for p in folder.iterdir()} == {"bundle", "small.vae", "ballast"}
        assert (folder / "bundle" / "graph.onnx").stat().st_size == 50_000
        assert (folder / "small.vae").read_bytes() == b"old"
        (folder / "ballast").unlink()
        vae_runtime.pack(exported(), folder / "small.vae")


def test_a_read_only_folder(exported, tmp_path):
    with disk(tmp_path / "disk", "200k") as folder:
        fill(folder / "bundle", 10)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        with pytest.raises(ExportError, match="cannot be written: Read-only file system"):
            fill(folder / "bundle", 20)
        with pytest.raises(ExportError, match="cannot be written: Read-only file system"):
            vae_runtime.pack(exported(), folder / "small.vae")
        assert [p.name for p in folder.iterdir()] == ["bundle"]
        assert (folder / "bundle" / "graph.onnx").stat().st_size == 10


def test_files_that_may_not_grow(exported, tmp_path):
    """A file size limit acts as a quota does, but needs no root."""
    fill(tmp_path / "bundle", 10)
    before = (
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
        resource.getrlimit(resource.RLIMIT_FSIZE),
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1][1]))
    try:
        with pytest.raises(ExportError, match="cannot be written: File too large"):
            fill(tmp_path / "bundle", 5000)
        with pytest.raises(ExportError, match="cannot be written: File too large"):
            vae_runtime.pack(exported(), tmp_path / "small.vae")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[1])
        signal.signal(signal.SIGXFSZ, before[0])
    assert [entry.name for entry in tmp_path.iterdir()] == ["bundle"]
    assert (tmp_path / "bundle" / "graph.onnx").stat().st_size == 10
