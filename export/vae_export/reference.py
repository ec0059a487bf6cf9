"""Reference values: what TensorFlow computes from the SavedModels, read back from disk.

The inputs are held-out samples, followed by a sample of all zeros, one of all ones and one of
uniform noise. These three also test the weights of pixels that are always black in the data. The
noise `eps` is drawn once and stored.
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

from vae_export.graphs.functions import model_input
from vae_export.saved_models import read_saved_model
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.graph_fields import InputSpec
from vae_runtime.bundle.manifest import loss_input, proof_name
from vae_runtime.bundle.scores import ACTIVATIONS, SCORE
from vae_runtime.data.numbers.standardization import restore
from vae_runtime.data.samples.inputs import to_scaled_float32
from vae_runtime.decision.scorer import Scorer, read_scorer
from vae_runtime.errors import BundleError, ExportError
from vae_runtime.loss import LossSpec, losses, reparameterize
from vae_runtime.proof.reference import read_reference

Float32 = NDArray[np.float32]

MAX_PARITY_SAMPLES = 64
MAX_PARITY_BYTES = 8 << 20
SEED = 20140501
"""Seed of eps and of the noise sample. Any number would do; this one is the paper's month."""


def parity_inputs(
    samples: NDArray[np.generic], latent_shape: tuple[int, ...], input_spec: InputSpec
) -> tuple[NDArray[Any], Float32]:
    """Choose parity inputs: x, `(m, *input_shape)`, and eps, `(m, *latent_shape)`, float32.

    `x` holds the first of the samples, uint8 or float32, then zeros, ones and noise. If the graphs
    standardize their input, these three are values after standardization.
    """
    shape = samples.shape[1:]
    count = min(MAX_PARITY_SAMPLES, max(4, MAX_PARITY_BYTES // (12 * math.prod(shape))))
    rng = np.random.default_rng(SEED)
    made = [np.zeros(shape), np.ones(shape), rng.random(shape)]
    extremes: NDArray[Any] = restore(np, input_spec.standardization, np.asarray(made, np.float32))
    chosen: NDArray[Any] = samples[: count - 3]
    if input_spec.dtype == "uint8":
        extremes = np.round(255 * extremes.clip(0, 1)).astype(np.uint8)
    else:
        chosen = to_scaled_float32(chosen)
    x = np.concatenate([chosen, extremes])
    return x, rng.standard_normal((len(x), *latent_shape), dtype=np.float32)


def parity_conditions(conditions: Float32 | None, count: int) -> Float32 | None:
    """Return the conditions of `count` parity inputs, from those of the held-out samples.

    The three made samples at the end have the first conditions. There are zeros if there are none.
    """
    if conditions is None:
        return None
    if not len(conditions):
        return np.zeros((count, *conditions.shape[1:]), np.float32)
    rows = np.arange(count)
    rows[-3:] = range(3)
    return conditions[rows % len(conditions)]


def reference_values(
    encoder: Path,
    decoder: Path,
    loss: LossSpec,
    input_spec: InputSpec,
    x: NDArray[Any],
    eps: Float32,
    condition: Float32 | None = None,
    *,
    scorer: Scorer | None = None,
) -> dict[str, Any]:
    """Compute the graphs' tensors and the losses with TensorFlow, from two SavedModel folders.

    With a `scorer`, the values of the score graph are there too, under `proof_name`.

    The result also holds the inputs `x`, shape `(m, *input_shape)`, and `eps`, shape
    `(m, *latent_shape)`. An `ExportError` names a value that is not finite.
    """
    encode, decode = read_saved_model(encoder), read_saved_model(decoder)
    given = {} if condition is None else {"condition": tf.constant(condition)}
    code = encode(x=tf.constant(x), **given)
    z_mean, z_log_var = code["z_mean"], code["z_log_var"]
    z = reparameterize(keras.ops, z_mean, z_log_var, tf.constant(eps))
    decoded = decode(z=z, **given)
    output = loss_input(input_spec, loss, decoded)
    seen = model_input(input_spec, tf.constant(x))
    values: dict[str, Any] = {
        "eps": eps,
        **given,
        "z_mean": z_mean,
        "z_log_var": z_log_var,
        "z": z,
        **dict(sorted(decoded.items())),  # TensorFlow returns them in any order
        **vars(losses(keras.ops, loss, seen, output, z_mean, z_log_var)),
    }
    if scorer is not None:
        hidden = {}
        if scorer.gaussians:
            hidden = read_saved_model(encoder, ACTIVATIONS)(x=tf.constant(x), **given)
        output = loss_input(input_spec, loss, decode(z=z_mean, **given))
        values |= _score_values(scorer, seen, output, z_mean, z_log_var, hidden)
    arrays = {"x": x, **{name: np.asarray(value, np.float32) for name, value in values.items()}}
    _require_finite(arrays)
    return arrays


def _score_values(
    scorer: Scorer, x: Any, output: Any, z_mean: Any, z_log_var: Any, hidden: dict[str, Any]
) -> dict[str, Any]:
    at_mean = losses(keras.ops, scorer.loss, x, output, z_mean, z_log_var)
    fit = scorer.fit(keras.ops, x, output, at_mean)
    score = scorer.score(keras.ops, fit, hidden.get(ACTIVATIONS))
    values = {proof_name(SCORE, name): value for name, value in vars(at_mean).items()}
    return {**values, SCORE: score, **hidden}


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
    """Compute the reference values again, from a bundle's SavedModels and its parity inputs.

    Opening a SavedModel trusts its author. TensorFlow opens a copy of the bytes that were checked
    against the manifest, so the bundle may be a single file. A `BundleError` says that a file is
    missing or was changed, or that there are no SavedModels.
    """
    bundle.check_names()
    loss, input_spec = bundle.manifest.loss, bundle.manifest.input
    saved, stored = bundle.manifest.saved_models, read_reference(bundle)
    if saved is None:
        raise BundleError(
            f"{bundle.path} has no SavedModels: use the bundle that it was packed from"
        )
    with tempfile.TemporaryDirectory() as folder:
        encoder = _copied(bundle, saved.encoder.path, Path(folder))
        decoder = _copied(bundle, saved.decoder.path, Path(folder))
        given = (stored["x"], stored["eps"], stored.get("condition"))
        scorer = read_scorer(bundle)
        return reference_values(encoder, decoder, loss, input_spec, *given, scorer=scorer)


def _copied(bundle: Bundle, path: str, folder: Path) -> Path:
    """Write a SavedModel's checked bytes to a folder that no other process changes."""
    for name in bundle.manifest.files:
        if name.startswith(f"{path}/"):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(bundle.read(name))
    return folder / path
