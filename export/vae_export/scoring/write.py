"""The files of a score in a bundle: its graph, the novelty's constants, a first calibration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from vae_export.scoring.fit import FittedScore
from vae_export.scoring.graph import PROVISIONAL_SCORES, finished, score_graph
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.graph_fields import GraphSpec
from vae_runtime.bundle.scores import ScoreSpec
from vae_runtime.decision.calibration import arrays_of, describe
from vae_runtime.decision.scorer import novelty_arrays
from vae_runtime.files.npz import npz_bytes
from vae_runtime.graph.p_value import with_p_value


def write_score(
    folder: Path, score: FittedScore, graph: GraphSpec, metadata: dict[str, str]
) -> None:
    """Write the score graph, with a provisional calibration, and `novelty.npz`."""
    data = score_graph(score.model, graph, metadata)
    both_tails = score.spec.tails == "both"
    (folder / graph.file).write_bytes(
        finished(data, graph, PROVISIONAL_SCORES, both_tails=both_tails)
    )
    if score.novelty and score.spec.novelty:
        arrays = novelty_arrays(score.novelty)
        (folder / score.spec.novelty.file).write_bytes(npz_bytes(arrays))


def provisional_calibration(folder: Path, manifest: Manifest) -> ScoreSpec:
    """Write a calibration of every precision that `recalibrate` will replace, and describe it."""
    spec = manifest.score
    assert spec is not None
    calibrations = {}
    for precision in manifest.precisions:
        graph = manifest.graphs_of(precision).score
        assert graph is not None
        path, both_tails = folder / graph.file, spec.tails == "both"
        data = with_p_value(path.read_bytes(), PROVISIONAL_SCORES, both_tails=both_tails)
        path.write_bytes(data)
        calibrations[precision] = describe(PROVISIONAL_SCORES, spec.tails, data)
    spec = replace(spec, calibrations=calibrations)
    arrays = {
        name: np.zeros(shape, dtype) for name, (dtype, shape) in arrays_of(manifest, spec).items()
    }
    (folder / spec.file).write_bytes(npz_bytes(arrays))
    return spec
