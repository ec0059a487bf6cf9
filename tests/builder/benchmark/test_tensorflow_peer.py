"""The TensorFlow process of the benchmark computes the same losses as the runtime."""

import importlib.util
import runpy

import numpy as np
import pytest

from vae_builder.benchmark import tensorflow_peer
from vae_builder.benchmark.tensorflow_peer import WORKER, TensorFlowPeer, tensorflow_peers
from vae_runtime import Bundle, BundleError, MeasurementError, load
from vae_runtime.data.numbers.standardization import Standardization


@pytest.mark.parametrize(
    ("arguments", "options", "shape"),
    [
        (("dense",), {}, (8, 8, 1)),
        (("conv", "bce", (9, 7, 3), 3, 0.75), {}, (9, 7, 3)),
        pytest.param(("dense", "mse", (12,)), {}, (12,), marks=pytest.mark.slow),
        (
            ("dense", "gaussian", (12,)),
            {"variance": 0.2, "standardization": Standardization((0.5,), (0.3,))},
            (12,),
        ),
        pytest.param(
            ("dense", "bce", (8, 8, 1)),
            {"input_dtype": "uint8"},
            (8, 8, 1),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_timed_call_computes_the_same_loss(exported, arguments, options, shape):
    path = exported(*arguments, **options)
    scorer = runpy.run_path(str(WORKER))["scorer"]
    bundle = Bundle(path)
    x = np.random.default_rng(0).random((5, *shape), dtype=np.float32)
    if bundle.manifest.input.dtype == "uint8":
        x = np.round(255 * x).astype(np.uint8)
    found = scorer(bundle)(x)
    expected = load(path, threads=1).loss(x)
    for value, name in zip(found, ("reconstruction_loss", "kl_loss", "loss"), strict=True):
        np.testing.assert_allclose(value, getattr(expected, name), rtol=1e-5, err_msg=name)


def test_a_process_answers_and_ends(exported):
    with tensorflow_peers(exported(), (1,)) as peers:
        (peer,) = peers
        assert peer.name.startswith("TensorFlow 2.")
        assert peer.threads == 1
        assert peer.start_seconds > 0
        assert peer.resident_bytes > 50_000_000
        times = peer.measure(3, 0.0, warm=False)
        assert len(times) == 1 and times[0] > 0
        assert len(peer.measure(1, 0.05, warm=True)) > 1
        process = peer._process
        assert process.poll() is None
    assert process.poll() is not None


@pytest.mark.slow
def test_a_killed_process_is_an_error(exported):
    with tensorflow_peers(exported(), (1,)) as (peer,):
        peer._process.kill()
        peer._process.wait()
        with pytest.raises(MeasurementError, match=r"ended with status .*leave TensorFlow out"):
            peer.measure(1, 0.0, warm=False)


def test_the_error_quotes_a_process_that_cannot_start(exported, tmp_path, monkeypatch):
    broken = tmp_path / "worker.py"
    broken.write_text("raise ImportError('libcuda.so.1: cannot open shared object file')")
    monkeypatch.setattr(tensorflow_peer, "WORKER", broken)
    message = r"status 1: ImportError: libcuda.*: leave TensorFlow out \(--no-tensorflow\)"
    with pytest.raises(MeasurementError, match=message):
        TensorFlowPeer(exported(), 1, gpu=False)


def test_there_are_no_peers_without_tensorflow(exported, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with tensorflow_peers(exported(), (1, 2)) as peers:
        assert peers == []


def test_a_changed_saved_model_is_not_opened(bundle):
    path = bundle / "saved_model" / "encoder" / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError), tensorflow_peers(bundle, (1,)):
        raise AssertionError("no process may start")
