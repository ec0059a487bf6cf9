"""The parity check: does this runtime compute what TensorFlow computed?

The bundle stores inputs `x` and noise `eps` together with every tensor that TensorFlow computed
from them, with the SavedModels as read back from disk. Each graph runs on the inputs that
TensorFlow used for it, and each output is compared with TensorFlow's:

    encoder   x        -> z_mean, z_log_var
    decoder   z        -> logits or values (not always), reconstruction
    loss      x, eps   -> reconstruction_loss, kl_loss, loss, per sample
    numpy     z and the three losses again, by NumPy from the encoder's and decoder's outputs

A value agrees if `|value - reference| <= atol + rtol * |reference|`, with the tolerances of the
manifest. A variant in lower precision has a tolerance for each output, see
`variants.allowed_difference`. NaN never agrees. If every loss agrees, so does the mean loss, which
is reported.

Graphs run on all samples at once. An exception is a variant with dynamic quantization ranges, which
runs on one sample at a time: the outliers among the reference samples would widen the ranges of all
others, and processors that take a range for each row would compute something else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.manifest import decoder_outputs
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.data.inputs import to_scaled_float32
from vae_runtime.data.standardization import standardize
from vae_runtime.loss import LOSS_NAMES, numpy_losses, reparameterize

Float32 = NDArray[np.float32]

NEGLIGIBLE_RATIO = 1e-3
"""References smaller than this ratio of the largest one do not count in `max_relative`."""

FAILED_VERDICT = (
    "FAILED: an output that differs is computed in another way than in TensorFlow; try another "
    "provider, update ONNX Runtime, or export the bundle again"
)


class GraphRunner(Protocol):
    """The part of `VAERuntime` that a parity check needs."""

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""

    @property
    def precision(self) -> str:
        """`float32`, or one of the manifest's variants."""

    @property
    def provider(self) -> str:
        """Short name of the preferred execution provider, such as "cpu"."""

    def run(self, graph: str, inputs: dict[str, Any]) -> dict[str, Float32]:
        """Run one graph, and return all of its outputs by name."""


@dataclass(frozen=True)
class Difference:
    """Difference of one output from its reference.

    Attributes:
        graph: `encoder`, `decoder`, `loss`, or `numpy` for values that NumPy computed.
        output: name of the tensor.
        max_absolute: largest `|value - reference|`.
        max_relative: largest `|value - reference| / |reference|`, over the references of at least
            a thousandth of the largest: the ratio of two numbers next to 0 says nothing.
        of_tolerance: largest ratio of a difference to the allowed difference; at most 1 agrees.
        agrees: whether every value is within the tolerance.
    """

    graph: str
    output: str
    max_absolute: float
    max_relative: float
    of_tolerance: float
    agrees: bool

    @property
    def is_loss(self) -> bool:
        """Whether the tolerances for losses apply, not those for tensors."""
        return self.output in LOSS_NAMES


@dataclass(frozen=True)
class VerifyReport:
    """Result of a parity check.

    Attributes:
        name: name of the model.
        precision: precision of the graphs: `float32`, or a variant's.
        provider: short name of the execution provider that ran.
        reference: origin of the reference values.
        samples: number of samples compared.
        differences: one entry for each output.
        mean_loss: mean of `loss` over the samples, by this runtime.
        mean_loss_reference: mean of `loss` over the samples, by TensorFlow.
        passed: whether all outputs agree.
    """

    name: str
    precision: str
    provider: str
    reference: str
    samples: int
    differences: tuple[Difference, ...]
    mean_loss: float
    mean_loss_reference: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types; numbers that are not finite become None."""
        text = json.dumps(asdict(self))
        result: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
        return result

    def __str__(self) -> str:
        """Return the report as a table."""
        header = f"{'graph':8} {'output':20} {'max |diff|':>10} {'max rel.':>10} {'of allowed':>12}"
        rows = [
            f"{d.graph:8} {d.output:20} {d.max_absolute:10.2e} {d.max_relative:10.2e} "
            f"{d.of_tolerance:12.1%}  {'ok' if d.agrees else 'DIFFERS'}"
            for d in self.differences
        ]
        mean = (
            f"mean loss {self.mean_loss:.6f} here, {self.mean_loss_reference:.6f} by "
            f"{self.reference}, difference {self.mean_loss - self.mean_loss_reference:+.1e}"
        )
        variant = "" if self.precision == FLOAT32 else f" in {self.precision}"
        verdict = (
            f"{self.name}{variant}: {self.samples} samples on {self.provider}: "
            f"{'PASSED' if self.passed else FAILED_VERDICT}"
        )
        return "\n".join([header, *rows, mean, verdict])


def verify_runtime(
    vae: GraphRunner, reference: dict[str, Float32], source: str | None = None
) -> VerifyReport:
    """Run the parity check that this module describes.

    `reference` holds the arrays that `read_reference` returns. `source` names their origin in the
    report; by default it is the manifest's version of TensorFlow.
    """
    manifest = vae.manifest
    values = _run_graphs(vae, reference)
    differences = tuple(
        _compare(vae, graph, name, value, reference[name])
        for graph, outputs in values.items()
        for name, value in outputs.items()
    )
    return VerifyReport(
        name=manifest.name,
        precision=vae.precision,
        provider=vae.provider,
        reference=source or f"TensorFlow {manifest.versions.get('tensorflow', '')}".strip(),
        samples=len(reference["x"]),
        differences=differences,
        mean_loss=float(np.mean(values["loss"]["loss"], dtype=np.float64)),
        mean_loss_reference=float(np.mean(reference["loss"], dtype=np.float64)),
        passed=all(d.agrees for d in differences),
    )


def _run_graphs(vae: GraphRunner, ref: dict[str, Float32]) -> dict[str, dict[str, Float32]]:
    variant = vae.manifest.variants.get(vae.precision)
    dynamic = variant is not None and variant.method == "dynamic"
    run = partial(_run_one_by_one, vae) if dynamic else vae.run
    encoder = run("encoder", {"x": ref["x"]})
    decoder = run("decoder", {"z": ref["z"]})
    loss = run("loss", {"x": ref["x"], "eps": ref["eps"]})
    return {
        "encoder": encoder,
        "decoder": decoder,
        "loss": loss,
        "numpy": _numpy_values(vae.manifest, ref, {**encoder, **decoder}),
    }


def _run_one_by_one(vae: GraphRunner, graph: str, inputs: dict[str, Float32]) -> dict[str, Float32]:
    """Run a graph on one sample at a time."""
    parts = [
        vae.run(graph, {name: rows[i : i + 1] for name, rows in inputs.items()})
        for i in range(len(next(iter(inputs.values()))))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _numpy_values(
    manifest: Manifest, ref: dict[str, Float32], outputs: dict[str, Float32]
) -> dict[str, Any]:
    z_mean, z_log_var = outputs["z_mean"], outputs["z_log_var"]
    decoded = outputs[decoder_outputs(manifest.input, manifest.loss)[0]]
    with np.errstate(over="ignore", invalid="ignore"):  # a value that is not finite never agrees
        x = standardize(np, manifest.input.standardization, to_scaled_float32(ref["x"]))
        losses = numpy_losses(manifest.loss, x, decoded, z_mean, z_log_var)
        z = reparameterize(np, z_mean, z_log_var, ref["eps"])
    return {"z": z, **vars(losses)}


def _compare(
    vae: GraphRunner, graph: str, name: str, value: Float32, reference: Float32
) -> Difference:
    expected = reference.astype(np.float64)
    if value.shape != expected.shape:
        return Difference(graph, name, np.inf, np.inf, np.inf, False)
    absolute = np.abs(value.astype(np.float64) - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        large = np.abs(expected) >= NEGLIGIBLE_RATIO * np.abs(expected).max()
        relative = np.where(large & (absolute > 0), absolute / np.abs(expected), 0)
        limits = vae.manifest.allowed(vae.precision, name, expected, is_loss=name in LOSS_NAMES)
        ratio = np.where(absolute == 0, 0, absolute / limits)
    of_tolerance = float(ratio.max())
    return Difference(
        graph, name, float(absolute.max()), float(relative.max()), of_tolerance, of_tolerance <= 1
    )
