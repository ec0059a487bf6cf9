"""Use of the latent dimensions: their KL divergence, and how many are active.

A dimension is *active* if the variance of its z_mean over the data is above 0.01 (Burda, Grosse and
Salakhutdinov, Importance Weighted Autoencoders, 2016, section 5.2). If no dimension is active, or
if the KL divergence is close to zero, the posterior has collapsed onto the prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from vae_runtime.files.strict_json import meta
from vae_runtime.loss import kl_terms

ACTIVE_VARIANCE = 0.01
"""Variance of z_mean over the data above which a latent dimension is active."""

COLLAPSED_KL = 0.1
"""KL divergence over all dimensions, in nats, below which the posterior has collapsed."""


@dataclass(frozen=True)
class Latents:
    """Use of the latent dimensions over a data set."""

    active_units: Annotated[int, meta("dimensions whose z_mean varies by more than 0.01", ge=0)]
    kl_per_dimension: Annotated[
        tuple[float, ...], meta("mean KL divergence of each latent dimension, in nats")
    ]

    def warning(self) -> str | None:
        """Return a warning if the posterior has collapsed, else `None`."""
        kl = sum(self.kl_per_dimension)
        if not self.active_units:
            found = f"none of {len(self.kl_per_dimension)} latent dimensions is active"
        elif kl < COLLAPSED_KL:
            found = f"z carries almost no information about x, KL {kl:.3g} nats"
        else:
            return None
        return (
            f"the posterior has collapsed: {found}: lower kl_weight, or give kl_warmup or free_bits"
        )


def measure_latents(z_mean: NDArray[np.floating], z_log_var: NDArray[np.floating]) -> Latents:
    """Measure the use of each dimension in float64, over n >= 1 samples.

    The arrays have shape `(n, L)`, or `(n, *latent_shape)`: then the dimensions are in C order.
    """
    means, log_vars = (a.reshape(len(a), -1).astype(np.float64) for a in (z_mean, z_log_var))
    kl = kl_terms(np, means, log_vars).mean(axis=0)
    active = int(np.sum(means.var(axis=0) > ACTIVE_VARIANCE))
    return Latents(active, tuple(float(value) for value in kl))
