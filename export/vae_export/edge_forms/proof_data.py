"""Proof data of the edge forms: inputs of each graph, and the values that TensorFlow computed.

A p-value counts calibration scores. It jumps where a score passes one of them, so two runtimes
whose scores agree may differ by a count. ONNX's test tools allow no such jump. The test data of the
score graph therefore come from samples whose p-value is the same for every score within the
tolerance. If there is no such sample, all are used, and `p_value_difference` says how far p-values
may differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from vae_export.edge_forms.allowed import allowed_elsewhere
from vae_export.edge_forms.targets import Target
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.graph_fields import GraphSpec
from vae_runtime.bundle.manifest import proof_name
from vae_runtime.bundle.scores import P_VALUE, SCORE
from vae_runtime.decision.calibration import Calibration, read_calibration
from vae_runtime.decision.conformal import p_value_interval
from vae_runtime.loss import LOSS_NAMES
from vae_runtime.proof.reference import read_reference

ROUNDING = 1e-6
"""Allowed difference of a p-value that comes from its division alone."""

MAX_SETS = 8
"""Largest number of test data sets per graph. They include the last samples, the outliers."""


@dataclass(frozen=True, eq=False)
class ProofData:
    """Samples for the test data of one graph.

    Attributes:
        values: inputs, and TensorFlow's outputs, by tensor of the graph, shape `(samples, ...)`.
        sets: rows of the samples in each set, shape `(sets, batch)`.
        allowed: largest allowed difference from each output, by tensor, in the shape of the values.
        p_value_difference: largest difference of a p-value that the tolerance of the score allows,
            among these samples.
    """

    values: dict[str, NDArray[Any]]
    sets: NDArray[np.intp]
    allowed: dict[str, NDArray[np.float64]]
    p_value_difference: float = 0.0

    def write(self, folder: Path, spec: GraphSpec, *, with_allowed: bool = False) -> None:
        """Write the sets into the folder of a graph.

        `with_allowed` adds `allowed_I.npy`, the largest allowed difference from `output_I.pb`.
        """
        for i, rows in enumerate(self.sets):
            target = folder / f"test_data_set_{i}"
            target.mkdir()
            for kind, tensors in (("input", spec.inputs), ("output", spec.outputs)):
                for j, tensor in enumerate(tensors):
                    array = np.ascontiguousarray(self.values[tensor.name][rows])
                    proto = numpy_helper.from_array(array, tensor.name)
                    onnx.save_tensor(proto, target / f"{kind}_{j}.pb")
            for j, tensor in enumerate(spec.outputs if with_allowed else ()):
                np.save(target / f"allowed_{j}.npy", self.allowed[tensor.name][rows])


def read_proof_data(
    bundle: Bundle, precision: str, batch: int, target: Target | None = None
) -> dict[str, ProofData]:
    """Return the test data of each graph of a precision, by its name.

    With a target, the allowed differences are those of other runtimes than ONNX Runtime. Errors are
    `BundleError`s.
    """
    reference = read_reference(bundle)
    rows = np.arange(bundle.manifest.parity.samples)
    data = {}
    for name, spec in bundle.manifest.graphs_of(precision).items():
        tensors = [t.name for t in (*spec.inputs, *spec.outputs) if t.name != P_VALUE]
        values = {tensor: reference[proof_name(name, tensor)] for tensor in tensors}
        allowed = {
            tensor.name: _allowed(bundle, precision, tensor.name, values[tensor.name], target)
            for tensor in spec.outputs
            if tensor.name != P_VALUE
        }
        if name == SCORE:
            data[name] = _score_data(bundle, precision, values, allowed, batch)
            if target:
                data[name].allowed[P_VALUE] += target.fraction
        else:
            data[name] = ProofData(values, _choose(rows, batch), allowed)
    return data


def _allowed(
    bundle: Bundle, precision: str, output: str, reference: NDArray[Any], target: Target | None
) -> NDArray[np.float64]:
    m, expected = bundle.manifest, reference.astype(np.float64)
    if target:
        found = allowed_elsewhere(m, precision, output, expected, target.fraction)
    else:
        found = m.allowed(precision, output, expected, is_loss=output in LOSS_NAMES)
    return np.broadcast_to(found, expected.shape)


def _score_data(
    bundle: Bundle,
    precision: str,
    values: dict[str, NDArray[Any]],
    allowed: dict[str, NDArray[np.float64]],
    batch: int,
) -> ProofData:
    calibration, expected = read_calibration(bundle, precision), values[SCORE].astype(np.float64)
    p_value, differences = _p_values(calibration, expected, allowed[SCORE])
    equal = np.flatnonzero(differences == 0)
    sets = _choose(equal if len(equal) else np.arange(len(p_value)), batch)
    return ProofData(
        {**values, P_VALUE: p_value},
        sets,
        {**allowed, P_VALUE: differences.astype(np.float64) + ROUNDING},
        float(differences[sets].max()),
    )


def _p_values(
    calibration: Calibration, score: NDArray[np.float64], tolerance: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the p-value of each score, and how far those within the tolerance differ from it."""
    p_value = calibration.p_values(score.astype(np.float32))
    lowest, highest = p_value_interval(
        (score - tolerance).astype(np.float32),
        (score + tolerance).astype(np.float32),
        calibration.scores,
        calibration.tails,
    )
    return p_value, np.maximum(highest - p_value, p_value - lowest)


def _choose(rows: NDArray[np.intp], batch: int) -> NDArray[np.intp]:
    """Choose the rows of each set: whole batches from both ends."""
    sets = max(1, len(rows) // batch)
    chosen = sorted({*range(sets)} if sets <= MAX_SETS else {*range(5), *range(sets - 3, sets)})
    at = np.array([np.arange(i * batch, (i + 1) * batch) for i in chosen])
    picked: NDArray[np.intp] = rows[at % len(rows)]
    return picked
