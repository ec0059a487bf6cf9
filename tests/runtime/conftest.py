"""Fixtures for tests of bad bundles, and a bundle with a variant."""

import contextlib
import hashlib
import json
import os
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

import vae_runtime
from sealing import seal
from vae_runtime import BundleError
from vae_runtime.files.npz import npz_bytes
from vae_runtime.graph.p_value import without_p_value

MAX_SECONDS = 2
MAX_BYTES = 256e6
"""Limits of processor time and memory for refusing a bad bundle."""

MODULES = (".py", ".pyc", ".so")
MACHINE = ("/proc/", "/sys/")
"""Files about the processors, which are read after the graphs have passed their check."""

_watched: list[str] | None = None


def _watch(event, arguments):
    if event == "open" and _watched is not None and not isinstance(arguments[0], int):
        _watched.append(os.fsdecode(arguments[0]))


sys.addaudithook(_watch)  # an audit hook cannot be removed


@contextlib.contextmanager
def nothing_outside_is_opened(path):
    """Check which files this process opens; modules that are imported late do not count."""
    global _watched
    _watched = []
    try:
        yield
        # A name without a slash is opened relative to the descriptor of its folder.
        opened = [
            Path(name)
            for name in _watched
            if "/" in name and Path(name).suffix not in MODULES and not name.startswith(MACHINE)
        ]
        assert [name for name in opened if not name.is_relative_to(path)] == []
    finally:
        _watched = None


@contextlib.contextmanager
def within_limits():
    """Check the processor time of this process, and the memory of Python and NumPy."""
    start = time.process_time()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MAX_BYTES
        assert time.process_time() - start < MAX_SECONDS
    finally:
        tracemalloc.stop()


@pytest.fixture
def refused(monkeypatch):
    """A function that opens a bad bundle, and checks that it is refused as promised.

    The error is a `BundleError` of one line that names the file and the rule. It comes before any
    session opens, and no file outside the bundle is opened.
    """

    def check(path, file, rule, *, measured=False):
        opened = []
        monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *args, **_: opened.append(args))
        outside = nothing_outside_is_opened(path)
        limits = within_limits() if measured else contextlib.nullcontext()
        with outside, limits, pytest.raises(BundleError, match=rule) as caught:
            vae_runtime.load(path, threads=1).verify()
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not opened

    return check


def round_weights(data):
    """Round the weights of a float32 graph to float16 precision."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if len(tensor.dims) > 1 and tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model.SerializeToString()


OUTPUTS = (
    *("z_mean", "z_log_var", "z", "logits", "reconstruction"),
    *("reconstruction_loss", "kl_loss", "loss", "score"),
)


@pytest.fixture
def with_variant(bundle):
    """A bundle with a handmade float16 variant."""
    (bundle / "float16").mkdir()
    base = json.loads((bundle / "manifest.json").read_bytes())
    graphs = {
        name: {**spec, "file": f"float16/{spec['file']}"} for name, spec in base["graphs"].items()
    }
    variant = {
        "method": "weights",
        "graphs": graphs,
        "size": 1,
        "drift": {"samples": 2, "mean": 0, "p99": 0, "rank_correlation": 1},
        "within_budget": True,
        "latency": dict.fromkeys(
            ("batch_1_ms", "batch_1_ratio", "batch_256_ms", "batch_256_ratio"), 1
        ),
        "worth_it": False,
        "tolerances": dict.fromkeys(OUTPUTS, 0.01),
    }
    for name in graphs:
        data = round_weights((bundle / f"{name}.onnx").read_bytes())
        seal(bundle, f"float16/{name}.onnx", data, lambda m: m["variants"].update(float16=variant))
    own = {"graph_sha256": hashlib.sha256(without_p_value(data)).hexdigest()}
    own = {**base["score"]["calibrations"]["float32"], **own}  # the same scores
    with np.load(bundle / "calibration.npz") as stored:
        arrays = {name: stored[name] for name in stored}
    arrays |= {name.replace("float32", "float16"): array for name, array in arrays.items()}
    seal(
        bundle,
        "calibration.npz",
        npz_bytes(arrays),
        lambda m: m["score"]["calibrations"].update(float16=own),
    )
    return bundle


@pytest.fixture
def opened(monkeypatch):
    """The options of the sessions that open from now on, in order."""
    found = []
    open_session = vae_runtime.inference.sessions.open_session

    def recorded(*args, **options):
        found.append(options)
        return open_session(*args, **options)

    monkeypatch.setattr(vae_runtime.inference.sessions, "open_session", recorded)
    return found
