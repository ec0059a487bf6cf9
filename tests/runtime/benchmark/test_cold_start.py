"""Cold starts of processes, and their statistics."""

import sys
from pathlib import Path

import numpy as np
import pytest

from vae_runtime.benchmark import cold_start
from vae_runtime.benchmark.cold_start import ColdStart, cold_starts, summarize_starts
from vae_runtime.errors import MeasurementError


def test_statistics_of_several_starts():
    starts = [(0.5, 30_000_000), (0.25, None), (2, 10_000_000)]
    expected = ColdStart("this", "float32", 3, 500, 250, 2000, 20)
    assert summarize_starts("this", "float32", starts) == expected
    assert summarize_starts("this", "float32", [(1, None)]).resident_mb is None


def test_a_process_starts_and_scores(exported):
    (found,) = cold_starts(exported(), ["float32"], ["cpu"], 2, "this")
    assert (found.runtime, found.precision, found.starts) == ("this", "float32", 2)
    assert 0 < found.fastest_ms <= found.median_ms <= found.slowest_ms
    assert 10 < found.resident_mb < 1000  # an interpreter with NumPy and ONNX Runtime


@pytest.mark.skipif(sys.platform != "linux", reason="Linux adds the parent's memory to ru_maxrss")
def test_memory_of_the_parent_process_is_not_counted(exported):
    before = cold_starts(exported(), ["float32"], ["cpu"], 1, "this")[0].resident_mb
    ballast = np.ones(50_000_000)
    after = cold_starts(exported(), ["float32"], ["cpu"], 1, "this")[0].resident_mb
    assert ballast.nbytes == 400_000_000
    assert after < before + 100


def test_the_error_of_a_process_quotes_its_message(exported):
    with pytest.raises(MeasurementError, match=r"ended with status 1: .*provider 'warp' is not"):
        cold_starts(exported(), ["float32"], ["warp"], 1, "this")


def test_precisions_take_turns(monkeypatch):
    starts = []

    def start(path, precision, providers):
        starts.append(precision)
        return float(len(starts)), None

    monkeypatch.setattr(cold_start, "_start_once", start)
    found = cold_starts(Path("some"), ["float32", "int8"], ["cpu"], 2, "this")
    assert starts == ["float32", "int8"] * 2
    assert [(start.precision, start.fastest_ms) for start in found] == [
        ("float32", 1000),
        ("int8", 2000),
    ]


def test_peak_memory_without_proc(monkeypatch, tmp_path):
    peak = cold_start.peak_resident_bytes()
    monkeypatch.setattr(cold_start, "Path", lambda _: tmp_path / "none")
    assert cold_start.peak_resident_bytes() >= 0.9 * peak > 1_000_000


def test_last_line():
    assert cold_start.last_line("Traceback\n  line\nValueError: x\n\n") == "ValueError: x"
    assert cold_start.last_line(" \n") == "it wrote no message"
