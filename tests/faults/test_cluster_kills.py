"""Workers, nodes and drivers that are killed while a source is scored: no row is lost or twice."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")
if sys.platform != "linux":
    pytest.skip("reads /proc", allow_module_level=True)

COMMAND = Path(__file__).parent / "cluster_kills.py"
SHORT = ["--kind", "driver", "--kills", "1", "--parts", "6", "--rows", "20000"]


@pytest.mark.parametrize(
    ("engine", "package", "words", "kills"),
    [
        ("local", "pyarrow", SHORT, 1),
        pytest.param("local", "pyarrow", [], 40, marks=pytest.mark.slow),
        pytest.param("ray", "ray", [], 60, marks=pytest.mark.slow),
        pytest.param("dask", "distributed", [], 60, marks=pytest.mark.slow),
    ],
)
def test_no_row_is_lost_or_twice(exported, engine, package, words, kills):
    pytest.importorskip(package)
    args = [sys.executable, COMMAND, exported(), "--engine", engine, *words]
    result = subprocess.run(args, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.endswith(f"\n{kills} kills: 0 promises broken\n")
