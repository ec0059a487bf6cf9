"""Making one variant: every method of `lowering` is tried on the loss graph.

Of the methods whose drift is within the budget, the one with the fastest single sample is used. If
there is none, the variant is only published if the plan allows its drift.

Drift is measured at z = z_mean on held-out samples. Each batch also holds the all-zeros, all-ones
and noise samples of the parity file. With dynamic ranges, an outlier changes the scores of all
samples in its batch, and whoever looks for outliers must know by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_export.variants.budgets import BUDGETS, WORTHWHILE_RATIO, variant_tolerances, verdict
from vae_export.variants.feeds import loss_feeds
from vae_export.variants.lowering import METHODS, Feeds, Method, batches, lower, lower_score
from vae_export.variants.manifest import update_manifest
from vae_export.variants.measure import drift, latencies
from vae_export.variants.plan import VariantOutcome
from vae_runtime.bundle.fields import Variant
from vae_runtime.bundle.graph_fields import Graphs, GraphSpec
from vae_runtime.bundle.manifest import INPUTS, proof_name
from vae_runtime.bundle.scores import SCORE
from vae_runtime.bundle.variants import MAX_RELATIVE_TOLERANCE, Drift, Latency
from vae_runtime.errors import ExportError
from vae_runtime.inference.loading import load
from vae_runtime.inference.providers import open_session
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.loss import LOSS_NAMES
from vae_runtime.proof.parity import VerifyReport
from vae_runtime.proof.reference import read_reference, reference_tensors

Array = NDArray[Any]

OUTLIERS = 3
"""Number of samples at the end of every parity file that are all zeros, all ones, and noise."""


@dataclass(frozen=True)
class _Candidate:
    """A method to reach a precision, and measurements of its loss graph."""

    method: Method
    drift: Drift
    latency: Latency


@dataclass(frozen=True)
class VariantBuilder:
    """Maker of the variants of one bundle, from calibration feeds by graph and held-out samples.

    `given` holds the conditions of the held-out samples, if the model is conditional.
    """

    folder: Path
    base: VAERuntime
    feeds: dict[str, Feeds]
    held_out: Array
    given: Feeds

    def build(self, precision: str, *, allow_drift: bool) -> VariantOutcome:
        """Make, measure and write one variant, or say why it is not published."""
        try:
            best = _best(precision, list(self._candidates(precision)))
            excess = BUDGETS[precision].excess(best.drift)
            if excess and not allow_drift:
                raise ExportError(
                    f"its loss drifts too far: {excess}; to publish it anyway, use "
                    f"--allow-drift {precision}"
                )
            variant = self._publish(precision, best, within_budget=not excess)
        except ExportError as error:
            update_manifest(self.folder, {precision: None})
            return VariantOutcome(precision, None, f"{precision} is not published: {error}")
        return VariantOutcome(precision, variant, verdict(precision, variant))

    def _candidates(self, precision: str) -> Iterator[_Candidate]:
        spec = self.base.manifest.graphs.loss
        data = self.base.bundle.read(spec.file)
        inputs = loss_feeds(self.base, self.held_out, self.given)
        proof = read_reference(self.base.bundle)
        made = {name: proof[name][-OUTLIERS:] for name in self.given}
        outliers = loss_feeds(self.base, proof["x"][-OUTLIERS:], made)
        reference = self.base.loss(self.held_out, condition=self.given.get("condition")).loss
        for method in METHODS[precision]:
            lowered = lower(data, spec, method, self.feeds["loss"])
            if lowered == data:
                continue
            runs = [
                _loss_runner(data, "loss.onnx"),
                _loss_runner(lowered, f"{precision}/loss.onnx"),
            ]
            # Measured first: after a large batch, a session takes a tenth longer for one sample.
            latency = latencies(runs, inputs)[1]
            losses = _losses_beside_outliers(runs[1], inputs, outliers)
            yield _Candidate(method, drift(losses, reference), latency)

    def _publish(self, precision: str, best: _Candidate, *, within_budget: bool) -> Variant:
        (self.folder / precision).mkdir(exist_ok=True)
        graphs, size, float32_size = {}, 0, 0
        for name, spec in self.base.manifest.graphs.items():
            data = self.base.bundle.read(spec.file)
            graphs[name] = replace(spec, file=f"{precision}/{name}.onnx")
            lowering = self._lower_score if name == SCORE else lower
            lowered = lowering(data, graphs[name], best.method, self.feeds[name])
            (self.folder / graphs[name].file).write_bytes(lowered)
            size, float32_size = size + len(lowered), float32_size + len(data)
        ratio = size / float32_size if precision == "float16" else best.latency.batch_1_ratio
        outputs = reference_tensors(self.base.manifest).keys() - INPUTS
        outputs -= {proof_name(SCORE, loss) for loss in LOSS_NAMES}  # those of the loss graph
        variant = Variant(
            method=best.method,
            graphs=Graphs(**graphs),
            size=size,
            drift=best.drift,
            within_budget=within_budget,
            latency=best.latency,
            worth_it=ratio <= WORTHWHILE_RATIO,
            tolerances=dict.fromkeys(outputs, MAX_RELATIVE_TOLERANCE),
        )
        update_manifest(self.folder, {precision: variant})
        variant = replace(
            variant, tolerances=variant_tolerances(require_verified(self.folder, precision))
        )
        update_manifest(self.folder, {precision: variant})
        require_verified(self.folder, precision)
        return variant

    def _lower_score(self, data: bytes, spec: GraphSpec, method: Method, feeds: Feeds) -> bytes:
        score = self.base.manifest.score
        both_tails = score is not None and score.tails == "both"
        return lower_score(data, spec, method, feeds, both_tails=both_tails)


def require_verified(folder: Path, precision: str) -> VerifyReport:
    """Return the report of a precision; raise `ExportError` if it did not pass."""
    report = load(folder, precision=precision, tuned=False).verify()
    if not report.passed:
        worst = max((*report.differences, *report.batch_independence), key=lambda d: d.of_tolerance)
        differs = "differs from TensorFlow's values"
        if worst in report.batch_independence:
            differs = "changes with the samples beside it"
        raise ExportError(
            f"{worst.graph} {worst.output} {differs} by {worst.of_tolerance:.3g} times the "
            "tolerance"
        )
    return report


def _best(precision: str, candidates: list[_Candidate]) -> _Candidate:
    if not candidates:
        raise ExportError(f"the loss graph has no weights that can be lowered to {precision}")
    within = [c for c in candidates if not BUDGETS[precision].excess(c.drift)]
    if within:
        return min(within, key=lambda c: c.latency.batch_1_ms)
    return min(candidates, key=lambda c: c.drift.mean)


def _loss_runner(data: bytes, where: str) -> Callable[[Feeds], Array]:
    cpu = ["CPUExecutionProvider"]
    session = open_session(data, cpu, threads=1, allow_fallback=False, where=where)
    return lambda inputs: np.asarray(session.run(["loss"], inputs)[0])


def _losses_beside_outliers(run: Callable[[Feeds], Array], inputs: Feeds, outliers: Feeds) -> Array:
    """Return the losses of the inputs. Each batch that runs ends with the outliers."""
    losses = []
    for batch in batches(inputs):
        both = {name: np.concatenate([array, outliers[name]]) for name, array in batch.items()}
        losses.append(run(both)[:-OUTLIERS])
    return np.concatenate(losses)
