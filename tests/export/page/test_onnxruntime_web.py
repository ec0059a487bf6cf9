"""onnxruntime-web from npm: found, checked against its digest, and made inlinable."""

import pytest

from page_files import fake_ort_web
from vae_export.page.onnxruntime_web import INSTALL, PINNED_VERSION, as_global, read_ort_web
from vae_runtime.errors import MissingExtraError, OptionError


@pytest.mark.parametrize("inside", ["", "node_modules", "node_modules/onnxruntime-web"])
def test_is_found(tmp_path, inside):
    fake_ort_web(tmp_path)
    ort = read_ort_web(tmp_path / inside)
    assert (ort.version, ort.is_pinned) == ("9.9.9", False)
    assert ort.library == "const a=1;globalThis.ort={env:a};\n"
    assert ort.webassembly == b"\0asm"
    assert "MIT License" in ort.license and "Microsoft" in ort.license


def test_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingExtraError, match=INSTALL):
        read_ort_web()
    fake_ort_web(tmp_path)
    assert read_ort_web().version == "9.9.9"


def test_a_changed_file_of_the_pinned_version_is_refused(tmp_path):
    fake_ort_web(tmp_path, PINNED_VERSION)
    with pytest.raises(OptionError, match="the file was changed"):
        read_ort_web(tmp_path)


def test_the_pinned_version_is_what_npm_delivers(ort_web):
    ort = read_ort_web(ort_web)
    if ort.version != PINNED_VERSION:
        pytest.skip(f"onnxruntime-web is {ort.version}")
    assert ort.is_pinned
    assert "globalThis.ort={InferenceSession:" in ort.library
    assert "export{" not in ort.library


def faulty(package, name):
    if name == "package.json":
        (package / name).write_text('{"version": "<script>"}')
    else:
        (package / "dist" / name).unlink()


@pytest.mark.parametrize(
    "name", ["package.json", "ort-wasm-simd-threaded.wasm", "ort.wasm.bundle.min.mjs"]
)
def test_faulty_packages_are_refused_in_one_line(tmp_path, name):
    faulty(fake_ort_web(tmp_path), name)
    with pytest.raises(OptionError, match=INSTALL) as caught:
        read_ort_web(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_module_without_exports_is_refused():
    with pytest.raises(OptionError, match=r"ort\.mjs does not end in its exports"):
        as_global("export{a as b};more()", "ort.mjs")
