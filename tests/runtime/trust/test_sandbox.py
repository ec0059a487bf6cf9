"""Verification in a child process with limits: reports, limits and crashes."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from sealing import seal
from vae_runtime import BundleError, OptionError, verify_bundle
from vae_runtime.cli.main import run
from vae_runtime.trust.sandbox import _read_report, verify_in_sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")


def allocate(bundle, times):
    """Make the loss graph allocate `times` float32 values for each element of x."""
    model = onnx.load(bundle / "loss.onnx")
    shape = helper.make_node("Shape", ["x"], ["s"])
    size = helper.make_node("ReduceProd", ["s"], ["p"], keepdims=1)
    many = helper.make_node("Mul", ["p", "times"], ["n"])
    zeros = helper.make_node("ConstantOfShape", ["n"], ["huge"])
    total = helper.make_node("ReduceSum", ["huge"], ["zero"], keepdims=0)
    last = model.graph.node[-1]
    name, last.output[0] = last.output[0], "before"
    model.graph.initializer.append(numpy_helper.from_array(np.array([times]), "times"))
    model.graph.node.extend(
        [shape, size, many, zeros, total, helper.make_node("Add", ["before", "zero"], [name])]
    )
    seal(bundle, "loss.onnx", model.SerializeToString())


def test_a_good_bundle_gives_the_same_report_as_without_a_sandbox(exported):
    expected = verify_bundle(exported(), threads=1)
    told = verify_in_sandbox(exported(), threads=1)
    assert (told.passed, str(told)) == (True, str(expected))
    assert told.to_dict() == expected.to_dict()


def test_the_error_for_exhausted_memory_is_one_line(bundle, capsys):
    allocate(bundle, 1 << 28)  # terabytes
    assert run(["verify", str(bundle), "--sandbox", "--sandbox-memory", "200"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "small-vae asked for more than 200 MiB of memory: do not use it, or raise" in err


def test_a_graph_within_the_memory_limit_passes(bundle):
    allocate(bundle, 20_000)  # 64 MB
    assert verify_in_sandbox(bundle, memory=300).passed
    with pytest.raises(BundleError, match="asked for more than 20 MiB"):
        verify_in_sandbox(bundle, memory=20)


def test_time_is_limited(bundle):
    model = onnx.load(bundle / "loss.onnx")
    side = numpy_helper.from_array(np.array([3000, 3000]), "side")
    model.graph.initializer.append(side)
    names = ["m0"]
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Expand", ["top", "side"], ["m0"]),
    ]
    for i in range(300):
        nodes.append(helper.make_node("MatMul", [names[-1], "m0"], [f"m{i + 1}"]))
        names.append(f"m{i + 1}")
    last = model.graph.node[-1]
    name, last.output[0] = last.output[0], "before"
    nodes.append(helper.make_node("ReduceMin", [names[-1]], ["low"], keepdims=0))
    nodes.append(helper.make_node("Add", ["before", "low"], [name]))
    model.graph.node.extend(nodes)
    seal(bundle, "loss.onnx", model.SerializeToString())
    with pytest.raises(BundleError, match="was ended after 1 s"):
        verify_in_sandbox(bundle, seconds=1)


def test_an_error_of_the_child_is_passed_on(bundle):
    (bundle / "loss.onnx").write_bytes(b"junk")
    with pytest.raises(BundleError, match=r"in the sandbox: .*loss\.onnx has 4 bytes"):
        verify_in_sandbox(bundle)


@pytest.mark.parametrize(
    ("status", "rule"),
    [(-11, "crashed with SIGSEGV"), (-6, "crashed with SIGABRT"), (-9, "was ended"), (1, "boom")],
)
def test_a_failed_child_is_a_bundle_error(status, rule):
    child = subprocess.CompletedProcess([], status, b"", b"Traceback\nboom\n")
    with pytest.raises(BundleError, match=f"^b.vae .*{rule}"):
        _read_report("b.vae", child, 100, 5)


@pytest.mark.parametrize("limits", [{"memory": 0}, {"seconds": 0}, {"seconds": float("nan")}])
def test_limits_must_be_positive(exported, limits):
    with pytest.raises(OptionError, match="must be more than 0"):
        verify_in_sandbox(exported(), **limits)


def test_other_systems_than_linux_are_refused(exported, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(OptionError, match="the sandbox needs Linux, this is darwin"):
        verify_in_sandbox(exported())


def test_the_sandbox_does_not_combine_with_saved_models(bundle, capsys):
    assert run(["verify", str(bundle), "--sandbox", "--against", "saved-model"]) == 3
    assert "cannot be combined with --against saved-model" in capsys.readouterr().err
