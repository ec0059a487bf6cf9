"""Malicious bundles: `load` raises one error, within a time limit, and opens no session.

`test_bundle` tests files and links in a folder, `test_archive` zip files, `graph/test_check` graphs
and `proof/test_parity` arrays. The tests here load whole bundles, and test manifests.
"""

import os
import zipfile

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import vae_runtime
from sealing import seal
from vae_runtime import BundleError
from vae_runtime.files import archive
from vae_runtime.files.npz import npz_bytes

MANIFEST = "manifest.json"


def in_manifest(old, new, count=1):
    """Return a function that replaces text in a manifest, and fails if the text is missing."""

    def change(data):
        assert old in data
        return data.replace(old, new, count)

    return change


SIZE = b'"latent_dim": 3'
MANIFESTS = {
    "not UTF-8": (in_manifest(b"small-vae", b"small\xffvae"), "is not UTF-8"),
    "UTF-16": (lambda data: data.decode().encode("utf-16"), "is not UTF-8"),
    "BOM": (lambda data: b"\xef\xbb\xbf" + data, "starts with a byte order mark"),
    "duplicate key": (in_manifest(SIZE, SIZE + b"," + SIZE), "has the key 'latent_dim' twice"),
    "NaN": (in_manifest(SIZE, b'"latent_dim": NaN'), "has NaN"),
    "infinity": (in_manifest(SIZE, b'"latent_dim": -Infinity'), "has -Infinity"),
    "too large": (in_manifest(SIZE, b'"latent_dim": 1e999'), "out of range"),
    "5000 digits": (
        in_manifest(SIZE, b'"latent_dim": ' + b"9" * 5000),
        "an integer of 5000 digits",
    ),
    "nested": (in_manifest(SIZE, b'"latent_dim": ' + b"[" * 17 + b"]" * 17), "deeper than 16"),
    "deep": (lambda data: b"[" * 500_000, "nested deeper than 16"),
    "deep objects": (lambda data: b'{"a":' * 150_000, "nested deeper than 16"),
    "large": (lambda data: b" " * (1 << 20) + data, "at most 1048576 are allowed"),
    "later version": (
        in_manifest(b'"format_version": 2', b'"format_version": 3'),
        "format version 3, this build-vae reads up to 2",
    ),
    "no version": (
        in_manifest(b'"format_version": 2', b'"format_version": 0'),
        "Invalid enum value 0",
    ),
    "unknown key": (in_manifest(SIZE, SIZE + b', "x": 1'), "unknown key 'x'"),
    "text": (in_manifest(SIZE, b'"latent_dim": "3"'), "latent_dim: Expected int, got"),
    "bool": (in_manifest(SIZE, b'"latent_dim": true'), "latent_dim: Expected int, got"),
    "fraction": (in_manifest(SIZE, b'"latent_dim": 3.0'), "latent_dim: Expected int, got"),
    "other format": (in_manifest(b'"build-vae"', b'"other"'), "format: Invalid enum value"),
    "md5": (in_manifest(b'"sha256": ', b'"md5": ', -1), "missing required field sha256"),
    "path": (in_manifest(b'"loss.onnx": {', b'"../loss.onnx": {'), "Expected str matching"),
}


@pytest.mark.parametrize(("change", "rule"), MANIFESTS.values(), ids=MANIFESTS)
def test_manifests(bundle, refused, change, rule):
    path = bundle / MANIFEST
    path.write_bytes(change(path.read_bytes()))
    refused(bundle, path, rule, measured=True)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("sha256", "0" * 64, r"has SHA-256 \w+\.\.\., the manifest says 0{12}"),
        ("sha256", "sha1:" + "0" * 40, "Expected str matching"),
        ("size", 1, "has .* bytes, the manifest says 1"),
        ("size", 1 << 42, "size: Expected int [<>]= "),
        ("size", -1, "size: Expected int [<>]= "),
    ],
)
def test_wrong_digests_and_sizes(bundle, refused, key, value, rule):
    def change(manifest):
        manifest["files"]["loss.onnx"][key] = value

    seal(bundle, "README.md", b"", change)
    file = "loss.onnx" if "has" in rule else MANIFEST
    refused(bundle, bundle / file, rule)


def enlarge(file, size=1 << 42):
    """Make a sparse file as large as the file system allows; it takes no space on disk."""
    for bits in range(size.bit_length() - 1, 30, -1):
        try:
            return os.truncate(file, 1 << bits)
        except OSError:
            continue
    return pytest.skip("no sparse files here")


@pytest.mark.parametrize("name", [MANIFEST, "loss.onnx", "parity.npz"])
def test_a_huge_sparse_file_in_a_folder(bundle, refused, name):
    enlarge(bundle / name)
    refused(bundle, bundle / name, "bytes, (the manifest says|at most 1048576 are)", measured=True)


def test_a_huge_sparse_single_file(exported, tmp_path, refused):
    path = vae_runtime.pack(exported(), tmp_path / "small.vae").path
    enlarge(path)
    refused(path, path, "too few or too many for a zip file without ZIP64", measured=True)


def test_a_fifo_and_a_hard_link_for_a_single_file(exported, tmp_path, refused):
    os.mkfifo(tmp_path / "fifo.vae")
    refused(tmp_path / "fifo.vae", tmp_path / "fifo.vae", "is not a regular file")
    path = vae_runtime.pack(exported(), tmp_path / "small.vae").path
    (tmp_path / "link.vae").symlink_to(path)
    assert vae_runtime.load(tmp_path / "link.vae").manifest.name == "small-vae"
    os.link(path, tmp_path / "hard.vae")
    refused(path, path, "has 2 hard links, expected one")


def contents(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewrite(path, files):
    with path.open("wb") as file:
        archive.write(file, files.items())


@pytest.mark.parametrize(
    ("change", "file", "rule"),
    [
        (lambda f: f | {"extra": b""}, "extra", "is not listed in the manifest"),
        (lambda f: f | {"a/manifest.json": b""}, "a/manifest.json", "is not listed"),
        (lambda f: {n: d for n, d in f.items() if n != "loss.onnx"}, "loss.onnx", "is missing"),
        (lambda f: {n: d for n, d in f.items() if n != MANIFEST}, MANIFEST, "is missing"),
        (lambda f: f | {"loss.onnx": b""}, "loss.onnx", "has 0 bytes, the manifest says"),
        (lambda f: f | {"loss.onnx": f["loss.onnx"][::-1]}, "loss.onnx", "has SHA-256"),
        (lambda f: f | {MANIFEST: b" " * (1 << 21)}, MANIFEST, "at most 1048576 are allowed"),
        (lambda f: f | {MANIFEST: b"{}"}, MANIFEST, "missing required field format"),
    ],
)
def test_the_files_in_a_single_file(exported, tmp_path, refused, change, file, rule):
    path = vae_runtime.pack(exported(), tmp_path / "small.vae").path
    rewrite(path, change(contents(path)))
    refused(path, path / file, rule)


SPOILED = {
    "empty": (lambda data: b"", "too few or too many"),
    "cut": (lambda data: data[: len(data) // 2], "does not end in a zip's end record"),
    "more": (lambda data: data + b"\0", "does not end in a zip's end record"),
    "prefix": (lambda data: b"\0" + data, "a prefix"),
    "no zip": (lambda data: b"junk" * 1000, "does not end in a zip's end record"),
}


@pytest.mark.parametrize(("change", "rule"), SPOILED.values(), ids=SPOILED)
def test_a_damaged_single_file(exported, tmp_path, refused, change, rule):
    path = vae_runtime.pack(exported(), tmp_path / "small.vae").path
    path.write_bytes(change(path.read_bytes()))
    refused(path, path, f"{rule}.*: it is damaged, or not from build-vae pack")


def other_zip(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in files.items():
            file.writestr(name, data)


def test_a_deflate_bomb(exported, tmp_path, refused):
    path = vae_runtime.pack(exported(), tmp_path / "small.vae").path
    bomb = contents(path) | {"parity.npz": bytes(300_000_000)}
    other_zip(path, bomb, compression=zipfile.ZIP_DEFLATED, compresslevel=1)
    refused(path, path, "is compressed, expected stored bytes", measured=True)


def test_a_hundred_thousand_entries(tmp_path, refused):
    path = tmp_path / "many.vae"
    record = archive.Entry("a", 0, 0, 0).directory_record()
    end = b"PK\5\6" + b"\0" * 4 + b"\xff" * 12 + b"\0\0"
    path.write_bytes(record * 100_000 + end)
    refused(path, path, "ZIP64", measured=True)


def external(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="README.md")


def loop(model):
    node = model.graph.node[-1]
    inner = helper.make_graph([], "body", [], [])
    node.CopyFrom(helper.make_node("Loop", ["", "", node.input[0]], node.output, body=inner))


def bomb(model):
    model.graph.initializer.append(numpy_helper.from_array(np.array([8 << 30]), "size"))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["size"], ["huge"]))


def not_finite(number):
    def change(model):
        tensor = next(t for t in model.graph.initializer if t.data_type == 1 and t.dims)
        values = numpy_helper.to_array(tensor).copy()
        values.flat[-1] = number
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    return change


def other_output(model):
    del model.graph.output[-1]


def custom(model):
    model.graph.node[0].domain = "custom"


GRAPHS = {
    "external data": (external, "has external_data, which is not allowed"),
    "Loop": (loop, "a subgraph|'Loop'"),
    "ConstantOfShape": (bomb, r"a ConstantOfShape asks for 8\.59e\+09 elements"),
    "NaN": (not_finite(np.nan), "holds values that are not finite"),
    "infinite": (not_finite(np.inf), "holds values that are not finite"),
    "outputs": (other_output, "its outputs are .*, the manifest says"),
    "domain": (custom, "it uses the operator custom::"),
}


@pytest.mark.parametrize("graph", ["encoder", "decoder", "loss"])
@pytest.mark.parametrize(("change", "rule"), GRAPHS.values(), ids=GRAPHS)
def test_graphs(bundle, refused, graph, change, rule):
    file = bundle / f"{graph}.onnx"
    model = onnx.load(file)
    change(model)
    seal(bundle, file.name, model.SerializeToString())
    refused(bundle, file, rule, measured=change is bomb)


@pytest.mark.parametrize("data", [b"junk", b"", b"\x08" * 1000], ids=["junk", "empty", "repeated"])
def test_junk_for_a_graph(bundle, refused, data):
    seal(bundle, "loss.onnx", data)
    refused(bundle, bundle / "loss.onnx", "ir_version|cut short|unknown field|wire type|twice")


def test_a_manifest_that_states_a_huge_proof(bundle, refused):
    def change(manifest):
        manifest["parity"]["samples"] = 2**31

    with np.load(bundle / "parity.npz") as arrays:
        seal(bundle, "parity.npz", npz_bytes(dict(arrays)), change)
    refused(bundle, bundle / "parity.npz", "x has shape .*expected", measured=True)


def test_a_shape_whose_product_overflows(bundle, refused):
    def change(manifest):
        manifest["input"]["shape"] = [2**31, 2**31, 2**31]

    seal(bundle, "README.md", b"", change)
    refused(bundle, bundle / MANIFEST, "graphs.encoder does not fit input")


@pytest.mark.parametrize("change", ["extra", "missing"])
def test_the_names_are_checked_when_a_bundle_is_loaded(bundle, change):
    if change == "extra":
        (bundle / "extra").touch()
    else:
        (bundle / "parity.npz").unlink()
    with pytest.raises(BundleError, match=r"extra is not listed|parity\.npz is missing"):
        vae_runtime.load(bundle)


def test_a_folder_with_too_many_files(bundle, refused):
    for i in range(1100):
        (bundle / f"f{i}").touch()
    refused(bundle, bundle, "is not listed in the manifest")


def test_a_manifest_with_too_many_files(bundle, refused):
    def change(manifest):
        manifest["files"] |= {f"f{i}": manifest["files"]["loss.onnx"] for i in range(1000)}

    seal(bundle, "README.md", b"", change)
    refused(bundle, bundle / MANIFEST, "files has .* entries, at most 999 are allowed")


def test_a_graph_with_more_results_than_samples(bundle):
    """Shapes are known only when the graph runs, and NumPy would broadcast a single row."""
    model = onnx.load(bundle / "loss.onnx")
    last = model.graph.node[-1]
    name = last.output[0]
    last.output[0] = "every"
    model.graph.node.append(helper.make_node("Concat", ["every", "every"], [name], axis=0))
    seal(bundle, "loss.onnx", model.SerializeToString())
    vae = vae_runtime.load(bundle, threads=1)
    with pytest.raises(BundleError, match=rf"gives {name} of shape \(10,\) for 5 samples"):
        vae.loss(np.zeros((5, 8, 8, 1), np.float32))


def test_graphs_are_checked_before_the_machine_is_examined(bundle, monkeypatch):
    """If a graph is refused, nothing else is done, not even the choice of threads."""
    examine = "vae_runtime.inference.loading.choose_tuning"
    monkeypatch.setattr(examine, lambda *_, **__: pytest.fail("the machine was examined"))
    seal(bundle, "loss.onnx", b"junk")
    with pytest.raises(BundleError, match=r"loss\.onnx"):
        vae_runtime.load(bundle)
