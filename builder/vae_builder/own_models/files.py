"""Keras models in files: `.keras`, `.h5` of Keras 2, and folders of SavedModels.

Reading a `.keras` or `.h5` file runs no code from it. A SavedModel is a program that TensorFlow
runs: read it only if you trust its author.
"""

from __future__ import annotations

import json
import logging
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from vae_builder.own_models.cutting import cut, rewritten
from vae_builder.own_models.keras2 import modernized
from vae_builder.own_models.saved_model import SAVED_MODEL_FILES, read_saved_model
from vae_runtime.errors import ExportError

log = logging.getLogger("vae_builder")

SUFFIXES = (".keras", ".h5", ".hdf5")

CODE = {"Lambda": "Lambda", "__lambda__": "Lambda", "TFSMLayer": "TFSMLayer"}
"""Class names in a model's configuration that would run code, and the names of their layers."""

SAVE_AGAIN = (
    "pass the model object to vae_builder.export_models in Python, or save it as a SavedModel "
    "folder where it was trained (tf.saved_model.save(model, folder))"
)


def load_model(path: str | Path) -> keras.Model:
    """Read a model from a `.keras` or `.h5` file, or from the folder of a SavedModel.

    Args:
        path: the file or the folder. No code of a file is run, but TensorFlow runs the program that
            a SavedModel is.

    Returns:
        The model, not compiled.

    Raises:
        ExportError: the file does not exist, or it cannot be read without running its code.
    """
    path = Path(path)
    if path.is_dir() and any((path / name).is_file() for name in SAVED_MODEL_FILES):
        return read_saved_model(path)
    if not path.is_file():
        raise ExportError(
            f"{path} is not a file, expected a model (.keras, .h5, or the folder of a SavedModel): "
            "save one by model.save"
        )
    if path.suffix not in SUFFIXES:
        raise ExportError(
            f"{path} ends in {path.suffix or 'nothing'}, expected {', '.join(SUFFIXES)}: load it "
            "in Python and save it by model.save, or pass the model object to "
            "vae_builder.export_models"
        )
    config = _config(path)
    if path.suffix != ".keras" and config is None and h5py.is_hdf5(path):
        raise ExportError(
            f"{path} holds weights only, expected a whole model: build the model in Python, call "
            "its load_weights, and save it by model.save, or pass it to vae_builder.export_models"
        )
    read = config
    if path.suffix != ".keras":
        config = modernized(config)
    config, left_out = cut(config)
    if layers := list(_running_code(config)):
        kinds = " and ".join(sorted({kind for _, kind in layers}))
        raise ExportError(
            f"{path} cannot be read: layer {', '.join(repr(name) for name, _ in layers)} is a "
            f"{kinds}, whose code would have to be run: write it as a Layer class with "
            "@keras.saving.register_keras_serializable, or pass the model object to "
            "vae_builder.export_models"
        )
    if config == read:
        return _load(path, path)
    if left_out:
        log.warning(
            "%s: layers that cannot be read are left out, with the outputs that need them: %s",
            path,
            ", ".join(left_out),
        )
    with rewritten(path, config) as copy:
        return _load(copy, path)


def _load(file: Path, path: Path) -> keras.Model:
    """Load a file without running its code; messages call it `path`."""
    try:
        return keras.saving.load_model(str(file), compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many types for a damaged file
        raise ExportError(f"{path} cannot be read: {_explain(str(error))}") from None


def _explain(keras_error: str) -> str:
    """Return why Keras could not read a file, and what to do."""
    missing = re.search(r"Could not locate (class|function) '([^']+)'", keras_error)
    if missing:
        return (
            f"the {missing[1]} {missing[2]!r} in it is not known here: decorate it with "
            "@keras.saving.register_keras_serializable() and pass the model object to "
            "vae_builder.export_models in Python"
        )
    unknown = re.search(r"Unknown \w+: '([^']+)'", keras_error)
    if unknown:
        kind = "a function call of Keras 2" if unknown[1].endswith("OpLambda") else "a class"
        return f"{unknown[1]!r} in it, {kind}, is not known here: {SAVE_AGAIN}"
    return f"{' '.join(keras_error.split())[:300]}: save it again by model.save"


def _config(path: Path) -> Any:
    """Return the configuration in a file; None if there is none, or if the file is damaged."""
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.read("config.json"))
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
            return None if text is None else json.loads(text)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _running_code(config: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and kind of each layer that would run code; `name` is that of the layer around."""
    if isinstance(config, list):
        for entry in config:
            yield from _running_code(entry, name)
    if isinstance(config, dict):
        inner = config.get("config")
        own = inner.get("name") if isinstance(inner, dict) else None
        name = str(own or name)
        kind = config.get("class_name")
        if isinstance(kind, str) and kind in CODE:
            yield name, CODE[kind]
        else:
            for entry in config.values():
                yield from _running_code(entry, name)
