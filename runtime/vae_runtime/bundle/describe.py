"""Description of a bundle as text, from its manifest."""

from __future__ import annotations

from collections.abc import Mapping

from vae_runtime.bundle.fields import Manifest, OptionValue, Variant
from vae_runtime.bundle.graph_fields import GraphSpec
from vae_runtime.bundle.score_section import source_text, threshold_text
from vae_runtime.bundle.scores import ScoreSpec
from vae_runtime.data.tables.encoding import TableEncoding

MAX_SHOWN_COLUMNS = 12
"""Number of a table's column names that are shown."""


def describe(manifest: Manifest, *, sha256: str) -> str:
    """Describe a bundle as aligned text, one fact per line."""
    m = manifest
    variance = f", variance {m.loss.variance:.4g}" if m.loss.variance else ""
    standardized = ", standardized in the graphs" if m.input.standardization else ""
    if raw := m.input.raw_range:
        standardized = f", {raw[0]:g} to {raw[1]:g} scaled to 0 to 1 in the graphs"
    values = f"in [{m.input.range[0]:g}, {m.input.range[1]:g}]" if m.input.range else "any finite"
    facts = {
        "name": m.name,
        "created": f"{m.created}, format {m.format_version}",
        "input": f"{_shape(m.input.shape)} {m.input.dtype}, {values}{standardized}",
        "latent_dim": str(m.latent_dim) + (f", z {_shape(m.z_shape)}" if m.latent_shape else ""),
        **({"condition": m.condition.describe()} if m.condition else {}),
        "loss": f"{m.loss.reconstruction} of {m.loss.decoder}{variance} + "
        f"{m.loss.kl_weight:g} * kl, {m.loss.elements} over elements, "
        f"{m.loss.samples} over samples",
        "encoder": _graph(m.graphs.encoder),
        "decoder": _graph(m.graphs.decoder),
        "loss graph": _graph(m.graphs.loss),
        "parity": f"{m.parity.samples} samples, mean loss {m.parity.mean.loss:.4f} by TensorFlow",
    }
    if m.score:
        facts |= _score(m.score)
    facts |= {name: _variant(variant) for name, variant in m.variants.items()}
    if m.data:
        facts["data"] = (
            f"{m.data.name}: {m.data.train} train, {m.data.validation} validation, "
            f"{m.data.test} test"
        )
        if columns := m.data.columns:
            more = f", ... ({len(columns)} in all)" if columns[MAX_SHOWN_COLUMNS:] else ""
            facts["columns"] = ", ".join(columns[:MAX_SHOWN_COLUMNS]) + more
        if isinstance(m.table, TableEncoding):
            facts["table"] = _table(m.table)
        if m.data.label is not None:
            facts["label"] = m.data.label
    if t := m.training:
        options = ", ".join(f"{name} {value}" for name, value in options_as_text(t.options).items())
        facts["training"] = f"{options}; {t.parameters:,} weights, {t.seconds:.0f} s"
        facts["test loss"] = (
            f"{t.test.loss:.2f} = {t.test.reconstruction_loss:.2f} reconstruction + "
            f"{t.test.kl_loss:.2f} KL, {t.latents.active_units} active units"
        )
    facts["made with"] = ", ".join(f"{name} {version}" for name, version in m.versions.items())
    facts["sha256"] = sha256
    if m.packed_from:
        facts["packed from"] = m.packed_from
    facts["files"] = f"{len(m.files)}, {sum(f.size for f in m.files.values()) / 1e6:.1f} MB"
    lines = [f"{name:12}{fact}" for name, fact in facts.items()]
    return "\n".join([*lines, *(f"  {f.size:>10,}  {name}" for name, f in m.files.items())])


def _score(spec: ScoreSpec) -> dict[str, str]:
    unusual = "high scores are" if spec.tails == "upper" else "high and low scores are"
    facts = {"score": f"{spec.name}; {unusual} unusual"}
    for precision, calibration in spec.calibrations.items():
        name = "calibrated" if precision == "float32" else f"  as {precision}"
        levels = ", ".join(f"{v.alpha:g} {threshold_text(v)}" for v in calibration.levels)
        facts[name] = (
            f"with {source_text(spec, calibration)}; smallest p-value "
            f"{calibration.smallest_p_value:.3g}" + (f"; alarms at {levels}" if levels else "")
        )
    return facts


def options_as_text(options: Mapping[str, OptionValue]) -> dict[str, str]:
    """Return the options as text, without those that are off (`None`, 0 or empty); a seed stays."""
    return {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, value in options.items()
        if value or name == "seed"
    }


def _table(table: TableEncoding) -> str:
    kinds = [f"{c.name} ({len(c.categories) or c.kind})" for c in table.columns]
    more = f", ... ({len(kinds)} in all)" if kinds[MAX_SHOWN_COLUMNS:] else ""
    return (
        f"{', '.join(kinds[:MAX_SHOWN_COLUMNS])}{more}; missing values: {table.missing}, unknown "
        f"categories: {table.unknown_category}"
    )


def _graph(graph: GraphSpec) -> str:
    inputs, outputs = (
        ", ".join(f"{spec.name} {_shape(spec.shape)}" for spec in specs)
        for specs in (graph.inputs, graph.outputs)
    )
    return f"{inputs} -> {outputs}  ({graph.file}, opset {graph.opset})"


def _variant(v: Variant) -> str:
    return (
        f"{v.method}, {v.size / 1e6:.1f} MB; one sample in {v.latency.batch_1_ratio:.2f} of "
        f"float32's time, 256 in {v.latency.batch_256_ratio:.2f}; loss drifts by "
        f"{100 * v.drift.mean:.2g}%, rank correlation {v.drift.rank_correlation:.4f}"
    )


def _shape(shape: tuple[int | str, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
