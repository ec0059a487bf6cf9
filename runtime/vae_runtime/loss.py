r"""The loss of a variational autoencoder: one definition for NumPy, TensorFlow and ONNX.

For a sample x of D elements, encoder outputs `z_mean` and `z_log_var` of length L, noise
`eps` ~ N(0, I) and `z = z_mean + exp(z_log_var / 2) * eps`, per sample:

    reconstruction_loss, bce   sum over D of  max(l, 0) - l * x + log(1 + exp(-|l|))
    bce of probabilities       sum over D of  -x * log(p) - (1 - x) * log(1 - p)
    reconstruction_loss, mse   sum over D of  (x - r)^2
    the same, gaussian         sum over D of  (x - r)^2 / (2 v) + log(2 pi v) / 2
    gaussian of mean, log_var  sum over D of  ((x - r)^2 / exp(s) + s + log(2 pi)) / 2
    kl_loss                    -1/2 * sum over L of  1 + z_log_var - z_mean^2 - exp(z_log_var)
    loss                       reconstruction_loss + kl_weight * kl_loss

with l the logits of the decoder, r its output, p its output clipped to [1e-7, 1 - 1e-7], and v the
variance of the Gaussian likelihood, one number for all elements. A decoder with two heads gives r
and s, mean and log variance of each element. The loss of a sample is the *sum*
over its elements and latent dimensions. The loss of a data set is the *mean* over its samples. bce,
gaussian and kl_loss are in nats; mse is in squared units of the data. gaussian uses a density, so
it may be negative.

The bce form is `-x log(p) - (1 - x) log(1 - p)` at p = sigmoid(l), rearranged so that it is exact
where p rounds to 0 or 1. Keras's `binary_crossentropy(x, p) * D` gives the same number as long as
no p is clipped. Beyond that, Keras gives two different values: it clips plain probabilities at
1e-7, but inside a `tf.function`, or if p came from Keras's own sigmoid, it uses the logits. For
this reason the decoders of build-vae end in logits. The form for probabilities is for your own
decoders, if their last layer gives probabilities from which the logits cannot be recovered. It
includes the clipping.

Each function takes an array namespace `xp`: `numpy`, or `keras.ops`, which uses NumPy's names. The
same lines are run by NumPy, trained by TensorFlow and traced into the ONNX graph.

Sources: Kingma and Welling, Auto-Encoding Variational Bayes (2014), appendix B for the KL term;
Rybkin, Daniilidis and Levine, Simple and Effective VAE Training with Calibrated Decoders (2021),
for the Gaussian likelihood with one variance; An and Cho, Variational Autoencoder based Anomaly
Detection using Reconstruction Probability (2015), for that with a variance of each element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Annotated, Any, Generic, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.samples.inputs import UNIT_RANGE
from vae_runtime.errors import OptionError
from vae_runtime.files.strict_json import meta

T = TypeVar("T")

Reconstruction = Literal["bce", "mse", "gaussian"]
Decoder = Literal["logits", "probabilities", "values", "mean_log_var"]

ALLOWED_DECODERS: dict[Reconstruction, tuple[Decoder, ...]] = {
    "bce": ("logits", "probabilities"),
    "mse": ("values",),
    "gaussian": ("values", "mean_log_var"),
}
"""Decoder outputs that each reconstruction loss accepts; the first one is the default."""

MIN_VARIANCE, MAX_VARIANCE = 1e-6, 1e6
"""Bounds of the Gaussian variance. Outside them the loss has no correct digits in float32."""

MAX_LOG_VAR = 10.0
"""Largest log variance of an element that a preset's decoder gives, and minus the smallest.

Standard deviations go from 0.0067 to 148. An element that never varies would drive the loss to
minus infinity.
"""

CLIP_EPSILON = 1e-7
"""Smallest distance of a clipped probability from 0 and from 1, the same as in Keras."""

MAX_ELEMENTS_PER_SUM = 4096
"""Sums over more elements than this are computed in two steps."""


@dataclass(frozen=True)
class Losses(Generic[T]):
    """The loss and its parts, per sample with shape `(batch,)` or as means over samples."""

    reconstruction_loss: Annotated[T, meta("summed over the elements")]
    kl_loss: Annotated[T, meta("KL divergence from N(0, I), summed over the latents, in nats")]
    loss: Annotated[T, meta("reconstruction_loss + kl_weight * kl_loss")]

    def __iter__(self) -> Iterator[T]:
        return iter(vars(self).values())

    def mean(self) -> Losses[float]:
        """Return the mean of each part over the samples, computed in float64.

        Returns:
            One number for each part, NaN if there are no samples.
        """
        return Losses(
            *(
                float(np.mean(part, dtype=np.float64)) if part.size else math.nan
                for part in map(np.asarray, self)
            )
        )


LOSS_NAMES = tuple(field.name for field in fields(Losses))
"""Names of the parts in graphs, files and reports: `reconstruction_loss`, `kl_loss`, `loss`."""


@dataclass(frozen=True)
class LossSpec:
    """Complete specification of a loss."""

    reconstruction: Annotated[
        Reconstruction,
        meta("binary cross-entropy, squared error, or gaussian negative log-likelihood"),
    ] = "bce"
    kl_weight: Annotated[float, meta("factor of kl_loss in loss", ge=0)] = 1.0
    elements: Annotated[Literal["sum"], meta("reduction over the elements of a sample")] = "sum"
    samples: Annotated[Literal["mean"], meta("reduction over the samples of a data set")] = "mean"
    decoder: Annotated[
        Decoder,
        meta(
            "output of the decoder; bce: logits or probabilities, mse: values, gaussian: values or "
            "mean_log_var, mean and log variance of each element"
        ),
    ] = None  # type: ignore[assignment]  # default set below
    variance: Annotated[
        Annotated[float, meta(ge=MIN_VARIANCE, le=MAX_VARIANCE)] | None,
        meta("variance of the gaussian likelihood, one for all elements; null: there is none"),
    ] = None

    def __post_init__(self) -> None:
        """Set the default `decoder` and `variance` of the reconstruction loss.

        Raises:
            OptionError: The reconstruction loss is unknown, the weight is negative or infinite, or
                the variance is out of range.
        """
        if self.reconstruction not in get_args(Reconstruction):
            raise OptionError(
                f"reconstruction is {self.reconstruction!r}, expected one of "
                f"{', '.join(get_args(Reconstruction))}"
            )
        if not 0 <= self.kl_weight < math.inf:
            raise OptionError(f"kl_weight is {self.kl_weight}, expected 0 or more")
        if self.decoder is None:
            object.__setattr__(self, "decoder", ALLOWED_DECODERS[self.reconstruction][0])
        if self.reconstruction == "gaussian" and self.variance is None and not self.has_two_heads:
            object.__setattr__(self, "variance", 1.0)
        if self.variance is not None and not MIN_VARIANCE <= self.variance <= MAX_VARIANCE:
            raise OptionError(
                f"variance is {self.variance}, expected {MIN_VARIANCE:g} to {MAX_VARIANCE:g}"
            )

    def faults(self) -> Iterator[str]:
        """Yield a description of each contradiction between two fields."""
        if self.decoder not in ALLOWED_DECODERS[self.reconstruction]:
            yield (
                f"decoder is {self.decoder!r}, the {self.reconstruction} loss takes "
                f"{' or '.join(ALLOWED_DECODERS[self.reconstruction])}"
            )
        if self.variance is not None and self.reconstruction != "gaussian":
            yield f"variance is {self.variance}, the {self.reconstruction} loss has none"
        if self.variance is not None and self.has_two_heads:
            yield f"variance is {self.variance}, the decoder gives its own"

    def check(self) -> None:
        """Check that no two fields contradict each other.

        Raises:
            OptionError: Two fields contradict each other.
        """
        for fault in self.faults():
            raise OptionError(f"{fault}: leave one of the two out")

    @property
    def has_two_heads(self) -> bool:
        """Whether the decoder gives mean and log variance of each element."""
        return self.decoder == "mean_log_var"

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Allowed range of the inputs: [0, 1] for bce, `None` (any finite value) otherwise."""
        return UNIT_RANGE if self.reconstruction == "bce" else None

    @property
    def unit(self) -> str:
        """Unit of the reconstruction loss, as text: `squared error` or `nats`."""
        return "squared error" if self.reconstruction == "mse" else "nats"


def bce(xp: Any, x: Any, logits: Any) -> Any:
    """Return the binary cross-entropy of logits, summed over the elements.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        x: samples in [0, 1], shape `(batch, D)`.
        logits: decoder logits, shape `(batch, D)`.

    Returns:
        Nats per sample, shape `(batch,)`.
    """
    # `- (-1.0)` keeps OpenVINO from fusing this into its softplus, which is off by up to 2e-6.
    softplus = xp.log(xp.exp(-xp.abs(logits)) - (-1.0))
    return xp.sum(xp.maximum(logits, 0.0) - logits * x + softplus, axis=1)


def bce_of_probabilities(xp: Any, x: Any, probabilities: Any) -> Any:
    """Return the binary cross-entropy of clipped probabilities, summed over the elements.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        x: samples in [0, 1], shape `(batch, D)`.
        probabilities: decoder output, shape `(batch, D)`.

    Returns:
        Nats per sample, shape `(batch,)`: at most 16.2 per element, finite in float32 too.
    """
    p = xp.clip(probabilities, CLIP_EPSILON, 1.0 - CLIP_EPSILON)
    return -_sum_elements(xp, x * xp.log(p) + (1.0 - x) * xp.log(1.0 - p))


def mse(xp: Any, x: Any, reconstruction: Any) -> Any:
    """Return the squared error, summed over the elements.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        x: samples, shape `(batch, D)`.
        reconstruction: decoder output, shape `(batch, D)`.

    Returns:
        Squared error per sample, shape `(batch,)`.
    """
    return _sum_elements(xp, xp.square(x - reconstruction))


def _sum_elements(xp: Any, terms: Any) -> Any:
    """Sum over the elements, shape `(batch, D)` to `(batch,)`, in two steps if D is large.

    ONNX Runtime sums 196,608 squares in one step with a relative error of 2e-6, in two with 2e-7.
    """
    elements = int(terms.shape[1])
    if elements > MAX_ELEMENTS_PER_SUM:
        length = next(n for n in range(math.isqrt(elements), 0, -1) if elements % n == 0)
        terms = xp.sum(xp.reshape(terms, (-1, elements // length, length)), axis=2)
    return xp.sum(terms, axis=1)


def gaussian(xp: Any, squared_error: Any, elements: int, variance: Any) -> Any:
    """Return the negative log-likelihood of a Gaussian, summed over the elements.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        squared_error: result of `mse`, shape `(batch,)`.
        elements: number of elements D of a sample.
        variance: variance of every element, a number or a scalar tensor.

    Returns:
        Nats per sample, shape `(batch,)`, negative if the density is above 1.
    """
    return squared_error / (2.0 * variance) + 0.5 * elements * xp.log(2.0 * math.pi * variance)


def normal(xp: Any, x: Any, mean: Any, log_var: Any) -> Any:
    """Return the negative log-likelihood of N(mean, exp(log_var)), summed over the elements.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        x: samples, shape `(batch, D)`.
        mean: means of the elements, shape `(batch, D)`.
        log_var: logarithms of their variances, shape `(batch, D)`.

    Returns:
        Nats per sample, shape `(batch,)`, negative if the density is above 1.
    """
    terms = xp.square(x - mean) * xp.exp(-log_var) + log_var
    constant = 0.5 * int(x.shape[1]) * math.log(2.0 * math.pi)
    return 0.5 * _sum_elements(xp, terms) + constant


def kl_terms(xp: Any, z_mean: Any, z_log_var: Any) -> Any:
    """Return the KL divergence from N(0, 1) per latent dimension, in nats; all of one shape."""
    return -0.5 * (1.0 + z_log_var - xp.square(z_mean) - xp.exp(z_log_var))


def kl(xp: Any, z_mean: Any, z_log_var: Any) -> Any:
    """Return the KL divergence of N(z_mean, exp(z_log_var)) from N(0, I).

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        z_mean: means, shape `(batch, L)`.
        z_log_var: logarithms of the variances, shape `(batch, L)`.

    Returns:
        Nats per sample, shape `(batch,)`.
    """
    return xp.sum(kl_terms(xp, z_mean, z_log_var), axis=1)


def reparameterize(xp: Any, z_mean: Any, z_log_var: Any, eps: Any) -> Any:
    """Return the latent sample `z = z_mean + exp(z_log_var / 2) * eps`; all of one shape."""
    return z_mean + xp.exp(0.5 * z_log_var) * eps


def losses(
    xp: Any, spec: LossSpec, x: Any, output: Any, z_mean: Any, z_log_var: Any
) -> Losses[Any]:
    """Return the loss of each sample and its parts.

    Args:
        xp: array namespace, `numpy` or `keras.ops`.
        spec: specification of the loss.
        x: samples, shape `(batch, *input_shape)`.
        output: decoder output, of the kind `spec.decoder`, same shape as `x`; for `mean_log_var`
            two of them, by the names `mean` and `log_var`.
        z_mean: means, shape `(batch, L)` or with more axes, such as `(batch, 8, 8, 4)`.
        z_log_var: logarithms of the variances, same shape.

    Returns:
        Three arrays of shape `(batch,)`.
    """
    # Flatten first: elementwise ops on a last axis of length 1 are 50 times slower in ONNX Runtime.
    elements = int(np.prod(x.shape[1:]))
    if len(z_mean.shape) > 2:
        latent_dim = int(np.prod(z_mean.shape[1:]))
        z_mean, z_log_var = (xp.reshape(a, (-1, latent_dim)) for a in (z_mean, z_log_var))
    outputs = (output["mean"], output["log_var"]) if spec.has_two_heads else (output,)
    flat_x, *flat_outputs = (xp.reshape(a, (-1, elements)) for a in (x, *outputs))
    by_decoder: dict[str, Callable[..., Any]] = {
        "logits": bce,
        "probabilities": bce_of_probabilities,
        "values": mse,
        "mean_log_var": normal,
    }
    reconstruction_loss = by_decoder[spec.decoder](xp, flat_x, *flat_outputs)
    if spec.variance is not None:
        variance = np.float32(spec.variance)
        reconstruction_loss = gaussian(xp, reconstruction_loss, elements, variance)
    kl_loss = kl(xp, z_mean, z_log_var)
    return Losses(reconstruction_loss, kl_loss, reconstruction_loss + spec.kl_weight * kl_loss)


def numpy_losses(
    spec: LossSpec,
    x: NDArray[np.floating[Any]],
    output: Any,
    z_mean: NDArray[np.floating[Any]],
    z_log_var: NDArray[np.floating[Any]],
) -> Losses[NDArray[np.floating[Any]]]:
    """Return `losses` computed by NumPy in the dtype of the arrays, float32 or float64."""
    return losses(np, spec, x, output, z_mean, z_log_var)
