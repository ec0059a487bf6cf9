"""Folders that differ from the published bundle: one clear error, and no session."""

import os
import shutil
from pathlib import Path

import onnxruntime
import pytest

import vae_runtime
from vae_runtime import Bundle, BundleError
from vae_runtime.bundle.manifest import MANIFEST_FILE


@pytest.fixture
def no_session(bundle, monkeypatch):
    """Fail the test if it opens an ONNX Runtime session after the bundle was exported."""
    opened = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *args, **_: opened.append(args))
    yield
    assert not opened


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def outside(file):
    return next(path for path in file.parents if path.name == "small-vae").parent / "original"


def symlink(file):
    file.symlink_to(file.rename(outside(file)))


def symlink_to_nothing(file):
    file.unlink()
    file.symlink_to("nowhere")


def hard_link(file):
    os.link(file, outside(file))


def fifo(file):
    file.unlink()
    os.mkfifo(file)


def folder(file):
    file.unlink()
    file.mkdir()


FAULTS = [
    (Path.unlink, "is missing"),
    (flip, r"has SHA-256 \w{12}\.\.\., the manifest says \w{12}"),
    (lambda file: file.write_bytes(file.read_bytes()[:-1]), r"has \d+ bytes, the manifest says"),
    (lambda file: file.write_bytes(file.read_bytes() + b"x"), r"has \d+ bytes, the manifest says"),
    (lambda file: file.write_bytes(b""), "has 0 bytes, the manifest says"),
    (symlink, "is a symbolic link"),
    (symlink_to_nothing, "is a symbolic link"),
    (hard_link, "has 2 hard links, expected one"),
    (fifo, "is not a regular file"),
    (folder, "is not a regular file"),
]
NAMES = ["missing", "changed", "short", "long", "empty"]
NAMES += ["link", "dangling link", "hard link", "fifo", "folder"]
FILES = ["encoder.onnx", "loss.onnx", "parity.npz", "saved_model/encoder/saved_model.pb"]


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("fault", "message"), FAULTS, ids=NAMES)
def test_a_file_that_differs_from_the_manifest(bundle, fault, message, name):
    fault(bundle / name)
    with pytest.raises(BundleError, match=message) as caught:
        vae_runtime.load(bundle).verify()
    assert str(bundle / name) in str(caught.value)


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize(("fault", "message"), FAULTS[5:], ids=NAMES[5:])
def test_a_manifest_that_is_not_a_regular_file(bundle, fault, message):
    fault(bundle / MANIFEST_FILE)
    with pytest.raises(BundleError, match=message) as caught:
        vae_runtime.load(bundle)
    assert str(bundle / MANIFEST_FILE) in str(caught.value)


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize("inside", ["saved_model", "saved_model/encoder/variables"])
def test_a_folder_behind_a_symbolic_link(bundle, tmp_path, inside):
    original = (bundle / inside).rename(tmp_path / "original")
    (bundle / inside).symlink_to(original, target_is_directory=True)
    with pytest.raises(BundleError) as caught:
        vae_runtime.load(bundle).verify()
    assert str(bundle / inside) in str(caught.value)


def test_reading_does_not_follow_a_symbolic_link_to_a_folder(bundle, tmp_path):
    original = (bundle / "saved_model").rename(tmp_path / "original")
    (bundle / "saved_model").symlink_to(original, target_is_directory=True)
    with pytest.raises(BundleError, match=r"saved_model\.pb cannot be read: Not a directory"):
        Bundle(bundle).read("saved_model/encoder/saved_model.pb")


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize("name", ["extra", ".hidden", "saved_model/x.py", "figures/manifest.json"])
def test_a_file_that_is_not_listed(bundle, name):
    (bundle / name).parent.mkdir(exist_ok=True)
    (bundle / name).write_text("")
    with pytest.raises(BundleError, match="is not listed in the manifest: remove it") as caught:
        vae_runtime.load(bundle).verify()
    assert str(caught.value).startswith(str(bundle / name))


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize("target", ["figures", "nowhere", "/"])
def test_a_symbolic_link_that_is_not_listed(bundle, target):
    (bundle / "extra").symlink_to(target)
    with pytest.raises(BundleError, match="extra is not listed in the manifest"):
        vae_runtime.load(bundle).verify()


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: shutil.rmtree(path), "does not exist, expected a bundle"),
        (
            lambda path: (shutil.rmtree(path), path.write_text("x")),
            "has 1 bytes, too few or too many",
        ),
        (lambda path: (path / MANIFEST_FILE).unlink(), "has no manifest.json: it is not a bundle"),
    ],
    ids=["missing", "a file", "no manifest"],
)
def test_a_path_without_a_bundle(bundle, spoil, message):
    spoil(bundle)
    with pytest.raises(BundleError, match=message) as caught:
        vae_runtime.load(bundle)
    assert str(caught.value).startswith(str(bundle))


@pytest.mark.usefixtures("no_session")
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 100, b" " * (2 << 20)])
def test_a_damaged_manifest(bundle, content):
    (bundle / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(BundleError, match="the manifest is damaged or was edited") as caught:
        vae_runtime.load(bundle)
    assert str(bundle / MANIFEST_FILE) in str(caught.value)


def test_an_intact_bundle(bundle):
    opened = Bundle(str(bundle))
    opened.check_files()
    assert opened.path == bundle
    assert opened.read("loss.onnx") == (bundle / "loss.onnx").read_bytes()


def test_the_bundle_itself_may_be_behind_a_symbolic_link(bundle, tmp_path):
    (tmp_path / "link").symlink_to(bundle)
    Bundle(tmp_path / "link").check_files()


def test_a_failed_read_leaves_no_file_open(bundle):
    opened = Bundle(bundle)
    flip(bundle / "loss.onnx")
    before = len(list(Path("/dev/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(BundleError):
            opened.read("loss.onnx")
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_graphs_run_from_the_bytes_that_were_checked(bundle):
    vae = vae_runtime.load(bundle)
    expected = vae_runtime.load(bundle).sample(2)
    (bundle / "decoder.onnx").write_bytes(b"swapped after the check")
    assert (vae.sample(2) == expected).all()
