"""The loss code in C and JavaScript computes the losses of the bundle. Swift does not run here."""

import ctypes
import dataclasses
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from vae_export.edge_forms.loss_code import LANGUAGES, loss_arguments, loss_code
from vae_runtime import Bundle, LossSpec
from vae_runtime.bundle.manifest import loss_input
from vae_runtime.data.numbers.standardization import Standardization, standardize
from vae_runtime.data.samples.inputs import to_scaled_float32
from vae_runtime.loss import LOSS_NAMES, numpy_losses
from vae_runtime.proof.reference import read_reference

RTOL = 2e-6
COLUMNS = Standardization((1.0, -2.0, 0.1), (0.5, 3.0, 0.01))
PROGRAM = """
import {{ vaeLoss }} from "./loss.mjs";
const samples = {samples};
const array = (a, i) => new (i === 0 ? {x_type} : Float32Array)(a);
console.log(JSON.stringify(samples.map((arrays) => vaeLoss(...arrays.map(array)))));
"""


class CLosses(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in LOSS_NAMES]


def run_c(manifest, samples, folder):
    """Return the losses of samples, shape (samples, 3), computed by the C code."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    (folder / "loss.c").write_text(loss_code(manifest)["loss.c"])
    options = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run(["gcc", *options, "loss.c", "-o", "loss.so", "-lm"], cwd=folder, check=True)
    function = ctypes.CDLL(str(folder / "loss.so")).vae_loss
    function.restype = CLosses
    found = []
    for arrays in zip(*samples, strict=True):
        kept = [np.ascontiguousarray(array) for array in arrays]
        result = function(*(array.ctypes.data_as(ctypes.c_void_p) for array in kept))
        found.append([getattr(result, name) for name in LOSS_NAMES])
    return np.array(found)


def run_javascript(manifest, samples, folder):
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    (folder / "loss.mjs").write_text(loss_code(manifest)["loss.mjs"])
    text = json.dumps([[a.reshape(-1).tolist() for a in row] for row in zip(*samples, strict=True)])
    x_type = "Uint8Array" if manifest.input.dtype == "uint8" else "Float32Array"
    (folder / "main.mjs").write_text(PROGRAM.format(samples=text, x_type=x_type))
    done = subprocess.run(
        ["node", "main.mjs"], cwd=folder, check=True, capture_output=True, text=True
    )
    return np.array([[row[name] for name in LOSS_NAMES] for row in json.loads(done.stdout)])


RUNNERS = pytest.mark.parametrize("run", [run_c, run_javascript])


@RUNNERS
@pytest.mark.parametrize(
    "configuration",
    [
        {},
        {"preset": "conv", "reconstruction": "mse", "kl_weight": 0.3},
        {
            "reconstruction": "gaussian",
            "shape": (9, 7, 3),
            "variance": 0.7,
            "input_dtype": "uint8",
        },
    ],
)
def test_parity_values(run, configuration, exported, tmp_path):
    bundle = Bundle(exported(**configuration))
    reference, manifest = read_reference(bundle), bundle.manifest
    found = run(manifest, [reference[name] for name in loss_arguments(manifest)], tmp_path)
    for i, name in enumerate(LOSS_NAMES):
        t = manifest.tolerances
        expected = reference[name].astype(np.float64)
        allowed = np.maximum(RTOL * np.abs(expected), t.loss_atol + t.loss_rtol * np.abs(expected))
        assert (np.abs(found[:, i] - expected) <= allowed).all(), name
    assert np.allclose(found[:, 2], reference["loss"], rtol=RTOL, atol=0)


@RUNNERS
@pytest.mark.parametrize(
    ("loss", "standardization"),
    [
        (LossSpec("bce", 0.5, decoder="probabilities"), None),
        (LossSpec("mse", 2.0), COLUMNS),
        (LossSpec("gaussian", variance=0.01), Standardization((100.0,), (7.0,))),
        (LossSpec("gaussian", 1.5, decoder="mean_log_var"), COLUMNS),
    ],
)
def test_every_kind_of_loss(run, loss, standardization, exported, tmp_path):
    """The reference is NumPy in float64."""
    old, rng = Bundle(exported()).manifest, np.random.default_rng(4)
    sample = dataclasses.replace(
        old.input, shape=(5, 3), range=loss.value_range, standardization=standardization
    )
    manifest = dataclasses.replace(old, input=sample, loss=loss)
    x = rng.random((6, 5, 3), np.float32)
    output = rng.random((6, 5, 3), np.float32)
    if loss.decoder == "probabilities":  # clipped ones too
        output[:3] = np.round(output[:3])
    latents = [rng.standard_normal((6, old.latent_dim)).astype(np.float32) for _ in range(2)]
    arrays = [x, output, *([2 * output - 1] if loss.has_two_heads else []), *latents]
    found = run(manifest, arrays, tmp_path)
    wide = [array.astype(np.float64) for array in arrays]
    decoded = loss_input(
        sample, loss, dict(zip(loss_arguments(manifest)[1:], wide[1:], strict=True))
    )
    if loss.decoder == "probabilities":  # both clip at float32 numbers
        decoded = np.clip(output, np.float32(1e-7), np.float32(1 - 1e-7)).astype(np.float64)
    seen = standardize(np, standardization, to_scaled_float32(x)).astype(np.float64)
    expected = numpy_losses(loss, seen, decoded, *wide[-2:])
    for i, name in enumerate(LOSS_NAMES):
        assert np.allclose(found[:, i], getattr(expected, name), rtol=RTOL, atol=1e-6), name


def test_a_name_cannot_leave_its_comment(exported):
    manifest = dataclasses.replace(Bundle(exported()).manifest, name="a*/ b")
    assert "a*/" not in loss_code(manifest)["loss.c"]


def test_swift_has_the_numbers_and_names_of_the_others(exported):
    """The text of the three languages is one: the numbers in it are the same."""
    manifest = Bundle(exported("dense", "gaussian", (4, 4, 1), variance=0.7)).manifest
    code = loss_code(manifest)
    numbers = {
        file: sorted(map(float, re.findall(r"(?<![\w.])\d+\.?\d*(?:e-?\d+)?", text)))
        for file, text in code.items()
    }
    assert set(code) == {language.file for language in LANGUAGES}
    for text in code.values():
        assert all(name in text for name in (*LOSS_NAMES, "z_mean", "z_log_var"))
    assert {0.5, 1.0, 16.0, 3.0} <= set(numbers["Loss.swift"])
    assert set(numbers["loss.mjs"]) - {0.0} == set(numbers["Loss.swift"]) - {0.0}
