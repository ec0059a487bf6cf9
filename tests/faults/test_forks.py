"""A process that forks while its threads score, verify, and load models."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(__file__).parent / "forks.py"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.mark.parametrize(
    ("forks", "bench"), [(5, []), pytest.param(100, ["--bench"], marks=pytest.mark.slow)]
)
def test_no_child_hangs(exported, forks, bench):
    result = subprocess.run(
        [sys.executable, COMMAND, exported("conv"), "--forks", str(forks), *bench],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == f"{forks} forks: 0 children hung, 0 failed or were wrong\n"
