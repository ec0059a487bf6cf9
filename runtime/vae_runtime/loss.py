r"""The loss of a variational autoencoder: one definition for NumPy, TensorFlow and ONNX.

For a sample x of D elements, encoder outputs `z_mean` and `z_log_var` of length L, noise
`eps` ~ N(0, I) and `z = z_mean + exp(z_log_var / 2) * eps`, per sample:

    reconstruction_loss, bce   sum over D of  max(l, 0) - l * x + log(1 + exp(-|l|))
    bce of probabilities       sum over D of  -x * log(p) - (1 - x) * log(1 - p)
    reconstruction_loss, mse   sum over D of  (x - r)^2
    the same, gaussian         sum over D of  (x - r)^2 / (2 v) + log(2 pi v) / 2
    kl_loss                    -1/2 * sum over L of  1 + z_log_var - z_mean^2 - exp(z_log_var)
    loss                       reconstruction_loss + kl_weight * kl_loss

with l the decoder's logits, r its output, p its output clipped to [1e-7, 1 - 1e-7], and v the
variance of the Gaussian likelihood, one number for all elements. Elements and latent dimensions are
*summed*; the loss of a data set is the *mean* over its samples. bce, gaussian (a density: it may be
negative) and kl_loss are in nats, mse in squared units of the data.

The bce form is `-x log(p) - (1 - x) log(1 - p)` at p = sigmoid(l), rearranged so that it is exact
where p rounds to 0 or 1. Keras's `binary_crossentropy(x, p) * D` is the same number as long as no
p is clipped; beyond that it has two values of its own: plain probabilities are clipped at 1e-7,
while inside a `tf.function` (and for what Keras's own sigmoid returned) it goes back to the logits.
Hence decoders here end in logits. The second form is for decoders of others, whose last layer gives
probabilities from which no logits can be had: it is defined by the clipping.

Each function takes an array namespace `xp`: `numpy`, or `keras.ops` whose names are NumPy's, so
that the same lines are run by NumPy, trained by TensorFlow and traced into the ONNX graph.

Sources: Kingma and Welling, Auto-Encoding Variational Bayes (2014), appendix B for the KL term;
Rybkin, Daniilidis and Levine, Simple and Effective VAE Training with Calibrated Decoders (2021),
for the Gaussian likelihood with one variance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.inputs import UNIT_RANGE
from vae_runtime.errors import OptionError
from vae_runtime.strict_json import meta

T = TypeVar("T")

Reconstruction = Literal["bce", "mse", "gaussian"]
Decoder = Literal["logits", "probabilities", "values"]

DECODERS: dict[Reconstruction, tuple[Decoder, ...]] = {
    "bce": ("logits", "probabilities"),
    "mse": ("values",),
    "gaussian": ("values",),
}
"""What a decoder may give for each reconstruction loss; the first one unless stated."""

MIN_VARIANCE, MAX_VARIANCE = 1e-6, 1e6
"""Bounds of the Gaussian likelihood's variance: beyond them float32 has no digits for the loss."""

CLIP = 1e-7
"""Probabilities are kept this far from 0 and from 1, as by Keras."""


MANY = 4096
"""Elements that are summed in one go."""


@dataclass(frozen=True)
class Losses(Generic[T]):
    """The loss in its parts: per sample with shape `(batch,)`, or as means over samples."""

    reconstruction_loss: Annotated[T, meta("summed over the elements")]
    kl_loss: Annotated[T, meta("KL divergence from N(0, I), summed over the latents, in nats")]
    loss: Annotated[T, meta("reconstruction_loss + kl_weight * kl_loss")]

    def __iter__(self) -> Iterator[T]:
        return iter(vars(self).values())

    def mean(self) -> Losses[float]:
        """Means over the samples, computed in float64.

        Returns:
            One number for each part; NaN where there are no samples.
        """
        return Losses(
            *(
                float(np.mean(part, dtype=np.float64)) if part.size else math.nan
                for part in map(np.asarray, self)
            )
        )


LOSS_NAMES = tuple(field.name for field in fields(Losses))
"""`reconstruction_loss`, `kl_loss`, `loss`: what graphs, files and reports call the parts."""


@dataclass(frozen=True)
class LossSpec:
    """Which loss: all that is needed to compute it again."""

    reconstruction: Annotated[
        Reconstruction,
        meta("binary cross-entropy, squared error, or gaussian negative log-likelihood"),
    ] = "bce"
    kl_weight: Annotated[float, meta("factor of kl_loss in loss", ge=0)] = 1.0
    elements: Annotated[Literal["sum"], meta("reduction over the elements of a sample")] = "sum"
    samples: Annotated[Literal["mean"], meta("reduction over the samples of a data set")] = "mean"
    decoder: Annotated[
        Decoder,
        meta("output of the decoder; bce: logits or probabilities, mse, gaussian: values"),
    ] = None  # type: ignore[assignment]  # what is usual for the reconstruction, set below
    variance: Annotated[
        Annotated[float, meta(ge=MIN_VARIANCE, le=MAX_VARIANCE)] | None,
        meta("of the gaussian likelihood, one for all elements; null: other loss"),
    ] = None

    def __post_init__(self) -> None:
        """Fills in what the decoder gives where it is not stated.

        Raises:
            OptionError: an unknown reconstruction loss, a negative or infinite weight, or a
                variance out of range.
        """
        if self.reconstruction not in get_args(Reconstruction):
            raise OptionError(
                f"reconstruction is {self.reconstruction!r}, expected one of "
                f"{', '.join(get_args(Reconstruction))}"
            )
        if not 0 <= self.kl_weight < math.inf:
            raise OptionError(f"kl_weight is {self.kl_weight}, expected 0 or more")
        if self.decoder is None:
            object.__setattr__(self, "decoder", DECODERS[self.reconstruction][0])
        if self.reconstruction == "gaussian" and self.variance is None:
            object.__setattr__(self, "variance", 1.0)
        if self.variance is not None and not MIN_VARIANCE <= self.variance <= MAX_VARIANCE:
            raise OptionError(
                f"variance is {self.variance}, expected {MIN_VARIANCE:g} to {MAX_VARIANCE:g}"
            )

    def faults(self) -> Iterator[str]:
        """What does not go together."""
        if self.decoder not in DECODERS[self.reconstruction]:
            yield (
                f"decoder is {self.decoder!r}, the {self.reconstruction} loss takes "
                f"{' or '.join(DECODERS[self.reconstruction])}"
            )
        if self.variance is not None and self.reconstruction != "gaussian":
            yield f"variance is {self.variance}, the {self.reconstruction} loss has none"

    def check(self) -> None:
        """Checks that all goes together.

        Raises:
            OptionError: it does not.
        """
        for fault in self.faults():
            raise OptionError(f"{fault}: leave one of the two out")

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The range that inputs must lie in: [0, 1] for bce, else `None` (any finite value)."""
        return UNIT_RANGE if self.reconstruction == "bce" else None

    @property
    def unit(self) -> str:
        """Unit of the reconstruction loss, for people."""
        return "squared error" if self.reconstruction == "mse" else "nats"


def bce(xp: Any, x: Any, logits: Any) -> Any:
    """Binary cross-entropy of logits, summed over the elements.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        x: samples in [0, 1], shape `(batch, D)`.
        logits: decoder logits, shape `(batch, D)`.

    Returns:
        Nats per sample, shape `(batch,)`.
    """
    # 1 + exp, spelled so that OpenVINO does not see a softplus: its own is off by up to 2e-6.
    softplus = xp.log(xp.exp(-xp.abs(logits)) - (-1.0))
    return xp.sum(xp.maximum(logits, 0.0) - logits * x + softplus, axis=1)


def bce_of_probabilities(xp: Any, x: Any, probabilities: Any) -> Any:
    """Binary cross-entropy of probabilities, clipped, summed over the elements.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        x: samples in [0, 1], shape `(batch, D)`.
        probabilities: decoder output, shape `(batch, D)`.

    Returns:
        Nats per sample, shape `(batch,)`; at most 16.2 for each element, finite also in float32.
    """
    p = xp.clip(probabilities, CLIP, 1.0 - CLIP)
    return -_summed(xp, x * xp.log(p) + (1.0 - x) * xp.log(1.0 - p))


def mse(xp: Any, x: Any, reconstruction: Any) -> Any:
    """Squared error, summed over the elements.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        x: samples, shape `(batch, D)`.
        reconstruction: decoder output, shape `(batch, D)`.

    Returns:
        Squared error per sample, shape `(batch,)`.
    """
    return _summed(xp, xp.square(x - reconstruction))


def _summed(xp: Any, terms: Any) -> Any:
    """The sum over the elements, shape `(batch, D)` to `(batch,)`; of rows first if D is large.

    ONNX Runtime sums 196,608 squares in one go with a relative error of 2e-6, in two with 2e-7.
    """
    elements = int(terms.shape[1])
    if elements > MANY:
        length = next(n for n in range(math.isqrt(elements), 0, -1) if elements % n == 0)
        terms = xp.sum(xp.reshape(terms, (-1, elements // length, length)), axis=2)
    return xp.sum(terms, axis=1)


def gaussian(xp: Any, squared_error: Any, elements: int, variance: Any) -> Any:
    """Negative log-likelihood of a Gaussian with one variance, summed over the elements.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        squared_error: as `mse` gives it, shape `(batch,)`.
        elements: number of elements D of a sample.
        variance: a number or a scalar tensor.

    Returns:
        Nats per sample, shape `(batch,)`; negative where the density is above 1.
    """
    return squared_error / (2.0 * variance) + 0.5 * elements * xp.log(2.0 * math.pi * variance)


def kl_terms(xp: Any, z_mean: Any, z_log_var: Any) -> Any:
    """KL divergence from N(0, 1) of each latent dimension, in nats; all shapes `(batch, L)`."""
    return -0.5 * (1.0 + z_log_var - xp.square(z_mean) - xp.exp(z_log_var))


def kl(xp: Any, z_mean: Any, z_log_var: Any) -> Any:
    """KL divergence of N(z_mean, exp(z_log_var)) from N(0, I).

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        z_mean: means, shape `(batch, L)`.
        z_log_var: logarithms of the variances, shape `(batch, L)`.

    Returns:
        Nats per sample, shape `(batch,)`.
    """
    return xp.sum(kl_terms(xp, z_mean, z_log_var), axis=1)


def draw(xp: Any, z_mean: Any, z_log_var: Any, eps: Any) -> Any:
    """The latent sample `z = z_mean + exp(z_log_var / 2) * eps`; all shapes `(batch, L)`."""
    return z_mean + xp.exp(0.5 * z_log_var) * eps


def losses(
    xp: Any, spec: LossSpec, x: Any, output: Any, z_mean: Any, z_log_var: Any
) -> Losses[Any]:
    """The loss per sample, in its parts.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        spec: which loss.
        x: samples, shape `(batch, *input_shape)`.
        output: what the decoder gives, `spec.decoder`, shaped as `x`.
        z_mean: means, shape `(batch, L)`.
        z_log_var: logarithms of the variances, shape `(batch, L)`.

    Returns:
        Three arrays of shape `(batch,)`.
    """
    # Flat first: elementwise work on a trailing axis of length 1 costs ONNX Runtime fifty-fold.
    elements = int(np.prod(x.shape[1:]))
    flat_x, flat_output = (xp.reshape(a, (-1, elements)) for a in (x, output))
    term = {"logits": bce, "probabilities": bce_of_probabilities, "values": mse}[spec.decoder]
    reconstruction_loss = term(xp, flat_x, flat_output)
    if spec.reconstruction == "gaussian":
        variance = np.float32(spec.variance or 1.0)
        reconstruction_loss = gaussian(xp, reconstruction_loss, elements, variance)
    kl_loss = kl(xp, z_mean, z_log_var)
    return Losses(reconstruction_loss, kl_loss, reconstruction_loss + spec.kl_weight * kl_loss)


def numpy_losses(
    spec: LossSpec,
    x: NDArray[np.floating[Any]],
    output: NDArray[np.floating[Any]],
    z_mean: NDArray[np.floating[Any]],
    z_log_var: NDArray[np.floating[Any]],
) -> Losses[NDArray[np.floating[Any]]]:
    """`losses` in NumPy; float32 or float64, as the arrays are."""
    return losses(np, spec, x, output, z_mean, z_log_var)
