"""Batches in parts: every sample once, results and errors as where one follows another."""

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
from vae_runtime.inference.parallel import Parts, Team, min_samples, worthwhile

COUNT = 160


@given(st.integers(1, 5000), st.integers(1, 600), st.integers(1, 9))
def test_parts_hold_every_sample_once_and_are_as_many_for_each_thread(count, batch_size, threads):
    parts = Parts(count, batch_size, threads)
    slices = [parts[i] for i in range(len(parts))]
    assert [i for part in slices for i in range(count)[part]] == list(range(count))
    sizes = [part.stop - part.start for part in slices]
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
def test_every_thread_needs_some_samples(operators, least):
    assert not worthwhile(10**6, 1, operators)
    for threads in (2, 3):
        assert worthwhile(threads * least, threads, operators)
        assert not worthwhile(threads * least - 1, threads, operators)


def test_parts_are_worked_on_at_once():
    meeting = threading.Barrier(3, timeout=30)  # nobody passes before three are there
    Team(3).run(lambda part: meeting.wait(), Parts(3, 1, 3))


def test_a_team_of_one_works_through_all_parts():
    seen = []
    Team(1).run(seen.append, Parts(5, 2, 1))
    assert seen == [slice(0, 1), slice(1, 3), slice(3, 5)]


def test_callers_that_share_a_team_do_not_wait_for_each_other():
    """A caller whose helpers are busy elsewhere does its parts itself."""
    team, entered, leave = Team(2), threading.Barrier(3, timeout=30), threading.Event()

    def block(part):
        entered.wait()
        assert leave.wait(30)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(team.run, block, Parts(2, 1, 2))
        entered.wait()  # the first caller and its helper are both inside
        seen = []
        team.run(seen.append, Parts(4, 1, 2))
        assert len(seen) == 4 and not first.done()
        leave.set()
        first.result(30)


def test_the_first_failure_is_raised_and_ends_the_work():
    seen = []

    def work(part):
        seen.append(part.start)
        if part.start >= 3:
            raise ValueError(part.start)

    with pytest.raises(ValueError, match=r"^3$"):
        Team(2).run(work, Parts(1000, 1, 2))
    assert len(seen) < 10


AT_THE_END = """
import sys, threading
import numpy, vae_runtime
from vae_runtime.inference.parallel import Parts, Team
main, ended, team, seen = threading.main_thread(), [], Team(2), []
if "begun" in sys.argv:
    team.run(lambda part: None, Parts(4, 1, 2))
def work():
    main.join()
    team.run(seen.append, Parts(4, 1, 2))
    print(sorted(part.start for part in seen))
threading.Thread(target=work).start()
"""


@pytest.mark.parametrize("words", [[], ["begun"]])
def test_a_thread_that_outlives_the_main_one_does_all_parts_itself(words):
    result = subprocess.run(
        [sys.executable, "-c", AT_THE_END, *words], capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("[0, 1, 2, 3]\n", "")


def test_threads_end_with_their_team():
    before = set(threading.enumerate())
    team = Team(4)
    team.run(lambda part: None, Parts(100, 1, 4))
    helpers = set(threading.enumerate()) - before
    assert helpers
    del team
    gc.collect()
    for helper in helpers:
        helper.join(30)
    assert not any(helper.is_alive() for helper in helpers)


@pytest.mark.parametrize("batch_size", [5, 64, 1000])
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("count", [COUNT - 3, COUNT])
def test_a_batch_in_parts_has_the_losses_of_one_after_another(exported, count, threads, batch_size):
    rng = np.random.default_rng(0)
    x = rng.random((count, 8, 8, 1), dtype=np.float32)
    eps = rng.standard_normal((count, 3))
    alone = vae_runtime.load(exported(), threads=1)
    vae = vae_runtime.load(exported(), threads=threads, batch_size=batch_size)
    found, expected = vae.loss(x, eps), alone.loss(x, eps)
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
def test_few_samples_share_operators_and_many_are_parted(exported, opened, preset):
    vae = vae_runtime.load(exported(preset), threads=2)
    opened.clear()  # an export opens sessions too, to verify
    enough = 2 * min_samples(["Conv"] if preset == "conv" else [])
    vae.loss(np.zeros((enough, 8, 8, 1), np.float32))
    assert [each["threads"] for each in opened] == [1]
    assert vae.providers == ["CPUExecutionProvider"]
    for _ in range(2):
        vae.loss(np.zeros((enough - 1, 8, 8, 1), np.float32))
        vae.loss(np.zeros((COUNT, 8, 8, 1), np.float32))
    assert [each["threads"] for each in opened] == [1, 2]


def test_other_providers_are_given_whole_chunks(exported, opened):
    """A GPU shares the work among its own processors."""
    vae = vae_runtime.load(exported(), threads=2)
    opened.clear()
    sessions = vae_runtime.inference.sessions.Sessions(
        vae_runtime.inference.sessions.read_graphs(vae.bundle, "float32"),
        ["AnotherExecutionProvider", "CPUExecutionProvider"],
        threads=2,
        allow_fallback=True,
    )
    assert sessions.team.size == 1 and opened == []
