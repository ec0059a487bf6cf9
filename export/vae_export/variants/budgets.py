"""What a variant may cost, what it must bring, and what is said of it."""

from __future__ import annotations

from dataclasses import dataclass

from vae_runtime.bundle.fields import Variant
from vae_runtime.bundle.variants import MAX_RELATIVE_TOLERANCE, Drift
from vae_runtime.proof.parity import VerifyReport

HEADROOM = 2
"""How many times what this machine measures is allowed; sums of integers are the same anywhere."""

LEAST = 1e-4
"""The smallest tolerance of an output: some are computed in float32, which rounds otherwise on
other machines."""

WORTH = 0.6
"""Of float32: the time of one sample in int8, or the size in float16, that is worth having."""


@dataclass(frozen=True)
class Budget:
    """The drift that a precision may cost: see `vae_runtime.bundle.variants.Drift`."""

    mean: float
    p99: float
    rank_correlation: float

    def excess(self, found: Drift) -> str:
        """What is over the budget, in words; nothing where all is within."""
        parts = []
        for name, what in (("mean", "mean"), ("p99", "99th percentile")):
            if getattr(found, name) > getattr(self, name):
                parts.append(f"{what} {getattr(found, name):.2%} (at most {getattr(self, name):g})")
        if found.rank_correlation < self.rank_correlation:
            parts.append(
                f"rank correlation {found.rank_correlation:.4f} (at least {self.rank_correlation})"
            )
        return ", ".join(parts)


BUDGETS = {
    "float16": Budget(mean=0.001, p99=0.005, rank_correlation=0.999),
    "int8": Budget(mean=0.01, p99=0.05, rank_correlation=0.99),
}


def with_headroom(report: VerifyReport) -> dict[str, float]:
    """A tolerance for each output of a variant.

    Args:
        report: this machine held to the widest tolerances.

    Returns:
        `HEADROOM` times what this machine needs, from `LEAST` to the bound of the format.
    """
    needed: dict[str, float] = {}
    for d in report.differences:  # the losses twice: by the graph, and by NumPy
        needed[d.output] = max(needed.get(d.output, 0.0), d.of_tolerance * MAX_RELATIVE_TOLERANCE)
    return {
        name: float(f"{min(MAX_RELATIVE_TOLERANCE, max(LEAST, HEADROOM * share)):.3g}")
        for name, share in needed.items()
    }


def verdict(precision: str, v: Variant) -> str:
    """One line: what a published variant costs and brings."""
    worth = "" if v.worth_it else "; not worth it here"
    over = "" if v.within_budget else "; over its budget, published because it was asked for"
    return (
        f"{precision} ({v.method}): {v.size / 1e6:.2f} MB, one sample in "
        f"{v.latency.batch_1_ratio:.2f} and 256 in {v.latency.batch_256_ratio:.2f} of float32's "
        f"time, loss drifts by {100 * v.drift.mean:.2g}% (99 % within {100 * v.drift.p99:.2g}%), "
        f"rank correlation {v.drift.rank_correlation:.4f}{worth}{over}"
    )
