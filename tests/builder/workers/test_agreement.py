"""What differs between workers is named, and what to do."""

import pytest

from vae_builder.workers.agreement import require_same
from vae_builder.workers.cluster import Cluster
from vae_runtime import InputError, OptionError

CLUSTER = Cluster(("a:1", "b:2", "c:3"), 1)


def test_equal_messages_pass():
    require_same(CLUSTER, [{"options": {"loss": {"kl_weight": 1.0}}}] * 3, "options")


@pytest.mark.parametrize(
    ("topic", "first", "other", "error", "told"),
    [
        (
            "versions",
            {"keras": "3.15.1", "numpy": "2.4.6"},
            {"keras": "3.14.0", "numpy": "2.4.6"},
            OptionError,
            "has keras 3.14.0, worker 0 has 3.15.1: install the same versions on all workers",
        ),
        (
            "options",
            {"loss": {"kl_weight": 1.0}},
            {"loss": {"kl_weight": 2.0}},
            OptionError,
            "has option loss.kl_weight 2.0, worker 0 has 1.0: give all workers the same options",
        ),
        (
            "data",
            {"train": 10, "SHA-256": "0" * 64},
            {"train": 10, "SHA-256": "1" * 64},
            InputError,
            "has other data: SHA-256 111111111111..., worker 0 has 000000000000...: give all "
            "workers the same data",
        ),
        (
            "command",
            {"command": "train", "GPUs": 1},
            {"command": "train", "GPUs": 0},
            OptionError,
            "has GPUs 0, worker 0 has 1: give all workers the same command",
        ),
    ],
)
def test_a_difference_is_named(topic, first, other, error, told):
    with pytest.raises(error) as raised:
        require_same(CLUSTER, [{topic: first}, {topic: first}, {topic: other}], topic)
    assert str(raised.value) == f"worker 2 (c:3) {told}"


def test_an_option_that_one_worker_lacks_is_named():
    with pytest.raises(OptionError, match="has option rate None, worker 0 has 1"):
        require_same(CLUSTER, [{"options": {"rate": 1}}, {"options": {}}], "options")
