"""From a Keras VAE that is there already to a bundle: models in memory, or in `.keras` files."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

import keras

from vae_builder.data import Dataset
from vae_builder.training.train import data_spec
from vae_export import Exported, ExportOptions, Provenance, adopt, export
from vae_runtime.data.standardization import Standardization
from vae_runtime.errors import ExportError
from vae_runtime.loss import LossSpec

CONFIG = "config.json"
"""The member of a `.keras` file that names its layers."""


def export_models(
    encoder: keras.Model | str | Path,
    decoder: keras.Model | str | Path,
    dataset: Dataset,
    path: str | Path,
    *,
    loss: LossSpec | None = None,
    standardization: Standardization | None = None,
    **options: Unpack[ExportOptions],
) -> Exported:
    """Exports an encoder and a decoder that were trained elsewhere.

    Args:
        encoder: a Keras model that returns z_mean and z_log_var (and a sampled z, which is left
            out), or the `.keras` file of one; `vae_export.adoption.adopt` says what is taken.
        decoder: a Keras model of z that ends in logits or a sigmoid (bce) or in values (mse), or
            the `.keras` file of one.
        dataset: what the model was trained on; test samples become part of the proof
            and are shown in the card.
        path: folder of the bundle.
        loss: which loss; bce with kl_weight 1 where left out.
        standardization: what was done to the samples before the encoder saw them in training;
            `Dataset.standardization()` computes the usual one. The graphs do it then.
        **options: how the bundle is made: `vae_export.ExportOptions`.

    Returns:
        The published bundle, verified.

    Raises:
        ExportError: a file that cannot be read, or as `vae_export.adopt` and
            `vae_export.export`.
        InputError: shapes or values of models and data do not fit.
        OptionError: as `vae_export.export`.
    """
    loss = loss or LossSpec()
    dataset.require_range(loss.value_range)
    models = (_model(encoder, "encoder"), _model(decoder, "decoder"))
    adopted = adopt(*models, loss, dataset.input_shape)
    return export(
        adopted.encoder,
        adopted.decoder,
        dataset.held_out(),
        path,
        loss=adopted.loss,
        standardization=standardization,
        provenance=Provenance(data=data_spec(dataset)),
        **options,
    )


def load_model(path: str | Path) -> keras.Model:
    """Reads a model from a `.keras` file, running no code that the file brings.

    Args:
        path: the file.

    Returns:
        The model, not compiled.

    Raises:
        ExportError: there is no such file, or it cannot be read without running its code.
    """
    path = Path(path)
    if not path.is_file():
        raise ExportError(f"{path} is not a file, expected a model: save one by model.save")
    if path.suffix != ".keras":  # the older forms may run code that they bring
        raise ExportError(
            f"{path} ends in {path.suffix or 'nothing'}, expected .keras: load it in Python and "
            "save it by model.save, or pass the model object to vae_builder.export_models"
        )
    try:
        return keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except Exception as error:  # a damaged file fails anywhere in Keras
        raise ExportError(f"{path} cannot be read: {_reason(path, str(error))}") from None


def _model(model: keras.Model | str | Path, role: str) -> keras.Model:
    if not isinstance(model, str | Path):
        return model
    loaded = load_model(model)
    if not isinstance(loaded, keras.Model):
        raise ExportError(f"{model} holds a {type(loaded).__name__}, expected the {role}: save it")
    return loaded


def _reason(path: Path, text: str) -> str:
    lambdas = _layers_of_class(path, "Lambda")
    if lambdas and "Lambda" in text:
        return (
            f"layer {', '.join(map(repr, lambdas))} is a Lambda, whose code would have to be run: "
            "write it as a Layer class with @keras.saving.register_keras_serializable, or pass the "
            "model object to vae_builder.export_models"
        )
    missing = re.search(r"Could not locate (class|function) '([^']+)'", text)
    if missing:
        return (
            f"the {missing[1]} {missing[2]!r} in it is not known here: decorate it with "
            "@keras.saving.register_keras_serializable() and pass the model object to "
            "vae_builder.export_models in Python"
        )
    return f"{' '.join(text.split())[:300]}: save it again by model.save"


def _layers_of_class(path: Path, class_name: str) -> list[str]:
    """Names of the layers of a class in a `.keras` file; none where it is no such file."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if value.get("class_name") == class_name:
                yield str(value.get("config", {}).get("name"))
            value = list(value.values())
        if isinstance(value, list):
            for item in value:
                yield from walk(item)

    try:
        with zipfile.ZipFile(path) as archive:
            return list(walk(json.loads(archive.read(CONFIG))))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return []
