"""Explanations of a bundle's scores: runs the graphs, and puts the results together."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.scores import ACTIVATIONS, SCORE, fit_part
from vae_runtime.decision.calibration import Calibration
from vae_runtime.decision.scorer import Novelty, Scorer, read_novelty, read_scorer
from vae_runtime.decision.scores import Scores
from vae_runtime.explanation.explanation import Explanation
from vae_runtime.explanation.nearest import nearest_prototypes
from vae_runtime.explanation.parts import part_shares
from vae_runtime.explanation.repairs import Vectors, columns_of, unusual_by_repair
from vae_runtime.explanation.unusual import in_spreads, spreads
from vae_runtime.inference.chunks import Float32, strictly
from vae_runtime.inference.per_sample import PerSample, Reconstructed

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Explainer:
    """What explains the scores of one precision.

    Attributes:
        scorer: the score and its constants.
        novelty: the prototypes; None if the score does not use novelty.
        calibration: scores and elements of normal samples.
    """

    scorer: Scorer
    novelty: Novelty | None
    calibration: Calibration

    def explain(
        self, per_sample: PerSample, x: ArrayLike, condition: ArrayLike | None
    ) -> Explanation:
        """Explain samples; `VAERuntime.explain` describes arguments, result and errors."""
        samples = per_sample.inputs.samples(x)
        values = per_sample.inputs.chunk(samples, slice(0, len(samples)))
        given = per_sample.inputs.rows(condition, len(samples))
        inputs = {"x": values, **given}
        compute = strictly(lambda part: {name: rows[part] for name, rows in inputs.items()})
        outputs = per_sample.chunks.run(SCORE, len(samples), compute)
        scores = Scores(*(outputs[field.name] for field in fields(Scores)))
        found = per_sample.reconstructed(values, given)
        parts, nearest, prototypes = {}, None, None
        if self.novelty:
            activations = outputs[ACTIVATIONS]
            parts = part_shares(self.scorer, self._fit(found.terms, scores), activations)
            nearest = nearest_prototypes(self.novelty, activations)
            prototypes = self._decoded(per_sample, nearest)
        return Explanation(
            scores=scores,
            reconstruction=found.reconstruction,
            elements=found.terms.astype(np.float32),
            unusual_elements=self._unusual(per_sample, values, given, found).astype(np.float32),
            parts=parts,
            nearest=nearest,
            nearest_prototype=prototypes,
        )

    def _fit(self, terms: Float64, scores: Scores) -> Float32 | None:
        """Return the part of the score that the decoder gives, shape `(batch,)`."""
        part = fit_part(self.scorer.name, self.scorer.loss.reconstruction)
        if part is None:
            return None
        total = terms.reshape(len(terms), math.prod(terms.shape[1:])).sum(axis=1)
        if part != "squared_error":
            total = total + self.scorer.loss.kl_weight * scores.kl_loss
        return np.asarray(total, np.float32)

    def _unusual(
        self,
        per_sample: PerSample,
        values: NDArray[np.generic],
        given: dict[str, Float32],
        found: Reconstructed,
    ) -> Float64:
        unusual = in_spreads(found.terms, self.calibration)
        manifest = per_sample.manifest
        if len(manifest.input.shape) > 1 or values.dtype != np.float32:
            return unusual

        def reconstruct(x: Float32, rows: NDArray[np.intp]) -> tuple[Float32, Float64]:
            repeated = {name: condition[rows] for name, condition in given.items()}
            again = per_sample.reconstructed(x, repeated)
            return again.reconstruction, again.terms

        vectors = Vectors(
            x=values.astype(np.float32, copy=False),
            terms=found.terms,
            unusual=unusual,
            spreads=spreads(self.calibration),
            columns=columns_of(manifest.sources, values.shape[1]),
        )
        return unusual_by_repair(vectors, reconstruct)

    def _decoded(self, per_sample: PerSample, nearest: NDArray[np.int64]) -> Float32:
        """Return the prototypes, decoded; each is decoded once."""
        assert self.novelty is not None
        used, places = np.unique(nearest, return_inverse=True)
        condition = self.novelty.condition
        given = {} if condition is None else {"condition": condition[used]}
        decoded = per_sample.decoded(self.novelty.z_mean[used], given)
        return decoded["reconstruction"][places]


def read_explainer(bundle: Bundle, calibration: Calibration) -> Explainer:
    """Read what explains a bundle's scores; a `BundleError` says that a file is damaged."""
    spec = bundle.manifest.score
    scorer = read_scorer(bundle)
    assert spec is not None and scorer is not None
    novelty = read_novelty(bundle, spec.novelty) if spec.novelty else None
    return Explainer(scorer, novelty, calibration)
