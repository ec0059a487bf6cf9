"""The strategies of `tf.distribute`, and how they are started.

`MultiWorkerMirroredStrategy` waits in its constructor for all workers, without end, and neither
Ctrl-C nor SIGTERM ends it. `vae_builder.workers.meeting` comes before it, and
`vae_builder.workers.supervision` limits what is left.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from vae_builder.workers.cluster import Cluster
from vae_builder.workers.replicas import ONE, Replicas, naming_lost_workers
from vae_builder.workers.supervision import limited
from vae_runtime.errors import OptionError

START_SECONDS = 45.0
"""Maximum time in which TensorFlow connects workers that have just met."""


def visible_devices(devices: int | None) -> list[str]:
    """Choose the GPUs that this process uses, before TensorFlow starts.

    Args:
        devices: number of GPUs; None for all.

    Returns:
        Their names, such as `["GPU:0"]`; empty on a machine without GPUs.

    Raises:
        OptionError: there are not so many.
    """
    found = tf.config.list_physical_devices("GPU")
    if devices is not None and devices > max(1, len(found)):
        raise OptionError(
            f"--devices is {devices}, this machine has {len(found)} GPUs that TensorFlow can use: "
            "give fewer, or all"
        )
    chosen = found if devices is None else found[:devices]
    if chosen != found:
        tf.config.set_visible_devices(chosen, "GPU")
    return [f"GPU:{i}" for i in range(len(chosen))]


def mirrored(devices: Sequence[str]) -> Replicas:
    """Return replicas on devices of this machine, such as `["GPU:0", "GPU:1"]`."""
    return Replicas(_mirrored_strategy(tuple(devices))) if len(devices) > 1 else ONE


@functools.cache
def _mirrored_strategy(devices: tuple[str, ...]) -> Any:
    # Kept, because a second strategy would number its sums as the first, and TensorFlow then finds
    # that they have other shapes.
    return tf.distribute.MirroredStrategy(devices)


def multi_worker(cluster: Cluster) -> Replicas:
    """Return replicas on all workers of a cluster, on the visible GPUs or else the CPU of each.

    All workers call this after their meeting, before TensorFlow has made any tensor.

    Args:
        cluster: the workers.

    Raises:
        TrainingError: another worker has ended.
    """
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": [*cluster.addresses]}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    with naming_lost_workers(cluster), limited(START_SECONDS):
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    return Replicas(strategy, cluster)
