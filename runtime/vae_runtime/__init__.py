"""The light runtime of build-vae: NumPy and ONNX Runtime, no TensorFlow.

`load` opens a bundle. The object that it returns encodes, decodes, scores and verifies. The modules
behind `bench`, `load_array` and `DriftMonitor` are imported on first use, which saves about 10 ms
at each start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.manifest import manifest_schema
from vae_runtime.bundle.packing import Packed, pack
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.errors import (
    BuildVaeError,
    BundleError,
    EngineError,
    ExportError,
    InputError,
    MeasurementError,
    MissingExtraError,
    OptionError,
    ProviderError,
    TrainingError,
)
from vae_runtime.explanation.explanation import Explanation
from vae_runtime.inference.loading import load
from vae_runtime.inference.runtime import Encoding, VAERuntime
from vae_runtime.latents import Latents
from vae_runtime.lazy_names import load_name
from vae_runtime.loss import Losses, LossSpec
from vae_runtime.proof.differences import Difference
from vae_runtime.proof.parity import VerifyReport
from vae_runtime.quality.evaluation import Evaluation, evaluate
from vae_runtime.trust.verification import BundleReport, verify_bundle

if TYPE_CHECKING:
    from vae_runtime.benchmark.bench import Peer, bench
    from vae_runtime.benchmark.report import BenchReport
    from vae_runtime.data.sources import load_array
    from vae_runtime.drift.detector import DriftDetector
    from vae_runtime.drift.monitor import DriftMonitor
    from vae_runtime.drift.report import DriftReport

_LAZY_MODULES = {
    "load_array": "data.sources",
    "BenchReport": "benchmark.report",
    "DriftDetector": "drift.detector",
    "DriftMonitor": "drift.monitor",
    "DriftReport": "drift.report",
    "Peer": "benchmark.bench",
    "bench": "benchmark.bench",
}

__all__ = [
    "BenchReport",
    "BuildVaeError",
    "Bundle",
    "BundleError",
    "BundleReport",
    "Difference",
    "DriftDetector",
    "DriftMonitor",
    "DriftReport",
    "Encoding",
    "EngineError",
    "Evaluation",
    "Explanation",
    "ExportError",
    "InputError",
    "InputWarning",
    "Latents",
    "LossSpec",
    "Losses",
    "Manifest",
    "MeasurementError",
    "MissingExtraError",
    "OptionError",
    "Packed",
    "Peer",
    "ProviderError",
    "TrainingError",
    "VAERuntime",
    "VerifyReport",
    "bench",
    "evaluate",
    "load",
    "load_array",
    "manifest_schema",
    "pack",
    "verify_bundle",
]


def __getattr__(name: str) -> Any:
    return load_name(__name__, _LAZY_MODULES, name)
