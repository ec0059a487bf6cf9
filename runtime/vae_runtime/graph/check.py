"""The check of an ONNX file before ONNX Runtime sees it.

ONNX Runtime by itself opens files outside the bundle that a graph names, starts loops of 2^62
turns, allocates what a constant asks for, and skips what it does not know. So the file is read here
first, without ONNX Runtime and without a copy of its weights, and must be

- a model of ONNX's own operators, those in `onnx_format.OPERATORS`, of the opset that the manifest
  states, made of the fields in `onnx_format` and no other;
- in order: every name given once, before it is used;
- whole: each initializer has as many bytes as its shape and dtype say, all of them finite;
- bounded: in nodes, in tensors, and in what constants make it allocate before it has run;
- what the manifest says: the same inputs and outputs, by name, dtype and shape, in order.

Sizes that a graph computes from its inputs are known only when it runs, and are not bounded here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vae_runtime.bundle.fields import GraphSpec, TensorSpec
from vae_runtime.errors import BundleError
from vae_runtime.graph import operators as fmt
from vae_runtime.graph.convolutions import check_windows
from vae_runtime.graph.protobuf import Message, Reader, WireError
from vae_runtime.graph.tensors import MAX_NUMBER, Constant, GraphError, product, read_tensor

IR_VERSIONS = range(7, 14)
"""Versions of the ONNX file format that are read."""

PROPERTIES = "build_vae."
"""How every key of `metadata_props` begins: ONNX Runtime takes options from some of the others."""

MAX_NODES = 5_000
MAX_TENSORS = 5_000
MAX_FIELDS = 150_000
MAX_ELEMENTS = 1 << 24
"""Elements of a tensor whose size a constant states, or factor by which it makes one larger."""


def check_graph(data: bytes, spec: GraphSpec, where: str) -> frozenset[str]:
    """Checks an ONNX file.

    Args:
        data: its bytes.
        spec: what the manifest says of it.
        where: its path, for messages.

    Returns:
        The operators that it uses, by name.

    Raises:
        BundleError: names the rule that it breaks.
    """
    check = _Check(Reader(MAX_FIELDS))
    try:
        check.model(memoryview(data), spec)
    except (GraphError, WireError) as error:
        raise BundleError(
            f"{where}: {error}: no graph that build-vae writes is like this; export it again"
        ) from None
    return frozenset(check.operators)


class _Check:
    """One check: what is known of the names that were met so far."""

    def __init__(self, reader: Reader) -> None:
        self.operators: set[str] = set()
        self._reader = reader
        self._defined: set[str] = set()
        self._constants: dict[str, Constant] = {}
        # Elements of what follows from constants alone, which ONNX Runtime computes when it loads.
        self._folded: dict[str, float] = {}
        # For sizes that are put together, the product of the constants in them.
        self._volumes: dict[str, float] = {}

    def model(self, data: memoryview, spec: GraphSpec) -> None:
        model = self._reader.read(data, fmt.MODEL)
        if model.get("ir_version") not in IR_VERSIONS:
            raise GraphError(
                f"ir_version is {model.get('ir_version')}, expected {IR_VERSIONS.start} to "
                f"{IR_VERSIONS.stop - 1}"
            )
        imports = [self._reader.read(raw, fmt.OPSET) for raw in model["opset_import"]]
        found = [(entry.get("domain", ""), entry.get("version")) for entry in imports]
        if found != [("", spec.opset)]:
            raise GraphError(
                f"it uses the operator sets {found}, expected opset {spec.opset} alone"
            )
        self._properties(model["metadata_props"])
        if "graph" not in model:
            raise GraphError("it has no graph")
        self._graph(self._reader.read(model["graph"], fmt.GRAPH), spec)

    def _properties(self, raws: list[memoryview]) -> None:
        keys = [self._reader.read(raw, fmt.PROPERTY).get("key", "") for raw in raws]
        if other := [key for key in keys if not key.startswith(PROPERTIES)]:
            raise GraphError(
                f"metadata_props has the key {other[0]!r:.80}, expected {PROPERTIES}..."
            )
        if len(set(keys)) != len(keys):
            raise GraphError("metadata_props has a key twice")

    def _graph(self, graph: Mapping[str, Any], spec: GraphSpec) -> None:
        for what, most in (("node", MAX_NODES), ("initializer", MAX_TENSORS)):
            if len(graph[what]) > most:
                raise GraphError(f"it has {len(graph[what])} {what}s, at most {most} are allowed")
        self._tensors("takes", graph["input"], spec.inputs)
        for value in spec.inputs:
            self._define(value.name)
        for raw in graph["initializer"]:
            self._constant(raw)
        for raw in graph["node"]:
            self._node(raw)
        self._tensors("gives", graph["output"], spec.outputs)
        for value in spec.outputs:
            if value.name not in self._defined:
                raise GraphError(f"nothing computes the output {value.name!r}")

    def _define(self, name: str) -> None:
        if not name or name in self._defined:
            raise GraphError(f"the name {name!r:.80} is given twice" if name else "a name is empty")
        self._defined.add(name)

    def _tensors(self, verb: str, raws: list[memoryview], specs: tuple[TensorSpec, ...]) -> None:
        found = [self._value(raw) for raw in raws]
        expected = [(spec.name, spec.dtype, spec.shape) for spec in specs]
        if found != expected:
            raise GraphError(f"it {verb} {found!s:.300}, the manifest says {expected}")

    def _value(self, raw: memoryview) -> tuple[Any, Any, tuple[Any, ...]]:
        value = self._reader.read(raw, fmt.VALUE)
        kind = self._inner(self._inner(value, "type", fmt.TYPE), "tensor_type", fmt.TENSOR_TYPE)
        shape = self._inner(kind, "shape", fmt.SHAPE)
        dims = [self._reader.read(dim, fmt.DIMENSION) for dim in shape["dim"]]
        if any("dim_value" in dim and "dim_param" in dim for dim in dims):
            raise GraphError("a dimension has a number and a name")
        number = kind.get("elem_type")
        dtype = fmt.DTYPES[number].name if number in fmt.DTYPES else number
        return value.get("name"), dtype, tuple(d.get("dim_value", d.get("dim_param")) for d in dims)

    def _inner(self, outer: Mapping[str, Any], name: str, message: Message) -> dict[str, Any]:
        if name not in outer:
            raise GraphError(f"an input or output has no {name}")
        return self._reader.read(outer[name], message)

    def _constant(self, raw: memoryview, name: str | None = None) -> None:
        """Checks an initializer, or the value of a `Constant` node, which gives it its name."""
        tensor = self._reader.read(raw, fmt.TENSOR)
        name = tensor.get("name", "") if name is None else name
        self._define(name)
        constant = read_tensor(tensor, f"the constant {name!r:.80}")
        self._constants[name] = constant
        self._folded[name] = math.prod(constant.shape)
        if (values := constant.values()) is not None:
            self._volumes[name] = product(values)

    def _node(self, raw: memoryview) -> None:
        node = self._reader.read(raw, fmt.NODE)
        operator, inputs, outputs = node.get("op_type", ""), node["input"], node["output"]
        if node.get("domain", ""):
            raise GraphError(f"it uses the operator {node['domain']:.80}::{operator:.80}")
        if operator not in fmt.OPERATORS:
            raise GraphError(f"it uses the operator {operator!r:.80}, which is not allowed")
        if missing := [name for name in inputs if name and name not in self._defined]:
            raise GraphError(
                f"a {operator} takes {missing[0]!r:.80}, which nothing before it gives"
            )
        self.operators.add(operator)
        attributes = self._attributes(operator, node["attribute"])
        tensors = {name: value for name, (kind, value) in attributes.items() if kind == "t"}
        if operator == "Constant":
            if list(attributes) != ["value"] or not tensors or inputs or len(outputs) != 1:
                raise GraphError("a Constant has more, or less, than a value")
            self._constant(tensors["value"], outputs[0])
            return
        for tensor in tensors.values():
            read_tensor(self._reader.read(tensor, fmt.TENSOR), f"the value of a {operator}")
        check_windows(operator, {name: value for name, (_, value) in attributes.items()})
        if operator == "Split":
            self._parts(inputs, outputs, attributes)
        for name in filter(None, outputs):  # an output that is left out has no name
            self._define(name)
        self._sizes(operator, inputs, outputs)

    def _attributes(self, operator: str, raws: list[memoryview]) -> dict[str, tuple[str, Any]]:
        """Checks a node's attributes: kinds, by the field that holds the value, and values."""
        attributes: dict[str, tuple[str, Any]] = {}
        for raw in raws:
            attribute = self._reader.read(raw, fmt.ATTRIBUTE)
            name = attribute.get("name", "")
            kind = fmt.ATTRIBUTE_TYPES.get(attribute.get("type", 0))
            held = {key for key in fmt.ATTRIBUTE_TYPES.values() if attribute.get(key, []) != []}
            fits = held == {kind} or (not held and kind in fmt.LISTS)
            if kind is None or name in attributes or not fits:
                raise GraphError(f"{name!r:.80} of a {operator} is there twice, or not of its type")
            if any(abs(i) > MAX_NUMBER for i in (attribute.get("i", 0), *attribute["ints"])):
                raise GraphError(f"{name!r:.80} of a {operator} is larger than {MAX_NUMBER}")
            if not all(map(math.isfinite, (attribute.get("f", 0.0), *attribute["floats"]))):
                raise GraphError(f"{name!r:.80} of a {operator} is not finite")
            attributes[name] = kind, attribute[kind]
        return attributes

    def _parts(
        self, inputs: list[str], outputs: list[str], attributes: dict[str, tuple[str, Any]]
    ) -> None:
        """Holds a Split to its outputs: of another number ONNX Runtime ends the process."""
        stated = attributes.get("num_outputs", ("i", len(outputs)))
        sizes = self._constants.get(inputs[1]) if len(inputs) > 1 and inputs[1] else None
        listed = sizes is not None and sizes.shape == (len(outputs),)
        if stated != ("i", len(outputs)) or not (listed or len(inputs) == 1):
            raise GraphError(f"a Split has {len(outputs)} outputs, and states another number")

    def _sizes(self, operator: str, inputs: list[str], outputs: list[str]) -> None:
        """Bounds what is allocated because a constant says so."""
        places = fmt.SIZE_INPUTS.get(operator, ())
        sizes = [inputs[i] for i in places if i < len(inputs) and inputs[i]]
        volume = math.prod(self._volume(operator, name) for name in sizes)
        if inputs and all(name in self._folded for name in inputs if name):
            stated = sizes and all(name in self._constants for name in sizes)
            if not stated and operator not in fmt.SAME_SIZE:
                raise GraphError(f"a {operator} has constants alone as its inputs")
            data = next((name for name in inputs if name and name not in sizes), None)
            volume *= max(1, self._folded[data]) if data else 1
            self._folded.update(dict.fromkeys(outputs, volume))
        else:
            self._volumes.update(dict.fromkeys(outputs[:1], self._put_together(operator, inputs)))
        if sizes and volume > MAX_ELEMENTS:
            raise GraphError(
                f"a {operator} asks for {volume:.3g} elements, at most {MAX_ELEMENTS} are allowed"
            )

    def _volume(self, operator: str, name: str) -> float:
        """How many elements, or times as many, an operator makes of sizes; 1 if not known here."""
        constant = self._constants.get(name)
        if constant is None:
            return self._volumes.get(name, 1.0)
        values = constant.values()
        if values is None or (operator == "Pad" and values.size % 2):
            raise GraphError(f"a {operator} takes its sizes from a constant {constant.shape}")
        if operator == "Range" and constant.dtype.kind not in "iu":
            raise GraphError("a Range counts in fractions")
        if operator == "Pad":
            return product(np.abs(values.astype(float)).reshape(2, -1).sum(0) + 1)
        return product(values)

    def _put_together(self, operator: str, inputs: list[str]) -> float:
        """The product of the constants in sizes that an operator hands on."""
        if operator == "Concat":
            return math.prod(self._volumes.get(name, 1.0) for name in inputs)
        if operator in fmt.SAME_SIZE or operator == "Slice":
            return self._volumes.get(inputs[0], 1.0) if inputs else 1.0
        return 1.0
