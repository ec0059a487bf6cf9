r"""How good the model is on a data set: the loss in its parts, the log-likelihood, the latents.

With S draws `z_s ~ q(z|x)` the importance-weighted bound (Burda, Grosse and Salakhutdinov,
Importance Weighted Autoencoders, 2016) of one sample is, in nats,

    -log 1/S sum_s exp(log p(x|z_s) + log p(z_s) - log q(z_s|x))

where `-log p(x|z)` is the reconstruction loss. It falls with S towards `-log p(x)`; with S = 1 its
mean is the loss at kl_weight 1. For gaussian it is a density, of standardised values where the
model standardises. For mse the reconstruction loss is squared error, not a normalised
log-likelihood, and the bound is in its units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.data.inputs import as_batch
from vae_runtime.errors import InputError, OptionError
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.latents import Latents, latents
from vae_runtime.loss import Losses, draw

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on a data set.

    Attributes:
        samples: number of samples.
        test: mean losses with one z drawn for each sample.
        at_mean: mean losses at z = z_mean.
        importance_weighted_loss: mean bound with `draws` draws for each sample, at kl_weight 1.
        standard_error: of `importance_weighted_loss` over the samples.
        draws: number of draws for each sample.
        latents: what the latent dimensions carry.
        seed: of the draws.
    """

    samples: int
    test: Losses[float]
    at_mean: Losses[float]
    importance_weighted_loss: float
    standard_error: float
    draws: int
    latents: Latents
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as plain JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        """The evaluation as a table."""
        rows = [f"{'':22} {'reconstruction':>14} {'KL':>10} {'loss':>10}"]
        for name, part in (("one z a sample", self.test), ("z = z_mean", self.at_mean)):
            rows.append(
                f"{name:22} {part.reconstruction_loss:14.3f} {part.kl_loss:10.3f} {part.loss:10.3f}"
            )
        bound = f"importance-weighted, {self.draws}"
        error = f"+- {self.standard_error:.3f}"
        rows.append(f"{bound:36} {error:>11} {self.importance_weighted_loss:10.3f}")
        kl = " ".join(
            f"{value:.2f}" for value in sorted(self.latents.kl_per_dimension, reverse=True)
        )
        of = len(self.latents.kl_per_dimension)
        rows.append(f"active units           {self.latents.active_units} of {of}")
        rows.append(f"KL per dimension       {kl}")
        return "\n".join(rows)


def evaluate(
    vae: VAERuntime,
    x: ArrayLike,
    *,
    draws: int = 50,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Evaluates a bundle on a data set; needs no TensorFlow.

    Args:
        vae: the loaded bundle.
        x: samples, as for `VAERuntime.encode`; at least one.
        draws: draws of z for each sample.
        seed: of the draws.
        on_progress: called after each draw with the number of draws done.

    Returns:
        Means over the samples.

    Raises:
        InputError: no samples, or as for `VAERuntime.encode`.
        OptionError: fewer than one draw, or a negative seed.
    """
    if draws < 1 or seed < 0:
        raise OptionError(f"draws is {draws} and seed {seed}, expected 1 or more and 0 or more")
    samples = as_batch(x, vae.manifest.input.shape)
    if len(samples) == 0:
        raise InputError("x has no samples: give at least one")
    code = vae.encode(samples)
    rng = np.random.default_rng(seed)
    bounds = _RunningBound(len(samples))
    first: Losses[float] | None = None
    for done in range(1, draws + 1):
        eps = rng.standard_normal(code.z_mean.shape, dtype=np.float32)
        losses = vae.loss(samples, eps)
        first = first or losses.mean()
        z = draw(np, code.z_mean, code.z_log_var, eps)
        # log q(z|x) - log p(z); the constants of the two normal densities cancel
        log_ratio = 0.5 * np.sum(z**2 - eps**2 - code.z_log_var, axis=1, dtype=np.float64)
        bounds.add(-losses.reconstruction_loss.astype(np.float64) - log_ratio)
        if on_progress:
            on_progress(done)
    bound = bounds.values()
    assert first is not None
    return Evaluation(
        samples=len(samples),
        test=first,
        at_mean=vae.loss(samples).mean(),
        importance_weighted_loss=float(bound.mean()),
        standard_error=float(bound.std() / np.sqrt(len(bound))),
        draws=draws,
        latents=latents(code.z_mean, code.z_log_var),
        seed=seed,
    )


class _RunningBound:
    """`-log mean exp` of log weights that come one draw at a time; memory for one draw."""

    def __init__(self, count: int) -> None:
        self._largest = np.full(count, -np.inf)
        self._sum = np.zeros(count)
        self._draws = 0

    def add(self, log_weight: Float64) -> None:
        largest = np.maximum(self._largest, log_weight)
        self._sum *= np.exp(self._largest - largest)
        self._sum += np.exp(log_weight - largest)
        self._largest = largest
        self._draws += 1

    def values(self) -> Float64:
        result: Float64 = np.log(self._draws) - self._largest - np.log(self._sum)
        return result
