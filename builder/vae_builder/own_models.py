"""Export of Keras VAEs that were trained elsewhere: models in memory, or in `.keras` files."""

from __future__ import annotations

import contextlib
import json
import re
import zipfile
from pathlib import Path
from typing import Any, Unpack

import keras
import numpy as np

from vae_builder.data import Dataset
from vae_builder.training.train import data_spec
from vae_export import Exported, ExportOptions, Provenance, adopt, export
from vae_export.adoption.encoder_end import PROBES
from vae_export.adoption.readings import Scale
from vae_runtime.data.inputs import to_scaled_float32
from vae_runtime.data.standardization import Standardization, standardize
from vae_runtime.errors import ExportError
from vae_runtime.loss import LossSpec


def export_models(
    encoder: keras.Model | str | Path,
    decoder: keras.Model | str | Path,
    dataset: Dataset,
    path: str | Path,
    *,
    loss: LossSpec | None = None,
    scale: Scale | None = None,
    decoder_scale: Scale | None = None,
    standardization: Standardization | None = None,
    **options: Unpack[ExportOptions],
) -> Exported:
    """Export an encoder and a decoder that were trained elsewhere.

    Args:
        encoder: a Keras model that returns z_mean and z_log_var, or the path of its `.keras` file.
            A sampled z as third output is left out. `vae_export.adopt` lists the accepted forms.
        decoder: a Keras model of z that ends in logits or a sigmoid (bce) or in values (mse), or
            the path of its `.keras` file.
        dataset: the data that the model was trained on. Test samples become part of the proof and
            are shown in the model card.
        path: folder of the bundle.
        loss: the loss; by default bce with kl_weight 1.
        scale: what the encoder's second output is: `log_var`, `log_std`, `std` or `var`. The
            graphs convert it to z_log_var. By default it is found as in `vae_export.adopt`.
        decoder_scale: what the second head of a decoder is that gives mean and log variance of
            each element, if it is no log variance.
        standardization: standardization of the samples in training, if there was one. The exported
            graphs then apply it. `Dataset.standardization()` computes the usual one.
        **options: see `vae_export.ExportOptions`.

    Returns:
        The published bundle, verified.

    Raises:
        ExportError: a model file cannot be read, or as `vae_export.adopt` and
            `vae_export.export`.
        InputError: shapes or values of the data do not fit the models.
        OptionError: an unknown scale, or as `vae_export.export`.
    """
    loss = loss or LossSpec()
    dataset.require_range(loss.value_range)
    models = (_read_if_path(encoder, "encoder"), _read_if_path(decoder, "decoder"))
    dataset = dataset.in_shape(_sample_shape(models[0]) or dataset.input_shape)
    samples = to_scaled_float32(np.asarray(dataset.train[:PROBES]))
    samples = standardize(np, standardization, samples)
    adopted = adopt(
        *models,
        loss,
        dataset.input_shape,
        scale=scale,
        decoder_scale=decoder_scale,
        samples=samples,
    )
    return export(
        adopted.encoder,
        adopted.decoder,
        dataset.held_out(),
        path,
        loss=adopted.loss,
        standardization=standardization,
        provenance=Provenance(data=data_spec(dataset), adoption=adopted.adoption),
        **options,
    )


def load_model(path: str | Path) -> keras.Model:
    """Read a model from a `.keras` file without running code from that file.

    Args:
        path: the file.

    Returns:
        The model, not compiled.

    Raises:
        ExportError: the file does not exist, or it cannot be read without running its code.
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(f"{path} is not a file, expected a model: save one by model.save")
    if path.suffix != ".keras":  # the older formats may run code from the file
        raise ExportError(
            f"{path} ends in {path.suffix or 'nothing'}, expected .keras: load it in Python and "
            "save it by model.save, or pass the model object to vae_builder.export_models"
        )
    try:
        return keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many types for a damaged file
        raise ExportError(f"{path} cannot be read: {_explain(path, str(error))}") from None


def _read_if_path(model: keras.Model | str | Path, role: str) -> keras.Model:
    if not isinstance(model, str | Path):
        return model
    loaded = load_model(model)
    if not isinstance(loaded, keras.Model):
        raise ExportError(
            f"{model} holds a {type(loaded).__name__}, expected the {role}: save a keras.Model"
        )
    return loaded


def _sample_shape(encoder: Any) -> tuple[int, ...] | None:
    """Return the shape of a sample as an encoder takes it; None if it does not say so."""
    shapes = list((getattr(encoder, "_build_shapes_dict", None) or {}).values())
    with contextlib.suppress(AttributeError, ValueError):  # subclassed models may not know it
        shapes = [tensor.shape for tensor in encoder.inputs]
    if not shapes or not isinstance(shapes[0], tuple) or None in shapes[0][1:]:
        return None
    return tuple(shapes[0][1:])


def _explain(path: Path, keras_error: str) -> str:
    """Return why Keras could not read a file, and what to do."""
    lambdas = _lambda_layers(path)
    if lambdas and "Lambda" in keras_error:
        return (
            f"layer {', '.join(map(repr, lambdas))} is a Lambda, whose code would have to be run: "
            "write it as a Layer class with @keras.saving.register_keras_serializable, or pass the "
            "model object to vae_builder.export_models"
        )
    missing = re.search(r"Could not locate (class|function) '([^']+)'", keras_error)
    if missing:
        return (
            f"the {missing[1]} {missing[2]!r} in it is not known here: decorate it with "
            "@keras.saving.register_keras_serializable() and pass the model object to "
            "vae_builder.export_models in Python"
        )
    return f"{' '.join(keras_error.split())[:300]}: save it again by model.save"


def _lambda_layers(path: Path) -> list[str]:
    """Return the names of the Lambda layers in a `.keras` file; none if the file is damaged."""
    names = []

    def collect(entry: dict[str, Any]) -> dict[str, Any]:
        if entry.get("class_name") == "Lambda":
            names.append(str(entry.get("config", {}).get("name")))
        return entry

    try:
        with zipfile.ZipFile(path) as archive:
            json.loads(archive.read("config.json"), object_hook=collect)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return []
    return names
