"""`fit_prior`: adds a Gaussian mixture, fitted to the latent samples of the data, to a bundle.

The mixture is fitted by scikit-learn to one z ~ q(z given x) of each training sample. The number of
components is the one with the highest log-likelihood of held-out samples.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from vae_export.card.figure_data import middle_slices
from vae_export.card.figures import PRIOR_SEED, SAMPLES
from vae_export.card.mosaics import draw_samples, layout
from vae_export.card.prior_section import MIXTURE_SAMPLES, with_prior_section
from vae_export.variants.building import require_verified
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest, PriorSpec
from vae_runtime.bundle.manifest import MODEL_CARD
from vae_runtime.bundle.publishing import copy_files, publishing, write_manifest
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.errors import BundleError, InputError, MissingExtraError, OptionError
from vae_runtime.inference.loading import load
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.prior.mixture import PRIOR_FILE, Mixture
from vae_runtime.proof.reference import read_reference

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

Float64 = NDArray[np.float64]

COMPONENTS: Final = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of components that are tried, until two in a row are worse than the best."""

MIN_SAMPLES_PER_COMPONENT: Final = 20
MIN_HELD_OUT: Final = 10
MAX_PRIOR_SAMPLES: Final = 20_000
"""Training samples that are used; more change the mixture little."""

MAX_FULL_DIM: Final = 128
"""Largest length of z with full covariances. Longer ones get diagonal ones."""

MIN_VARIANCE: Final = 1e-4
"""Added to each variance, so that a component cannot shrink to a point."""


@dataclass(frozen=True, eq=False)
class PriorSamples:
    """Samples that a mixture is fitted to, or chosen on.

    Attributes:
        x: samples, shape `(n, *input_shape)`, uint8 or float32.
        conditions: their conditions; None if the model takes none.
    """

    x: NDArray[np.generic]
    conditions: Conditions | None = None


def fit_prior(
    path: str | Path,
    training: PriorSamples,
    held_out: PriorSamples,
    *,
    components: int | None = None,
    seed: int = 0,
    on_step: Callable[[str], None] | None = None,
) -> PriorSpec:
    """Add a mixture prior to a bundle. It replaces an earlier one.

    Args:
        path: folder of the bundle. It is replaced in one step.
        training: samples that the model was trained on.
        held_out: other samples, at least `MIN_HELD_OUT`.
        components: number of Gaussians; by default the best one of `COMPONENTS`.
        seed: seed of z and of the fit.
        on_step: called with a short text before each step.

    Returns:
        What the manifest says of the prior.

    Raises:
        BundleError: there is no bundle, it is damaged, or it is a single file.
        ExportError: the folder cannot be written, or the new bundle does not verify. The old
            bundle is still there, unchanged.
        InputError: the samples do not fit the model, or are too few.
        MissingExtraError: scikit-learn is not installed.
        OptionError: `components` is below 1, or there are too few samples for it.
    """
    _require_sklearn()
    say = on_step or (lambda step: None)
    source = Bundle(path)
    if not source.path.is_dir():
        raise BundleError(
            f"{source.path} is a single file: fit the prior of the folder that it was packed from"
        )
    source.check_files()
    vae = load(source.path)
    say("latent samples")
    z, chosen_on = _latents(vae, training, seed), _latents(vae, held_out, seed + 1)
    if len(chosen_on) < MIN_HELD_OUT:
        raise InputError(
            f"{len(chosen_on)} held-out samples choose no prior: give at least {MIN_HELD_OUT}"
        )
    say("mixture")
    best, score = _fitted(z, chosen_on, components, seed)
    mixture = _rounded(best, read_reference(source)["z"])
    normal = -0.5 * (chosen_on**2).sum(axis=1) - 0.5 * z.shape[1] * np.log(2 * np.pi)
    spec = PriorSpec(
        file=PRIOR_FILE,
        components=len(mixture.weights),
        covariance="full" if mixture.scales.ndim == 3 else "diagonal",
        samples=len(z),
        held_out=len(chosen_on),
        log_likelihood=score,
        normal_log_likelihood=float(normal.mean()),
    )
    say("bundle")
    with publishing(source.path, force=True) as folder:
        copy_files(source, folder)
        (folder / PRIOR_FILE).write_bytes(mixture.to_bytes())
        manifest = write_manifest(folder, replace(source.manifest, prior=spec))
        _draw(folder, held_out)
        card = folder / MODEL_CARD
        has_picture = (folder / MIXTURE_SAMPLES).is_file()
        text = with_prior_section(card.read_text("utf-8"), spec, has_picture=has_picture)
        card.write_text(text, "utf-8")
        write_manifest(folder, manifest)
        require_verified(folder, "float32")
    return spec


def _latents(vae: VAERuntime, samples: PriorSamples, seed: int) -> Float64:
    """Return one z ~ q(z given x) of each sample, shape `(n, L)`."""
    x, given = samples.x[:MAX_PRIOR_SAMPLES], samples.conditions
    condition = None if given is None else given.values[:MAX_PRIOR_SAMPLES]
    encoding = vae.encode(x, condition=condition)
    eps = np.random.default_rng(seed).standard_normal(encoding.z_mean.shape)
    z = encoding.z_mean + np.exp(0.5 * encoding.z_log_var.astype(np.float64)) * eps
    return z.reshape(len(z), vae.manifest.latent_dim)


def _fitted(
    z: Float64, held_out: Float64, components: int | None, seed: int
) -> tuple[GaussianMixture, float]:
    """Return the mixture with the highest mean log-likelihood of held-out z, and this mean."""
    most = len(z) // MIN_SAMPLES_PER_COMPONENT
    if components is not None and not 1 <= components <= most:
        raise OptionError(
            f"components is {components}, expected 1 to {most}: each component needs "
            f"{MIN_SAMPLES_PER_COMPONENT} of the {len(z)} training samples"
        )
    if most < 1:
        raise InputError(
            f"{len(z)} training samples fit no mixture: give at least {MIN_SAMPLES_PER_COMPONENT}"
        )
    best: tuple[GaussianMixture, float] | None = None
    worse = 0
    for count in (components,) if components else (c for c in COMPONENTS if c <= most):
        mixture = _fit(z, count, seed)
        score = float(mixture.score(held_out))
        if best is None or score > best[1]:
            best, worse = (mixture, score), 0
        elif (worse := worse + 1) == 2:
            break
    assert best is not None
    return best


def _fit(z: Float64, components: int, seed: int) -> GaussianMixture:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        components,
        covariance_type="full" if z.shape[1] <= MAX_FULL_DIM else "diag",
        reg_covar=MIN_VARIANCE,
        max_iter=100,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # held-out samples judge it anyway
        return mixture.fit(z)


def _rounded(fitted: GaussianMixture, z: NDArray[np.float32]) -> Mixture:
    """Return a fitted mixture in float32, and scikit-learn's log densities of z under this."""
    weights, means = fitted.weights_.astype(np.float32), fitted.means_.astype(np.float32)
    if fitted.covariance_type == "full":
        scales = np.linalg.cholesky(fitted.covariances_).astype(np.float32)
        wide = scales.astype(np.float64)
        fitted.covariances_ = wide @ wide.transpose(0, 2, 1)
        fitted.precisions_cholesky_ = np.linalg.inv(wide).transpose(0, 2, 1)
    else:
        scales = np.sqrt(fitted.covariances_).astype(np.float32)
        fitted.covariances_ = scales.astype(np.float64) ** 2
        fitted.precisions_cholesky_ = 1 / scales.astype(np.float64)
    fitted.weights_, fitted.means_ = weights.astype(np.float64), means.astype(np.float64)
    densities = fitted.score_samples(z.reshape(len(z), -1).astype(np.float64))
    return Mixture(weights, means, scales, densities.astype(np.float32))


def _draw(folder: Path, held_out: PriorSamples) -> None:
    """Draw samples from the mixture beside those from N(0, I), if the card shows pictures."""
    if not (folder / SAMPLES).is_file():
        return
    vae = load(folder)
    count = _picture_count(vae.manifest)
    condition: Any = None
    if held_out.conditions is not None:
        values = held_out.conditions.values
        condition = values[np.arange(count) % len(values)]
    drawn = vae.sample(count, seed=PRIOR_SEED, prior="mixture", condition=condition)
    like = vae.reconstruct(
        held_out.x[:count],
        condition=None if held_out.conditions is None else held_out.conditions.values[:count],
    )
    draw_samples(middle_slices(drawn), middle_slices(like), folder / MIXTURE_SAMPLES)


def _picture_count(manifest: Manifest) -> int:
    rows, columns = layout(manifest.input.shape[-3:])
    return rows * columns


def _require_sklearn() -> None:
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError("fitting a prior", "scikit-learn", "prior") from None
