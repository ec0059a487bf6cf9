"""Layers that the tensors of a functional model come from."""

from __future__ import annotations

from typing import Any

import keras


def is_functional(model: Any) -> bool:
    """Tell whether a model is a graph of layers, functional or sequential, with Keras's `call`."""
    if not isinstance(model, keras.Model):
        return False
    own_call = not type(model).call.__module__.startswith("keras.")
    return not own_call and bool(getattr(model, "inputs", None))


def producing_layer(tensor: Any) -> Any:
    """Return the layer or operation that a symbolic tensor comes from."""
    return tensor._keras_history.operation


def layer_inputs(tensor: Any) -> list[Any]:
    """Return the inputs of the call of a layer that gave a symbolic tensor."""
    history = tensor._keras_history
    return list(history.operation._inbound_nodes[history.node_index].input_tensors)
