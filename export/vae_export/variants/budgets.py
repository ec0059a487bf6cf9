"""Limits of a variant: largest drift, tolerances, and the gain that is worth a variant."""

from __future__ import annotations

from dataclasses import dataclass

from vae_runtime.bundle.fields import Variant
from vae_runtime.bundle.scores import P_VALUE
from vae_runtime.bundle.variants import MAX_RELATIVE_TOLERANCE, Drift
from vae_runtime.proof.parity import VerifyReport

HEADROOM = 2
"""Ratio of a tolerance to this machine's difference. Sums of integers are equal everywhere."""

MIN_TOLERANCE = 1e-4
"""Smallest tolerance of an output. Float32 parts of a graph round differently on other machines."""

WORTHWHILE_RATIO = 0.6
"""Largest ratio to float32, of int8's time for one sample or of float16's size, that is a gain."""


@dataclass(frozen=True)
class Budget:
    """Limits of the drift: see `vae_runtime.bundle.variants.Drift`."""

    mean: float
    p99: float
    rank_correlation: float

    def excess(self, drift: Drift) -> str:
        """Describe the values that exceed the budget; return an empty string if none does."""
        parts = []
        for name, label in (("mean", "mean"), ("p99", "99th percentile")):
            if (value := getattr(drift, name)) > (limit := getattr(self, name)):
                parts.append(f"{label} {value:.2%} (at most {limit:.1%})")
        if drift.rank_correlation < self.rank_correlation:
            parts.append(
                f"rank correlation {drift.rank_correlation:.4f} (at least {self.rank_correlation})"
            )
        return ", ".join(parts)


BUDGETS = {
    "float16": Budget(mean=0.001, p99=0.005, rank_correlation=0.999),
    "int8": Budget(mean=0.01, p99=0.05, rank_correlation=0.99),
}


def variant_tolerances(report: VerifyReport) -> dict[str, float]:
    """Return a tolerance for each output, `HEADROOM` times the difference on this machine.

    The report must have been made with `MAX_RELATIVE_TOLERANCE` for all outputs.
    """
    needed: dict[str, float] = {}
    for d in report.differences:  # the losses occur several times: by the graphs, and by NumPy
        if d.output == P_VALUE:
            continue
        needed[d.output] = max(needed.get(d.output, 0.0), d.of_tolerance * MAX_RELATIVE_TOLERANCE)
    return {
        name: float(f"{min(MAX_RELATIVE_TOLERANCE, max(MIN_TOLERANCE, HEADROOM * ratio)):.3g}")
        for name, ratio in needed.items()
    }


def verdict(precision: str, v: Variant) -> str:
    """Describe costs and gains of a published variant in one line."""
    worth = "" if v.worth_it else "; not worth it here"
    over = "" if v.within_budget else "; over its budget, published because it was asked for"
    return (
        f"{precision} ({v.method}): {v.size / 1e6:.2f} MB, one sample in "
        f"{v.latency.batch_1_ratio:.2f} and 256 in {v.latency.batch_256_ratio:.2f} of float32's "
        f"time, loss drifts by {100 * v.drift.mean:.2g}% (99 % within {100 * v.drift.p99:.2g}%), "
        f"rank correlation {v.drift.rank_correlation:.4f}{worth}{over}"
    )
