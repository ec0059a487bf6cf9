"""Encoders in files, without the layers that cannot be read and that z_mean and z_log_var need not.

Most encoders in files end in a sampled z: by a `Lambda`, whose code is not run, by a class that is
not known here, or by functions of Keras 2. A functional model's configuration says which layer
needs which, so the outputs of such layers can be left out before anything is read. The weights are
not touched: they belong to layers that stay.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import keras

UNREADABLE = ("Lambda", "TFOpLambda", "SlicingOpLambda", "TFSMLayer")
"""Classes of layers that hold code, or functions of Keras 2."""


def cut(config: Any) -> tuple[Any, list[str]]:
    """Return the configuration of a functional model without its outputs that cannot be read.

    Args:
        config: configuration from a `.keras` or `.h5` file.

    Returns:
        The new configuration, and the names of the layers that are left out. Nothing is left out if
        all can be read, if no output can, or if the model is not functional.
    """
    inner = config.get("config") if isinstance(config, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("layers"), list):
        return config, []
    layers = {_name(layer): layer for layer in inner["layers"] if isinstance(layer, dict)}
    lost = {name for name, layer in layers.items() if not _is_readable(layer)}
    needs = {
        name: {*_references(layer.get("inbound_nodes"), layers)} for name, layer in layers.items()
    }
    while more := {name for name in layers if name not in lost and needs[name] & lost}:
        lost |= more
    outputs = _without(inner.get("output_layers"), lost)
    if not lost or not outputs:
        return config, []
    kept = [layer for name, layer in layers.items() if name not in lost]
    return {**config, "config": {**inner, "layers": kept, "output_layers": outputs}}, sorted(lost)


@contextmanager
def rewritten(path: Path, config: Any) -> Iterator[Path]:
    """Yield a temporary copy of a `.keras` or `.h5` file that has another configuration."""
    text = json.dumps(config)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if path.suffix != ".keras":
            shutil.copyfile(path, copy)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = text
        else:
            with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
                for entry in old.infolist():
                    is_config = entry.filename == "config.json"
                    new.writestr(entry, text.encode() if is_config else old.read(entry))
        yield copy


def _name(layer: dict[str, Any]) -> str:
    return str(layer.get("name") or layer.get("config", {}).get("name"))


def _is_readable(layer: dict[str, Any]) -> bool:
    """Return whether Keras can read a layer, and every layer inside it."""
    kind = layer.get("class_name")
    if kind in UNREADABLE:
        return False
    inner = layer.get("config", {})
    if isinstance(inner, dict) and isinstance(inner.get("layers"), list):
        return all(_is_readable(own) for own in inner["layers"] if isinstance(own, dict))
    registered = layer.get("registered_name") or kind
    if keras.saving.get_registered_object(str(registered)) is not None:
        return True
    module = str(layer.get("module") or "keras")
    return module.split(".")[0] == "keras" and hasattr(keras.layers, str(kind))


def _references(node: Any, layers: dict[str, Any]) -> Iterator[str]:
    """Yield the layers that inbound nodes name: `[name, node index, tensor index, ...]`."""
    if isinstance(node, dict):
        node = list(node.values())
    if not isinstance(node, list):
        return
    is_place = len(node) >= 3 and all(isinstance(number, int) for number in node[1:3])
    if is_place and isinstance(node[0], str) and node[0] in layers:
        yield node[0]
    for entry in node:
        yield from _references(entry, layers)


def _without(outputs: Any, lost: set[str]) -> Any:
    """Return the outputs, a list or a dict of `[name, node index, tensor index]`, that are kept."""
    if isinstance(outputs, dict):
        return {key: own for key, own in outputs.items() if own and own[0] not in lost}
    if isinstance(outputs, list) and outputs and isinstance(outputs[0], str):  # the only output
        return [] if outputs[0] in lost else outputs
    return [own for own in outputs or () if own[0] not in lost]
