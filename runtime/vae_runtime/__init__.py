"""The light runtime of build-vae: NumPy and ONNX Runtime, no TensorFlow.

`load` opens a bundle; the object it returns encodes, decodes, scores and verifies.
"""

from vae_runtime.bench import Peer, bench
from vae_runtime.bench_report import BenchReport
from vae_runtime.bundle import Bundle
from vae_runtime.errors import (
    BuildVaeError,
    BundleError,
    ExportError,
    InputError,
    MeasurementError,
    MissingExtraError,
    OptionError,
    ProviderError,
    TrainingError,
)
from vae_runtime.evaluate import Evaluation, evaluate
from vae_runtime.latents import Latents
from vae_runtime.loss import Losses, LossSpec
from vae_runtime.manifest import Manifest, manifest_schema
from vae_runtime.runtime import Encoding, VAERuntime, load
from vae_runtime.verify import Difference, VerifyReport

__all__ = [
    "BenchReport",
    "BuildVaeError",
    "Bundle",
    "BundleError",
    "Difference",
    "Encoding",
    "Evaluation",
    "ExportError",
    "InputError",
    "Latents",
    "LossSpec",
    "Losses",
    "Manifest",
    "MeasurementError",
    "MissingExtraError",
    "OptionError",
    "Peer",
    "ProviderError",
    "TrainingError",
    "VAERuntime",
    "VerifyReport",
    "bench",
    "evaluate",
    "load",
    "manifest_schema",
]
