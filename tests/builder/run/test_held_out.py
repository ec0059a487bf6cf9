"""The samples that a run keeps for its export come back as they were."""

from types import SimpleNamespace

import numpy as np
import pytest

from vae_builder.run.held_out import read_held_out, write_held_out
from vae_export import ScorePlan
from vae_runtime.data.samples.conditions import Conditions, ConditionSpec

RNG = np.random.default_rng(0)
SPEC = ConditionSpec((2,), ("a", "b"))


def samples(count):
    return RNG.random((count, 3), dtype=np.float32)


def conditions(count):
    return Conditions(SPEC, np.eye(2, dtype=np.float32)[RNG.integers(0, 2, count)])


@pytest.mark.parametrize("normal", [None, np.array([True, False, True, True, False])])
@pytest.mark.parametrize("spec", [None, SPEC])
def test_samples_conditions_and_labels(tmp_path, spec, normal):
    plan = ScorePlan(training=samples(9), normal=normal)
    given = None
    if spec:
        given = conditions(5)
        plan = ScorePlan(training=plan.training, training_conditions=conditions(9), normal=normal)
    trained = SimpleNamespace(held_out=samples(5), conditions=given, scoring=plan)
    write_held_out(tmp_path, trained)
    found = read_held_out(tmp_path, spec)
    np.testing.assert_array_equal(found.held_out, trained.held_out)
    np.testing.assert_array_equal(found.scoring.training, plan.training)
    assert (found.scoring.normal is None) == (normal is None)
    if normal is not None:
        np.testing.assert_array_equal(found.scoring.normal, normal)
    pairs = [
        (found.conditions, given),
        (found.scoring.training_conditions, plan.training_conditions),
    ]
    for one, other in pairs:
        assert (one is None) == (other is None) == (spec is None)
        if one is not None:
            assert one.spec == spec
            np.testing.assert_array_equal(one.values, other.values)


def test_an_older_run_has_no_samples_for_a_score(tmp_path):
    write_held_out(tmp_path, SimpleNamespace(held_out=samples(5), conditions=None, scoring=None))
    assert read_held_out(tmp_path, None).scoring is None
