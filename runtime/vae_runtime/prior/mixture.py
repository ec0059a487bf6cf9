"""The mixture prior: a density of z that lies where the data does.

    p(z) = sum_k weight_k N(z; mean_k, scale_k scale_k^T)

Training pulls q(z given x) of each sample towards N(0, I), but their average, the aggregate
posterior, is another distribution. Draws from N(0, I) fall where no data lies, too. A mixture that
is fitted to z ~ q(z given x) of the training samples follows it (Ghosh et al., "From variational to
deterministic autoencoders", 2020).

z is taken as a vector of length L, also if the model's z has more axes. `prior.npz` holds, all in
float32: `weights` (K,), `means` (K, L), `scales` (K, L, L), lower triangular, or (K, L) if
covariances are diagonal, and `log_density` (samples of the proof,): log p of TensorFlow's z in
`parity.npz`, computed by scikit-learn. `verify` compares that with what this module computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest, PriorSpec
from vae_runtime.errors import BundleError, OptionError
from vae_runtime.files.npz import NpzError, npz_bytes, read_npz

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PRIOR_FILE = "prior.npz"
RTOL = 1e-5
"""Allowed difference of a log density from scikit-learn's, relative to 1 + its size."""

CHUNK = 4096
"""Latent samples whose densities are computed at a time."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """A Gaussian mixture over z.

    Attributes:
        weights: share of each component, shape `(K,)`, float32; their sum is 1.
        means: shape `(K, L)`, float32.
        scales: lower Cholesky factors of the covariances, shape `(K, L, L)`, or standard deviations
            of diagonal ones, shape `(K, L)`; float32.
        log_density: log p of the z in the bundle's `parity.npz`, shape `(samples,)`, float32.
    """

    weights: Float32
    means: Float32
    scales: Float32
    log_density: Float32

    def sample(self, count: int, seed: int) -> Float32:
        """Draw latent samples.

        Args:
            count: number of samples, 0 or more.
            seed: seed of the draws. The same seed and NumPy give the same z on every machine, up to
                the rounding of its last digit.

        Returns:
            z, shape `(count, L)`, float32.
        """
        rng = np.random.default_rng(seed)
        shares = self.weights.astype(np.float64)
        component = rng.choice(len(shares), count, p=shares / shares.sum())
        eps = rng.standard_normal((count, self.means.shape[1]))
        z = self.means.astype(np.float64)[component]
        for k in np.unique(component):
            rows, scale = component == k, self.scales[k].astype(np.float64)
            z[rows] += eps[rows] * scale if scale.ndim == 1 else eps[rows] @ scale.T
        return z.astype(np.float32)

    def log_densities(self, z: ArrayLike) -> Float64:
        """Return log p(z) in nats, shape `(n,)`, float64; z: shape `(n, ...)` of L numbers each."""
        values = np.asarray(z, np.float64)
        values = values.reshape(len(values), self.means.shape[1])
        chunks = [self._chunk(values[i : i + CHUNK]) for i in range(0, len(values), CHUNK)]
        return np.concatenate([np.zeros(0), *chunks])

    def _chunk(self, z: Float64) -> Float64:
        parts = []
        for weight, mean, scale in zip(self.weights, self.means, self.scales, strict=True):
            centred, factor = z - mean.astype(np.float64), scale.astype(np.float64)
            if factor.ndim == 1:
                units, deviations = centred / factor, factor
            else:
                units, deviations = np.linalg.solve(factor, centred.T).T, np.diagonal(factor)
            size = -0.5 * (units**2).sum(axis=1) - np.log(deviations).sum()
            parts.append(np.log(np.float64(weight)) + size)
        stacked = np.stack(parts)
        largest = stacked.max(axis=0)
        total = largest + np.log(np.exp(stacked - largest).sum(axis=0))
        constant = 0.5 * z.shape[1] * np.log(2 * np.pi)
        density: Float64 = total - constant
        return density

    def to_bytes(self) -> bytes:
        """Return the content of `prior.npz`."""
        return npz_bytes(vars(self))


def read_mixture(bundle: Bundle) -> Mixture:
    """Read the mixture of a bundle.

    Raises:
        OptionError: the bundle has none.
        BundleError: its file is damaged.
    """
    manifest = bundle.manifest
    if (spec := manifest.prior) is None:
        raise OptionError(
            f"{bundle.path} has no mixture prior: add one with build-vae fit-prior, or draw from "
            "N(0, I)"
        )
    where = bundle.path / spec.file
    try:
        arrays = read_npz(bundle.read(spec.file), _arrays(manifest, spec))
    except NpzError as error:
        raise BundleError(f"{where}: {error}: the bundle was edited; fit the prior again") from None
    mixture = Mixture(**arrays)
    for fault in _faults(mixture):
        raise BundleError(f"{where}: {fault}: the bundle was edited; fit the prior again")
    return mixture


def _arrays(manifest: Manifest, spec: PriorSpec) -> dict[str, tuple[str, tuple[int, ...]]]:
    components, length = spec.components, manifest.latent_dim
    scales = (components, length, length)
    return {
        "weights": ("float32", (components,)),
        "means": ("float32", (components, length)),
        "scales": ("float32", scales if spec.covariance == "full" else scales[:2]),
        "log_density": ("float32", (manifest.parity.samples,)),
    }


def _faults(mixture: Mixture) -> Iterator[str]:
    weights, scales = mixture.weights, mixture.scales
    if not (weights > 0).all() or abs(float(weights.sum(dtype=np.float64)) - 1) > 1e-4:
        yield "its weights are not shares"
    if scales.ndim == 3:
        if np.triu(scales, 1).any():
            yield "its scales are not lower triangular"
        scales = np.diagonal(scales, axis1=1, axis2=2)
    if not (scales > 0).all():
        yield "it has scales that are not positive"
