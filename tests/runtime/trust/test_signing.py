"""Signatures: only the unchanged bundle of the publisher passes."""

import sys

import pytest

import vae_runtime
from vae_runtime import BundleError, ExportError, MissingExtraError, OptionError
from vae_runtime.cli.main import run
from vae_runtime.trust.signing import check_signature, default_signature, sign


def test_the_error_for_a_missing_package_names_the_extra(bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    for module in ("signing", "verifying"):
        monkeypatch.delitem(sys.modules, f"model_signing.{module}", raising=False)
    with pytest.raises(MissingExtraError, match=r'pip install "build-vae\[sign\]"'):
        check_signature(bundle, "key.pem")


@pytest.fixture
def keys(tmp_path):
    """Two pairs of (private, public) keys: the publisher's, and another person's."""
    pytest.importorskip("model_signing.signing")
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec

    pairs = []
    for name in ("publisher", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        pem = form.PrivateFormat.PKCS8
        private.write_bytes(key.private_bytes(form.Encoding.PEM, pem, form.NoEncryption()))
        shown = form.PublicFormat.SubjectPublicKeyInfo
        public.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, shown))
        pairs.append((private, public))
    return pairs


@pytest.fixture(params=["folder", "file"])
def signed(request, bundle, keys, tmp_path):
    if request.param == "file":
        bundle = vae_runtime.pack(bundle, tmp_path / "small.vae").path
    assert sign(bundle, keys[0][0]) == default_signature(bundle)
    return bundle


def test_the_publisher_s_bundle_passes(signed, keys):
    check_signature(signed, keys[0][1])
    assert vae_runtime.load(signed, threads=1).verify().passed  # signing adds no file to the bundle
    assert run(["verify", str(signed), "--public-key", str(keys[0][1])]) == 0


def test_another_key_is_refused(signed, keys):
    with pytest.raises(BundleError, match=r"does not match its signature .*do not use it"):
        check_signature(signed, keys[1][1])


def test_a_changed_bundle_is_refused_before_it_is_parsed(signed, keys, capsys):
    file = signed / "manifest.json" if signed.is_dir() else signed
    file.write_bytes(file.read_bytes().replace(b'"latent_dim": 3', b'"latent_dim": 4', 1))
    assert run(["verify", str(signed), "--public-key", str(keys[0][1])]) == 3
    assert "does not match its signature" in capsys.readouterr().err


def test_an_added_file_is_refused(bundle, keys):
    sign(bundle, keys[0][0])
    (bundle / "extra").touch()
    with pytest.raises(BundleError, match="does not match its signature"):
        check_signature(bundle, keys[0][1])


def test_a_missing_signature_is_refused(signed, keys):
    default_signature(signed).unlink()
    with pytest.raises(BundleError, match=r"is not signed: .* is missing, a signature is required"):
        check_signature(signed, keys[0][1])


@pytest.mark.parametrize("content", [b"", b"junk", b"{}"])
def test_an_invalid_signature_is_refused(signed, keys, content):
    default_signature(signed).write_bytes(content)
    with pytest.raises(BundleError, match="does not match its signature"):
        check_signature(signed, keys[0][1])


def test_invalid_keys_are_refused(signed, tmp_path):
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    with pytest.raises(OptionError, match=r"junk\.pem is not a public key"):
        check_signature(signed, junk)
    with pytest.raises(OptionError, match=r"junk\.pem cannot sign"):
        sign(signed, junk)


def test_the_error_for_an_unwritable_signature(bundle, keys, tmp_path):
    with pytest.raises(ExportError, match=r"x\.sig cannot be written: No such file .* another pla"):
        sign(bundle, keys[0][0], tmp_path / "none" / "x.sig")


def test_the_sign_command(bundle, keys, tmp_path, capsys):
    path = tmp_path / "elsewhere.sig"
    words = [str(bundle), "--private-key", str(keys[0][0]), "-o", str(path)]
    assert run(["sign", *words]) == 0
    assert f"wrote {path}" in capsys.readouterr().out
    check_signature(bundle, keys[0][1], path)
    words = ["--public-key", str(keys[0][1]), "--signature", str(path)]
    assert run(["verify", str(bundle), *words]) == 0


def test_an_incomplete_bundle_is_not_signed(bundle, keys):
    with pytest.raises(OptionError, match="lies inside the bundle"):
        sign(bundle, keys[0][0], bundle / "x.sig")
    (bundle / "loss.onnx").unlink()
    with pytest.raises(BundleError, match=r"loss\.onnx is missing"):
        sign(bundle, keys[0][0])
