"""Atomic publication: after any failure a reader finds the old folder or the new one."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vae_runtime.bundle import publishing as publish
from vae_runtime.bundle.publishing import check_target, publishing
from vae_runtime.errors import ExportError
from vae_runtime.files.atomic_files import writer_tag

MARKER = "manifest.json"
HOST = writer_tag().partition("-")[0]


def write(target, content, *, force=True):
    """Publish a folder of two files, one of them in a subfolder."""
    with publishing(target, force=force) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text(content)
        (folder / MARKER).write_text(content)


def content(target):
    texts = {(target / name).read_text() for name in (MARKER, "deep/file")}
    assert len(texts) == 1, "a mixture of old and new"
    return texts.pop()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def target(tmp_path):
    return tmp_path / "home" / "bundle"


def test_new_folder_and_its_parents_are_made(target):
    write(target, "new", force=False)
    assert content(target) == "new"
    assert names(target.parent) == ["bundle"]
    assert target.stat().st_mode & 0o777 == 0o755


def test_relative_target(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("bundle"), "new")
    assert names(tmp_path) == ["bundle"]


def test_target_may_be_an_empty_folder(target):
    target.mkdir(parents=True)
    write(target, "new", force=False)
    assert content(target) == "new"


def test_target_changes_only_at_the_end(target):
    write(target, "old")
    with publishing(target, force=True) as folder:
        assert folder.parent == target.parent
        (folder / MARKER).write_text("half")
        assert content(target) == "old"


@pytest.mark.parametrize("exchange", [True, False])
def test_replacing_removes_the_old_files(target, exchange, monkeypatch):
    if not exchange:
        monkeypatch.setattr(publish, "_exchange", lambda first, second: False)
    write(target, "old")
    (target / "only in the old one").write_text("")
    write(target, "new")
    assert content(target) == "new"
    assert names(target) == ["deep", MARKER]
    assert names(target.parent) == ["bundle"]


def test_exchange_swaps_in_one_step(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.mkdir()
        (path / path.name).write_text("")
    if not publish._exchange(one, two):
        pytest.skip("no exchange in one step on this system, or this file system")
    assert (names(one), names(two)) == (["two"], ["one"])
    with pytest.raises(FileNotFoundError):
        publish._exchange(one, tmp_path / "three")


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_file_system_without_exchange_takes_two_steps(target, code, monkeypatch):
    class Libc:
        def renameat2(self, *arguments):
            publish.ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(publish.sys, "platform", "linux")
    monkeypatch.setattr(publish.ctypes, "CDLL", lambda *args, **options: Libc())
    write(target, "old")
    write(target, "new")
    assert content(target) == "new"
    assert names(target.parent) == ["bundle"]


def test_without_force_the_old_one_stays_and_no_work_is_done(target):
    write(target, "old")
    with pytest.raises(ExportError) as caught, publishing(target, force=False):
        pytest.fail("the block must not run")
    assert str(caught.value) == f"{target} exists: give --force to replace it, or another name"
    assert content(target) == "old"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("file", "exists and is not a folder: choose another name"),
        ("link", "exists and is not a folder: choose another name"),
        ("dangling link", "exists and is not a folder: choose another name"),
        ("folder", f"exists and has no {MARKER}: choose another name"),
    ],
)
def test_only_a_bundle_is_replaced(kind, message, force, target, tmp_path):
    target.parent.mkdir()
    other = tmp_path / "other"
    if kind == "file":
        target.write_text("precious")
    elif kind == "folder":
        target.mkdir()
        (target / "precious").write_text("")
    else:
        if kind == "link":
            write(other, "precious")
        target.symlink_to(other)
    for use in (check_target, publishing):
        with pytest.raises(ExportError) as caught:
            result = use(target, force=force)
            if use is publishing:
                with result:
                    pytest.fail("the block must not run")
        assert str(caught.value) == f"{target} {message}"
    assert names(target.parent) == ["bundle"]
    assert not other.exists() or content(other) == "precious"


def test_folder_that_appears_meanwhile_is_not_replaced(target):
    with (
        pytest.raises(ExportError, match=f"exists and has no {MARKER}"),
        publishing(target, force=True) as folder,
    ):
        (folder / MARKER).write_text("new")
        target.mkdir()
        (target / "precious").write_text("")
    assert names(target) == ["precious"]
    assert names(target.parent) == ["bundle"]


def test_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"file cannot be written: .*: choose another folder$"):
        check_target(tmp_path / "file" / "bundle", force=False)


def test_parent_that_may_not_be_written(target, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(ExportError, match="home cannot be written: Permission denied: choose ano"):
        check_target(target, force=False)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), ExportError("no")])
@pytest.mark.parametrize("old", [False, True])
def test_error_in_the_block_passes_and_leaves_no_debris(target, error, old):
    if old:
        write(target, "old")
    with pytest.raises(type(error)) as caught, publishing(target, force=True) as folder:
        (folder / MARKER).write_text("half")
        raise error
    assert caught.value is error
    assert names(target.parent) == (["bundle"] if old else [])
    assert not old or content(target) == "old"


class Faults:
    """Counter of system calls that makes call number `fail_at` fail."""

    def __init__(self, monkeypatch, fail_at, code):
        self.fail_at, self.code, self.calls = fail_at, code, []
        for place, name in (
            (os, "fsync"),
            (Path, "rename"),
            (Path, "write_text"),
            (Path, "mkdir"),
            (Path, "chmod"),
            (publish.tempfile, "mkdtemp"),
            (publish, "_exchange"),
        ):
            monkeypatch.setattr(place, name, self.faulty(name, getattr(place, name)))

    def faulty(self, name, original):
        def call(*args, **options):
            if not self.on:
                return original(*args, **options)
            self.calls.append(name)
            if len(self.calls) == self.fail_at:
                raise OSError(self.code, os.strerror(self.code))
            return original(*args, **options)

        return call

    on = False


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("way", ["new", "exchange", "two steps"])
def test_fault_at_each_step_in_turn(way, code, tmp_path, monkeypatch):
    """No step may fail in a way that loses the old folder, mixes both, or leaves debris."""
    if way == "two steps":
        monkeypatch.setattr(publish, "_exchange", lambda first, second: False)
    seen, fail_at = [], 0
    while True:
        fail_at += 1
        target = tmp_path / str(fail_at) / "bundle"
        target.parent.mkdir()
        if way != "new":
            write(target, "old")
        with monkeypatch.context() as patch:
            faults = Faults(patch, fail_at, code)
            faults.on = True
            try:
                write(target, "new")
                error = None
            except ExportError as caught:
                error = str(caught)
            faults.on = False
        if error is None:
            assert content(target) == "new"
            assert len(faults.calls) < fail_at  # nothing is left to fail
            break
        seen.append(faults.calls[-1])
        assert "\n" not in error
        if "was written, but" in error:
            assert content(target) == "new"
        elif way == "new":
            assert not target.exists()
        else:
            assert content(target) == "old"
        assert names(target.parent) in (["bundle"], [] if way == "new" else ["bundle"]), error
        if code == errno.ENOSPC and "was written" not in error and "choose another" not in error:
            assert "free some space and export again; nothing was changed" in error
    assert set(seen) >= {"mkdtemp", "write_text", "fsync", "chmod", "mkdir"}
    assert seen.count("fsync") >= 4  # two files, two folders, and the parent at the end
    assert seen.count("rename") == {"new": 1, "exchange": 0, "two steps": 2}[way]
    assert seen.count("_exchange") == (1 if way != "new" else 0)


def dead_pid():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("name", ["bundle", "bundle[1]"])
def test_debris_of_a_killed_export_is_removed(name, target):
    target = target.with_name(name)
    write(target, "old")
    debris = target.parent / f".{name}.building-{HOST}-{dead_pid()}-abc123"
    shutil.copytree(target, debris)
    other = target.parent / f".other.building-{HOST}-{dead_pid()}-abc123"
    other.mkdir()
    running = target.parent / f".{name}.building-{HOST}-{os.getppid()}-abc123"
    running.mkdir()
    unknown = target.parent / f".{name}.building-notes"
    elsewhere = target.parent / f".{name}.building-0badcafe-{dead_pid()}-abc123"
    unknown.mkdir()
    elsewhere.mkdir()  # an exporter on another machine, on a shared folder
    write(target, "new")
    assert content(target) == "new"
    assert names(target.parent) == sorted(
        [name, other.name, running.name, unknown.name, elsewhere.name]
    )


def test_bundle_that_was_moved_aside_comes_back(target):
    """After a kill between the two renames, the old bundle has its temporary name."""
    write(target, "old")
    pid = dead_pid()
    target.rename(target.parent / f".bundle.building-{HOST}-{pid}-abc-old")
    (target.parent / f".bundle.building-{HOST}-{pid}-abc").mkdir()
    with pytest.raises(ZeroDivisionError), publishing(target, force=True):
        assert content(target) == "old"
        raise ZeroDivisionError
    assert content(target) == "old"
    assert names(target.parent) == ["bundle"]


def test_process_killed_while_it_writes(target):
    write(target, "old")
    program = (
        "import os, sys, signal; from pathlib import Path\n"
        "from vae_runtime.bundle.publishing import publishing\n"
        "with publishing(Path(sys.argv[1]), force=True) as folder:\n"
        "    (folder / 'manifest.json').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # the package imports TensorFlow, which this test does not need
    stub = "import sys, types; p = types.ModuleType('vae_export'); "
    stub += (
        f"p.__path__ = [{str(Path(publish.__file__).parent)!r}]; sys.modules['vae_export'] = p\n"
    )
    killed = subprocess.run([sys.executable, "-c", stub + program, target], check=False)
    assert killed.returncode < 0
    assert content(target) == "old"
    assert len(names(target.parent)) == 2
    write(target, "new")
    assert names(target.parent) == ["bundle"]


def test_reader_always_sees_one_whole_folder(target):
    write(target, "0")
    probe = target.parent / "probe"
    probe.mkdir()
    if not publish._exchange(target, probe):
        pytest.skip("this file system has no exchange")
    publish._exchange(target, probe)
    probe.rmdir()
    seen, failures, stop = set(), [], threading.Event()

    def read():
        while not stop.is_set():
            # an open folder stays the same even if its name is given to another
            try:
                folder = os.open(target, os.O_RDONLY)
            except OSError as error:
                failures.append(error)
                continue
            try:
                with contextlib.suppress(FileNotFoundError):  # the old one is being removed
                    texts = []
                    for name in (MARKER, "deep/file"):
                        file = os.open(name, os.O_RDONLY, dir_fd=folder)
                        texts.append(os.read(file, 9))
                        os.close(file)
                    seen.add(texts[0])
                    if texts[0] != texts[1]:
                        failures.append(texts)
            finally:
                os.close(folder)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for i in range(1, 31):
            write(target, str(i))
    finally:
        stop.set()
        reader.join()
    assert failures == []
    assert len(seen) > 3
