"""Python runtimes: ONNX Runtime on its providers, OpenVINO, LiteRT."""

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
from vae_runtime.data.numbers.standardization import standardize
from vae_runtime.data.samples.inputs import to_scaled_float32
from vae_runtime.loss import numpy_losses, reparameterize

from .runtime import LOSS_NAMES, OUTPUTS, Arrays, NotAvailableError, Peer, graph_bytes

CUDA = "CUDAExecutionProvider"


def module(name: str, install: str) -> Any:
    """Import a module; raise NotAvailableError if it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, name.split(".")[0]):
            raise
        raise NotAvailableError(install) from None


def onnxruntime(
    provider: str, bundle: Bundle, graph: str, inputs: list[Arrays]
) -> tuple[str, list[Arrays]]:
    """Run a graph with ONNX Runtime as `vae_runtime.load` opens it."""
    ort = _onnxruntime(provider)
    vae = vae_runtime.load(bundle.path, providers=provider)
    return ort.__version__, [vae.run(graph, batch) for batch in inputs]


def cuda_with_tf32(bundle: Bundle, graph: str, inputs: list[Arrays]) -> tuple[str, list[Arrays]]:
    """Run a graph with ONNX Runtime on CUDA and its defaults, which round factors to 10 bits."""
    ort = _onnxruntime("cuda")
    session = ort.InferenceSession(
        graph_bytes(bundle, graph), providers=[(CUDA, {"use_tf32": "1"})]
    )

    def run(batch: Arrays) -> Arrays:
        return dict(zip(OUTPUTS[graph], session.run(OUTPUTS[graph], batch), strict=True))

    return ort.__version__, [run(batch) for batch in inputs]


def openvino(
    options: dict[str, str], bundle: Bundle, graph: str, inputs: list[Arrays]
) -> tuple[str, list[Arrays]]:
    """Run a graph with OpenVINO on the CPU."""
    ov = module("openvino", 'pip install ".[peers]"')
    core = ov.Core()
    model = core.read_model(graph_bytes(bundle, graph))
    compiled = core.compile_model(model, "CPU", options)

    def run(batch: Arrays) -> Arrays:
        found = compiled(batch)
        return {name: np.asarray(found[name]) for name in OUTPUTS[graph]}

    return ov.__version__.split("-")[0], [run(batch) for batch in inputs]


def litert(
    bundle: Bundle, graph: str, inputs: list[Arrays], *, optimized: bool = False
) -> tuple[str, list[Arrays]]:
    """Run the SavedModels with LiteRT, and compute the loss with NumPy in float32.

    `optimized` lets the converter store weights in 8 bits.
    """
    assert graph == "loss"
    interpreter = module("ai_edge_litert.interpreter", 'pip install ".[peers]"')
    version = importlib.import_module("importlib.metadata").version("ai-edge-litert")
    return version, _litert_losses(interpreter.Interpreter, bundle, inputs, optimized)


def tensorflow_lite(bundle: Bundle, graph: str, inputs: list[Arrays]) -> tuple[str, list[Arrays]]:
    """Run as `litert` does, with the interpreter that TensorFlow still contains."""
    assert graph == "loss"
    tf = _tensorflow()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tf.lite.Interpreter is deprecated", UserWarning)
        return tf.__version__, _litert_losses(tf.lite.Interpreter, bundle, inputs)


PEERS = (
    Peer("ONNX Runtime, CPU", "none", partial(onnxruntime, "cpu")),
    Peer(
        "ONNX Runtime, CUDA",
        '`("CUDAExecutionProvider", {"use_tf32": "0"})`; `vae_runtime` sets it',
        partial(onnxruntime, "cuda"),
    ),
    Peer("ONNX Runtime, CUDA, TF32 on", "", cuda_with_tf32, must_agree=False),
    Peer(
        "OpenVINO, CPU",
        '`compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})`',
        partial(openvino, {"INFERENCE_PRECISION_HINT": "f32"}),
    ),
    Peer("OpenVINO, CPU, default options", "", partial(openvino, {}), must_agree=False),
    Peer("LiteRT", "none; do not set `converter.optimizations`", litert, ("loss",)),
    Peer(
        "LiteRT, `[Optimize.DEFAULT]`",
        "",
        partial(litert, optimized=True),
        ("loss",),
        must_agree=False,
    ),
    Peer("TensorFlow's tf.lite", "as LiteRT", tensorflow_lite, ("loss",)),
)
"""All Python runtimes, in the order of the table."""


def _onnxruntime(provider: str) -> Any:
    install = f'pip install "build-vae[{"gpu" if provider == "cuda" else "cpu"}]"'
    ort = module("onnxruntime", install)
    if provider == "cuda" and CUDA not in ort.get_available_providers():
        raise NotAvailableError(f"needs a GPU and {install}")
    return ort


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return module("tensorflow", 'pip install ".[build]"')


def _litert_losses(
    interpreter: Callable[..., Any], bundle: Bundle, inputs: list[Arrays], optimized: bool = False
) -> list[Arrays]:
    manifest = bundle.manifest
    if manifest.saved_models is None:
        raise NotAvailableError("needs the SavedModels, which this single file does not contain")
    encoder, decoder = (
        interpreter(model_content=_converted(bundle, name, optimized)).get_signature_runner(
            "serving_default"
        )
        for name in ("encoder", "decoder")
    )
    first = decoder_outputs(manifest.input, manifest.loss)[0]

    def run(batch: Arrays) -> Arrays:
        code = encoder(x=batch["x"])
        z = reparameterize(np, code["z_mean"], code["z_log_var"], batch["eps"])
        x = standardize(np, manifest.input.standardization, to_scaled_float32(batch["x"]))
        found = numpy_losses(
            manifest.loss, x, decoder(z=z)[first], code["z_mean"], code["z_log_var"]
        )
        return {name: getattr(found, name) for name in LOSS_NAMES}

    return [run(batch) for batch in inputs]


def _converted(bundle: Bundle, name: str, optimized: bool) -> bytes:
    tf = _tensorflow()
    bundle.check_files()  # TensorFlow opens only files that the manifest lists
    path = bundle.path / getattr(bundle.manifest.saved_models, name).path
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path))
    if optimized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converted: bytes = converter.convert()
    return converted
