"""Decisions about scored samples: alarms one by one, discoveries over all of them.

An alarm depends on the sample's own p-value. A discovery depends on the p-values of all samples
(Benjamini-Hochberg), so all scores are kept until the last sample is scored: 20 bytes for each, and
its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from vae_runtime.decision.conformal import float32_rate
from vae_runtime.decision.discoveries import benjamini_hochberg
from vae_runtime.decision.scores import Scores
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.inference.scoring import ScoredPart

ALARM = "alarm"
DISCOVERY = "discovery"


@dataclass(frozen=True)
class Decisions:
    """Which decisions to add to scores.

    Attributes:
        alpha: largest rate of alarms among normal samples; None for no alarms.
        fdr: largest expected share of normal samples among the discoveries; None for none.
    """

    alpha: float | None = None
    fdr: float | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the decisions, in order."""
        rates = {ALARM: self.alpha, DISCOVERY: self.fdr}
        return tuple(name for name, rate in rates.items() if rate is not None)

    def check(self, vae: VAERuntime) -> None:
        """Check that the bundle can decide so, before anything is scored.

        Raises:
            OptionError: the bundle has no score, a rate is out of range, or `alpha` needs more
                calibration samples than the bundle has.
            BundleError: as for `VAERuntime.score`.
        """
        if self.names:
            calibration = vae.calibration
            if self.alpha is not None:
                calibration.threshold(self.alpha)
            if self.fdr is not None:
                float32_rate("fdr", self.fdr)

    def added(self, parts: Iterable[ScoredPart]) -> Iterator[ScoredPart]:
        """Yield the parts, which hold `Scores`, with these decisions."""
        if self.alpha is not None:
            parts = _with_alarms(parts, self.alpha)
        return iter(parts) if self.fdr is None else _with_discoveries(parts, self.fdr)


def _with_alarms(parts: Iterable[ScoredPart], alpha: float) -> Iterator[ScoredPart]:
    for part in parts:
        yield replace(part, decisions={ALARM: _scores(part).alarms(alpha)})


def _with_discoveries(parts: Iterable[ScoredPart], fdr: float) -> Iterator[ScoredPart]:
    kept = [*parts]
    p_values = [_scores(part).p_value for part in kept]
    found = benjamini_hochberg(np.concatenate(p_values) if p_values else [], fdr)
    for part in kept:
        own = found[part.first : part.first + len(part.losses.loss)]
        yield replace(part, decisions={**part.decisions, DISCOVERY: own})


def _scores(part: ScoredPart) -> Scores:
    assert isinstance(part.losses, Scores), "Decisions.check refuses a bundle without a score"
    return part.losses
