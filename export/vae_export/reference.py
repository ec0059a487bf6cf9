"""Reference values: what TensorFlow computes from the SavedModels read back from disk.

The inputs are held-out samples, a sample of all zeros, one of all ones and one of uniform noise,
so that weights of pixels which are always black in the data are under test too. The noise `eps`
is drawn once and stored.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vae_export.graphs.functions import loss_outputs, prepared
from vae_export.saved_models import read_saved_model
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import InputSpec
from vae_runtime.bundle.manifest import decoder_outputs
from vae_runtime.data.inputs import to_float
from vae_runtime.data.standardization import restore
from vae_runtime.errors import BundleError, ExportError
from vae_runtime.loss import LossSpec, draw
from vae_runtime.proof.parity import read_reference

Float32 = NDArray[np.float32]

MAX_SAMPLES = 64
MAX_BYTES = 8 << 20
SEED = 20140501
"""Of eps and of the noise image; any number would do, this one is the paper's month."""


def parity_inputs(
    samples: NDArray[np.generic], latent_dim: int, sample: InputSpec
) -> tuple[NDArray[Any], Float32]:
    """Chooses the inputs that reference values are computed for.

    Args:
        samples: held-out samples, shape `(n, *input_shape)`, uint8 or float32; the first ones
            are taken.
        latent_dim: length of z.
        sample: what the graphs take. Where they standardise, zeros, ones and noise are those of
            the standardised values.

    Returns:
        `x`, shape `(m, *input_shape)`, and `eps`, shape `(m, latent_dim)`.
    """
    shape = samples.shape[1:]
    count = min(MAX_SAMPLES, max(4, MAX_BYTES // (12 * math.prod(shape))))
    rng = np.random.default_rng(SEED)
    made = [np.zeros(shape), np.ones(shape), rng.random(shape)]
    extremes: NDArray[Any] = restore(np, sample.standardization, np.asarray(made, np.float32))
    if sample.dtype == "uint8":
        extremes = np.round(255 * extremes.clip(0, 1)).astype(np.uint8)
    chosen = samples if sample.dtype == "uint8" else to_float(samples[: count - 3])
    x = np.concatenate([chosen[: count - 3], extremes])
    return x, rng.standard_normal((len(x), latent_dim), dtype=np.float32)


def reference_values(
    encoder: Path,
    decoder: Path,
    loss: LossSpec,
    sample: InputSpec,
    x: NDArray[Any],
    eps: Float32,
) -> dict[str, Any]:
    """Computes every tensor and every loss with TensorFlow.

    Args:
        encoder: folder of the encoder's SavedModel.
        decoder: folder of the decoder's.
        loss: which loss.
        sample: what a sample is.
        x: samples, shape `(m, *input_shape)`.
        eps: noise, shape `(m, latent_dim)`.

    Returns:
        Arrays by name: the inputs, z_mean, z_log_var, z, logits or values (where there are any),
        reconstruction and the losses.

    Raises:
        ExportError: a value is not finite.
    """
    encode, decode = read_saved_model(encoder), read_saved_model(decoder)
    code = encode(x=tf.constant(x))
    z_mean, z_log_var = code["z_mean"], code["z_log_var"]
    z = draw(keras.ops, z_mean, z_log_var, tf.constant(eps))
    decoded = decode(z=z)
    output = decoded[decoder_outputs(sample, loss)[0]]
    values: dict[str, Any] = {
        "eps": eps,
        "z_mean": z_mean,
        "z_log_var": z_log_var,
        "z": z,
        **decoded,
        **loss_outputs(loss, prepared(sample, tf.constant(x)), output, z_mean, z_log_var),
    }
    arrays = {"x": x, **{name: np.asarray(value, np.float32) for name, value in values.items()}}
    _require_finite(arrays)
    return arrays


def _require_finite(arrays: dict[str, Float32]) -> None:
    for name, array in arrays.items():
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            raise ExportError(
                f"TensorFlow's {name} is not finite for parity sample {int(finite.argmin())} of "
                f"{len(array)} (the last three are zeros, ones and noise): bound z_log_var, or "
                "train on data of a smaller range"
            )


def recompute(bundle: Bundle) -> dict[str, Float32]:
    """Reference values computed anew from a bundle's SavedModels and its parity inputs.

    Opening a SavedModel trusts whoever made it. What TensorFlow opens is a copy of the bytes that
    were checked against the manifest, so a bundle in a single file will do.

    Args:
        bundle: where the SavedModels are.

    Returns:
        As `reference_values`.

    Raises:
        BundleError: a file is missing or was changed, or there are no SavedModels.
    """
    bundle.check_names()
    loss, sample = bundle.manifest.loss, bundle.manifest.input
    saved, stored = bundle.manifest.saved_models, read_reference(bundle)
    if saved is None:
        raise BundleError(
            f"{bundle.path} has no SavedModels: use the bundle that it was packed from"
        )
    with tempfile.TemporaryDirectory() as folder:
        encoder = _copied(bundle, saved.encoder.path, Path(folder))
        decoder = _copied(bundle, saved.decoder.path, Path(folder))
        return reference_values(encoder, decoder, loss, sample, stored["x"], stored["eps"])


def _copied(bundle: Bundle, path: str, folder: Path) -> Path:
    """Writes a SavedModel's checked bytes into a folder that nobody else changes."""
    for name in bundle.manifest.files:
        if name.startswith(f"{path}/"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(bundle.read(name))
    return folder / path
