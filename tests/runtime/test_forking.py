"""Children of a fork: locks, sessions, threads and model files; tests/faults/forks.py adds load."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

START = """
import os, sys, threading, time, warnings
import numpy as np
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork with threads may hang

def in_child(work):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        work()
        sys.exit(7)
    for _ in range(3000):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, 9)
    return "hung"

def load(threads):
    import vae_runtime
    return vae_runtime.load(sys.argv[1], threads=threads, tuned=False)
x = np.random.default_rng(0).random((300, 8, 8, 1), dtype=np.float32)
"""


@pytest.fixture
def run(bundle):
    def run(script):
        """Run a script in a new process, on a bundle, and return what it prints."""
        arguments = [sys.executable, "-c", START + script, bundle]
        result = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=90)
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()

    return run


LOAD_AND_SCORE = """
{first}
vae = load(2)
right = vae.loss(x).loss
vae.loss(x[:5])
def score():
    for part in (x, x[:5]):
        np.testing.assert_allclose(vae.loss(part).loss, right[:len(part)], rtol=1e-5)
print(in_child(score))
"""


@pytest.mark.parametrize("first", ["", "import onnxruntime"])
def test_a_child_scores_and_ends_with_its_own_status(run, first):
    assert run(LOAD_AND_SCORE.format(first=first)) == ["7"]


WHILE_HELD = """
from vae_runtime import forking
from vae_runtime.files import strict_json
vae = load(2)
def hold():
    with lock:
        held.set()
        done.wait(30)
sessions = vae._chunks.sessions
objects = sessions, sessions.thread_pool, forking.IMPORTING, strict_json._CONVERTING
for lock in [each.lock for each in objects]:
    held, done = threading.Event(), threading.Event()
    threading.Thread(target=hold).start()
    held.wait()
    threading.Timer(0.1, done.set).start()
    print(in_child(lambda: (print(done.is_set()), vae.loss(x))))
forking.MAX_WAIT_SECONDS, held, done = 0.1, threading.Event(), threading.Event()
threading.Thread(target=hold).start()
held.wait()
print(in_child(lambda: (print(done.is_set()), vae.loss(x))))
done.set()
"""


def test_a_fork_waits_for_locks_but_not_for_ever(run):
    assert run(WHILE_HELD) == ["True", "7"] * 4 + ["False", "7"]


TWO_LOCKS = """
from vae_runtime import forking
models, held, done = [load(1) for _ in range(20)], threading.Event(), threading.Event()
def hold():
    with models[0]._chunks.sessions.lock:
        held.set()
        time.sleep(0.2)
        with forking.IMPORTING.lock:
            done.set()
threading.Thread(target=hold).start()
held.wait()
print(in_child(lambda: print(done.is_set())))
"""


def test_a_fork_and_a_thread_that_opens_a_session_do_not_wait_for_each_other(run):
    assert run(TWO_LOCKS) == ["True", "7"]


AFTER_CHANGE = """
import pathlib, vae_runtime
vae = load(1)
right = vae.loss(x).loss
def score():
    print(np.array_equal(vae.loss(x).loss, right))
print(in_child(score))
file = pathlib.Path(sys.argv[1], "loss.onnx")
file.write_bytes(file.read_bytes()[:-1] + b"?")
def refused():
    try:
        vae.loss(x)
    except vae_runtime.BundleError as error:
        print(error)
print(in_child(refused))
score()
"""


def test_a_child_reads_and_checks_the_models_again(run, bundle):
    first, status, refusal, other_status, in_parent = run(AFTER_CHANGE)
    assert (first, status, other_status, in_parent) == ("True", "7", "7", "True")
    assert refusal.startswith(f"{bundle / 'loss.onnx'} has SHA-256 ")
    assert refusal.endswith("changed after export; copy or export the bundle again")


IN_THE_MIDDLE = """
from vae_runtime.inference.parallel import BatchThreadPool, split_batch
entered, seen, forked = threading.Event(), [], []
def work(part):
    if threading.current_thread() is not threading.main_thread():
        entered.set()
        while not forked:
            time.sleep(0.01)
    elif not forked:
        entered.wait()
        forked.append(os.fork())
    seen.append(part.start)
def end():
    BatchThreadPool(2).run(work, split_batch(4, 1, 2))
    if forked != [0]:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(forked[0], 0)[1]))
    print(sorted(seen))
    sys.stdout.flush()
    os._exit(7)
print(in_child(end))
"""


def test_a_child_that_goes_on_with_a_split_batch_computes_all_of_it(run):
    """The helper of the parent has taken a part when the child begins."""
    assert run(IN_THE_MIDDLE) == ["[0, 1, 2, 3]", "7"]
