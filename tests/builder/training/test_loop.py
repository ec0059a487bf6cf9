"""The order of samples and the learning rate."""

import math

import pytest

from vae_builder.training.loop import _learning_rate, _sample_order


def test_order_of_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch_only():
    def order(seed, epoch):
        return _sample_order(seed, epoch, 48).tolist()

    assert sorted(order(0, 1)) == [*range(48)]
    assert order(0, 1) == order(0, 1) != [*range(48)]
    distinct = {tuple(order(seed, epoch)) for seed in (0, 1, 2) for epoch in (1, 2, 3)}
    assert len(distinct) == 9


@pytest.mark.parametrize("steps", [1, 2, 10, 25, 100, 333])
def test_learning_rate_warms_up_and_decays_as_a_cosine(steps):
    warmup = max(1, round(0.04 * steps))
    schedule = _learning_rate(0.3, steps)
    for step in range(steps + 1):
        if step < warmup:
            expected = 0.3 * step / warmup
        else:
            done = min(1, (step - warmup) / max(1, steps - warmup))
            expected = 0.3 * (1 + math.cos(math.pi * done)) / 2
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-4, abs=1e-7)
