"""The command line around a measurement that is planted."""

import json
from dataclasses import replace

import pytest

from vae_runtime.benchmark.report import BenchReport
from vae_runtime.benchmark.timing import Timing
from vae_runtime.cli import bench as command
from vae_runtime.cli.main import run
from vae_runtime.inference.tuning import Tuning, TuningKey, find_tuning

HERE = TuningKey("ab" * 32, "1.2.3", ("cpu",), "Fast CPU", 4)
TIMING = Timing("ONNX Runtime 1.2.3", "float32", 1, 1, 256, 10, 0.1, None, None, 1e4, 0.0)
BEST = {"float32": Tuning(2, 64)}
REPORT = BenchReport("vae", HERE, 3, (TIMING,), (), (TIMING,), (), BEST, (), ())
NOISY = replace(REPORT, noise=("load",))


@pytest.fixture
def planted(monkeypatch, tunings):
    """Gives the next report; remembers what was asked for."""
    asked = {}

    def plant(report):
        def bench(path, **options):
            asked.update(options, path=path)
            options["on_step"]("round 1")
            return report

        monkeypatch.setattr(command, "bench", bench)
        return asked

    return plant


def test_options_reach_the_library(planted, capsys):
    asked = planted(REPORT)
    words = "bench some-vae --no-tensorflow --batch 1,64 --threads 1,3 --seconds 2 --provider x"
    words += " --precision int8,float32"
    assert run(words.split()) == 0
    assert str(asked["path"]) == "some-vae"
    assert asked["batches"] == (1, 64)
    assert asked["threads"] == (1, 3)
    assert asked["precisions"] == ("int8", "float32")
    assert asked["seconds"] == 2
    assert asked["providers"] == ("x",)
    assert asked["peers"] is None
    out, err = capsys.readouterr()
    assert out == f"{REPORT}\n"
    assert err == "measuring: round 1\n"


def test_json_is_all_of_standard_output(planted, capsys):
    planted(REPORT)
    assert run(["bench", "some-vae", "--no-tensorflow", "--json", "--save", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads(json.dumps(REPORT.to_dict()))
    assert err.startswith("wrote ")


def test_save_keeps_the_recommendation(planted, capsys):
    planted(REPORT)
    assert run(["bench", "some-vae", "--no-tensorflow", "-q"]) == 0
    assert find_tuning(HERE, "float32") is None
    assert run(["bench", "some-vae", "--no-tensorflow", "-q", "--save"]) == 0
    assert find_tuning(HERE, "float32") == Tuning(2, 64)


def test_a_noisy_machine_saves_nothing(planted, capsys):
    planted(NOISY)
    assert run(["bench", "some-vae", "--no-tensorflow", "-q", "--save"]) == 3
    out, err = capsys.readouterr()
    assert out == f"{NOISY}\n"
    assert err.startswith("Error: the machine was too noisy") and err.count("\n") == 1
    assert find_tuning(HERE, "float32") is None


@pytest.mark.parametrize("words", ["--batch 1,x", "--threads x", "--seconds 0", "--batch -1"])
def test_numbers_that_are_none_are_wrong_usage(planted, words):
    planted(REPORT)
    assert run(["bench", "some-vae", *words.split()]) == 2
