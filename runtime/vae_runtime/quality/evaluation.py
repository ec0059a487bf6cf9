r"""Evaluation of a model on a data set: the loss and its terms, the log-likelihood, the latents.

The importance-weighted bound (Burda, Grosse and Salakhutdinov, Importance Weighted Autoencoders,
2016) of one sample, with S draws `z_s ~ q(z|x)`, is in nats

    -log 1/S sum_s exp(log p(x|z_s) + log p(z_s) - log q(z_s|x))

where `-log p(x|z)` is the reconstruction loss. The bound falls with S towards `-log p(x)`. With
S = 1 its mean is the loss at kl_weight 1. For the gaussian loss, p(x|z) is a density: of the
standardized values, if the model standardizes. For mse the reconstruction loss is the squared
error, which is not a normalized log-likelihood, and the bound has the same unit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.data.samples.inputs import as_batch, to_scaled_float32
from vae_runtime.errors import InputError, OptionError
from vae_runtime.explained import Explained, mean_sample, measure_explained
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.latents import Latents, measure_latents
from vae_runtime.loss import Losses, reparameterize
from vae_runtime.quality.detection import Detection, measure_detection
from vae_runtime.quality.normal import normal_samples, texts_of

MAX_SHOWN_DIMENSIONS = 100
"""Number of latent dimensions whose KL divergence is printed, the largest first."""

EXPLAINED_ROWS = 256
"""Samples that are converted at a time for `Evaluation.explained`, which bounds memory."""


MAX_LABELS = 100
"""Most different labels that are evaluated one by one; more are numbers, not classes."""


@dataclass(frozen=True)
class LabelLoss:
    """Number of samples with one label, and their mean losses at z = z_mean."""

    samples: int
    loss: Losses[float]


@dataclass(frozen=True)
class Evaluation:
    """Quality of a model on a data set.

    Attributes:
        samples: number of samples.
        test: mean losses with one draw of z for each sample.
        at_mean: mean losses at z = z_mean.
        importance_weighted_loss: mean bound with `draws` draws for each sample, at kl_weight 1.
        standard_error: standard error of `importance_weighted_loss` over the samples.
        draws: number of draws of z for each sample.
        latents: KL divergence and activity of the latent dimensions.
        seed: seed of the draws.
        explained: the reconstruction loss of `test` beside that of predicting the mean of these
            samples.
        by_label: number of samples and mean losses at z = z_mean of each label; None if the samples
            have no labels, or more than `MAX_LABELS` different ones.
        detection: how well the anomaly score tells anomalous samples from normal ones; None if it
            is not known which samples are normal.
    """

    samples: int
    test: Losses[float]
    at_mean: Losses[float]
    importance_weighted_loss: float
    standard_error: float
    draws: int
    latents: Latents
    seed: int
    explained: Explained
    by_label: dict[str, LabelLoss] | None = None
    detection: Detection | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the evaluation as plain JSON types."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the evaluation as a table."""
        rows = [f"{'':22} {'reconstruction':>14} {'KL':>10} {'loss':>10}"]
        for name, part in (("one z per sample", self.test), ("z = z_mean", self.at_mean)):
            rows.append(
                f"{name:22} {part.reconstruction_loss:14.3f} {part.kl_loss:10.3f} {part.loss:10.3f}"
            )
        explained = self.explained
        for name, value in (
            ("mean of the samples", explained.mean_sample),
            ("perfect reconstruction", explained.perfect),
        ):
            if value is not None:
                rows.append(f"{name:22} {value:14.3f}")
        bound = f"importance-weighted, {self.draws}"
        error = f"+- {self.standard_error:.3f}"
        rows.append(f"{bound:36} {error:>11} {self.importance_weighted_loss:10.3f}")
        if explained.left is not None:
            rows.append(f"left unexplained       {explained.left:.1%} of what the mean leaves")
        kl = sorted(self.latents.kl_per_dimension, reverse=True)
        rows.append(f"active units           {self.latents.active_units} of {len(kl)}")
        more = f" ... ({len(kl)} in all)" if len(kl) > MAX_SHOWN_DIMENSIONS else ""
        shown = " ".join(f"{value:.2f}" for value in kl[:MAX_SHOWN_DIMENSIONS])
        rows.append(f"KL per dimension       {shown}{more}")
        for label, own in (self.by_label or {}).items():
            losses = own.loss
            rows.append(
                f"label {label:16.16} {losses.reconstruction_loss:14.3f} {losses.kl_loss:10.3f} "
                f"{losses.loss:10.3f}  of {own.samples} samples"
            )
        return "\n".join([*rows, *_detection_rows(self.detection)])


def evaluate(
    vae: VAERuntime,
    x: ArrayLike,
    *,
    condition: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    normal: Collection[str] = (),
    draws: int = 50,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Evaluate a bundle on a data set, without TensorFlow.

    Args:
        vae: the loaded bundle.
        x: samples, as for `VAERuntime.encode`; at least one.
        condition: condition of a conditional model, as for `VAERuntime.encode`.
        labels: label of each sample, shape `(batch,)`, for `Evaluation.by_label`.
        normal: labels of the normal samples, for `Evaluation.detection`; all others are anomalous.
        draws: number of draws of z for each sample.
        seed: seed of the draws.
        on_progress: called after each draw with the number of finished draws.

    Returns:
        Means over the samples.

    Raises:
        InputError: there are no samples, not one label for each, or as for `VAERuntime.encode`.
        OptionError: `draws` is less than 1, or `seed` is negative. With `normal`: the bundle has no
            anomaly score, or no sample has one of these labels.
        ProviderError, BundleError: as for `VAERuntime.encode`.
    """
    if draws < 1 or seed < 0:
        raise OptionError(f"draws is {draws} and seed {seed}, expected 1 or more and 0 or more")
    samples = as_batch(x, vae.manifest.input.shape, columns=vae.manifest.table)
    if len(samples) == 0:
        raise InputError("x has no samples: give at least one")
    texts = None if labels is None else texts_of(labels, len(samples))
    detection = None
    if normal:
        is_normal = normal_samples(labels, normal, len(samples))
        detection = measure_detection(vae, samples, is_normal, condition)
    code = vae.encode(samples, condition=condition)
    rng = np.random.default_rng(seed)
    # The sum of exp(log_weight) over the draws, relative to the largest so that none overflows.
    largest, total = np.full(len(samples), -np.inf), np.zeros(len(samples))
    for done in range(1, draws + 1):
        eps = rng.standard_normal(code.z_mean.shape, dtype=np.float32)
        losses = vae.loss(samples, eps, condition=condition)
        if done == 1:
            first_losses = losses.mean()
        z = reparameterize(np, code.z_mean, code.z_log_var, eps)
        # log q(z|x) - log p(z); the constants of the two normal densities cancel
        terms = (z**2 - eps**2 - code.z_log_var).reshape(len(z), -1)
        log_ratio = 0.5 * np.sum(terms, axis=1, dtype=np.float64)
        log_weight = -losses.reconstruction_loss.astype(np.float64) - log_ratio
        previous, largest = largest, np.maximum(largest, log_weight)
        total *= np.exp(previous - largest)
        total += np.exp(log_weight - largest)
        if on_progress:
            on_progress(done)
    at_mean = vae.loss(samples, condition=condition)
    bound = np.log(draws) - largest - np.log(total)
    return Evaluation(
        samples=len(samples),
        test=first_losses,
        at_mean=at_mean.mean(),
        importance_weighted_loss=float(bound.mean()),
        standard_error=float(bound.std() / np.sqrt(len(bound))),
        draws=draws,
        latents=measure_latents(code.z_mean, code.z_log_var),
        seed=seed,
        explained=_explain(vae, samples, first_losses.reconstruction_loss),
        by_label=None if texts is None else _by_label(at_mean, texts),
        detection=detection,
    )


def _detection_rows(detection: Detection | None) -> Iterator[str]:
    if detection is None:
        return
    yield (
        f"anomaly score          {detection.score}: AUROC {detection.auroc:.4f}, average precision "
        f"{detection.average_precision:.4f}; {detection.anomalous:,} anomalous and "
        f"{detection.normal:,} normal samples"
    )
    for rates in detection.alarms:
        yield (
            f"alarms at {rates.alpha:<12g} {100 * rates.detection_rate:.2f} % of the anomalous, "
            f"{100 * rates.false_alarm_rate:.2f} % of the normal samples"
        )


def _by_label(
    losses: Losses[NDArray[np.float32]], labels: NDArray[np.str_]
) -> dict[str, LabelLoss] | None:
    names = np.unique(labels)
    if len(names) > MAX_LABELS:
        return None
    chosen = {str(name): labels == name for name in names}
    return {
        name: LabelLoss(int(own.sum()), Losses(*(part[own] for part in losses)).mean())
        for name, own in chosen.items()
    }


def _explain(
    vae: VAERuntime, samples: NDArray[np.generic], reconstruction_loss: float
) -> Explained:
    manifest = vae.manifest
    undivided = manifest.input.undivided_uint8
    undivided |= bool(manifest.data and manifest.data.binary_uint8)

    def parts() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(samples), EXPLAINED_ROWS):
            part = samples[start : start + EXPLAINED_ROWS]
            yield to_scaled_float32(part, binary_uint8=undivided)

    standardization, mean = manifest.input.standardization, mean_sample(parts())
    return measure_explained(manifest.loss, standardization, parts(), mean, reconstruction_loss)
