"""Validation of an ONNX file before ONNX Runtime loads it.

ONNX Runtime opens external files that a graph names, starts loops of 2^62 iterations, allocates
what a constant asks for, and ignores fields that it does not know. So the file is checked first,
without ONNX Runtime and without a copy of its weights:

- It has only the operators and fields in `operators`, and the opset that the manifest states.
- Every name is defined once, before it is used.
- Each initializer has as many bytes as its shape and dtype need, and all values are finite.
- The numbers of nodes and tensors are bounded, and so are the sizes that constants set.
- Inputs and outputs have the names, dtypes, shapes and order that the manifest states.

Sizes that a graph computes from its inputs are known only when it runs. They are not bounded here.

No library is used: the onnx package is too heavy for devices, and its checker accepts unknown
fields, NaN weights and any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from vae_runtime.bundle.graph_fields import GraphSpec, TensorSpec
from vae_runtime.errors import BundleError
from vae_runtime.graph.operators import (
    ATTRIBUTE_FIELDS,
    ATTRIBUTE_PROTO,
    DTYPES,
    LIST_FIELDS,
    MODEL_PROTO,
    OPERATORS,
    SIZE_INPUTS,
    SIZE_PRESERVING_OPERATORS,
)
from vae_runtime.graph.protobuf import Reader, WireError
from vae_runtime.graph.tensors import (
    MAX_INTEGER,
    Constant,
    GraphError,
    product_of_sizes,
    read_tensor,
)
from vae_runtime.graph.windows import check_windows

IR_VERSIONS = range(7, 14)
"""Versions of the ONNX file format that are accepted."""

PROPERTY_PREFIX = "build_vae."
"""Required start of each key in `metadata_props`; ONNX Runtime reads options from other keys."""

MAX_NODES = 5_000
MAX_INITIALIZERS = 5_000
MAX_FIELDS = 150_000
MAX_ELEMENTS = 1 << 24
"""Largest tensor whose size a constant sets, in elements, and largest factor of such a size."""


def check_graph(data: bytes, spec: GraphSpec, where: str) -> frozenset[str]:
    """Check the bytes of an ONNX file against the manifest, and return the operators it uses.

    Raises `BundleError`, which names the file `where` and the rule that the graph breaks.
    """
    checker = _GraphChecker()
    try:
        checker.check_model(memoryview(data), spec)
    except (GraphError, WireError) as error:
        raise BundleError(
            f"{where}: {error}: build-vae never writes such a graph; export the bundle again"
        ) from None
    return frozenset(checker.operators)


class _GraphChecker:
    """Checker of one model, with what is known about the names that are defined so far."""

    def __init__(self) -> None:
        self.operators: set[str] = set()
        self._reader = Reader(MAX_FIELDS)
        self._defined: set[str] = set()
        self._constants: dict[str, Constant] = {}
        # Number of elements of each tensor that depends on constants only. ONNX Runtime computes
        # these tensors when it loads the model.
        self._constant_elements: dict[str, float] = {}
        # Product of the constants in each tensor of sizes.
        self._size_products: dict[str, float] = {}

    def check_model(self, data: memoryview, spec: GraphSpec) -> None:
        model = self._reader.read(data, MODEL_PROTO)
        if model.get("ir_version") not in IR_VERSIONS:
            raise GraphError(
                f"ir_version is {model.get('ir_version')}, expected {IR_VERSIONS.start} to "
                f"{IR_VERSIONS.stop - 1}"
            )
        found = [(entry.get("domain", ""), entry.get("version")) for entry in model["opset_import"]]
        if found != [("", spec.opset)]:
            raise GraphError(
                f"it uses the operator sets {found}, expected opset {spec.opset} alone"
            )
        _check_properties(model["metadata_props"])
        if "graph" not in model:
            raise GraphError("it has no graph")
        self._check_graph(model["graph"], spec)

    def _check_graph(self, graph: Mapping[str, Any], spec: GraphSpec) -> None:
        for field, limit in (("node", MAX_NODES), ("initializer", MAX_INITIALIZERS)):
            if len(graph[field]) > limit:
                raise GraphError(
                    f"it has {len(graph[field])} {field}s, at most {limit} are allowed"
                )
        _check_signature("inputs", graph["input"], spec.inputs)
        for tensor in spec.inputs:
            self._define(tensor.name)
        for initializer in graph["initializer"]:
            self._add_constant(initializer, initializer.get("name", ""))
        for node in graph["node"]:
            self._check_node(node)
        _check_signature("outputs", graph["output"], spec.outputs)
        for tensor in spec.outputs:
            if tensor.name not in self._defined:
                raise GraphError(f"nothing computes the output {tensor.name!r}")

    def _define(self, name: str) -> None:
        if not name or name in self._defined:
            raise GraphError(
                f"the name {name!r:.80} is defined twice" if name else "a name is empty"
            )
        self._defined.add(name)

    def _add_constant(self, tensor: Mapping[str, Any], name: str) -> None:
        """Check and define an initializer, or the value of a `Constant` node."""
        self._define(name)
        constant = read_tensor(tensor, f"the constant {name!r:.80}")
        self._constants[name] = constant
        self._constant_elements[name] = math.prod(constant.shape)
        if (values := constant.values()) is not None:
            self._size_products[name] = product_of_sizes(values)

    def _check_node(self, node: Mapping[str, Any]) -> None:
        operator, inputs, outputs = node.get("op_type", ""), node["input"], node["output"]
        if node.get("domain", ""):
            raise GraphError(f"it uses the operator {node['domain']:.80}::{operator:.80}")
        if operator not in OPERATORS:
            raise GraphError(f"it uses the operator {operator!r:.80}, which is not allowed")
        if missing := [name for name in inputs if name and name not in self._defined]:
            raise GraphError(
                f"a {operator} uses {missing[0]!r:.80}, which nothing before it defines"
            )
        self.operators.add(operator)
        messages = (self._reader.read(raw, ATTRIBUTE_PROTO) for raw in node["attribute"])
        attributes = _check_attributes(operator, messages)
        tensors = {name: value for name, (field, value) in attributes.items() if field == "t"}
        if operator == "Constant":
            if list(attributes) != ["value"] or not tensors or inputs or len(outputs) != 1:
                raise GraphError("a Constant needs one tensor value, no inputs and one output")
            self._add_constant(tensors["value"], outputs[0])
            return
        for tensor in tensors.values():
            read_tensor(tensor, f"the value of a {operator}")
        check_windows(operator, {name: value for name, (_, value) in attributes.items()})
        if operator == "Split":
            self._check_split(inputs, outputs, attributes)
        for name in filter(None, outputs):  # an omitted output has an empty name
            self._define(name)
        self._check_sizes(operator, inputs, outputs)

    def _check_split(
        self, inputs: list[str], outputs: list[str], attributes: dict[str, tuple[str, Any]]
    ) -> None:
        """Check that a Split states as many outputs as it has; if not, the process would end."""
        stated = attributes.get("num_outputs", ("i", len(outputs)))
        sizes = self._constants.get(inputs[1]) if len(inputs) > 1 and inputs[1] else None
        listed = sizes is not None and sizes.shape == (len(outputs),)
        if stated != ("i", len(outputs)) or not (listed or len(inputs) == 1):
            raise GraphError(f"a Split has {len(outputs)} outputs, but states another number")

    def _check_sizes(self, operator: str, inputs: list[str], outputs: list[str]) -> None:
        """Bound the number of elements that constants make a node allocate."""
        sizes = [inputs[i] for i in SIZE_INPUTS.get(operator, ()) if i < len(inputs) and inputs[i]]
        elements = math.prod(self._elements_of_sizes(operator, name) for name in sizes)
        if inputs and all(name in self._constant_elements for name in inputs if name):
            stated = sizes and all(name in self._constants for name in sizes)
            if not stated and operator not in SIZE_PRESERVING_OPERATORS:
                raise GraphError(f"a {operator} has only constants as inputs")
            data = next((name for name in inputs if name and name not in sizes), None)
            elements *= max(1, self._constant_elements[data]) if data else 1
            self._constant_elements.update(dict.fromkeys(outputs, elements))
        else:
            product = self._product_passed_on(operator, inputs)
            self._size_products.update(dict.fromkeys(outputs[:1], product))
        if sizes and elements > MAX_ELEMENTS:
            raise GraphError(
                f"a {operator} asks for {elements:.3g} elements, at most {MAX_ELEMENTS} are allowed"
            )

    def _elements_of_sizes(self, operator: str, name: str) -> float:
        """Return the elements, or the factor, that a tensor of sizes sets; 1 if not known here."""
        constant = self._constants.get(name)
        if constant is None:
            return self._size_products.get(name, 1.0)
        values = constant.values()
        if values is None or (operator == "Pad" and values.size % 2):
            raise GraphError(
                f"a {operator} takes its sizes from a constant of shape {constant.shape}"
            )
        if operator == "Range" and constant.dtype.kind not in "iu":
            raise GraphError(f"a Range counts in {constant.dtype.name}, expected integers")
        if operator == "Pad":
            return product_of_sizes(np.abs(values.astype(float)).reshape(2, -1).sum(0) + 1)
        return product_of_sizes(values)

    def _product_passed_on(self, operator: str, inputs: list[str]) -> float:
        """Return the product of the constants in the sizes that an operator passes on."""
        if operator == "Concat":
            return math.prod(self._size_products.get(name, 1.0) for name in inputs)
        if operator in SIZE_PRESERVING_OPERATORS or operator == "Slice":
            return self._size_products.get(inputs[0], 1.0) if inputs else 1.0
        return 1.0


def _check_properties(properties: list[dict[str, Any]]) -> None:
    keys = [entry.get("key", "") for entry in properties]
    if other := [key for key in keys if not key.startswith(PROPERTY_PREFIX)]:
        raise GraphError(
            f"metadata_props has the key {other[0]!r:.80}, expected {PROPERTY_PREFIX}..."
        )
    if len(set(keys)) != len(keys):
        raise GraphError("metadata_props has a key twice")


def _check_signature(
    side: str, values: list[dict[str, Any]], specs: tuple[TensorSpec, ...]
) -> None:
    found = [_name_dtype_shape(value) for value in values]
    expected = [(spec.name, spec.dtype, spec.shape) for spec in specs]
    if found != expected:
        raise GraphError(f"its {side} are {found!s:.300}, the manifest says {expected}")


def _name_dtype_shape(value: Mapping[str, Any]) -> tuple[Any, Any, tuple[Any, ...]]:
    try:
        tensor_type = value["type"]["tensor_type"]
        dims = tensor_type["shape"]["dim"]
    except KeyError as error:
        raise GraphError(f"an input or output has no {error.args[0]}") from None
    if any("dim_value" in dim and "dim_param" in dim for dim in dims):
        raise GraphError("a dimension has a number and a name")
    number = tensor_type.get("elem_type")
    dtype = DTYPES[number].name if number in DTYPES else number
    return value.get("name"), dtype, tuple(d.get("dim_value", d.get("dim_param")) for d in dims)


def _check_attributes(
    operator: str, messages: Iterable[Mapping[str, Any]]
) -> dict[str, tuple[str, Any]]:
    """Check a node's attributes, and return field and value of each by its name."""
    attributes: dict[str, tuple[str, Any]] = {}
    for attribute in messages:
        name = attribute.get("name", "")
        where = f"the attribute {name!r:.80} of a {operator}"
        field = ATTRIBUTE_FIELDS.get(attribute.get("type", 0))
        held = {key for key in ATTRIBUTE_FIELDS.values() if attribute.get(key, []) != []}
        fits = held == {field} or (not held and field in LIST_FIELDS)
        if field is None or name in attributes or not fits:
            raise GraphError(f"{where} occurs twice, or does not match its type")
        if any(abs(i) > MAX_INTEGER for i in (attribute.get("i", 0), *attribute["ints"])):
            raise GraphError(f"{where} is larger than {MAX_INTEGER}")
        if not all(map(math.isfinite, (attribute.get("f", 0.0), *attribute["floats"]))):
            raise GraphError(f"{where} is not finite")
        attributes[name] = field, attribute[field]
    return attributes
