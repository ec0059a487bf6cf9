"""Execution providers of ONNX Runtime: short names, and sessions on no other provider.

If a provider does not start, ONNX Runtime warns and runs on the CPU. It also gives the CPU every
operator that a provider does not support. Here both are errors, unless the CPU is among the
providers or the caller allows the fall-back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from vae_runtime.errors import MissingExtraError, OptionError, ProviderError
from vae_runtime.forking import IMPORTING

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "nvtensorrtrtx": "NvTensorRTRTXExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "directml": "DmlExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "nnapi": "NnapiExecutionProvider",
    "webgpu": "WebGpuExecutionProvider",
    "acl": "ACLExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
    "cann": "CANNExecutionProvider",
    "vitisai": "VitisAIExecutionProvider",
}
"""ONNX Runtime's names of the providers, by short name."""

PROVIDER_OPTIONS = {
    # TF32 rounds the factors of a product to 10 bits; the loss would differ in its third digit.
    "CUDAExecutionProvider": {"use_tf32": "0"},
}
"""Provider options that keep the results correct."""

SPIN_MICROSECONDS = 100
"""How long an idle thread spins, waiting for work, before it sleeps. Waking a thread takes longer
than an operator on few samples. Spinning without a limit would occupy a core of a small device."""

SPIN_DURATION_SINCE = (1, 26)
"""First version of ONNX Runtime with this option. In older versions, threads sleep at once."""

# ONNX Runtime (seen with 1.31.1 and 1.32.0 on Linux) collects events in a file in the user's cache
# folder, to send them. It reads this variable when it is imported. To allow events, set it to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

_SHORT_NAMES = {full: short for short, full in PROVIDERS.items()}


def import_onnxruntime() -> Any:
    """Import ONNX Runtime, or raise a `MissingExtraError` or, if it is broken, `ProviderError`."""
    try:
        with IMPORTING.lock:
            import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise MissingExtraError("running a bundle", "ONNX Runtime", "cpu") from None
    except ImportError as error:  # most often, a shared library is missing
        raise ProviderError(f"ONNX Runtime is installed but does not load: {error}") from error
    return onnxruntime


def short_name(provider: str) -> str:
    """Return the short name of a provider, or ONNX Runtime's name if it has no short name."""
    return _SHORT_NAMES.get(provider, provider)


def resolve_providers(providers: str | Sequence[str], *, allow_fallback: bool = False) -> list[str]:
    """Return ONNX Runtime's names of one or several providers, in order of preference.

    A provider that is not in this build raises a `ProviderError`. With `allow_fallback` it is left
    out instead, and the CPU becomes the last choice.
    """
    names = [providers] if isinstance(providers, str) else list(providers)
    if not names:
        raise OptionError("no provider was given: name one, such as cpu")
    available: list[str] = import_onnxruntime().get_available_providers()
    resolved = []
    for name in names:
        full = PROVIDERS.get(name.lower(), name)
        if full in available:
            resolved.append(full)
        elif not allow_fallback:
            there = ", ".join(short_name(provider) for provider in available)
            raise ProviderError(
                f"provider {name!r} is not in this ONNX Runtime, which has {there}: choose one of "
                "these, or install the build of onnxruntime that has it (for cuda, build-vae[gpu] "
                "in place of build-vae[cpu])"
            )
    if allow_fallback:
        resolved.append(PROVIDERS["cpu"])
    return list(dict.fromkeys(resolved))


def open_session(
    model: bytes, providers: Sequence[str], *, threads: int, allow_fallback: bool, where: str
) -> Any:
    """Open an `onnxruntime.InferenceSession` on exactly these providers, or raise `ProviderError`.

    Args:
        model: bytes of an ONNX file.
        providers: ONNX Runtime's names, as `resolve_providers` returns them.
        threads: threads that may share one operator.
        allow_fallback: accept the CPU if the first provider does not start.
        where: name of the model in error messages.
    """
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; a warning that matters is checked below
    for name, value in _spin_options(ort.__version__).items():
        options.add_session_config_entry(f"session.intra_op.{name}", value)
    if PROVIDERS["cpu"] not in providers:  # no silent use of the CPU for some operators
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    with_options = [(name, PROVIDER_OPTIONS.get(name, {})) for name in providers]
    try:
        session = ort.InferenceSession(model, options, providers=with_options, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions have no other common base
        reason = one_line(error)
        raise ProviderError(
            f"{where} does not run on {', '.join(map(short_name, providers))} alone: {reason}: add "
            "cpu as a further provider to run the other operators, or choose another provider"
            if PROVIDERS["cpu"] not in providers
            else f"{where} does not start on {', '.join(map(short_name, providers))}: {reason}"
        ) from error
    running = session.get_providers()
    if running[0] != providers[0] and not allow_fallback:
        raise ProviderError(
            f"provider {short_name(providers[0])} did not start for {where} (ONNX Runtime would "
            f"run on {short_name(running[0])}): check its driver and libraries, or allow the "
            "fall-back"
        )
    return session


def one_line(error: Exception) -> str:
    """Return the first 300 characters of an error's message, without line breaks."""
    return " ".join(str(error).split())[:300]


def _spin_options(version: str) -> dict[str, str]:
    """Return the session options for idle threads in this version of ONNX Runtime."""
    if tuple(map(int, version.split(".")[:2])) < SPIN_DURATION_SINCE:
        return {"allow_spinning": "0"}
    return {"allow_spinning": "1", "spin_duration_us": str(SPIN_MICROSECONDS)}
