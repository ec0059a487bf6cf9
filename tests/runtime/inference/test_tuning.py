"""Tunings that `bench` saves and `load` finds, for the same bundle and machine only."""

import hashlib
import logging
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import vae_runtime
from vae_runtime import Bundle, ExportError
from vae_runtime.files import strict_json
from vae_runtime.inference import tuning
from vae_runtime.inference.parallel import BatchThreadPool
from vae_runtime.inference.processors import usable_processors
from vae_runtime.inference.tuning import (
    Tuning,
    TuningKey,
    default_batch_size,
    find_tuning,
    save_tuning,
    tuning_key,
)

KEY = TuningKey("ab" * 32, "1.2.3", ("cpu",), "Fast CPU", 4)
TUNING = Tuning(3, 64)

pytestmark = pytest.mark.usefixtures("tunings")
real_folder = tuning._folder


def test_a_round_trip(tunings):
    assert find_tuning(KEY, "float32") is None
    path = save_tuning(KEY, "float32", TUNING)
    assert path.parent == tunings
    assert find_tuning(KEY, "float32") == TUNING
    save_tuning(KEY, "float32", Tuning(1, 2))
    assert find_tuning(KEY, "float32") == Tuning(1, 2)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "change",
    [
        {"bundle": "cd" * 32},
        {"onnxruntime": "1.2.4"},
        {"providers": ("cuda", "cpu")},
        {"processor": "Slow CPU"},
        {"processors": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_tuning_holds_for_one_key_only(change):
    save_tuning(KEY, "float32", TUNING)
    assert find_tuning(replace(KEY, **change), "float32") is None


def test_a_tuning_holds_for_one_precision_only():
    save_tuning(KEY, "int8", TUNING)
    assert find_tuning(KEY, "float32") is None
    save_tuning(KEY, "float32", Tuning(1, 2))
    assert find_tuning(KEY, "int8") == TUNING


def test_the_key_of_a_bundle_on_this_machine(exported, monkeypatch):
    monkeypatch.setattr(tuning, "usable_processors", lambda: 7)
    monkeypatch.setattr(tuning, "processor_name", lambda: "Fast CPU")
    bundle = Bundle(exported())
    found = tuning_key(bundle, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    digest = hashlib.sha256((exported() / "manifest.json").read_bytes()).hexdigest()
    assert found == TuningKey(digest, onnxruntime.__version__, ("cuda", "cpu"), "Fast CPU", 7)


GOOD = strict_json.encode(tuning.TuningFile(KEY, "float32", TUNING))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not JSON"),
        (GOOD[:-20], "is not JSON"),
        (b"\xff" + GOOD, "is not UTF-8"),
        (GOOD.replace(b'"threads": 3', b'"threads": 0'), "tuning.threads: Expected int >= 1"),
        (GOOD.replace(b'"threads": 3', b'"threads": "3"'), "Expected int, got str"),
        (GOOD.replace(b": 64", b": 10000000000"), "tuning.batch_size: Expected int <= 65536"),
        (GOOD.replace(b'"threads": 3', b'"threads": 3, "more": 1'), "unknown key 'more'"),
        (GOOD.replace(b"Fast", b"Slow"), "is of another bundle or machine than its name says"),
        (GOOD.replace(b"float32", b"float16"), "is of another bundle or machine than its name"),
        (b"[" * 100_000, "nested deeper|is not JSON"),
    ],
    ids=range(10),
)
def test_a_damaged_file_is_ignored_with_one_warning(data, message, caplog):
    path = save_tuning(KEY, "float32", TUNING)
    path.write_bytes(data)
    assert find_tuning(KEY, "float32") is None
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("vae_runtime", logging.WARNING)
    text = record.getMessage()
    assert text.startswith(f"{path} ") and "\n" not in text
    assert re.search(message, text)
    save_tuning(KEY, "float32", TUNING)
    assert find_tuning(KEY, "float32") == TUNING


def test_an_unreadable_folder_is_ignored(monkeypatch, caplog):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied", "x")

    save_tuning(KEY, "float32", TUNING)
    monkeypatch.setattr(Path, "open", refuse)
    assert find_tuning(KEY, "float32") is None
    assert "cannot be read" in caplog.text


def test_a_missing_home_folder_is_ignored(monkeypatch, caplog):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(tuning, "_folder", real_folder)
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert find_tuning(KEY, "float32") is None
    assert "Could not determine home directory" in caplog.text
    with pytest.raises(ExportError, match=r"Could not determine home.*: set HOME or XDG_CACHE_HO"):
        save_tuning(KEY, "float32", TUNING)


@pytest.mark.parametrize(
    ("platform", "variable", "value", "folder"),
    [
        ("linux", "XDG_CACHE_HOME", "{}/named", "named/build-vae/tuning"),
        ("linux", "XDG_CACHE_HOME", "", ".cache/build-vae/tuning"),
        ("linux", "XDG_CACHE_HOME", "relative/cache", ".cache/build-vae/tuning"),
        ("darwin", "XDG_CACHE_HOME", "{}/named", "Library/Caches/build-vae/tuning"),
        ("win32", "LOCALAPPDATA", "{}/named", "named/build-vae/Cache/tuning"),
        ("win32", "LOCALAPPDATA", "", "AppData/Local/build-vae/Cache/tuning"),
    ],
)
def test_the_cache_folder_of_each_system(monkeypatch, tmp_path, platform, variable, value, folder):
    monkeypatch.setenv(variable, value.format(tmp_path))
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(sys, "platform", platform)
    assert real_folder() == tmp_path / folder


def test_the_error_for_an_unwritable_folder_is_one_line(tunings):
    tunings.touch()
    with pytest.raises(ExportError, match=r"tunings cannot be written: .*: free some space or che"):
        save_tuning(KEY, "float32", TUNING)


@pytest.mark.parametrize(
    ("shape", "size"), [((28, 28, 1), 256), ((3,), 256), ((64, 64, 3), 16), ((1000, 1000, 3), 1)]
)
def test_the_default_batch_size(shape, size):
    assert default_batch_size(shape) == size


@pytest.fixture
def saved(exported):
    """A bundle with a saved tuning that is not the default."""
    bundle = Bundle(exported())
    save_tuning(tuning_key(bundle, ["CPUExecutionProvider"]), "float32", TUNING)
    return exported()


def loaded(path, monkeypatch, **options):
    """Load a bundle, and return the threads of its session and the size of its first chunk."""
    sizes = []
    vae = vae_runtime.load(path, **options)
    sessions = vae._chunks.sessions
    run = sessions.run
    monkeypatch.setattr(sessions, "thread_pool", BatchThreadPool(1))  # do not split the batch

    def counted(graph, inputs, **options):
        sizes.append(len(inputs["x"]))
        return run(graph, inputs, **options)

    monkeypatch.setattr(sessions, "run", counted)
    vae.loss(np.zeros((300, 8, 8, 1)))
    threads = sessions.session("loss").get_session_options().intra_op_num_threads
    return threads, sizes[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (3, 64)),
        ({"threads": 1}, (1, 64)),
        ({"batch_size": 10}, (3, 10)),
        ({"threads": 1, "batch_size": 10}, (1, 10)),
        ({"tuned": False}, (usable_processors(), 256)),
        ({"tuned": False, "threads": 1}, (1, 256)),
    ],
    ids=str,
)
def test_load_uses_the_saved_values_for_missing_arguments(saved, monkeypatch, options, expected):
    assert loaded(saved, monkeypatch, **options) == expected


def test_a_variant_has_its_own_tuning(with_variant, monkeypatch):
    key = tuning_key(Bundle(with_variant), ["CPUExecutionProvider"])
    save_tuning(key, "float16", TUNING)
    assert loaded(with_variant, monkeypatch) == (usable_processors(), 256)
    assert loaded(with_variant, monkeypatch, precision="float16") == (3, 64)


def test_load_without_a_saved_tuning(exported, monkeypatch):
    assert loaded(exported(), monkeypatch) == (usable_processors(), 256)


def test_load_does_not_break_on_a_damaged_file(saved, tunings, monkeypatch, caplog):
    for path in tunings.iterdir():
        path.write_text("junk")
    assert loaded(saved, monkeypatch) == (usable_processors(), 256)
    assert caplog.text.count("\n") == 1


def test_another_bundle_does_not_use_the_tuning(saved, bundle, monkeypatch):
    assert loaded(bundle, monkeypatch) == (3, 64), "a copy is the same bundle"
    manifest = bundle / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"small-vae"', b'"other-vae"'))
    assert loaded(bundle, monkeypatch) == (usable_processors(), 256)


def test_results_do_not_depend_on_the_tuning(saved):
    x = np.random.default_rng(0).random((300, 8, 8, 1), dtype=np.float32)
    one, other = (vae_runtime.load(saved, tuned=tuned).loss(x).loss for tuned in (True, False))
    np.testing.assert_allclose(one, other, rtol=1e-6)
