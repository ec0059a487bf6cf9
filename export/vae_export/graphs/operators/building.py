"""ONNX operators in place of one node of tf2onnx's graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


class Builder:
    """Makes ONNX operators in the scope of a node, and at last one that takes its place.

    Constants are float32, or int64 if they are given as integers.
    """

    def __init__(self, graph: Any, node: Any) -> None:
        self.graph = graph
        self.node = node

    def constant(self, values: ArrayLike) -> str:
        """Return the name of a new constant."""
        array = np.asarray(values)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        name = f"{self.node.name}/constant_{len(self.graph.get_nodes())}"
        return str(self.graph.make_const(name, array).output[0])

    def make(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Return the name of the first output of a new operator."""
        made = self.graph.make_node(
            operator, list(inputs), attr=attributes, op_name_scope=self.node.name
        )
        return str(made.output[0])

    def replace(self, operator: str, *inputs: str, **attributes: Any) -> None:
        """Put a new operator in the place of the node: its output keeps name, shape and dtype."""
        graph, outputs = self.graph, self.node.output
        shapes = [graph.get_shape(output) for output in outputs]
        dtypes = [graph.get_dtype(output) for output in outputs]
        graph.remove_node(self.node.name)
        graph.make_node(
            operator,
            list(inputs),
            attr=attributes,
            name=self.node.name,
            outputs=outputs,
            shapes=shapes,
            dtypes=dtypes,
        )
