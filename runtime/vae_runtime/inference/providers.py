"""Execution providers of ONNX Runtime, by short name, and never another than those asked for.

ONNX Runtime warns and runs on the CPU where a provider does not start, and gives the CPU each
operator that a provider does not know. Here both are errors, unless the CPU is among the providers
or the caller allows the fall-back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vae_runtime.errors import MissingExtraError, OptionError, ProviderError

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
"""Short names of ONNX Runtime's providers."""

PROVIDER_OPTIONS = {
    # TF32 rounds the factors of a product to 10 bits; the loss would differ in its third digit.
    "CUDAExecutionProvider": {"use_tf32": "0"},
}
"""Options without which a provider computes something else."""

SPIN_MICROSECONDS = 100
"""How long a thread looks for more work before it sleeps. To wake one takes longer than an operator
does on few samples; a thread that waits on would take a whole core from a small device."""

SPIN_SINCE = (1, 26)
"""The ONNX Runtime that lets this be chosen; in an older one, threads sleep at once."""

_SHORT = {full: short for short, full in PROVIDERS.items()}


def onnxruntime() -> Any:
    """The onnxruntime module.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        ProviderError: it is installed but does not load.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise MissingExtraError("running a bundle", "ONNX Runtime", "cpu") from None
    except ImportError as error:  # a shared library that it needs, most often
        raise ProviderError(f"ONNX Runtime is installed but does not load: {error}") from error
    return onnxruntime


def short_name(provider: str) -> str:
    """The short name of one of ONNX Runtime's providers; its own name where it has none."""
    return _SHORT.get(provider, provider)


def resolve(providers: str | Sequence[str], *, allow_fallback: bool = False) -> list[str]:
    """Turns provider names into ONNX Runtime's, and checks that they are there.

    Args:
        providers: one name or several in the order of preference; short (`cuda`) or ONNX
            Runtime's own (`CUDAExecutionProvider`).
        allow_fallback: leave out those that are not there, and let the CPU be the last choice.

    Returns:
        ONNX Runtime's names, at least one.

    Raises:
        OptionError: no name was given.
        ProviderError: a provider is not in this build of ONNX Runtime.
        MissingExtraError: ONNX Runtime is not installed.
    """
    names = [providers] if isinstance(providers, str) else list(providers)
    if not names:
        raise OptionError("no provider was given: name one, such as cpu")
    available: list[str] = onnxruntime().get_available_providers()
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
    """Opens an ONNX Runtime session on exactly these providers.

    Args:
        model: bytes of an ONNX file.
        providers: ONNX Runtime's names, from `resolve`.
        threads: threads that one operator may use.
        allow_fallback: accept the CPU where the first provider does not start.
        where: what the model is, for messages.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        ProviderError: the provider did not start, or cannot run this model.
    """
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only; what matters of a warning is checked below
    for name, value in _spinning(ort.__version__).items():
        options.add_session_config_entry(f"session.intra_op.{name}", value)
    if PROVIDERS["cpu"] not in providers:  # else ONNX Runtime gives the CPU what others cannot run
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    chosen = [(name, PROVIDER_OPTIONS.get(name, {})) for name in providers]
    try:
        session = ort.InferenceSession(model, options, providers=chosen, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions share no base but this
        reason = " ".join(str(error).split())[:300]
        raise ProviderError(
            f"{where} does not run on {', '.join(map(short_name, providers))} alone: {reason}: add "
            "cpu as a further provider to let it run what is left, or choose another"
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


def _spinning(version: str) -> dict[str, str]:
    """What threads do that wait, as options of this version of ONNX Runtime."""
    if tuple(map(int, version.split(".")[:2])) < SPIN_SINCE:
        return {"allow_spinning": "0"}
    return {"allow_spinning": "1", "spin_duration_us": str(SPIN_MICROSECONDS)}
