"""Supervised processes: how they end, and what they say. They do not import TensorFlow."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

if not hasattr(os, "fork"):
    pytest.skip("needs fork and signals of POSIX", allow_module_level=True)

SPEC = find_spec("vae_builder.workers.supervision")
START = f"""
import os, runpy, signal, sys, time
module = runpy.run_path({SPEC.origin!r})  # without its package, which imports NumPy
limited, supervise = module["limited"], module["supervise"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, if the tests run in background
supervise()
"""
READY = "print(os.getpid(), flush=True)\n"


def run(code, *, act=lambda parent, child: None):
    """Run code in a supervised child; return status and standard error of the parent.

    The code has to print its process number before `act` is called.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", START + (code if READY in code else READY + code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as parent:
        child = int(parent.stdout.readline())
        assert child != parent.pid
        act(parent.pid, child)
        try:
            _, err = parent.communicate(timeout=60)
        finally:
            parent.kill()  # its child ends with it
        return parent.returncode, err, child


def is_running(pid):
    """Return whether a process is still running; one that is not reaped counts as ended."""
    try:
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout
    except FileNotFoundError:  # no ps here
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            state = file.read().rpartition(")")[2]
    return bool(state.strip()) and not state.strip().startswith("Z")


SLEEP_WITHOUT_SIGTERM = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"


@pytest.mark.parametrize("status", [0, 3])
def test_the_status_is_the_childs(status):
    assert run(f"sys.exit({status})")[:2] == (status, "")


def test_sigterm_ends_a_child_that_ignores_it():
    status, err, child = run(
        SLEEP_WITHOUT_SIGTERM, act=lambda parent, child: os.kill(parent, signal.SIGTERM)
    )
    assert (status, err) == (-signal.SIGTERM, "") and not is_running(child)


def test_other_signals_reach_the_child():
    code = f"try:\n    {READY}    time.sleep(600)\nexcept KeyboardInterrupt:\n    sys.exit(7)"
    assert run(code, act=lambda parent, child: os.kill(parent, signal.SIGINT))[0] == 7


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_killed_child_is_reported_in_one_line(number):
    status, err, _ = run("time.sleep(600)", act=lambda parent, child: os.kill(child, number))
    assert status == -number
    assert err == (
        f"Error: training was ended by {number.name}: start all workers again with --resume\n"
    )


def test_a_limit_ends_the_child_in_one_line():
    status, err, child = run(f"with limited(0.5):\n    {SLEEP_WITHOUT_SIGTERM.splitlines()[1]}")
    assert status == 3 and not is_running(child)
    assert err.startswith("Error: a worker has ended or cannot be reached: TensorFlow did not")
    assert err.count("\n") == 1


def test_a_limit_ends_with_its_block():
    assert run("with limited(0.3):\n    pass\ntime.sleep(1)")[:2] == (0, "")


def test_the_child_ends_with_its_parent():
    _, _, child = run("time.sleep(600)", act=lambda parent, child: os.kill(parent, signal.SIGKILL))
    end = time.monotonic() + 30
    while is_running(child):
        assert time.monotonic() < end, "the child is still running"
        time.sleep(0.05)
