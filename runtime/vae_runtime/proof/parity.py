"""The parity check: does this runtime compute what TensorFlow computed?

The bundle stores inputs `x` and noise `eps` together with every tensor that TensorFlow computed
from them, with the SavedModels as read back from disk. Each graph runs on the inputs that
TensorFlow used for it, and each output is compared with TensorFlow's:

    encoder   x        -> z_mean, z_log_var
    decoder   z        -> logits or values (not always), reconstruction
    loss      x, eps   -> reconstruction_loss, kl_loss, loss, per sample
    score     x        -> the losses at z = z_mean, score, p_value, activations (not always)
    all       condition as well, if the model is conditional
    numpy     z, the three losses and the score again, by NumPy from the outputs of the graphs
    prior     log_density of TensorFlow's z under the mixture, by NumPy (not always)

A value agrees if `|value - reference| <= atol + rtol * |reference|`, with the tolerances of the
manifest. A variant in lower precision has a tolerance for each output, see
`variants.allowed_difference`. NaN never agrees. If every loss agrees, so does the mean loss, which
is reported.

A p-value agrees if it lies between those of the two scores that are still within the tolerance of
TensorFlow's: it is a count, and jumps where a score passes a calibration score. It also has to be
exactly the p-value of the score that the graph itself gives.

Graphs run on all samples at once. Some samples then run alone and in another batch, see `company`:
an output of one sample must not depend on the others. Two values that agree with TensorFlow's lie
at most two tolerances apart, so more is a dependence.

An exception is a variant with dynamic quantization ranges, which runs on one sample at a time: the
outliers among the reference samples would widen the ranges of all others, and processors that take
a range for each row would compute something else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.manifest import loss_input, proof_name
from vae_runtime.bundle.scores import ACTIVATIONS, P_VALUE, SCORE
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.data.numbers.standardization import standardize
from vae_runtime.data.samples.inputs import to_scaled_float32
from vae_runtime.decision.calibration import Calibration
from vae_runtime.decision.conformal import p_value_interval
from vae_runtime.decision.scorer import Scorer
from vae_runtime.loss import LOSS_NAMES, Losses, numpy_losses, reparameterize
from vae_runtime.prior.mixture import RTOL, Mixture
from vae_runtime.proof.company import batch_independence
from vae_runtime.proof.differences import Allowed, Difference, compare, difference_table

Float32 = NDArray[np.float32]

FAILED_VERDICT = (
    "FAILED: an output that differs is computed in another way than in TensorFlow; try another "
    "provider, update ONNX Runtime, or export the bundle again"
)
DEPENDS_VERDICT = (
    "FAILED: an output depends on the samples beside it, so scores would change with the batch "
    "size and the threads; do not use this bundle, and export a model that computes each sample "
    "by itself"
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
        passed: whether all outputs agree, and none depends on the other samples of its batch.
        batch_independence: one entry for each graph, for the output that changes most between
            samples alone, in another batch, and in the batch of all. Empty for a variant with
            dynamic ranges, whose outputs are known to depend on the batch.
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
    batch_independence: tuple[Difference, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types; numbers that are not finite become None."""
        text = json.dumps(asdict(self))
        result: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
        return result

    def __str__(self) -> str:
        """Return the report as a table."""
        rows = [
            f"{d.graph:8} {'in other batches':20} {d.max_absolute:10.2e} {d.max_relative:10.2e} "
            f"{d.of_tolerance:12.1%}  {'ok' if d.agrees else 'DEPENDS'}"
            for d in self.batch_independence
        ]
        mean = (
            f"mean loss {self.mean_loss:.6f} here, {self.mean_loss_reference:.6f} by "
            f"{self.reference}, difference {self.mean_loss - self.mean_loss_reference:+.1e}"
        )
        variant = "" if self.precision == FLOAT32 else f" in {self.precision}"
        verdict = f"{self.name}{variant}: {self.samples} samples on {self.provider}: "
        if self.passed:
            verdict += "PASSED"
        else:
            same = all(d.agrees for d in self.differences)
            verdict += DEPENDS_VERDICT if same else FAILED_VERDICT
        return "\n".join([difference_table(self.differences), *rows, mean, verdict])


@dataclass(frozen=True)
class Decision:
    """What a bundle's score and p-values are checked with."""

    scorer: Scorer
    calibration: Calibration


def verify_runtime(
    vae: GraphRunner,
    reference: dict[str, Float32],
    source: str | None = None,
    *,
    decision: Decision | None = None,
    mixture: Mixture | None = None,
) -> VerifyReport:
    """Run the parity check that this module describes.

    `reference` holds the arrays that `read_reference` returns. `source` names their origin in the
    report; by default it is the manifest's version of TensorFlow. `decision` is needed if the
    bundle has a score, `mixture` if it has a mixture prior.
    """
    manifest = vae.manifest

    def allowed(name: str, expected: NDArray[np.float64]) -> Any:
        return manifest.allowed(vae.precision, name, expected, is_loss=name in LOSS_NAMES)

    values = _run_graphs(vae, reference, decision)
    differences = tuple(
        compare(graph, name, value, reference[proof_name(graph, name)], allowed)
        if name != P_VALUE or decision is None
        else compare_p_values(values[SCORE], reference, decision.calibration, allowed)
        for graph, outputs in values.items()
        for name, value in outputs.items()
    )
    if mixture:
        differences += (_compare_densities(mixture, reference["z"]),)
    independence = tuple(
        batch_independence(
            graph,
            partial(_run_without_p_value, vae, graph),
            {tensor.name: reference[tensor.name] for tensor in spec.inputs},
            {name: value for name, value in values[graph].items() if name != P_VALUE},
            allowed,
            manifest.input,
        )
        for graph, spec in manifest.graphs.items()
        if not _is_dynamic(vae)
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
        passed=all(d.agrees for d in differences + independence),
        batch_independence=independence,
    )


def _compare_densities(mixture: Mixture, z: Float32) -> Difference:
    """Compare log densities with those that scikit-learn computed when the mixture was fitted."""

    def allowed(_: str, expected: NDArray[np.float64]) -> NDArray[np.float64]:
        return RTOL * (1.0 + np.abs(expected))

    found = mixture.log_densities(z).astype(np.float32)
    return compare("prior", "log_density", found, mixture.log_density, allowed)


def _is_dynamic(vae: GraphRunner) -> bool:
    variant = vae.manifest.variants.get(vae.precision)
    return variant is not None and variant.method == "dynamic"


def _run_graphs(
    vae: GraphRunner, ref: dict[str, Float32], decision: Decision | None
) -> dict[str, dict[str, Float32]]:
    run = partial(_run_one_by_one, vae) if _is_dynamic(vae) else vae.run
    values = {
        name: run(name, {tensor.name: ref[tensor.name] for tensor in spec.inputs})
        for name, spec in vae.manifest.graphs.items()
    }
    numpy = _numpy_values(vae.manifest, ref, {**values["encoder"], **values["decoder"]})
    if decision:
        spec = vae.manifest.graphs.decoder
        inputs = {**ref, "z": values["encoder"]["z_mean"]}
        decoded = run("decoder", {tensor.name: inputs[tensor.name] for tensor in spec.inputs})
        numpy[SCORE] = _numpy_score(vae.manifest, ref, {**values[SCORE], **decoded}, decision)
    return {**values, "numpy": numpy}


def compare_p_values(
    outputs: Mapping[str, Float32],
    reference: Mapping[str, Float32],
    calibration: Calibration,
    allowed: Allowed,
) -> Difference:
    """Compare p-values with those that scores within the tolerance have.

    Args:
        outputs: `score` and `p_value` of a score graph, both of shape `(batch,)`.
        reference: TensorFlow's scores as `score`, same shape.
        calibration: the calibration that the graph holds.
        allowed: returns the tolerance of the score.
    """
    expected = reference[SCORE].astype(np.float64)
    tolerance = allowed(SCORE, expected)
    lowest, highest = p_value_interval(
        (expected - tolerance).astype(np.float32),
        (expected + tolerance).astype(np.float32),
        calibration.scores,
        calibration.tails,
    )
    p_value, at = outputs[P_VALUE], calibration.p_values(expected.astype(np.float32))
    if p_value.shape != at.shape:
        return Difference(SCORE, P_VALUE, np.inf, np.inf, np.inf, False)
    difference = np.abs(p_value.astype(np.float64) - at)
    # A count has no digits to compare. What a p-value uses of its tolerance is what its score uses.
    distance = np.abs(outputs[SCORE].astype(np.float64) - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.where(distance == 0, 0.0, distance / tolerance)
    agrees = (lowest <= p_value) & (p_value <= highest) & (used <= 1)
    agrees &= p_value == calibration.p_values(outputs[SCORE])
    of_tolerance = float(np.where(difference > 0, used, 0.0).max()) if agrees.all() else np.inf
    largest, relative = float(difference.max()), float((difference / at).max())
    return Difference(SCORE, P_VALUE, largest, relative, of_tolerance, bool(agrees.all()))


def _run_without_p_value(
    vae: GraphRunner, graph: str, inputs: dict[str, Float32]
) -> dict[str, Float32]:
    """Run a graph, and leave out the p-value, which jumps if a score changes in its last digit."""
    outputs = vae.run(graph, inputs)
    return {name: value for name, value in outputs.items() if name != P_VALUE}


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
    decoded = loss_input(manifest.input, manifest.loss, outputs)
    with np.errstate(over="ignore", invalid="ignore"):  # a value that is not finite never agrees
        x = standardize(np, manifest.input.standardization, to_scaled_float32(ref["x"]))
        losses = numpy_losses(manifest.loss, x, decoded, z_mean, z_log_var)
        z = reparameterize(np, z_mean, z_log_var, ref["eps"])
    return {"z": z, **vars(losses)}


def _numpy_score(
    manifest: Manifest, ref: dict[str, Float32], outputs: dict[str, Any], decision: Decision
) -> Any:
    """Compute the score by NumPy, from the outputs of the score graph and of the decoder."""
    scorer = decision.scorer
    decoded = loss_input(manifest.input, manifest.loss, outputs)
    with np.errstate(over="ignore", invalid="ignore"):
        x = standardize(np, manifest.input.standardization, to_scaled_float32(ref["x"]))
        at_mean = Losses(*(outputs[name] for name in LOSS_NAMES))
        return scorer.score(np, scorer.fit(np, x, decoded, at_mean), outputs.get(ACTIVATIONS))
