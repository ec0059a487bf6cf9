"""Writing of a page: it carries the bundle byte for byte, and says what was checked."""

import hashlib
import json
import subprocess

import pytest

from page_files import blocks, facts, fake_ort_web, rebuilt_files
from sealing import seal, without_score
from vae_export import write_page
from vae_runtime import Bundle, pack
from vae_runtime.errors import BundleError, ExportError
from vae_runtime.trust.signing import sign


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a page with an onnxruntime-web that computes nothing."""
    fake_ort_web(tmp_path)

    def write(bundle, **options):
        page = write_page(bundle, tmp_path / "page.html", ort_web=tmp_path, **options)
        return page, page.path.read_text("utf-8")

    return write


def test_the_page_carries_the_bundle(exported, write):
    bundle = Bundle(exported(score="combined"))
    page, html = write(bundle.path)
    files = rebuilt_files(html)
    assert {*files} == {
        *("encoder.onnx", "decoder.onnx", "loss.onnx", "score.onnx", "parity.npz"),
        *("calibration.npz", "novelty.npz", "README.md"),
    }
    for name, data in files.items():
        assert hashlib.sha256(data).hexdigest() == bundle.manifest.files[name].sha256
    manifest = blocks(html)["manifest.json"]
    assert hashlib.sha256(manifest).hexdigest() == bundle.sha256 == page.sha256
    assert facts(html)["sha256"] == bundle.sha256
    assert blocks(html)["onnxruntime-web.wasm"] == b"\0asm"
    assert page.size == page.path.stat().st_size


def test_figures_of_the_card_are_carried(bundle, write):
    (bundle / "figures").mkdir()
    seal(bundle, "figures/training.png", b"a picture")
    seal(bundle, "figures/notes.txt", b"no picture")
    files = rebuilt_files(write(bundle)[1])
    assert files["figures/training.png"] == b"a picture"
    assert "figures/notes.txt" not in files


def test_the_same_bundle_gives_the_same_page(bundle, write):
    assert write(bundle)[1] == write(bundle)[1]


def test_a_bundle_without_a_score(bundle, write):
    without_score(bundle)
    assert "score.onnx" not in rebuilt_files(write(bundle)[1])


def test_a_packed_bundle(bundle, tmp_path, write):
    packed = pack(bundle, tmp_path / "small.vae")
    page, html = write(packed.path)
    assert page.sha256 == Bundle(packed.path).sha256
    assert "loss.onnx" in rebuilt_files(html)


def test_another_version_of_onnxruntime_web_is_noted(bundle, write):
    page, html = write(bundle)
    assert "onnxruntime-web is 9.9.9, pages were tested with" in page.note
    assert facts(html)["onnxruntimeWeb"]["version"] == "9.9.9"
    assert "MIT License" in facts(html)["onnxruntimeWeb"]["license"]


def test_a_signature_is_checked_and_recorded(bundle, tmp_path, write):
    pytest.importorskip("model_signing")
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    for words in (
        f"ecparam -genkey -name prime256v1 -noout -out {private}",
        f"ec -in {private} -pubout -out {public}",
    ):
        subprocess.run(["openssl", *words.split()], check=True, capture_output=True)
    page, html = write(bundle)
    assert (page.signed_by, facts(html)["signature"]) == (None, None)
    with pytest.raises(BundleError, match="is not signed"):
        write(bundle, public_key=public)
    sign(bundle, private)
    page, html = write(bundle, public_key=public)
    digest = hashlib.sha256(public.read_bytes()).hexdigest()
    assert page.signed_by == "key.pub"
    assert facts(html)["signature"] == {"key": "key.pub", "key_sha256": digest}


def test_a_changed_bundle_is_refused_and_the_old_page_stays(bundle, write, tmp_path):
    write(bundle)
    before = (tmp_path / "page.html").read_bytes()
    (bundle / "decoder.onnx").write_bytes(b"x" * (bundle / "decoder.onnx").stat().st_size)
    with pytest.raises(BundleError, match="was changed after export"):
        write(bundle)
    with pytest.raises(BundleError, match="another bundle"):
        write(bundle, sha256="0" * 64)
    assert (tmp_path / "page.html").read_bytes() == before


def test_a_place_that_cannot_be_written(bundle, tmp_path):
    fake_ort_web(tmp_path)
    with pytest.raises(ExportError, match="choose another place"):
        write_page(bundle, tmp_path / "absent" / "page.html", ort_web=tmp_path)


def test_text_of_the_manifest_does_not_reach_the_markup(bundle, write):
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest["name"] = "<b>bold<script>"
    path.write_text(json.dumps(manifest))
    html = write(bundle)[1]
    assert "<b>" not in html and html.count("&lt;b&gt;bold&lt;script&gt;") == 2


def test_the_command(bundle, tmp_path, call):
    fake_ort_web(tmp_path)
    words = ("page", bundle, "-o", tmp_path / "small.html", "--ort-web", tmp_path)
    status, out, err = call(*words)
    assert (status, err.startswith("Note: onnxruntime-web is 9.9.9")) == (0, True)
    assert Bundle(bundle).sha256 in out and "no signature was checked" in out
    assert "application/octet-stream" in (tmp_path / "small.html").read_text("utf-8")
    status, _, err = call(*words, "--signature", "x.sig")
    assert status == 3 and "--signature needs --public-key" in err


def test_the_command_without_onnxruntime_web(bundle, tmp_path, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = call("page", bundle, "-o", "small.html")
    assert status == 3 and "npm install onnxruntime-web" in err
    assert not (tmp_path / "small.html").exists()
