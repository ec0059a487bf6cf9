"""Changes of a bundle as an attacker makes them, with correct sizes and digests."""

import hashlib
import json

import numpy as np
import onnx
from onnx import numpy_helper


def seal(path, name, data, change=lambda manifest: None):
    """Write a file of a bundle, and its size and digest into the manifest."""
    (path / name).write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    change(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def without_score(bundle):
    """Make of a bundle one that was exported without an anomaly score."""
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for name in (manifest["score"]["file"], "score.onnx", "novelty.npz"):
        manifest["files"].pop(name, None)
        (bundle / name).unlink(missing_ok=True)
    del manifest["score"], manifest["graphs"]["score"]
    path.write_text(json.dumps(manifest))


def tamper(bundle):
    """Add 0.01 to the weights in the decoder's largest initializer."""
    model = onnx.load(bundle / "decoder.onnx")
    tensor = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    array = numpy_helper.to_array(tensor) + np.float32(0.01)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    seal(bundle, "decoder.onnx", model.SerializeToString())
