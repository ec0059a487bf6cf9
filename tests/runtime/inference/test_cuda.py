"""Tests on a GPU: `pytest -m gpu`, with an ONNX Runtime that has CUDA."""

import numpy as np
import onnxruntime
import pytest

import vae_runtime
from vae_runtime.inference.providers import PROVIDER_OPTIONS
from vae_runtime.proof.reference import read_reference

CUDA = "CUDAExecutionProvider"
TF32_RTOL = 2e-3
"""TF32 rounds the factors of a product to 10 bits: each is off by up to 2**-10."""

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        CUDA not in onnxruntime.get_available_providers(),
        reason="needs a GPU and onnxruntime-gpu; this ONNX Runtime has no CUDA",
    ),
]


@pytest.mark.parametrize("preset", ["dense", "conv"])
def test_verify_passes_on_a_gpu(exported, preset):
    vae = vae_runtime.load(exported(preset), providers="cuda")
    assert vae.providers[0] == CUDA
    report = vae.verify()
    assert report.passed and report.provider == "cuda", str(report)


def test_provider_options_reach_onnx_runtime(exported):
    vae = vae_runtime.load(exported(), providers="cuda")
    session = vae._chunks.sessions.session("loss")
    options = session.get_provider_options()[CUDA]
    assert {name: options[name] for name in PROVIDER_OPTIONS[CUDA]} == PROVIDER_OPTIONS[CUDA]


def test_ort_values_on_the_gpu_stay_there(exported):
    vae = vae_runtime.load(exported(), providers="cuda")
    reference = read_reference(vae.bundle)
    values = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(reference[name], "cuda", 0)
        for name in ("x", "eps")
    }
    found = vae.run("loss", values)
    assert {value.device_name() for value in found.values()} == {"cuda"}
    np.testing.assert_allclose(found["loss"].numpy(), reference["loss"], rtol=1e-5)


@pytest.mark.parametrize("preset", ["dense", "conv"])
def test_tf32_stays_within_a_wider_tolerance(exported, preset):
    bundle = vae_runtime.Bundle(exported(preset))
    reference = read_reference(bundle)
    session = onnxruntime.InferenceSession(
        bundle.read("loss.onnx"), providers=[(CUDA, {"use_tf32": "1"})]
    )
    [loss] = session.run(["loss"], {"x": reference["x"], "eps": reference["eps"]})
    np.testing.assert_allclose(loss, reference["loss"], rtol=TF32_RTOL)
