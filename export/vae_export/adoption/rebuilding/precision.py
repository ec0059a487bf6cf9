"""Models under another policy than float32 (mixed_float16, mixed_bfloat16, float64), in float32.

Graphs compute in float32 only. All layers get a float32 policy while the models are adopted, and
their own afterwards. What it changes is measured.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_export.adoption.tracing.probes import probes
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.loss import LossSpec, losses

FLOAT_DTYPES = ("float16", "bfloat16", "float64")
"""Dtypes that layers may compute in, besides float32."""


def other_policies(models: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of the policies, other than float32, that layers of the models have."""
    policies = (layer.dtype_policy for layer in _layers(models))
    return tuple(dict.fromkeys(p.name for p in policies if p.compute_dtype in FLOAT_DTYPES))


@contextmanager
def in_float32(models: Iterable[Any]) -> Iterator[None]:
    """Let all layers of the models compute in float32.

    Inner `tf.function`s run as Python, because they may hold a trace under the other policy.
    """
    changed = [
        (layer, layer._dtype_policy)
        for layer in _layers(models)
        if layer.compute_dtype in FLOAT_DTYPES
    ]
    eagerly = tf.config.functions_run_eagerly()
    try:
        for layer, policy in changed:
            layer._dtype_policy = _float32(policy)
        tf.config.run_functions_eagerly(eagerly or bool(changed))
        yield
    finally:
        tf.config.run_functions_eagerly(eagerly)
        for layer, policy in changed:
            layer._dtype_policy = policy


def _layers(models: Iterable[Any]) -> Iterator[Any]:
    for model in models:
        if isinstance(model, keras.layers.Layer):
            yield from model._flatten_layers()


def _float32(policy: Any) -> Any:
    """Return a policy that computes in float32 and leaves the variables as they are."""
    computing = keras.DTypePolicy("float32")
    computing._variable_dtype = policy.variable_dtype
    return computing


def largest_changes(
    before: Sequence[keras.Model],
    after: Sequence[keras.Model],
    loss: LossSpec,
    samples: NDArray[np.float32] | None,
    conditions: Conditions | None = None,
) -> dict[str, float]:
    """Return how much float32 changes encoder and decoder, and say so in the log.

    Losses are those at z = z_mean.

    Returns:
        The largest difference of each value, relative to its largest absolute value.
    """
    x = probes(tuple(after[0].inputs[0].shape[1:]), samples)
    given: tuple[NDArray[Any], ...] = ()
    if conditions:
        given = (conditions.values[: len(x)].astype(np.float32),)
        x = x[: len(given[0])]
    was, now = (_values(models, x, given, loss) for models in (before, after))
    found = {
        name: float(np.abs(now[name] - value).max() / max(np.abs(value).max(), 1e-30))
        for name, value in was.items()
    }
    words = ", ".join(f"{name} by {value:.1e}" for name, value in found.items())
    logging.getLogger("vae_export").warning(
        f"the models were rebuilt in float32, which changes {words} of the largest value"
    )
    return found


def _values(
    models: Sequence[keras.Model],
    x: NDArray[np.float32],
    given: tuple[NDArray[Any], ...],
    loss: LossSpec,
) -> dict[str, NDArray[np.float64]]:
    encoder, decoder = models
    code = _run(encoder, x, given)
    output = _run(decoder, code["z_mean"].astype(np.float32), given)
    total = losses(np, loss, x.astype(np.float64), output, code["z_mean"], code["z_log_var"]).loss
    return {**code, "decoder": np.stack(keras.tree.flatten(output)), "loss": total}


def _run(model: keras.Model, first: NDArray[np.float32], given: tuple[Any, ...]) -> Any:
    outputs = model([first, *given] if given else first, training=False)
    return keras.tree.map_structure(lambda t: np.asarray(tf.cast(t, tf.float64)), outputs)
