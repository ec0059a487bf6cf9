"""Draws of z from one of the priors of a bundle."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.errors import OptionError
from vae_runtime.prior.mixture import read_mixture

Prior = Literal["normal", "mixture"]
"""N(0, I), or the Gaussian mixture of the bundle."""


def draw_latents(bundle: Bundle, count: int, seed: int, prior: Prior) -> NDArray[np.float32]:
    """Draw latent samples, shape `(count, *z_shape)`, float32.

    Raises:
        OptionError: there is no such prior, or the bundle does not have it.
        BundleError: its file is damaged.
    """
    shape = (count, *bundle.manifest.z_shape)
    if prior == "normal":
        return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    if prior != "mixture":
        raise OptionError(f"prior is {prior!r}, expected one of {', '.join(get_args(Prior))}")
    return read_mixture(bundle).sample(count, seed).reshape(shape)
