"""The score that a manifest describes, with its constants: computed by NumPy or TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.scores import NoveltySpec, PartSpec, ScoreName, fit_part
from vae_runtime.decision.score import (
    LowRankGaussian,
    distances,
    excess_loss,
    squared_error,
    surprises,
)
from vae_runtime.errors import BundleError
from vae_runtime.files.npz import NpzError, read_npz
from vae_runtime.loss import Losses, LossSpec

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Scorer:
    """A score and its constants.

    Attributes:
        name: the score.
        loss: specification of the loss.
        parts: mean and standard deviation of each part's logarithm; empty without parts.
        gaussians: one for each tensor of activations.
    """

    name: ScoreName
    loss: LossSpec
    parts: Mapping[str, PartSpec]
    gaussians: Sequence[LowRankGaussian]

    def fit(self, xp: Any, x: Any, output: Any, losses: Losses[Any]) -> Any:
        """Return the part that the decoder gives, shape `(batch,)`; None for `novelty`.

        The arguments are those of `vae_runtime.decision.score.excess_loss`.
        """
        part = fit_part(self.name, self.loss.reconstruction)
        if part == "loss":
            return losses.loss
        if part == "excess_loss":
            return excess_loss(xp, self.loss, x, output, losses)
        return None if part is None else squared_error(xp, self.loss, x, output)

    def part_values(self, xp: Any, fit: Any, activations: Any) -> dict[str, Any]:
        """Return the parts that are added up, by name, each of shape `(batch,)`."""
        part = fit_part(self.name, self.loss.reconstruction)
        parts = {} if part is None else {part: fit}
        return {**parts, **distances(xp, activations, self.gaussians)}

    def score(self, xp: Any, fit: Any, activations: Any) -> Any:
        """Return the score of each sample, shape `(batch,)`.

        Args:
            xp: array namespace, `numpy` or `keras.ops`.
            fit: what `fit` returned.
            activations: hidden activations, shape `(batch, size)`; None if they are not used.
        """
        if not self.parts:
            return fit
        parts = self.part_values(xp, fit, activations)
        return xp.sum(surprises(xp, parts, self.parts), axis=1)


@dataclass(frozen=True, eq=False)
class Novelty:
    """What `novelty.npz` holds.

    Attributes:
        gaussians: as of `Scorer`.
        coordinates: coordinates of the prototypes along all axes, shape `(P, F)`.
        z_mean: their latent means, shape `(P, *latent_shape)`.
        condition: their conditions, shape `(P, *condition_shape)`; None without a condition.
    """

    gaussians: tuple[LowRankGaussian, ...]
    coordinates: Float32
    z_mean: Float32
    condition: Float32 | None


def novelty_arrays(novelty: Novelty) -> dict[str, Float32]:
    """Return the arrays of `novelty.npz` by name."""
    arrays: dict[str, Float32] = {}
    for i, gaussian in enumerate(novelty.gaussians, 1):
        variances = np.append(gaussian.variances, gaussian.rest_variance)
        arrays |= {f"center_{i}": gaussian.center, f"axes_{i}": gaussian.axes}
        arrays |= {f"variances_{i}": variances.astype(np.float32)}
    arrays |= {"coordinates": novelty.coordinates, "z_mean": novelty.z_mean}
    return arrays if novelty.condition is None else {**arrays, "condition": novelty.condition}


def read_novelty(bundle: Bundle, spec: NoveltySpec) -> Novelty:
    """Read `novelty.npz`; a `BundleError` says that it is damaged."""
    m = bundle.manifest
    expected: dict[str, tuple[str, tuple[int, ...]]] = {}
    for i, activation in enumerate(spec.activations, 1):
        expected[f"center_{i}"] = "float32", (activation.size,)
        expected[f"axes_{i}"] = "float32", (activation.size, activation.axes)
        expected[f"variances_{i}"] = "float32", (activation.axes + 1,)
    width = sum(activation.axes for activation in spec.activations)
    expected["coordinates"] = "float32", (spec.prototypes, width)
    expected["z_mean"] = "float32", (spec.prototypes, *m.z_shape)
    if m.condition:
        expected["condition"] = "float32", (spec.prototypes, *m.condition.shape)
    try:
        arrays = read_npz(bundle.read(spec.file), expected)
    except NpzError as error:
        raise BundleError(
            f"{bundle.path / spec.file}: {error}: the bundle is damaged; export it again"
        ) from None
    return Novelty(
        tuple(_gaussian(arrays, i) for i in range(1, len(spec.activations) + 1)),
        arrays["coordinates"],
        arrays["z_mean"],
        arrays.get("condition"),
    )


def _gaussian(arrays: Mapping[str, Any], number: int) -> LowRankGaussian:
    *variances, rest = arrays[f"variances_{number}"]
    return LowRankGaussian(
        arrays[f"center_{number}"],
        arrays[f"axes_{number}"],
        np.array(variances, np.float32),
        np.float32(rest),
    )


def read_scorer(bundle: Bundle) -> Scorer | None:
    """Return the scorer of a bundle; None if it has no score."""
    manifest: Manifest = bundle.manifest
    if (spec := manifest.score) is None:
        return None
    gaussians = read_novelty(bundle, spec.novelty).gaussians if spec.novelty else ()
    return Scorer(spec.name, manifest.loss, spec.parts, gaussians)
