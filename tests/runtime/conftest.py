"""What the tests of bad bundles share, and a bundle with a variant."""

import contextlib
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

SECONDS = 2
BYTES = 256e6
"""What a bad bundle may cost."""


MODULES = (".py", ".pyc", ".so")
MACHINE = ("/proc/", "/sys/")
"""What says how many processors there are: looked at once the graphs have passed."""

_watched: list[str] | None = None


def _watch(event, arguments):
    if event == "open" and _watched is not None and not isinstance(arguments[0], int):
        _watched.append(os.fsdecode(arguments[0]))


sys.addaudithook(_watch)  # there is no way to take it out again


@contextlib.contextmanager
def nothing_outside_is_opened(path):
    """Watches what this process opens; modules that are imported late do not count."""
    global _watched
    _watched = []
    try:
        yield
        # A part of a path, opened below the descriptor of its folder, has no slash in it.
        opened = [
            Path(name)
            for name in _watched
            if "/" in name and Path(name).suffix not in MODULES and not name.startswith(MACHINE)
        ]
        assert [name for name in opened if not name.is_relative_to(path)] == []
    finally:
        _watched = None


@contextlib.contextmanager
def within_the_promise():
    """Measures the time of this process, and what Python and NumPy allocate."""
    start = time.process_time()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < BYTES
        assert time.process_time() - start < SECONDS
    finally:
        tracemalloc.stop()


@pytest.fixture
def refused(monkeypatch):
    """A function that opens a bad bundle, and holds the error to what is promised.

    One typed error, which names the file and the rule, before any session exists; no file outside
    the bundle is opened.
    """

    def check(path, file, rule, *, measured=False):
        opened = []
        monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *args, **_: opened.append(args))
        outside = nothing_outside_is_opened(path)
        promise = within_the_promise() if measured else contextlib.nullcontext()
        with outside, promise, pytest.raises(BundleError, match=rule) as caught:
            vae_runtime.load(path, threads=1).verify()
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not opened

    return check


def rounded(data):
    """A float32 graph whose weights are those of float16."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if len(tensor.dims) > 1 and tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model.SerializeToString()


OUTPUTS = (
    *("z_mean", "z_log_var", "z", "logits", "reconstruction"),
    *("reconstruction_loss", "kl_loss", "loss"),
)


@pytest.fixture
def with_variant(bundle):
    """A bundle with a float16 variant that was made by hand."""
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
    for name in ("encoder", "decoder", "loss"):
        data = rounded((bundle / f"{name}.onnx").read_bytes())
        seal(bundle, f"float16/{name}.onnx", data, lambda m: m["variants"].update(float16=variant))
    return bundle


@pytest.fixture
def opened(monkeypatch):
    """The options of the sessions that are opened from now on, one after another."""
    found = []
    open_session = vae_runtime.inference.sessions.open_session

    def recorded(*args, **options):
        found.append(options)
        return open_session(*args, **options)

    monkeypatch.setattr(vae_runtime.inference.sessions, "open_session", recorded)
    return found
