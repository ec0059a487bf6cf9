"""Batches split among threads: every sample once, with the results and errors of one thread."""

import gc
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vae_runtime
from vae_runtime import InputError
from vae_runtime.inference.parallel import (
    BatchThreadPool,
    min_samples_per_thread,
    should_split,
    split_batch,
)

COUNT = 160


@given(st.integers(1, 5000), st.integers(1, 600), st.integers(1, 9))
def test_parts_cover_every_sample_once_and_divide_among_threads(count, batch_size, threads):
    parts = list(split_batch(count, batch_size, threads))
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
    assert len(parts) % threads == 0
    assert len(parts) - threads < count / batch_size


@pytest.mark.parametrize(
    ("operators", "least"),
    [
        ({"Gemm", "Add"}, 64),
        ({"Gemm", "Conv"}, 8),
        ({"ConvTranspose"}, 8),
        ({"ConvInteger", "MatMulInteger"}, 8),
        ({"MatMulInteger"}, 64),
    ],
)
def test_a_batch_is_split_if_every_thread_gets_enough_samples(operators, least):
    assert not should_split(10**6, 1, operators)
    for threads in (2, 3):
        assert should_split(threads * least, threads, operators)
        assert not should_split(threads * least - 1, threads, operators)


def test_parts_are_computed_at_the_same_time():
    barrier = threading.Barrier(3, timeout=30)  # opens when three threads wait
    BatchThreadPool(3).run(lambda part: barrier.wait(), split_batch(3, 1, 3))


def test_one_thread_computes_all_parts():
    seen = []
    BatchThreadPool(1).run(seen.append, split_batch(5, 2, 1))
    assert seen == [slice(0, 1), slice(1, 3), slice(3, 5)]


def test_callers_that_share_a_pool_do_not_wait_for_each_other():
    """A caller computes its parts itself if the pool's threads are busy for another caller."""
    shared, entered, leave = BatchThreadPool(2), threading.Barrier(3, timeout=30), threading.Event()

    def block(part):
        entered.wait()
        assert leave.wait(30)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shared.run, block, split_batch(2, 1, 2))
        entered.wait()  # the first caller and its helper both run `block` now
        seen = []
        shared.run(seen.append, split_batch(4, 1, 2))
        assert len(seen) == 4 and not first.done()
        leave.set()
        first.result(30)


def test_the_first_failure_is_raised_and_no_further_parts_start():
    seen = []

    def work(part):
        seen.append(part.start)
        if part.start >= 3:
            raise ValueError(part.start)

    with pytest.raises(ValueError, match=r"^3$"):
        BatchThreadPool(2).run(work, split_batch(1000, 1, 2))
    assert len(seen) < 10


AFTER_MAIN_THREAD = """
import sys, threading
import numpy, vae_runtime
from vae_runtime.inference.parallel import BatchThreadPool, split_batch
main, pool, seen = threading.main_thread(), BatchThreadPool(2), []
if "begun" in sys.argv:
    pool.run(lambda part: None, split_batch(4, 1, 2))
def work():
    main.join()
    pool.run(seen.append, split_batch(4, 1, 2))
    print(sorted(part.start for part in seen))
threading.Thread(target=work).start()
"""


@pytest.mark.parametrize("words", [[], ["begun"]])
def test_a_thread_that_outlives_the_main_thread_computes_all_parts_itself(words):
    result = subprocess.run(
        [sys.executable, "-c", AFTER_MAIN_THREAD, *words],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (result.stdout, result.stderr) == ("[0, 1, 2, 3]\n", "")


def test_threads_end_with_their_pool():
    before = set(threading.enumerate())
    pool = BatchThreadPool(4)
    pool.run(lambda part: None, split_batch(100, 1, 4))
    helpers = set(threading.enumerate()) - before
    assert helpers
    del pool
    gc.collect()
    for helper in helpers:
        helper.join(30)
    assert not any(helper.is_alive() for helper in helpers)


@pytest.mark.parametrize("batch_size", [5, 64, 1000])
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("count", [COUNT - 3, COUNT])
def test_several_threads_give_the_results_of_one(exported, count, threads, batch_size):
    rng, done = np.random.default_rng(0), []
    x = rng.random((count, 8, 8, 1), dtype=np.float32)
    eps = rng.standard_normal((count, 3))
    alone = vae_runtime.load(exported(), threads=1)
    vae = vae_runtime.load(exported(), threads=threads, batch_size=batch_size)
    found, expected = vae.loss(x, eps, on_progress=done.append), alone.loss(x, eps)
    assert sum(done) == count and max(done) <= batch_size
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(vae.reconstruct(x), alone.reconstruct(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [(7,), (COUNT - 1, 40)])
def test_the_first_bad_sample_is_named(exported, bad):
    x = np.zeros((COUNT, 8, 8, 1), np.float32)
    x[list(bad)] = np.nan
    vae = vae_runtime.load(exported(), threads=2, batch_size=10)
    with pytest.raises(InputError, match=rf"^sample {min(bad)} has 64 values that are NaN"):
        vae.loss(x)


@pytest.mark.parametrize("preset", ["dense", "conv"])
def test_small_batches_share_operators_and_large_batches_are_split(exported, opened, preset):
    vae = vae_runtime.load(exported(preset), threads=2)
    opened.clear()  # an export also opens sessions, to verify
    enough = 2 * min_samples_per_thread(["Conv"] if preset == "conv" else [])
    vae.loss(np.zeros((enough, 8, 8, 1), np.float32))
    assert [each["threads"] for each in opened] == [1]
    assert vae.providers == ["CPUExecutionProvider"]
    for _ in range(2):
        vae.loss(np.zeros((enough - 1, 8, 8, 1), np.float32))
        vae.loss(np.zeros((COUNT, 8, 8, 1), np.float32))
    assert [each["threads"] for each in opened] == [1, 2]


def test_batches_are_not_split_for_other_providers(exported, opened):
    """A GPU shares the work among its processors itself."""
    vae = vae_runtime.load(exported(), threads=2)
    opened.clear()
    sessions = vae_runtime.inference.sessions.Sessions(
        vae_runtime.inference.sessions.read_graphs(vae.bundle, "float32"),
        ["AnotherExecutionProvider", "CPUExecutionProvider"],
        threads=2,
        allow_fallback=True,
    )
    assert sessions.thread_pool.size == 1 and opened == []
