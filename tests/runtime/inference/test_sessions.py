"""Sessions: when they open, their inputs and outputs, and their errors."""

import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

import vae_runtime
from vae_runtime import InputError, OptionError, ProviderError
from vae_runtime.inference.sessions import Sessions, read_graphs


@pytest.fixture
def vae(exported):
    return vae_runtime.load(exported(), threads=1)


def samples(count):
    return np.random.default_rng(0).random((count, 8, 8, 1), dtype=np.float32)


def test_sessions_open_once_on_first_use(exported, opened):
    vae = vae_runtime.load(exported(), threads=1)
    opened.clear()  # an export also opens sessions, to verify
    for _ in range(2):
        vae.loss(samples(1))
    assert [each["where"] for each in opened] == ["loss.onnx"]
    vae.reconstruct(samples(1))
    where = [each["where"] for each in opened]
    assert where == ["loss.onnx", "encoder.onnx", "decoder.onnx"]


@pytest.mark.parametrize(("threads", "kinds"), [(1, 1), (2, 2)])
def test_a_model_is_kept_until_all_its_sessions_are_open(exported, threads, kinds):
    sessions = vae_runtime.load(exported(), threads=threads)._chunks.sessions
    sessions.session("loss")
    assert ("loss" in sessions._models) == (kinds == 2)
    sessions.session("loss", threads=1)
    assert "loss" not in sessions._models


def test_a_model_is_not_kept_for_providers_with_one_session_per_graph(exported, monkeypatch):
    graphs = read_graphs(vae_runtime.Bundle(exported()), "float32")
    names = ["AnotherExecutionProvider", "CPUExecutionProvider"]
    sessions = Sessions(graphs, names, threads=4, allow_fallback=True)
    monkeypatch.setattr(sessions, "_open", lambda graph, threads: object())
    sessions.session("loss")
    assert "loss" not in sessions._models


def test_an_unknown_graph_is_refused(vae):
    with pytest.raises(
        OptionError, match=r"^graph is 'los', expected one of encoder, decoder, loss, score$"
    ):
        vae.run("los", {"x": samples(1)})


def test_lists_are_accepted_like_arrays(vae):
    x = samples(2)
    found = vae.run("encoder", {"x": x.tolist()})
    np.testing.assert_array_equal(found["z_mean"], vae.encode(x).z_mean)


IDLE = """
import sys, time
import numpy, vae_runtime
vae = vae_runtime.load(sys.argv[1], threads=2)
x = numpy.zeros((64, 64, 64, 1), numpy.float32)
idle = 0
for _ in range(10):
    vae.loss(x)
    before = time.process_time()
    time.sleep(0.1)
    idle += time.process_time() - before
print(idle)
"""


def test_no_thread_spins_while_there_is_nothing_to_do(exported):
    """Measures processor time during ten pauses; a spinning thread takes about 40 ms of each."""
    path = exported(shape=(64, 64, 1))
    result = subprocess.run(
        [sys.executable, "-c", IDLE, path], capture_output=True, text=True, check=True
    )
    assert float(result.stdout) < 0.1


@pytest.mark.parametrize("threads", [1, 2])
def test_results_do_not_lie_in_the_memory_of_a_session(exported, threads):
    """A child of a fork could not free them: their session belongs to the parent."""
    vae = vae_runtime.load(exported(), threads=threads)
    arrays = []
    for x in (samples(1), samples(40), samples(300)):
        found = vae.run("loss", {"x": x, "eps": np.zeros((len(x), 3), np.float32)})
        arrays += [*vars(vae.loss(x)).values(), *vars(vae.encode(x)).values(), *found.values()]
        arrays += [vae.reconstruct(x), vae.sample(len(x))]
    for array in arrays:
        while isinstance(array.base, np.ndarray):
            array = array.base
        assert array.flags.owndata


def values(**arrays):
    """Make `OrtValue`s on the CPU, which every machine has."""
    make = onnxruntime.OrtValue.ortvalue_from_numpy
    return {name: make(array, "cpu", 0) for name, array in arrays.items()}


def test_ort_values_as_inputs_give_ort_values_as_outputs(vae):
    x, eps = samples(5), np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    found = vae.run("loss", values(x=x, eps=eps))
    expected = vae.run("loss", {"x": x, "eps": eps})
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert isinstance(value, onnxruntime.OrtValue) and value.device_name() == "cpu"
        np.testing.assert_array_equal(value.numpy(), expected[name])
    z_mean = vae.run("encoder", values(x=x))["z_mean"]  # from one graph into the next
    np.testing.assert_array_equal(
        vae.run("decoder", {"z": z_mean})["reconstruction"].numpy(), vae.reconstruct(x)
    )


def test_ort_values_and_arrays_do_not_mix(vae):
    x, eps = samples(2), np.zeros((2, 3), np.float32)
    with pytest.raises(InputError, match="some inputs are OrtValues, some are arrays: make all"):
        vae.run("loss", {"x": x, **values(eps=eps)})


def test_the_error_for_ort_values_of_a_wrong_shape_is_one_line(vae):
    with pytest.raises(ProviderError, match=r"encoder\.onnx fails on cpu: .*imension") as caught:
        vae.run("encoder", values(x=samples(2)[:, :, :5].copy()))
    assert "\n" not in str(caught.value)


def test_the_error_for_a_failed_run_is_one_line(vae):
    """A graph may pass every check and still fail on its inputs."""
    with pytest.raises(
        ProviderError, match=r"^encoder\.onnx fails on cpu: .*: lower batch_size if memory ran out"
    ) as caught:
        vae.run("encoder", {"x": samples(2)[:, :, :5]})
    assert "\n" not in str(caught.value)
