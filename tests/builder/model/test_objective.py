"""The training objective, compared with its formula."""

import numpy as np
import pytest
import tensorflow as tf

from vae_builder.model.objective import Objective
from vae_runtime.loss import Losses

TERMS = np.array([[0.1, 2.0, 0.0], [0.3, 4.0, 0.02]], np.float32)
MEANS = Losses(tf.constant(50.0), tf.constant(TERMS.sum(1).mean()), tf.constant(61.0))


@pytest.mark.parametrize(
    ("objective", "step", "expected"),
    [
        (Objective(2.0), 0, 61.0),  # the loss itself
        (Objective(2.0, warmup_steps=4), 0, 50 + 2 * 3.21 / 4),
        (Objective(2.0, warmup_steps=4), 2, 50 + 2 * 3.21 * 3 / 4),
        (Objective(2.0, warmup_steps=4), 9, 50 + 2 * 3.21),
        (Objective(1.0, free_bits=0.5), 0, 50 + 0.5 + 3.0 + 0.5),
        (Objective(2.0, warmup_steps=2, free_bits=0.5), 0, 50 + 2 * (0.5 + 3.0 + 0.5) / 2),
    ],
)
def test_objective(objective, step, expected):
    value = objective(MEANS, tf.constant(TERMS.mean(axis=0)), tf.constant(step))
    assert float(value) == pytest.approx(expected, rel=1e-6)
