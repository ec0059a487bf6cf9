"""What the latent dimensions carry: their KL divergence, which are active, whether any is.

A dimension is *active* where the variance of its z_mean over the data is above 0.01 (Burda, Grosse
and Salakhutdinov, Importance Weighted Autoencoders, 2016, section 5.2). Where none is, or
the KL divergence is next to nothing, the posterior has collapsed onto the prior.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from vae_runtime.loss import kl_terms
from vae_runtime.strict_json import meta

ACTIVE_VARIANCE = 0.01
"""Variance of z_mean over the data above which a latent dimension counts as active."""

COLLAPSED_KL = 0.1
"""Nats of KL divergence, over all dimensions, below which z says next to nothing about x."""


@dataclass(frozen=True)
class Latents:
    """What the latent dimensions carry, over a data set."""

    active_units: Annotated[int, meta("dimensions whose z_mean varies by more than 0.01", ge=0)]
    kl_per_dimension: Annotated[
        tuple[float, ...], meta("mean KL divergence of each latent dimension, in nats")
    ]

    def warning(self) -> str | None:
        """A warning where the posterior has collapsed; None where it has not."""
        kl = sum(self.kl_per_dimension)
        if not self.active_units:
            found = f"none of {len(self.kl_per_dimension)} latent dimensions is active"
        elif kl < COLLAPSED_KL:
            found = f"z says next to nothing about x, KL {kl:.3g} nats"
        else:
            return None
        return (
            f"the posterior has collapsed: {found}: lower kl_weight, or give kl_warmup or free_bits"
        )


def latents(z_mean: NDArray[np.floating], z_log_var: NDArray[np.floating]) -> Latents:
    """Summarises codes.

    Args:
        z_mean: means, shape `(n, L)`, n at least 1.
        z_log_var: logarithms of the variances, shape `(n, L)`.

    Returns:
        KL divergence and activity of each dimension, computed in float64.
    """
    means, log_vars = z_mean.astype(np.float64), z_log_var.astype(np.float64)
    kl = kl_terms(np, means, log_vars).mean(axis=0)
    active = int(np.sum(means.var(axis=0) > ACTIVE_VARIANCE))
    return Latents(active, tuple(float(value) for value in kl))
