"""Variants of a bundle in lower precision: made, measured, held to TensorFlow, published or not.

For each precision every way of `lowering` is tried on the loss graph. Of those whose drift is
within the budget the one with the fastest single sample is taken; where none is, nothing is
published unless the precision was asked for all the same.

Drift is measured at z = z_mean on held-out samples, in batches that also hold the proof's zeros,
ones and noise: where ranges follow the batch, an outlier changes the scores of all beside it, and
who looks for outliers must know by how much.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_export.card.readme import with_variants
from vae_export.graphs.lowering import METHODS, Feeds, Method, lower
from vae_export.publish import file_entries, publishing
from vae_export.variants.budgets import BUDGETS, WORTH, verdict, with_headroom
from vae_export.variants.measure import drift, latencies
from vae_runtime import strict_json
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Graphs, GraphSpec, Manifest, Variant
from vae_runtime.bundle.manifest import MANIFEST
from vae_runtime.bundle.variants import MAX_RELATIVE_TOLERANCE, PRECISIONS, Drift, Latency
from vae_runtime.data.inputs import as_batch, to_input
from vae_runtime.errors import BundleError, ExportError, InputError, OptionError
from vae_runtime.inference.loading import load
from vae_runtime.inference.providers import open_session
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.loss import draw
from vae_runtime.proof.parity import VerifyReport, read_reference, reference_tensors

Array = NDArray[Any]

CALIBRATION = 512
HELD_OUT = 2000
"""Most samples that a variant is calibrated on, and that its drift is measured on."""

MIN_HELD_OUT = 20
OUTLIERS = 3
"""The last samples of every proof: zeros, ones, noise."""

SEED = 8
"""Of the noise that calibration runs with."""


@dataclass(frozen=True)
class VariantPlan:
    """Which variants to make, and from what.

    Attributes:
        precisions: of `float16` and `int8`; `float32` may be named, and is there anyway.
        calibration: training samples, shape `(n, *input_shape)`, uint8 or float32.
        held_out: other samples of the same shape, at least `MIN_HELD_OUT`, for the drift.
        allow_drift: precisions to publish even where their drift is over the budget.
    """

    precisions: tuple[str, ...]
    calibration: NDArray[np.generic]
    held_out: NDArray[np.generic]
    allow_drift: tuple[str, ...] = ()

    def check(self) -> None:
        """Checks the names, and that there are samples enough.

        Raises:
            OptionError: a name is unknown, or allowed without being asked for.
            InputError: there are too few held-out samples.
        """
        for name in self.precisions:
            if name not in ("float32", *PRECISIONS):
                raise OptionError(
                    f"precision {name!r:.80} is unknown: choose of float32, {', '.join(PRECISIONS)}"
                )
        if other := sorted(set(self.allow_drift) - set(self.precisions)):
            raise OptionError(
                f"drift is allowed for {other[0]!r:.80}, which is not among the precisions "
                f"{', '.join(self.precisions)}: name it there too"
            )
        if set(self.precisions) & set(PRECISIONS) and len(self.held_out) < MIN_HELD_OUT:
            raise InputError(
                f"{len(self.held_out)} held-out samples, expected {MIN_HELD_OUT} or more to "
                "measure a variant's drift on: give more data, or leave the variants out"
            )


@dataclass(frozen=True)
class VariantOutcome:
    """What became of one precision.

    Attributes:
        precision: its name.
        variant: what the manifest says of it; None where nothing was published.
        verdict: one line: what it costs and brings, or why it was not published.
    """

    precision: str
    variant: Variant | None
    verdict: str


def quantize(
    path: str | Path, plan: VariantPlan, *, on_step: Callable[[str], None] | None = None
) -> tuple[VariantOutcome, ...]:
    """Adds variants to a bundle, in the place of those of the same name.

    Args:
        path: the bundle's folder; it is exchanged for the new one in one step.
        plan: which variants, and from what samples.
        on_step: called with a few words before each step.

    Returns:
        What became of each precision, in the order of the plan.

    Raises:
        BundleError: there is no bundle, it is damaged, or it is a single file.
        ExportError: the folder cannot be written. What was there is still there, unchanged.
        InputError: the samples do not fit the model, or are too few.
        OptionError: an unknown precision.
    """
    plan.check()
    path = Path(path)
    source = Bundle(path)
    if not path.is_dir():
        raise BundleError(f"{path} is a single file: quantize the folder that it was packed from")
    source.check_files()
    with publishing(path, force=True) as folder:
        for name in source.manifest.files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read(name))
        (folder / MANIFEST).write_bytes(strict_json.encode(source.manifest))
        return add_variants(folder, plan, on_step=on_step)


def add_variants(
    folder: Path, plan: VariantPlan, *, on_step: Callable[[str], None] | None = None
) -> tuple[VariantOutcome, ...]:
    """Writes variants into a bundle's folder that nobody reads yet; otherwise as `quantize`."""
    plan.check()
    say = on_step or (lambda step: None)
    asked = [name for name in dict.fromkeys(plan.precisions) if name in PRECISIONS]
    if not asked:
        return ()
    _write_manifest(folder, dict.fromkeys(asked))
    base = load(folder, threads=1)
    calibration = _samples(base, plan.calibration, "calibration samples")[:CALIBRATION]
    held_out = _samples(base, plan.held_out, "held-out samples")[:HELD_OUT]
    job = _Job(folder, base, _calibration_feeds(base, calibration), held_out)
    outcomes = []
    for precision in asked:
        say(f"{precision} variant")
        outcomes.append(job.make(precision, allowed=precision in plan.allow_drift))
    return tuple(outcomes)


@dataclass(frozen=True)
class _Candidate:
    """One way to a precision: its loss graph, measured."""

    method: Method
    drift: Drift
    latency: Latency


@dataclass(frozen=True)
class _Job:
    """What the variants of one bundle are made from."""

    folder: Path
    base: VAERuntime
    feeds: dict[str, Feeds]
    held_out: Array

    def make(self, precision: str, *, allowed: bool) -> VariantOutcome:
        """Makes, measures and writes one variant; or says why not."""
        try:
            best = self._best(precision, list(self._candidates(precision)))
            excess = BUDGETS[precision].excess(best.drift)
            if excess and not allowed:
                raise ExportError(
                    f"its loss drifts too far: {excess}; publish it all the same with "
                    f"--allow-drift {precision}"
                )
            variant = self._publish(precision, best, within_budget=not excess)
        except ExportError as error:
            _write_manifest(self.folder, {precision: None})
            return VariantOutcome(precision, None, f"{precision} is not published: {error}")
        return VariantOutcome(precision, variant, verdict(precision, variant))

    def _candidates(self, precision: str) -> Iterator[_Candidate]:
        spec, data = self._graph("loss")
        inputs = _scored(self.base, self.held_out)
        outliers = read_reference(self.base.bundle)["x"][-OUTLIERS:]
        company = _scored(self.base, np.asarray(outliers))
        reference = self.base.loss(self.held_out).loss
        for method in METHODS[precision]:
            lowered = lower(data, spec, "loss", method, self.feeds["loss"])
            if lowered == data:
                continue
            runs = [_runner(data, "loss.onnx"), _runner(lowered, f"{precision}/loss.onnx")]
            # First of all: a session that ran a large batch takes a tenth longer for one sample.
            latency = latencies(runs, inputs)[1]
            found = drift(_in_company(runs[1], inputs, company), reference)
            yield _Candidate(method, found, latency)

    def _best(self, precision: str, candidates: list[_Candidate]) -> _Candidate:
        if not candidates:
            raise ExportError("the loss graph has no weights that it would lower")
        budget = BUDGETS[precision]
        within = [c for c in candidates if not budget.excess(c.drift)]
        if within:
            return min(within, key=lambda c: c.latency.batch_1_ms)
        return min(candidates, key=lambda c: c.drift.mean)

    def _publish(self, precision: str, best: _Candidate, *, within_budget: bool) -> Variant:
        (self.folder / precision).mkdir(exist_ok=True)
        graphs, size = {}, 0
        for field in fields(Graphs):
            spec, data = self._graph(field.name)
            spec = replace(spec, file=f"{precision}/{field.name}.onnx")
            lowered = lower(data, spec, field.name, best.method, self.feeds[field.name])
            (self.folder / spec.file).write_bytes(lowered)
            graphs[field.name], size = spec, size + len(lowered)
        of_size = size / sum(len(self._graph(field.name)[1]) for field in fields(Graphs))
        share = of_size if precision == "float16" else best.latency.batch_1_ratio
        variant = Variant(
            method=best.method,
            graphs=Graphs(**graphs),
            size=size,
            drift=best.drift,
            within_budget=within_budget,
            latency=best.latency,
            worth_it=share <= WORTH,
            tolerances=dict.fromkeys(_outputs(self.base.manifest), MAX_RELATIVE_TOLERANCE),
        )
        _write_manifest(self.folder, {precision: variant})
        variant = replace(variant, tolerances=with_headroom(self._verified(precision)))
        _write_manifest(self.folder, {precision: variant})
        self._verified(precision)
        return variant

    def _graph(self, name: str) -> tuple[GraphSpec, bytes]:
        spec: GraphSpec = getattr(self.base.manifest.graphs, name)
        return spec, self.base.bundle.read(spec.file)

    def _verified(self, precision: str) -> VerifyReport:
        report = load(self.folder, precision=precision, tuned=False).verify()
        if not report.passed:
            worst = max(report.differences, key=lambda d: d.of_tolerance)
            raise ExportError(
                f"{worst.graph} {worst.output} is {worst.of_tolerance:.3g} times as far from "
                "TensorFlow's as any tolerance allows"
            )
        return report


def _outputs(manifest: Manifest) -> list[str]:
    """Names of what verify compares."""
    return [name for name in reference_tensors(manifest) if name not in ("x", "eps")]


def _samples(base: VAERuntime, x: NDArray[np.generic], what: str) -> Array:
    spec = base.manifest.input
    return to_input(as_batch(x, spec.shape, name=what), spec.dtype, spec.range)


def _calibration_feeds(base: VAERuntime, x: Array) -> dict[str, Feeds]:
    code = base.encode(x)
    shape = code.z_mean.shape
    eps = np.random.default_rng(SEED).standard_normal(shape).astype(np.float32)
    z = draw(np, code.z_mean, code.z_log_var, eps)
    return {
        "encoder": Feeds({"x": x}),
        "decoder": Feeds({"z": z}),
        "loss": Feeds({"x": x, "eps": eps}),
    }


def _scored(base: VAERuntime, x: Array) -> dict[str, Array]:
    """The loss graph's inputs for z = z_mean."""
    return {"x": x, "eps": np.zeros((len(x), base.manifest.latent_dim), np.float32)}


def _runner(data: bytes, where: str) -> Callable[[dict[str, Array]], Array]:
    cpu = ["CPUExecutionProvider"]
    session = open_session(data, cpu, threads=1, allow_fallback=False, where=where)
    return lambda inputs: np.asarray(session.run(["loss"], inputs)[0])


def _in_company(
    run: Callable[[dict[str, Array]], Array], inputs: dict[str, Array], company: dict[str, Array]
) -> Array:
    """Losses of the inputs, in batches that hold some others too."""
    losses = []
    for part in Feeds(inputs).batches():
        both = {name: np.concatenate([array, company[name]]) for name, array in part.items()}
        losses.append(run(both)[: -len(company["x"])])
    return np.concatenate(losses)


def _write_manifest(folder: Path, changes: dict[str, Variant | None]) -> None:
    """Puts variants in or takes them out, and writes card and manifest anew."""
    manifest = Bundle(folder).manifest
    variants = {name: v for name, v in manifest.variants.items() if name not in changes}
    variants |= {name: v for name, v in changes.items() if v}
    for name in changes.keys() - variants.keys():
        shutil.rmtree(folder / name, ignore_errors=True)
    ordered = {name: variants[name] for name in PRECISIONS if name in variants}
    manifest = replace(manifest, variants=ordered)
    _write_card(folder, manifest)
    manifest = replace(manifest, files=file_entries(folder))
    (folder / MANIFEST).write_bytes(strict_json.encode(manifest))


def _write_card(folder: Path, manifest: Manifest) -> None:
    card = folder / "README.md"
    card.write_text(with_variants(card.read_text("utf-8"), manifest), "utf-8")
