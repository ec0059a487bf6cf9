"""Check of edge forms: does the runtime that they are written for compute what TensorFlow computed?

Each graph runs in its runtime on the inputs of the bundle's `parity.npz`. A graph with a fixed
batch runs on all of them, batch by batch. One with an open batch runs on one sample, on three, and
on the rest. Values are compared as `build-vae verify` does, with the tolerances of `allowed`.

Core ML's graphs are checked in ONNX Runtime unless this is macOS: in their rewritten form they
still have to compute the same values. The report names the runtime that ran.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vae_export.edge_forms.allowed import allowed_elsewhere
from vae_export.edge_forms.check.report import EdgeCheck
from vae_export.edge_forms.check.running import (
    Arrays,
    choose_batches,
    read_graph,
    require_runtime,
    run_graph,
)
from vae_export.edge_forms.check.worker import Graph
from vae_export.edge_forms.rewriting.outputs import DERIVED, without_reconstruction
from vae_export.edge_forms.targets import TARGETS, Target
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.graph_fields import GraphSpec
from vae_runtime.bundle.manifest import proof_name
from vae_runtime.bundle.scores import P_VALUE
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.decision.calibration import Calibration, read_calibration
from vae_runtime.errors import OptionError
from vae_runtime.inference.loading import check_precision
from vae_runtime.proof.differences import Allowed, Difference, compare
from vae_runtime.proof.parity import compare_p_values
from vae_runtime.proof.reference import read_reference

MAX_RANK_ERROR: Final = 1e-2
"""A p-value times n + 1 is a whole number, up to this rounding."""


def check_edge_forms(
    folder: str | Path, bundle: str | Path, target: str, *, precision: str = FLOAT32
) -> EdgeCheck:
    """Run edge forms in their runtime, and compare with TensorFlow's values in the bundle.

    Args:
        folder: folder that `edge` wrote.
        bundle: the bundle that it was written from.
        target: name of the runtime that it was written for, one of `TARGETS`.
        precision: `float32`, or the name of the variant that was written.

    Returns:
        The differences, and whether all are within the tolerances.

    Raises:
        BundleError: the bundle is damaged.
        MissingExtraError: the runtime is not installed.
        OptionError: the target or the precision does not exist, or the folder lacks a graph.
    """
    runtime = require_runtime(target)
    chosen, source = TARGETS[target], Bundle(bundle)
    check_precision(source, precision)
    manifest, reference = source.manifest, read_reference(source)
    calibration = read_calibration(source, precision) if manifest.score else None
    allowed = partial(allowed_elsewhere, manifest, precision, fraction=chosen.fraction)
    alone = precision != FLOAT32 and manifest.variants[precision].method == "dynamic"
    answers, differences = [], []
    sizes: set[int] = set()
    failures: dict[str, str] = {}
    for name, spec in _taken(manifest.graphs_of(precision).items(), chosen):
        graph, batch = _read(Path(folder) / name / "model.onnx", target)
        batches = choose_batches(batch, manifest.parity.samples, alone=alone)
        sizes.update(len(batch.rows) for batch in batches)
        answer = run_graph(runtime, graph, batches, reference)
        answers.append(answer)
        if error := answer.error or _missing(graph, spec, chosen):
            failures[name] = error
        else:
            differences += _compare(name, answer.values, reference, allowed, calibration)
    return EdgeCheck(
        name=manifest.name,
        runtime=next((answer.version for answer in answers if answer.version), runtime),
        samples=manifest.parity.samples,
        batches=tuple(sorted(sizes)),
        differences=tuple(differences),
        failures=failures,
    )


def _taken(graphs: Iterable[tuple[str, GraphSpec]], target: Target) -> list[tuple[str, GraphSpec]]:
    return [(name, spec) for name, spec in graphs if name in target.graphs]


def _read(path: Path, target: str) -> tuple[Graph, int | None]:
    if not path.is_file():
        raise OptionError(f"there is no {path}: write it with build-vae edge --for {target}")
    return read_graph(path)


def _missing(graph: Graph, spec: GraphSpec, target: Target) -> str:
    """Return an error message if the graph lacks an output that the target can have."""
    left_out = {DERIVED} if without_reconstruction.__name__ in target.rewrites else set()
    lacks = {tensor.name for tensor in spec.outputs} - set(graph.outputs) - left_out
    return f"the graph has no output {', '.join(sorted(lacks))}" if lacks else ""


def _compare(
    graph: str, values: Arrays, reference: Arrays, allowed: Allowed, calibration: Calibration | None
) -> list[Difference]:
    found = [
        compare(graph, name, value, reference[proof_name(graph, name)], allowed)
        for name, value in values.items()
        if name != P_VALUE
    ]
    if P_VALUE in values and calibration:
        counted = {**values, P_VALUE: counted_p_values(values[P_VALUE], len(calibration.scores))}
        found.append(compare_p_values(counted, reference, calibration, allowed))
    return found


def counted_p_values(p_value: NDArray[Any], samples: int) -> NDArray[np.float32]:
    """Return p-values with the rounding of NumPy's division: they are whole numbers over n + 1.

    Args:
        p_value: p-values that a runtime computed.
        samples: n, the number of calibration samples.
    """
    total = np.float32(samples + 1)
    ranks = np.rint(p_value * total)
    near = np.abs(p_value * total - ranks) < MAX_RANK_ERROR
    return np.where(near, ranks.astype(np.float32) / total, p_value).astype(np.float32)
