"""Threads that share a model, and processes that load it while it is republished."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(__file__).parent / "concurrency.py"


@pytest.mark.parametrize(
    ("calls", "processes", "loads"),
    [(100, 3, 15), pytest.param(10_000, 8, 200, marks=pytest.mark.slow)],
)
def test_no_wrong_answer(exported, calls, processes, loads):
    bundles = exported(), exported(kl_weight=0.5)
    sizes = {"--calls": calls, "--processes": processes, "--loads": loads}
    args = [sys.executable, COMMAND, *bundles, *map(str, sum(sizes.items(), ()))]
    result = subprocess.run(args, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{16 * calls:,} calls: 0 wrong answers" in result.stdout
    assert f"{processes * loads:,} loads" in result.stdout
    assert ", 2 bundles met: 0 wrong answers, 0 loads failed" in result.stdout
