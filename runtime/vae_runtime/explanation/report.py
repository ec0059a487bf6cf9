"""Explanations of the most unusual samples as records, for text, CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.fields import Manifest
from vae_runtime.decision.scores import Scores
from vae_runtime.explanation.columns import ExplainedColumn, ranked_columns
from vae_runtime.explanation.explanation import Explanation


def most_unusual(scores: Scores, count: int) -> NDArray[np.intp]:
    """Return the numbers of the samples with the smallest p-values, the smallest one first.

    Among equal p-values the largest score comes first. Samples that could not be scored are left
    out.
    """
    order = np.lexsort((-scores.score, scores.p_value))
    return order[np.isfinite(scores.score[order])][:count]


@dataclass(frozen=True)
class Finding:
    """Why one sample is unusual.

    Attributes:
        index: its number in the data, from 0.
        name: name of the sample, such as the path of its picture; None without names.
        p_value: its p-value.
        score: its score.
        parts: value, u and share of each part of the score, by name.
        nearest: number of the nearest prototype; None without novelty.
        box: first position, and position after the last one, along each axis of its most unusual
            box; None for vectors.
        columns: the columns of a vector, the most unusual one first; None otherwise.
    """

    index: int
    name: str | None
    p_value: float
    score: float
    parts: dict[str, dict[str, float]]
    nearest: int | None
    box: tuple[tuple[int, int], ...] | None
    columns: tuple[ExplainedColumn, ...] | None

    def to_dict(self) -> dict[str, Any]:
        """Return all fields for JSON, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def findings(
    manifest: Manifest,
    x: NDArray[Any],
    explanation: Explanation,
    indices: NDArray[np.intp],
    names: Sequence[str] | None = None,
) -> Iterator[Finding]:
    """Yield a finding for each sample of an explanation.

    Args:
        manifest: the bundle's manifest.
        x: the samples that were explained, in the explanation's order.
        explanation: what `VAERuntime.explain` returned.
        indices: their numbers in the data.
        names: names of all samples of the data; None without names.
    """
    boxes = explanation.boxes()
    is_vector = len(manifest.input.shape) == 1
    for i, index in enumerate(indices.tolist()):
        yield Finding(
            index=index,
            name=None if names is None else names[index],
            p_value=float(explanation.scores.p_value[i]),
            score=float(explanation.scores.score[i]),
            parts={
                name: {key: float(array[i]) for key, array in vars(part).items()}
                for name, part in explanation.parts.items()
            },
            nearest=None if explanation.nearest is None else int(explanation.nearest[i]),
            box=None if is_vector else tuple((s.start, s.stop) for s in boxes.slices(i)),
            columns=tuple(ranked_columns(manifest, x[i], explanation, i)) if is_vector else None,
        )
