"""Kills of a worker at random moments; `test_on_workers.py` has one kill as the short form."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("resource", reason="needs fork and signals of POSIX")


@pytest.mark.slow
def test_a_run_on_two_workers_survives_kills():
    script = Path(__file__).parent / "worker_kills.py"
    args = [sys.executable, script, "--kills", "20"]
    result = subprocess.run(args, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "20 kills" in result.stdout.splitlines()[-1]
