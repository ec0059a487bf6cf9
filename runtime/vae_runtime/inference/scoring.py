"""Scores of all samples of a source, part by part, so that a table may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.decision.scores import Scores
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.loss import Losses


@dataclass(frozen=True, eq=False)
class SamplePart:
    """Some consecutive samples of a source.

    Attributes:
        x: the samples, as `VAERuntime.encode` takes them.
        names: a name for each: the path of its file, or its cell in a column; None without names.
        condition: condition of each sample, or of all; None if the model takes none.
    """

    x: NDArray[Any]
    names: Sequence[str] | None = None
    condition: Any = None


@dataclass(frozen=True, eq=False)
class ScoredPart:
    """Losses or scores of consecutive samples.

    Attributes:
        first: number of the first sample in its source.
        names: as of `SamplePart`.
        losses: losses, or scores if the bundle has a score.
        decisions: by name, what follows from the p-values, each of shape `(batch,)`.
    """

    first: int
    names: Sequence[str] | None
    losses: Losses[NDArray[np.float32]] | Scores
    decisions: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """Losses, scores and decisions by name, each of shape `(batch,)`."""
        return {**vars(self.losses), **self.decisions}


def score_parts(
    vae: VAERuntime,
    parts: Iterable[SamplePart],
    *,
    strict: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Iterator[ScoredPart]:
    """Score parts one after the other, at z = z_mean.

    The result of each part is `Scores`, or `Losses` if the bundle has no anomaly score.

    Args:
        vae: the loaded bundle.
        parts: the samples, in order.
        strict: raise an `InputError` for the first sample that cannot be scored. Without it its
            loss is infinite, and an `InputWarning` at the end names all of them. Data of which no
            sample fits the model is refused in either case.
        on_progress: called with the number of samples after each chunk.

    Yields:
        The scores of each part.

    Raises:
        InputError, ProviderError, BundleError: as for `VAERuntime.loss`.
    """
    per_sample = vae.per_sample
    unscorable = None if strict else per_sample.unscorable()
    calibration = vae.calibration if vae.manifest.score else None
    losses: Losses[NDArray[np.float32]] | Scores
    first = 0
    for part in parts:
        noted: Any = (unscorable, on_progress)
        if calibration is None:
            losses = per_sample.losses(part.x, None, part.condition, *noted, first=first)
        else:
            given = (part.condition, calibration)
            losses = per_sample.scores(part.x, *given, *noted, first=first)
        if first == 0 and len(part.x) > 1 and not np.isfinite(losses.loss).any():
            vae.loss(part.x, condition=part.condition)  # raises the error that says why
        yield ScoredPart(first, part.names, losses)
        first += len(part.x)
    if unscorable:
        unscorable.warn(first)
