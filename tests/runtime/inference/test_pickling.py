"""Copies and pickles of a loaded model, also in the pools of multiprocessing."""

import copy
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

import vae_runtime
from vae_runtime import BundleError

X = np.random.default_rng(0).random((150, 8, 8, 1), dtype=np.float32)


def test_a_pickle_loads_the_same_model_with_the_same_options(with_variant):
    vae = vae_runtime.load(
        with_variant, precision="float16", threads=3, batch_size=50, allow_fallback=True
    )
    other = pickle.loads(pickle.dumps(vae))
    assert repr(other) == repr(vae) and other.bundle.sha256 == vae.bundle.sha256
    sessions = other._chunks.sessions
    assert (sessions.threads, sessions.allow_fallback, other._chunks.batch_size) == (3, True, 50)
    np.testing.assert_array_equal(other.loss(X).loss, vae.loss(X).loss)
    assert pickle.loads(pickle.dumps(vae.with_batch_size(7)))._chunks.batch_size == 7
    assert len(pickle.dumps(vae)) < 1000


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda vae: vae.with_batch_size(9)])
def test_copies_share_the_sessions_and_need_no_files(bundle, make):
    vae = vae_runtime.load(bundle, threads=1)
    expected = vae.loss(X).loss
    shutil.rmtree(bundle)
    other = make(vae)
    np.testing.assert_allclose(other.loss(X).loss, expected, rtol=1e-6)
    assert other is not vae and other._chunks.sessions is vae._chunks.sessions


def test_a_pickle_is_refused_if_the_bundle_changed_or_moved(bundle):
    data, file = pickle.dumps(vae_runtime.load(bundle, threads=1)), bundle / "manifest.json"
    moved = bundle.rename(bundle.with_name("moved"))
    with pytest.raises(BundleError, match=f"^{bundle} does not exist, expected a bundle"):
        pickle.loads(data)
    moved.rename(bundle)
    file.write_bytes(file.read_bytes().replace(b'"small-vae"', b'"other-vae"'))
    with pytest.raises(BundleError, match="this is another bundle than the one that was asked"):
        pickle.loads(data)


def test_a_bundle_and_its_reports_can_be_pickled(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("vae_runtime.benchmark.bench.COLD_STARTS", 1)
    vae = vae_runtime.load(exported(), threads=1)
    for value in (
        vae.bundle.manifest,
        vae.verify(),
        vae_runtime.verify_bundle(exported(), threads=1),
        vae_runtime.pack(exported(), tmp_path / "a.vae"),
        vae_runtime.bench(exported(), batches=(1,), threads=(1,), seconds=0.05),
        vae_runtime.LossSpec("mse"),
        vae.loss(X[:4]).mean(),
    ):
        assert pickle.loads(pickle.dumps(value)) == value
    codes, losses = pickle.loads(pickle.dumps((vae.encode(X), vae.loss(X))))
    np.testing.assert_array_equal(codes.z_mean, vae.encode(X).z_mean)
    np.testing.assert_array_equal(losses.loss, vae.loss(X).loss)
    for path in (exported(), tmp_path / "a.vae"):
        assert pickle.loads(pickle.dumps(vae_runtime.Bundle(path))).read("loss.onnx")


IN_POOLS = """
import multiprocessing, os, shutil, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np, vae_runtime

model = None

def start(vae):
    global model
    model = vae

def score(part):
    return model.loss(part).loss

def fail(which):
    if which == 0:
        raise vae_runtime.MissingExtraError("a thing", "a package", "cpu")
    vae_runtime.load("nowhere")

if __name__ == "__main__":
    vae = vae_runtime.load(sys.argv[1], threads=1)
    parts = np.split(np.random.default_rng(0).random((12, 8, 8, 1), dtype=np.float32), 4)
    context = multiprocessing.get_context(sys.argv[2])
    with context.Pool(1, start, (vae,)) as pool:
        expected = [vae.loss(part) for part in parts]
        for found, right in zip(pool.map_async(vae.loss, parts).get(60), expected, strict=True):
            assert np.array_equal(found.loss, right.loss)
        assert np.array_equal(pool.apply_async(score, parts[:1]).get(60), expected[0].loss)
        for which in (0, 1):
            try:
                pool.apply_async(fail, (which,)).get(60)
            except vae_runtime.BuildVaeError as error:
                print(type(error).__name__, error)
        shutil.move(sys.argv[1], sys.argv[1] + "-moved")
        try:
            pool.map_async(vae.loss, parts).get(60)
        except vae_runtime.BundleError as error:
            print(error)
    with ProcessPoolExecutor(1, context, start, (vae,)) as pool:
        try:
            print(*pool.map(score, parts[:1]))
        except vae_runtime.BundleError as error:
            print(error)
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_pools_score_and_pass_errors_on(bundle, tmp_path, method):
    """With fork, the last pool inherits the model; with spawn, it cannot load it again."""
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    script = tmp_path / "pools.py"
    script.write_text(IN_POOLS)
    result = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script, bundle, method],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    missing = f"{bundle} does not exist, expected a bundle, as build-vae export or pack makes it"
    *errors, moved, last = result.stdout.splitlines()
    assert errors == [
        "MissingExtraError a thing needs a package, which is not installed: pip install "
        '"build-vae[cpu]"',
        f"BundleError {missing.replace(str(bundle), str(tmp_path / 'nowhere'))}: check the path",
    ]
    assert moved == f"{missing}: check the path"
    assert last == moved if method == "spawn" else f"{bundle / 'loss.onnx'} is missing" in last
