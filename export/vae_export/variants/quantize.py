"""Variants of a bundle in lower precision: making, measuring, verifying and publishing them.

For each precision, every method of `lowering` is tried on the loss graph. Of the methods whose
drift is within the budget, the one with the fastest single sample is used. If there is none, the
variant is only published if the plan allows its drift.

Drift is measured at z = z_mean on held-out samples. Each batch also holds the all-zeros, all-ones
and noise samples of the parity file. With dynamic ranges, an outlier changes the scores of all
samples in its batch, and whoever looks for outliers must know by how much.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_export.card.readme import with_variants
from vae_export.scoring.plan import divide
from vae_export.scoring.write import provisional_calibration
from vae_export.variants.budgets import BUDGETS, WORTHWHILE_RATIO, variant_tolerances, verdict
from vae_export.variants.lowering import METHODS, Feeds, Method, batches, lower, lower_score
from vae_export.variants.measure import drift, latencies
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Graphs, GraphSpec, Manifest, Variant
from vae_runtime.bundle.manifest import INPUTS, MANIFEST_FILE, proof_name
from vae_runtime.bundle.publishing import copy_files, file_entries, publishing
from vae_runtime.bundle.score_section import with_score_section
from vae_runtime.bundle.scores import SCORE
from vae_runtime.bundle.variants import MAX_RELATIVE_TOLERANCE, PRECISIONS, Drift, Latency
from vae_runtime.data.samples.conditions import Conditions, as_condition
from vae_runtime.data.samples.inputs import as_batch, to_graph_input
from vae_runtime.decision.calibration import MAX_SCORES
from vae_runtime.errors import BundleError, ExportError, InputError, OptionError
from vae_runtime.files import strict_json
from vae_runtime.inference.loading import load
from vae_runtime.inference.providers import open_session
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.loss import LOSS_NAMES, reparameterize
from vae_runtime.proof.parity import VerifyReport
from vae_runtime.proof.reference import read_reference, reference_tensors
from vae_runtime.quality.calibrate import NormalSamples, recalibrate

Array = NDArray[Any]

MAX_CALIBRATION_SAMPLES = 512
MIN_HELD_OUT_SAMPLES, MAX_HELD_OUT_SAMPLES = 20, 2000
"""Number of samples that drift is measured on."""

OUTLIERS = 3
"""Number of samples at the end of every parity file that are all zeros, all ones, and noise."""

CALIBRATION_SEED = 8
"""Seed of the noise `eps` in calibration."""


@dataclass(frozen=True)
class VariantPlan:
    """Variants to make, and the samples for them.

    Attributes:
        precisions: `float16` and `int8`, one or both. `float32`, which is always there, is ignored.
        calibration: training samples, shape `(n, *input_shape)`, uint8 or float32.
        held_out: samples to measure the drift on, with the same shape, at least 20.
        allow_drift: precisions to publish even if their drift exceeds the budget.
        calibration_conditions: conditions of the calibration samples of a conditional model.
        held_out_conditions: conditions of the held-out samples.
        normal: which of the held-out samples are normal, shape `(n,)`, bool; None if all are. The
            anomaly score is calibrated with them, anew in every precision.
    """

    precisions: tuple[str, ...]
    calibration: NDArray[np.generic]
    held_out: NDArray[np.generic]
    allow_drift: tuple[str, ...] = ()
    calibration_conditions: Conditions | None = None
    held_out_conditions: Conditions | None = None
    normal: NDArray[np.bool_] | None = None

    def check(self) -> None:
        """Check the names of precisions and the number of held-out samples.

        Raises:
            OptionError: a name is unknown, or `allow_drift` names a precision that is not made.
            InputError: there are too few held-out samples.
        """
        for name in self.precisions:
            if name not in ("float32", *PRECISIONS):
                raise OptionError(
                    f"precision {name!r:.80} is unknown: choose from float32, "
                    f"{', '.join(PRECISIONS)}"
                )
        if other := sorted(set(self.allow_drift) - set(self.precisions)):
            raise OptionError(
                f"drift is allowed for {other[0]!r:.80}, which is not among the precisions "
                f"{', '.join(self.precisions)}: add it to them"
            )
        if set(self.precisions) & set(PRECISIONS) and len(self.held_out) < MIN_HELD_OUT_SAMPLES:
            raise InputError(
                f"{len(self.held_out)} held-out samples, expected {MIN_HELD_OUT_SAMPLES} or more "
                "to measure a variant's drift: give more data, or make no variants"
            )


@dataclass(frozen=True)
class VariantOutcome:
    """Result for one precision.

    Attributes:
        precision: `float16` or `int8`.
        variant: the variant as in the manifest; None if it was not published.
        verdict: one line with costs and gains, or with the reason why it was not published.
    """

    precision: str
    variant: Variant | None
    verdict: str


def quantize(
    path: str | Path, plan: VariantPlan, *, on_step: Callable[[str], None] | None = None
) -> tuple[VariantOutcome, ...]:
    """Add variants to a bundle. They replace variants of the same precision.

    Args:
        path: folder of the bundle. It is replaced in one step.
        plan: the variants, and the samples for them.
        on_step: called with a short text before each step.

    Returns:
        The result for each precision, in the order of the plan.

    Raises:
        BundleError: there is no bundle, it is damaged, or it is a single file.
        ExportError: the folder cannot be written. The old bundle is still there, unchanged.
        InputError: the samples do not fit the model, or are too few.
        OptionError: a precision is unknown, or `allow_drift` names one that is not made.
    """
    plan.check()
    source = Bundle(path)
    path = source.path
    if not path.is_dir():
        raise BundleError(f"{path} is a single file: quantize the folder that it was packed from")
    source.check_files()
    with publishing(path, force=True) as folder:
        copy_files(source, folder)
        return add_variants(folder, plan, on_step=on_step)


def add_variants(
    folder: Path, plan: VariantPlan, *, on_step: Callable[[str], None] | None = None
) -> tuple[VariantOutcome, ...]:
    """Write variants of a checked plan into the folder of a bundle that is not yet published."""
    say = on_step or (lambda step: None)
    asked = [name for name in dict.fromkeys(plan.precisions) if name in PRECISIONS]
    if not asked:
        return ()
    _update_manifest(folder, dict.fromkeys(asked))
    base = load(folder, threads=1)
    calibration = _samples(base, plan.calibration, "calibration samples")[:MAX_CALIBRATION_SAMPLES]
    held_out = _samples(base, plan.held_out, "held-out samples")[:MAX_HELD_OUT_SAMPLES]
    builder = _VariantBuilder(
        folder,
        base,
        _calibration_feeds(
            base, calibration, _given(base, plan.calibration_conditions, calibration)
        ),
        held_out,
        _given(base, plan.held_out_conditions, held_out),
    )
    outcomes = []
    for precision in asked:
        say(f"{precision} variant")
        outcomes.append(builder.build(precision, allow_drift=precision in plan.allow_drift))
    if base.manifest.score:
        say("calibration of the anomaly score")
        variants = _calibrate(folder, base.manifest, plan).variants
        outcomes = [replace(o, variant=variants.get(o.precision)) for o in outcomes]
    return tuple(outcomes)


def _calibrate(folder: Path, base: Manifest, plan: VariantPlan) -> Manifest:
    """Calibrate every precision with the held-out samples that `export` calibrates with.

    The new manifest and the model card state the new sizes and thresholds.
    """
    assert base.score is not None
    x = plan.held_out
    normal = np.ones(len(x), bool) if plan.normal is None else plan.normal
    conditions = plan.held_out_conditions
    rows = divide(np.flatnonzero(normal), with_parts=bool(base.score.parts), limit=MAX_SCORES)
    given = None if conditions is None else conditions.values
    source = base.score.data
    manifest = recalibrate(folder, NormalSamples(x, given, rows.calibration, rows.check, source))
    _write_card(folder, manifest)
    return _write_manifest(folder, manifest)


@dataclass(frozen=True)
class _Candidate:
    """A method to reach a precision, and measurements of its loss graph."""

    method: Method
    drift: Drift
    latency: Latency


@dataclass(frozen=True)
class _VariantBuilder:
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
            _update_manifest(self.folder, {precision: None})
            return VariantOutcome(precision, None, f"{precision} is not published: {error}")
        return VariantOutcome(precision, variant, verdict(precision, variant))

    def _candidates(self, precision: str) -> Iterator[_Candidate]:
        spec = self.base.manifest.graphs.loss
        data = self.base.bundle.read(spec.file)
        inputs = _loss_feeds(self.base, self.held_out, self.given)
        proof = read_reference(self.base.bundle)
        made = {name: proof[name][-OUTLIERS:] for name in self.given}
        outliers = _loss_feeds(self.base, proof["x"][-OUTLIERS:], made)
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
        _update_manifest(self.folder, {precision: variant})
        variant = replace(variant, tolerances=variant_tolerances(self._verify(precision)))
        _update_manifest(self.folder, {precision: variant})
        self._verify(precision)
        return variant

    def _lower_score(self, data: bytes, spec: GraphSpec, method: Method, feeds: Feeds) -> bytes:
        score = self.base.manifest.score
        both_tails = score is not None and score.tails == "both"
        return lower_score(data, spec, method, feeds, both_tails=both_tails)

    def _verify(self, precision: str) -> VerifyReport:
        report = load(self.folder, precision=precision, tuned=False).verify()
        if not report.passed:
            worst = max(
                (*report.differences, *report.batch_independence), key=lambda d: d.of_tolerance
            )
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


def _samples(base: VAERuntime, x: NDArray[np.generic], what: str) -> Array:
    spec, data = base.manifest.input, base.manifest.data
    samples = as_batch(x, spec.shape, name=what, columns=base.manifest.table)
    binary = bool(data and data.binary_uint8)
    return to_graph_input(
        samples,
        spec.dtype,
        spec.range,
        binary_uint8=binary,
        raw_range=spec.raw_range,
    )


def _given(base: VAERuntime, conditions: Conditions | None, x: Array) -> Feeds:
    """Return the graphs' input `condition` for samples x; nothing if the model takes none."""
    spec = base.manifest.condition
    if conditions and spec and conditions.spec != spec:
        raise InputError(
            f"the data's conditions are {conditions.spec.describe()}, the model expects "
            f"{spec.describe()}: give the data that the model was trained on"
        )
    rows = as_condition(spec, conditions.values[: len(x)] if conditions else None, len(x))
    return {} if rows is None else {"condition": rows}


def _calibration_feeds(base: VAERuntime, x: Array, given: Feeds) -> dict[str, Feeds]:
    code = base.encode(x, **given)
    rng = np.random.default_rng(CALIBRATION_SEED)
    eps = rng.standard_normal(code.z_mean.shape).astype(np.float32)
    z = reparameterize(np, code.z_mean, code.z_log_var, eps)
    return {
        "encoder": {"x": x, **given},
        "decoder": {"z": z, **given},
        "loss": {"x": x, "eps": eps, **given},
        SCORE: {"x": x, **given},
    }


def _loss_feeds(base: VAERuntime, x: Array, given: Feeds) -> Feeds:
    """Return the inputs of the loss graph for z = z_mean."""
    return {"x": x, "eps": np.zeros((len(x), *base.manifest.z_shape), np.float32), **given}


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


def _update_manifest(folder: Path, changes: dict[str, Variant | None]) -> None:
    """Set variants, or remove those that are None; write manifest and model card again."""
    manifest = Bundle(folder).manifest
    changed = {**manifest.variants, **changes}
    variants = {name: v for name in PRECISIONS if (v := changed.get(name))}
    for name in changes.keys() - variants.keys():
        shutil.rmtree(folder / name, ignore_errors=True)
    manifest = replace(manifest, variants=variants)
    if manifest.score:
        manifest = replace(manifest, score=provisional_calibration(folder, manifest))
    _write_card(folder, manifest)
    _write_manifest(folder, manifest)


def _write_card(folder: Path, manifest: Manifest) -> None:
    card = folder / "README.md"
    text = with_score_section(card.read_text("utf-8"), manifest)
    card.write_text(with_variants(text, manifest), "utf-8")


def _write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    manifest = replace(manifest, files=file_entries(folder))
    (folder / MANIFEST_FILE).write_bytes(strict_json.encode(manifest))
    return manifest
