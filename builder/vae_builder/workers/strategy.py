"""The strategies of `tf.distribute`, and how they are started.

`MultiWorkerMirroredStrategy` waits in its constructor for all workers, and TensorFlow catches
SIGTERM there and for as long as the process lives. So a thread ends the process if the constructor
takes too long, and gives SIGTERM back its usual effect.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow as tf

from vae_builder.training.replicas import ONE, Replicas
from vae_builder.workers.cluster import Cluster
from vae_runtime.errors import OptionError

POLL_SECONDS = 0.002
"""Time between two looks at the handler of SIGTERM."""
UNFIT = 3
"""Exit status of a process whose strategy cannot be started."""


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
    if chosen:
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


def multi_worker(cluster: Cluster, timeout: float) -> Replicas:
    """Return replicas on all workers of a cluster, on the visible GPUs or else the CPU of each.

    All workers call this, before TensorFlow has made any tensor.

    Args:
        cluster: the workers.
        timeout: seconds after which the process ends with a line if not all of them are connected.
    """
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": [*cluster.addresses]}),
        task_type="worker",
        task_id=cluster.index,
        rpc_layer="grpc",
    )
    with _bounded(timeout):
        strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    return Replicas(strategy, cluster)


@contextlib.contextmanager
def _bounded(timeout: float) -> Iterator[None]:
    """End the process with a line after a timeout, and meanwhile at once on SIGTERM."""
    handler, done = signal.getsignal(signal.SIGTERM), threading.Event()
    deadline = time.monotonic() + timeout

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            if handler == signal.SIG_DFL:
                _let_sigterm_end()
            if time.monotonic() > deadline:
                print(
                    f"Error: not all workers are connected after {math.ceil(timeout)} s: look for "
                    "the one that has ended, and start all again",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(UNFIT)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        if handler == signal.SIG_DFL:
            _let_sigterm_end()
        elif threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _let_sigterm_end() -> None:
    """Let SIGTERM end the process; `signal.signal` works only in the main thread, which waits."""
    if os.name == "posix":
        set_handler = ctypes.CDLL(None).signal
        set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        set_handler(signal.SIGTERM, None)  # SIG_DFL is 0
