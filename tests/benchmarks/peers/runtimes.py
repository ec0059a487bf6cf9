"""The runtimes of Python: ONNX Runtime on its providers, OpenVINO, LiteRT."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import vae_runtime
from vae_runtime import Bundle
from vae_runtime.bundle.manifest import decoder_outputs
from vae_runtime.data.inputs import to_float
from vae_runtime.data.standardization import standardize
from vae_runtime.loss import draw, numpy_losses

from .runtime import LOSS_NAMES, Arrays, NotHereError, Peer

CUDA = "CUDAExecutionProvider"


def module(name: str, install: str) -> Any:
    """Imports a module.

    Raises:
        NotHereError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, name.split(".")[0]):
            raise
        raise NotHereError(install) from None


def onnxruntime(provider: str, bundle: Bundle, inputs: list[Arrays]) -> tuple[str, list[Arrays]]:
    """ONNX Runtime as `vae_runtime.load` opens it."""
    ort = _onnxruntime(provider)
    vae = vae_runtime.load(bundle.path, providers=provider)
    return ort.__version__, [vae.run("loss", batch) for batch in inputs]


def cuda_with_tf32(bundle: Bundle, inputs: list[Arrays]) -> tuple[str, list[Arrays]]:
    """ONNX Runtime on CUDA as it comes: factors of products are rounded to 10 bits."""
    ort = _onnxruntime("cuda")
    session = ort.InferenceSession(
        bundle.read(bundle.manifest.graphs.loss.file), providers=[(CUDA, {"use_tf32": "1"})]
    )
    return ort.__version__, [_by_name(session.run(LOSS_NAMES, batch)) for batch in inputs]


def openvino(
    options: dict[str, str], bundle: Bundle, inputs: list[Arrays]
) -> tuple[str, list[Arrays]]:
    """OpenVINO on the CPU, from `loss.onnx`."""
    ov = module("openvino", 'pip install ".[peers]"')
    core = ov.Core()
    model = core.read_model(bundle.read(bundle.manifest.graphs.loss.file))
    compiled = core.compile_model(model, "CPU", options)

    def run(batch: Arrays) -> Arrays:
        found = compiled(batch)
        return {name: np.asarray(found[name]) for name in LOSS_NAMES}

    return ov.__version__.split("-")[0], [run(batch) for batch in inputs]


def litert(
    bundle: Bundle, inputs: list[Arrays], *, optimized: bool = False
) -> tuple[str, list[Arrays]]:
    """LiteRT from the SavedModels, the loss by `vae_runtime.loss` in NumPy, in float32.

    Args:
        bundle: with its SavedModels, which TensorFlow opens.
        inputs: batches.
        optimized: let the converter store weights in 8 bits.
    """
    interpreter = module("ai_edge_litert.interpreter", 'pip install ".[peers]"')
    version = importlib.import_module("importlib.metadata").version("ai-edge-litert")
    return version, _litert_losses(interpreter.Interpreter, bundle, inputs, optimized)


def tensorflow_lite(bundle: Bundle, inputs: list[Arrays]) -> tuple[str, list[Arrays]]:
    """The interpreter that TensorFlow still carries, otherwise as `litert`."""
    tf = _tensorflow()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        return tf.__version__, _litert_losses(tf.lite.Interpreter, bundle, inputs)


PEERS = (
    Peer("ONNX Runtime, CPU", "nothing", partial(onnxruntime, "cpu")),
    Peer(
        "ONNX Runtime, CUDA",
        '`("CUDAExecutionProvider", {"use_tf32": "0"})`; `vae_runtime` does it',
        partial(onnxruntime, "cuda"),
    ),
    Peer("ONNX Runtime, CUDA, TF32 on", "", cuda_with_tf32, held=False),
    Peer(
        "OpenVINO, CPU",
        '`compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})`',
        partial(openvino, {"INFERENCE_PRECISION_HINT": "f32"}),
    ),
    Peer("OpenVINO, CPU, told nothing", "", partial(openvino, {}), held=False),
    Peer("LiteRT", "nothing: no `converter.optimizations`", litert),
    Peer("LiteRT, `[Optimize.DEFAULT]`", "", partial(litert, optimized=True), held=False),
    Peer("TensorFlow's tf.lite", "as LiteRT", tensorflow_lite),
)
"""In the order of the table."""


def _onnxruntime(provider: str) -> Any:
    install = f'pip install "build-vae[{"gpu" if provider == "cuda" else "cpu"}]"'
    ort = module("onnxruntime", install)
    if provider == "cuda" and CUDA not in ort.get_available_providers():
        raise NotHereError(f"needs a GPU and {install}")
    return ort


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return module("tensorflow", 'pip install ".[build]"')


def _litert_losses(
    interpreter: Callable[..., Any], bundle: Bundle, inputs: list[Arrays], optimized: bool = False
) -> list[Arrays]:
    manifest = bundle.manifest
    if manifest.saved_models is None:
        raise NotHereError("it is converted from SavedModels, which were left out of this pack")
    encoder, decoder = (
        interpreter(model_content=_converted(bundle, name, optimized)).get_signature_runner(
            "serving_default"
        )
        for name in ("encoder", "decoder")
    )
    first = decoder_outputs(manifest.input, manifest.loss)[0]

    def run(batch: Arrays) -> Arrays:
        code = encoder(x=batch["x"])
        z = draw(np, code["z_mean"], code["z_log_var"], batch["eps"])
        x = standardize(np, manifest.input.standardization, to_float(batch["x"]))
        found = numpy_losses(
            manifest.loss, x, decoder(z=z)[first], code["z_mean"], code["z_log_var"]
        )
        return {name: getattr(found, name) for name in LOSS_NAMES}

    return [run(batch) for batch in inputs]


def _converted(bundle: Bundle, name: str, optimized: bool) -> bytes:
    tf = _tensorflow()
    bundle.check_files()  # TensorFlow opens what the manifest lists, or nothing
    path = bundle.path / getattr(bundle.manifest.saved_models, name).path
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path))
    if optimized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converted: bytes = converter.convert()
    return converted


def _by_name(values: list[Any]) -> Arrays:
    return dict(zip(LOSS_NAMES, values, strict=True))
