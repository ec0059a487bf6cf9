"""What a variant may cost, against literal words."""

from dataclasses import replace

import pytest

from vae_export.budgets import BUDGETS
from vae_runtime.variants import Drift


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": 0.02}, "mean 2.00% (at most 0.01)"),
        ({"p99": 0.06}, "99th percentile 6.00% (at most 0.05)"),
        ({"rank_correlation": 0.98}, "rank correlation 0.9800 (at least 0.99)"),
    ],
)
def test_each_part_of_the_budget(change, words):
    good = Drift(100, 0.01, 0.05, 0.99)
    assert BUDGETS["int8"].excess(good) == ""
    assert BUDGETS["int8"].excess(replace(good, **change)) == words
