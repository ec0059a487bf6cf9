"""Judge a mutant by independent readers, which share no code with the readers under test.

A mutant must be refused with a `BundleError` of one line that names it, in `MAX_SECONDS` of
processor time. An accepted mutant is a *false acceptance* if

- it differs from the original in any byte, but `load` with the original's `sha256` accepts it; or
- an independent reader (jsonschema, hashlib, zipfile, onnx, NumPy) finds that it breaks a rule; or
- it verifies with the original's proof, but its losses on the proof's inputs differ from the
  original's by more than the largest tolerances that a manifest may state.

Any other accepted mutant is a different bundle, sealed as such: the mutation corrected the digests,
or changed a field that is descriptive (a name, a date, a version) or covered by the proof.
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
from vae_runtime.proof.reference import read_reference

MAX_SECONDS = 2.0
LOSS_LIMIT = 1e-2
"""Largest `loss_atol` and `loss_rtol` that a manifest may state."""

SCHEMA = jsonschema.Draft202012Validator(vae_runtime.manifest_schema())


class PromiseBrokenError(Exception):
    """A promise about mutants was broken."""


class Judge:
    """Judge of the mutants of one bundle.

    Args:
        bundle: folder of the bundle.
        work: an empty folder to write mutants into.
    """

    def __init__(self, bundle: Path, work: Path) -> None:
        packed = vae_runtime.pack(bundle, work / "original.vae").path
        self.mutator = Mutator(read_folder(bundle), read_archive(packed.read_bytes()))
        self.digests = {vae_runtime.Bundle(path).sha256: path for path in (bundle, packed)}
        self.original = packed.read_bytes()
        loaded = vae_runtime.load(packed, threads=1, tuned=False)
        self.proof = read_reference(loaded.bundle)
        self._folder, self._file, self._written = work / "mutant", work / "mutant.vae", Files()

    def judge(self, mutant: Mutant) -> str:
        """Return the outcome; PromiseBrokenError says which promise was broken, if any."""
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
        if (seconds := time.process_time() - start) > MAX_SECONDS:
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
            raise PromiseBrokenError("false acceptance: the original's digest accepts it")
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
                raise PromiseBrokenError("false acceptance: the proof holds, but the losses differ")
        return "another bundle, whose proof holds"

    def _is_original(self, mutant: Mutant) -> bool:
        if mutant.files is not None:
            return mutant.files == self.mutator.folder
        return mutant.archive == self.original

    def _write(self, mutant: Mutant) -> Path:
        if mutant.archive is not None:
            self._file.write_bytes(mutant.archive)
            return self._file
        for name in self._written.keys() - mutant.files.keys():
            (self._folder / name).unlink()
        for name, data in mutant.files.items():
            if self._written.get(name) != data:
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self._folder / name).write_bytes(data)
        self._written = dict(mutant.files)
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
    """Yield the rules that a bundle breaks, according to independent readers."""
    manifest = json.loads(
        files[MANIFEST].decode("utf-8", "strict"), object_pairs_hook=reject_duplicates
    )
    yield from (f"manifest: {error.message}" for error in SCHEMA.iter_errors(manifest))
    if files.keys() - {MANIFEST} != manifest["files"].keys():
        yield "files differ from the manifest's list"
    for name, entry in manifest["files"].items():
        if len(files[name]) != entry["size"] or digest(files[name]) != entry["sha256"]:
            yield f"{name} does not have the size and digest in the manifest"
    for spec in manifest["graphs"].values():
        model = onnx.load_model_from_string(files[spec["file"]])
        yield from (f"{spec['file']}: {fault}" for fault in faults_of_graph(model, spec))
    samples = manifest["parity"]["samples"]
    with np.load(io.BytesIO(files[manifest["parity"]["file"]]), allow_pickle=False) as arrays:
        for name, array in arrays.items():
            if len(array) != samples or not np.isfinite(array).all():
                yield f"{name} of the proof has {len(array)} samples, or is not finite"


def reject_duplicates(pairs):
    if len({key for key, _ in pairs}) != len(pairs):
        raise PromiseBrokenError("false acceptance: a key appears twice")
    return dict(pairs)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def faults_of_graph(model: onnx.ModelProto, spec) -> Iterator[str]:
    if {entry.domain for entry in model.opset_import} != {""} or model.functions:
        yield "a custom domain, or functions"
    for side, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        expected = [(t["name"], t["dtype"], t["shape"]) for t in spec[side]]
        if [described(value) for value in values] != expected:
            yield f"{side} differ from the manifest"
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
    """Write a mutant to `path`, for inspection."""
    if mutant.archive is not None:
        path.with_suffix(".vae").write_bytes(mutant.archive)
        return
    shutil.rmtree(path, ignore_errors=True)
    for name, data in mutant.files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
