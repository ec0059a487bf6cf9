import builtins
import os
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest

import vae_runtime
from vae_runtime.errors import MissingExtraError, OptionError, ProviderError
from vae_runtime.inference import providers

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture
def claims(monkeypatch):
    """A function that makes ONNX Runtime claim to have providers."""

    def claim(*names):
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(names))

    return claim


@pytest.fixture
def without_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


def test_short_names_are_those_of_onnx_runtime():
    known = set(onnxruntime.get_all_providers())
    assert set(providers.PROVIDERS) >= {"cpu", "cuda", "tensorrt", "coreml", "openvino"}
    assert {name for name in providers.PROVIDERS.values() if name in known} >= {CPU, CUDA}
    assert all(name.endswith("ExecutionProvider") for name in providers.PROVIDERS.values())


@pytest.mark.parametrize(("short", "full"), providers.PROVIDERS.items())
def test_short_and_full_names_resolve(claims, short, full):
    claims(full, CPU)
    for name in (short, short.upper(), full):
        assert providers.resolve_providers(name) == providers.resolve_providers([name]) == [full]
    assert providers.short_name(full) == short


def test_a_provider_without_a_short_name_keeps_its_name(claims):
    claims("NewExecutionProvider", CPU)
    assert providers.resolve_providers("NewExecutionProvider") == ["NewExecutionProvider"]
    assert providers.short_name("NewExecutionProvider") == "NewExecutionProvider"


def test_the_order_of_preference_is_kept(claims):
    claims(CPU, CUDA)
    assert providers.resolve_providers(["cuda", "cpu"]) == [CUDA, CPU]
    assert providers.resolve_providers(("cpu", CUDA)) == [CPU, CUDA]


@pytest.mark.parametrize("name", ["warp", "cuda", "", "cudaexecutionprovider"])
def test_the_error_for_a_missing_provider_lists_the_available_ones(claims, name):
    claims("CoreMLExecutionProvider", "OddExecutionProvider", CPU)
    message = f"provider '{name}' is not in .* which has coreml, OddExecutionProvider, cpu: choose"
    with pytest.raises(ProviderError, match=message):
        providers.resolve_providers(["cpu", name])


def test_the_fall_back_leaves_out_missing_providers(claims):
    claims(CUDA, CPU)
    assert providers.resolve_providers(["tensorrt", "cuda"], allow_fallback=True) == [CUDA, CPU]
    assert providers.resolve_providers("tensorrt", allow_fallback=True) == [CPU]
    assert providers.resolve_providers(["cuda", "cuda", "cpu"]) == [CUDA, CPU]


@pytest.mark.skipif(
    "AzureExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs a provider that supports none of the operators",
)
def test_a_provider_that_would_leave_operators_to_the_cpu_is_refused(exported):
    vae = vae_runtime.load(exported(), providers="AzureExecutionProvider")
    with pytest.raises(
        ProviderError, match=r"alone: .*: add cpu as a further provider to run the other"
    ):
        vae.loss(np.zeros((1, 8, 8)))
    mixed = vae_runtime.load(exported(), providers=["AzureExecutionProvider", "cpu"])
    assert mixed.loss(np.zeros((1, 8, 8))).loss.shape == (1,)


def test_a_broken_installation_is_not_reported_as_missing(monkeypatch):
    def broken(name, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError("libgomp.so.1: cannot open shared object file")
        return original(name, *args, **kwargs)

    original = builtins.__import__
    monkeypatch.delitem(sys.modules, "onnxruntime")
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(ProviderError, match=r"does not load: libgomp\.so\.1"):
        providers.import_onnxruntime()


@pytest.mark.parametrize("allow_fallback", [False, True])
@pytest.mark.parametrize("names", [[], ()])
def test_an_empty_list_of_providers_is_refused(names, allow_fallback):
    with pytest.raises(OptionError, match="no provider was given: name one, such as cpu"):
        providers.resolve_providers(names, allow_fallback=allow_fallback)


# ONNX Runtime only warns, and continues without the provider.
dropped = pytest.mark.filterwarnings("ignore:Specified provider")


@dropped
def test_a_provider_that_onnx_runtime_drops_is_an_error(exported, claims):
    claims(CUDA, CPU)
    vae = vae_runtime.load(exported(), providers=["cuda", "cpu"])
    message = r"provider cuda did not start for loss\.onnx \(ONNX Runtime would run on cpu\)"
    with pytest.raises(ProviderError, match=message):
        vae.loss(np.zeros((1, 8, 8)))
    with pytest.raises(ProviderError, match=message):
        _ = vae.providers


@dropped
def test_a_provider_that_onnx_runtime_drops_falls_back_if_allowed(exported, claims):
    claims(CUDA, CPU)
    vae = vae_runtime.load(exported(), providers="cuda", allow_fallback=True)
    assert vae.providers == [CPU]
    assert vae.verify().provider == "cpu"


def test_the_error_for_a_broken_model_names_the_file():
    with pytest.raises(ProviderError, match=r"^x\.onnx does not start on cpu: ") as caught:
        providers.open_session(b"junk", [CPU], threads=1, allow_fallback=False, where="x.onnx")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_options_reach_onnx_runtime(exported):
    model = (exported() / "loss.onnx").read_bytes()
    session = providers.open_session(model, [CPU], threads=3, allow_fallback=False, where="x")
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "1"
    assert options.get_session_config_entry("session.intra_op.spin_duration_us") == "100"


@pytest.mark.parametrize("version", ["1.20.0", "1.25.1"])
def test_threads_do_not_spin_in_versions_without_the_spin_duration(exported, monkeypatch, version):
    model = (exported() / "loss.onnx").read_bytes()
    monkeypatch.setattr(onnxruntime, "__version__", version)
    session = providers.open_session(model, [CPU], threads=2, allow_fallback=False, where="x")
    options = session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.usefixtures("without_onnxruntime")
def test_without_onnx_runtime_the_error_names_the_extra(exported):
    with pytest.raises(MissingExtraError, match=r'pip install "build-vae\[cpu\]"'):
        vae_runtime.load(exported())


@pytest.mark.usefixtures("without_onnxruntime")
def test_a_manifest_is_read_without_onnx_runtime(exported):
    assert vae_runtime.Bundle(exported()).manifest.latent_dim == 3


def test_onnx_runtime_collects_no_events(exported, tmp_path):
    """It would write them into the cache folder, beside an identifier of the machine."""
    code = "import sys, vae_runtime; vae_runtime.load(sys.argv[1]).sample(1)"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
    unset = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code, exported()], env={**unset, **home}, check=True)
    assert list(tmp_path.iterdir()) == []
