"""Inputs of a bundle's graphs for the calibration and the measurement of variants."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_export.variants.lowering import Feeds
from vae_runtime.bundle.scores import SCORE
from vae_runtime.data.samples.conditions import Conditions, as_condition
from vae_runtime.data.samples.inputs import as_batch, to_graph_input
from vae_runtime.errors import InputError
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.loss import reparameterize

Array = NDArray[Any]

CALIBRATION_SEED = 8
"""Seed of the noise `eps` in calibration."""


def graph_samples(base: VAERuntime, x: NDArray[np.generic], what: str) -> Array:
    """Return samples as the graphs take them; `what` names them in an `InputError`."""
    spec, data = base.manifest.input, base.manifest.data
    samples = as_batch(x, spec.shape, name=what, columns=base.manifest.table)
    binary = bool(data and data.binary_uint8)
    return to_graph_input(
        samples,
        spec.dtype,
        spec.range,
        binary_uint8=binary,
        raw_range=spec.raw_range,
    )


def given_conditions(base: VAERuntime, conditions: Conditions | None, x: Array) -> Feeds:
    """Return the graphs' input `condition` for samples x; nothing if the model takes none."""
    spec = base.manifest.condition
    if conditions and spec and conditions.spec != spec:
        raise InputError(
            f"the data's conditions are {conditions.spec.describe()}, the model expects "
            f"{spec.describe()}: give the data that the model was trained on"
        )
    rows = as_condition(spec, conditions.values[: len(x)] if conditions else None, len(x))
    return {} if rows is None else {"condition": rows}


def calibration_feeds(base: VAERuntime, x: Array, given: Feeds) -> dict[str, Feeds]:
    """Return the inputs of each graph by its name, from samples and their conditions."""
    code = base.encode(x, **given)
    rng = np.random.default_rng(CALIBRATION_SEED)
    eps = rng.standard_normal(code.z_mean.shape).astype(np.float32)
    z = reparameterize(np, code.z_mean, code.z_log_var, eps)
    return {
        "encoder": {"x": x, **given},
        "decoder": {"z": z, **given},
        "loss": {"x": x, "eps": eps, **given},
        SCORE: {"x": x, **given},
    }


def loss_feeds(base: VAERuntime, x: Array, given: Feeds) -> Feeds:
    """Return the inputs of the loss graph for z = z_mean."""
    return {"x": x, "eps": np.zeros((len(x), *base.manifest.z_shape), np.float32), **given}
