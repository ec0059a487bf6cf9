"""Budgets of the drift, and tolerances of a variant."""

from dataclasses import replace

import pytest

from vae_export.variants.budgets import BUDGETS, MIN_TOLERANCE, variant_tolerances
from vae_runtime.bundle.variants import MAX_RELATIVE_TOLERANCE, Drift
from vae_runtime.proof.parity import Difference, VerifyReport


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": 0.02}, "mean 2.00% (at most 1.0%)"),
        ({"p99": 0.06}, "99th percentile 6.00% (at most 5.0%)"),
        ({"rank_correlation": 0.98}, "rank correlation 0.9800 (at least 0.99)"),
    ],
)
def test_excess_over_each_limit_of_the_budget(change, words):
    good = Drift(100, 0.01, 0.05, 0.99)
    assert BUDGETS["int8"].excess(good) == ""
    assert BUDGETS["int8"].excess(replace(good, **change)) == words


def test_tolerances_are_twice_the_difference_of_each_output():
    def needs(output, share):
        return Difference("loss", output, 0.0, 0.0, share / MAX_RELATIVE_TOLERANCE, True)

    differences = (needs("z", 0.02), needs("loss", 1e-6), needs("loss", 2e-6), needs("logits", 0.4))
    report = VerifyReport("v", "int8", "cpu", "", 1, (*differences, needs("z", 0.01)), 0, 0, True)
    found = variant_tolerances(report)
    assert found == {"z": 0.04, "loss": MIN_TOLERANCE, "logits": MAX_RELATIVE_TOLERANCE}
