"""Bundles in a single file, and the check of a bundle's SHA-256."""

import dataclasses
import hashlib
import zipfile

import numpy as np
import pytest

import vae_runtime
from vae_runtime import Bundle, BundleError, ExportError, OptionError

KEPT = [
    *("encoder.onnx", "decoder.onnx", "loss.onnx", "score.onnx"),
    *("parity.npz", "calibration.npz"),
]


@pytest.fixture
def packed(exported, tmp_path):
    return vae_runtime.pack(exported(), tmp_path / "small.vae")


def test_a_pack_gives_the_same_results_as_its_bundle(exported, packed):
    folder, file = (vae_runtime.load(path, threads=1) for path in (exported(), packed.path))
    x = np.random.default_rng(0).random((5, 8, 8, 1), dtype=np.float32)
    assert (folder.loss(x).loss == file.loss(x).loss).all()
    assert (folder.sample(3) == file.sample(3)).all()
    assert file.verify() == folder.verify()


def test_contents_of_a_pack(exported, packed):
    whole = Bundle(exported())
    with zipfile.ZipFile(packed.path) as archive:
        assert archive.namelist()[0] == "manifest.json"
        assert sorted(archive.namelist()[1:]) == sorted(KEPT)
        assert hashlib.sha256(archive.read("manifest.json")).hexdigest() == packed.sha256
        for name in KEPT:
            assert archive.read(name) == (exported() / name).read_bytes()
    expected = dataclasses.replace(
        whole.manifest,
        saved_models=None,
        packed_from=whole.sha256,
        files={name: entry for name, entry in whole.manifest.files.items() if name in KEPT},
    )
    opened = Bundle(packed.path)
    assert opened.manifest == packed.manifest == expected
    assert (opened.sha256, packed.size) == (packed.sha256, packed.path.stat().st_size)
    opened.check_files()


def test_saved_models_are_kept_on_request(exported, tmp_path):
    packed = vae_runtime.pack(exported(), tmp_path / "whole.vae", saved_models=True)
    whole = Bundle(exported()).manifest
    assert packed.manifest.saved_models == whole.saved_models
    left_out = set(whole.files) - set(packed.manifest.files)
    assert left_out == {name for name in whole.files if name.startswith(("README", "figures/"))}
    without = vae_runtime.pack(packed.path, tmp_path / "small.vae")
    assert (
        without.path.read_bytes()
        == vae_runtime.pack(exported(), tmp_path / "other.vae").path.read_bytes()
    )
    with pytest.raises(BundleError, match="has no SavedModels: pack the bundle that it was packed"):
        vae_runtime.pack(without.path, tmp_path / "again.vae", saved_models=True)


def test_the_same_bundle_gives_the_same_bytes(exported, packed, tmp_path):
    again = vae_runtime.pack(exported(), tmp_path / "again.vae")
    assert again.path.read_bytes() == packed.path.read_bytes()
    of_itself = vae_runtime.pack(packed.path, tmp_path / "itself.vae")
    assert of_itself.path.read_bytes() == packed.path.read_bytes()


def test_a_pack_replaces_a_file_completely_or_not_at_all(bundle, packed, tmp_path):
    before = packed.path.read_bytes()
    assert vae_runtime.pack(packed.path, packed.path).path.read_bytes() == before
    (bundle / "loss.onnx").write_bytes(b"changed")
    with pytest.raises(BundleError, match=r"loss\.onnx has 7 bytes"):
        vae_runtime.pack(bundle, packed.path)
    assert packed.path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small-vae", "small.vae"]


def test_a_bundle_with_an_extra_file_is_not_packed(bundle, tmp_path):
    (bundle / "extra").write_text("")
    with pytest.raises(BundleError, match="extra is not listed"):
        vae_runtime.pack(bundle, tmp_path / "small.vae")
    assert not (tmp_path / "small.vae").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("", "is a folder, expected the name of a file"),
        ("none/a.vae", "cannot be written: No such"),
    ],
)
def test_a_pack_that_cannot_be_written(exported, tmp_path, output, message):
    with pytest.raises(ExportError, match=message):
        vae_runtime.pack(exported(), tmp_path / output)


@pytest.mark.parametrize("form", ["folder", "file"])
def test_the_expected_digest_is_checked(exported, packed, form):
    path = exported() if form == "folder" else packed.path
    digest = Bundle(path).sha256
    assert vae_runtime.load(path, sha256=digest.upper()).bundle.sha256 == digest
    with pytest.raises(
        BundleError, match=rf"manifest\.json has SHA-256 {digest}, expected 0{{64}}"
    ):
        vae_runtime.load(path, sha256="0" * 64)
    with pytest.raises(OptionError, match="sha256 is 'short', expected 64 hexadecimal digits"):
        vae_runtime.load(path, sha256="short")


def test_the_digest_is_checked_before_the_manifest_is_parsed(bundle):
    digest = Bundle(bundle).sha256
    (bundle / "manifest.json").write_text("junk")
    with pytest.raises(BundleError, match="this is another bundle than the one that was asked for"):
        vae_runtime.load(bundle, sha256=digest)


def test_the_digest_is_the_sha256_of_the_manifest(bundle, packed):
    assert (
        Bundle(bundle).sha256 == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    )
    assert Bundle(bundle).sha256 != packed.sha256


def test_a_file_that_is_replaced_before_the_first_read_still_loads(exported, tmp_path, monkeypatch):
    other = vae_runtime.pack(exported("dense", "bce", kl_weight=0.5), tmp_path / "other.vae")
    target = vae_runtime.pack(exported(), tmp_path / "small.vae").path
    read, replaced = Bundle.read, []

    def replace_and_read(self, name):
        if not replaced:
            replaced.append(other.path.replace(target))
        return read(self, name)

    monkeypatch.setattr(Bundle, "read", replace_and_read)
    assert vae_runtime.load(target).manifest.loss.kl_weight == 0.5
