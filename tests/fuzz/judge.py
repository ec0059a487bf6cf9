"""What became of one mutant, held against readers that share nothing with those under test.

A mutant must be refused with one line of a `BundleError` that names it, in `SECONDS` of processor
time. One that is accepted is a *false acceptance* where

- it is not the original byte for byte, and yet `load(..., sha256=...)` of the original takes it; or
- an independent reader (jsonschema, hashlib, zipfile, onnx, NumPy) finds that it breaks a rule; or
- its proof is the original's and verifies, and yet it computes other losses on that proof's inputs
  than the original, by more than the largest tolerances that a manifest may state.

What remains is another bundle, sealed as such: whoever made the mutant put the digests right, or
changed a field that describes (a name, a date, a version) or that the proof covers.
"""

import hashlib
import io
import json
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import onnx
from mutations import MANIFEST, Files, Mutant, Mutator

import vae_runtime
from vae_runtime import BuildVaeError, BundleError
from vae_runtime.graph.operators import OPERATORS
from vae_runtime.proof.parity import read_reference

SECONDS = 2.0
LOSS_LIMIT = 1e-2
"""Largest `loss_atol` and `loss_rtol` of a manifest."""

SCHEMA = jsonschema.Draft202012Validator(vae_runtime.manifest_schema())


class PromiseBrokenError(Exception):
    """A promise was broken."""


class Judge:
    """Judges the mutants of one bundle.

    Args:
        bundle: its folder.
        work: an empty folder to write mutants into.
    """

    def __init__(self, bundle: Path, work: Path) -> None:
        packed = vae_runtime.pack(bundle, work / "original.vae").path
        self.mutator = Mutator(read_folder(bundle), read_archive(packed.read_bytes()))
        self.digests = {vae_runtime.Bundle(path).sha256: path for path in (bundle, packed)}
        self.original = packed.read_bytes()
        loaded = vae_runtime.load(packed, threads=1, tuned=False)
        self.proof = read_reference(loaded.bundle)
        self._folder, self._file, self._now = work / "mutant", work / "mutant.vae", Files()

    def judge(self, mutant: Mutant) -> str:
        """What became of it.

        Raises:
            PromiseBrokenError: says which promise was broken.
        """
        path = self._write(mutant)
        start = time.process_time()
        try:
            vae = vae_runtime.load(path, threads=1, tuned=False)
            vae.bundle.check_files()
            read_reference(vae.bundle)
            refused = None
        except BundleError as error:
            refused = str(error)
        except Exception as error:
            raise PromiseBrokenError(f"{type(error).__name__} escapes: {error}") from error
        if (seconds := time.process_time() - start) > SECONDS:
            raise PromiseBrokenError(f"{seconds:.1f} s until {refused or 'it was accepted'}")
        if refused:
            if "\n" in refused or str(path) not in refused:
                raise PromiseBrokenError(
                    f"the message is not one line that names the bundle: {refused!r}"
                )
            return "refused"
        return "identical" if self._is_original(mutant) else self._accepted(path, mutant)

    def _accepted(self, path: Path, mutant: Mutant) -> str:
        files = mutant.files or read_archive(mutant.archive)
        for digest in self.digests:
            try:
                vae_runtime.load(path, sha256=digest)
            except BundleError:
                continue
            raise PromiseBrokenError(
                "false acceptance: it is taken for the original, by its digest"
            )
        if fault := next(broken_rules(files), None):
            raise PromiseBrokenError(f"false acceptance: {fault}")
        vae = vae_runtime.load(path, threads=1, tuned=False)
        try:
            if not vae.verify().passed:
                return "another bundle, whose proof fails"
            loss = vae.loss(self.proof["x"], self.proof["eps"]).loss
        except BuildVaeError as error:
            return f"another bundle, {type(error).__name__} when it runs"
        except Exception as error:
            raise PromiseBrokenError(f"{type(error).__name__} when it runs: {error}") from error
        if files["parity.npz"] == self.mutator.packed["parity.npz"]:
            expected = self.proof["loss"]
            if not np.allclose(loss, expected, rtol=LOSS_LIMIT, atol=LOSS_LIMIT):
                raise PromiseBrokenError(
                    "false acceptance: the proof holds, and the losses are others"
                )
        return "another bundle, whose proof holds"

    def _is_original(self, mutant: Mutant) -> bool:
        if mutant.files is not None:
            return mutant.files == self.mutator.folder
        return mutant.archive == self.original

    def _write(self, mutant: Mutant) -> Path:
        if mutant.archive is not None:
            self._file.write_bytes(mutant.archive)
            return self._file
        for name in self._now.keys() - mutant.files.keys():
            (self._folder / name).unlink()
        for name, data in mutant.files.items():
            if self._now.get(name) != data:
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / name).write_bytes(data)
        self._now = dict(mutant.files)
        return self._folder


def read_folder(folder: Path) -> Files:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_archive(data: bytes) -> Files:
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        if file.testzip() is not None or file.comment:
            raise PromiseBrokenError("false acceptance: zipfile finds a bad CRC or a comment")
        return {entry.filename: file.read(entry) for entry in file.infolist()}


def broken_rules(files: Files) -> Iterator[str]:
    """The rules that a bundle breaks, as far as other readers can tell."""
    manifest = json.loads(files[MANIFEST].decode("utf-8", "strict"), object_pairs_hook=once)
    yield from (f"manifest: {error.message}" for error in SCHEMA.iter_errors(manifest))
    if files.keys() - {MANIFEST} != manifest["files"].keys():
        yield "other files than the manifest lists"
    for name, entry in manifest["files"].items():
        if len(files[name]) != entry["size"] or digest(files[name]) != entry["sha256"]:
            yield f"{name} is not of the size and digest in the manifest"
    for spec in manifest["graphs"].values():
        model = onnx.load_model_from_string(files[spec["file"]])
        yield from (f"{spec['file']}: {fault}" for fault in faults_of_graph(model, spec))
    samples = manifest["parity"]["samples"]
    with np.load(io.BytesIO(files[manifest["parity"]["file"]]), allow_pickle=False) as arrays:
        for name, array in arrays.items():
            if len(array) != samples or not np.isfinite(array).all():
                yield f"{name} of the proof has {len(array)} samples, or is not finite"


def once(pairs):
    if len({key for key, _ in pairs}) != len(pairs):
        raise PromiseBrokenError("false acceptance: a key is there twice")
    return dict(pairs)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def faults_of_graph(model: onnx.ModelProto, spec) -> Iterator[str]:
    if {entry.domain for entry in model.opset_import} != {""} or model.functions:
        yield "a domain of its own, or functions"
    for side, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        says = [(t["name"], t["dtype"], t["shape"]) for t in spec[side]]
        if [described(value) for value in values] != says:
            yield f"other {side} than the manifest says"
    for node in model.graph.node:
        if node.domain or node.op_type not in OPERATORS:
            yield f"the operator {node.domain}::{node.op_type}"
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            yield "a subgraph"
    tensors = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    for tensor in (*model.graph.initializer, *tensors):
        if tensor.external_data or tensor.data_location:
            yield "external data"
        elif not np.isfinite(onnx.numpy_helper.to_array(tensor)).all():
            yield f"{tensor.name} is not finite"


def described(value):
    tensor = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    dims = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
    return value.name, dtype, dims


def keep(mutant: Mutant, path: Path) -> None:
    """Writes a mutant where it can be looked at."""
    if mutant.archive is not None:
        path.with_suffix(".vae").write_bytes(mutant.archive)
        return
    shutil.rmtree(path, ignore_errors=True)
    for name, data in mutant.files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
