"""TensorFlow function to ONNX: converted by tf2onnx, put into canonical form, checked.

tf2onnx does not raise where it meets an operator that it cannot convert: it logs, and writes a
graph that no runtime loads. So nothing that comes from it is believed before it was checked.

Canonical form: one node order that follows from the outputs, names that follow from that order,
initializers sorted by name, `batch` as the first dimension of every input and output. The same
weights give the same bytes, whatever else the process did before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tf2onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from vae_export.graphs.rewrites import group_logarithms
from vae_runtime.bundle.fields import GraphSpec, TensorSpec
from vae_runtime.errors import BundleError, ExportError
from vae_runtime.graph.check import check_graph
from vae_runtime.graph.operators import OPERATORS

OPSETS = (17, 18)
DOMAINS = ("", "ai.onnx")
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomUniform")
ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
IR_VERSION = 8
"""The file format of opset 17 and 18: the oldest runtimes that know these operators read it."""


def convert(
    function: Any,
    name: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    *,
    opset: int,
    metadata: dict[str, str],
) -> bytes:
    """Converts a TensorFlow function to a checked ONNX file.

    Args:
        function: a `tf.function` with an input signature that returns a dict of tensors.
        name: name of the graph.
        inputs: what the graph must take.
        outputs: what the graph must give.
        opset: ONNX operator set.
        metadata: stored in the file as `metadata_props`.

    Returns:
        Bytes of the ONNX file; the same for the same weights.

    Raises:
        ExportError: the function cannot be expressed in ONNX as stated.
    """
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        model, _ = tf2onnx.convert.from_function(
            function,
            input_signature=list(function.input_signature),
            opset=opset,
            custom_rewriter=[_fix_reshapes],
        )
    except Exception as error:  # tf2onnx raises whatever its handlers raise
        raise ExportError(f"{name} cannot be converted to ONNX: {_one_line(error)}") from error
    _check_operators(model, name)
    _check_signature(model, name, inputs, outputs)
    model = group_logarithms(model, opset=opset)
    canonical = canonicalize(model, name, inputs, outputs, opset=opset, metadata=metadata)
    data: bytes = canonical.SerializeToString(deterministic=True)
    check(data, GraphSpec(f"{name}.onnx", opset, inputs, outputs))
    return data


def canonicalize(
    model: ModelProto,
    name: str,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    *,
    opset: int,
    metadata: dict[str, str],
) -> ModelProto:
    """The same computation in canonical form; see the module's text."""
    nodes = list(_from_outputs(model.graph, [spec.name for spec in outputs]))
    names = {spec.name: spec.name for spec in (*inputs, *outputs)}
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    kept: dict[str, TensorProto] = {}
    renamed: list[NodeProto] = []
    for i, node in enumerate(nodes):
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = f"{node.op_type}_{i}"
        copy.ClearField("doc_string")
        copy.ClearField("domain")  # of an operator of ONNX itself it has two spellings
        for j, source in enumerate(node.input):
            if source in initializers and source not in names:
                names[source] = f"{copy.name}.{j}"
                kept[source] = _renamed_tensor(initializers[source], names[source])
            copy.input[j] = names[source] if source else ""
        for j, target in enumerate(node.output):
            names.setdefault(target, copy.name if j == 0 else f"{copy.name}.out{j}")
            copy.output[j] = names[target] if target else ""
        copy.ClearField("attribute")
        copy.attribute.extend(sorted(node.attribute, key=lambda a: a.name))
        for attribute in copy.attribute:
            if attribute.HasField("t"):
                attribute.t.CopyFrom(_renamed_tensor(attribute.t, attribute.t.name))
        renamed.append(copy)
    graph = helper.make_graph(
        renamed,
        name,
        [_value_info(spec) for spec in inputs],
        [_value_info(spec) for spec in outputs],
        sorted(kept.values(), key=lambda tensor: tensor.name),
    )
    result = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
        producer_name="build-vae",
    )
    helper.set_model_props(result, dict(sorted(metadata.items())))
    return result


def check(data: bytes, spec: GraphSpec) -> None:
    """Checks an ONNX file: with ONNX's own checker, by ONNX Runtime, and as a bundle's loader does.

    Args:
        data: bytes of the file.
        spec: what the manifest will say of it.

    Raises:
        ExportError: one of the three refuses it.
    """
    try:
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # neither library has a common base for what it raises
        raise ExportError(
            f"{spec.file} was converted to an ONNX graph that does not load: {_one_line(error)}: "
            "a Conv2DTranspose whose stride is larger than its kernel is a known cause"
        ) from error
    try:
        check_graph(data, spec, spec.file)
    except BundleError as error:
        raise ExportError(f"{error}: replace the layer that it comes from") from error


def _fix_reshapes(graph: Any, operators: list[Any]) -> list[Any]:
    """Gives a reshape to (batch, constants...) the constant shape (-1, constants...).

    Keras reads the batch size from the tensor. Whether tf2onnx later sees through that depends on
    the order of a set, and with it on PYTHONHASHSEED: the same model had two graphs.
    """
    for reshape in [node for node in operators if node.type == "Reshape"]:
        shape = reshape.inputs[1]
        if shape is None or shape.type != "Pack":
            continue
        sizes = [int(n.get_tensor_value()) if n.is_const() else -1 for n in shape.inputs]
        if sizes.count(-1) == 1:
            constant = graph.make_const(f"{reshape.name}/fixed_shape", np.array(sizes, np.int32))
            graph.replace_input(reshape, reshape.input[1], constant.output[0], 1)
    return operators


def _from_outputs(graph: GraphProto, outputs: list[str]) -> Iterator[NodeProto]:
    """Nodes in the order in which a walk from the outputs towards the inputs completes them."""
    producer = {target: node for node in graph.node for target in node.output}
    done: set[int] = set()
    for output in outputs:
        stack = [(producer.get(output), False)]
        while stack:
            node, complete = stack.pop()
            if node is None or id(node) in done:
                continue
            if complete:
                done.add(id(node))
                yield node
                continue
            stack.append((node, True))
            stack.extend((producer.get(source), False) for source in reversed(node.input))


def _check_operators(model: ModelProto, name: str) -> None:
    for node in model.graph.node:
        if node.domain not in DOMAINS:
            raise ExportError(
                f"{name} holds the operator {node.domain}:{node.op_type} (from {node.name}), which "
                "is not part of ONNX: replace the layer it comes from"
            )
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise ExportError(
                f"{name} holds the control flow {node.op_type} (from {node.name}), which is not "
                "supported: give a recurrent layer unroll=True, or replace the layer it comes from"
            )
        if node.op_type.startswith(RANDOM):
            raise ExportError(
                f"{name} holds the random operator {node.op_type} (from {node.name}), which gives "
                "other numbers in every runtime: make noise an input, or replace the layer it "
                "comes from"
            )
        if not onnx.defs.has(node.op_type):
            raise ExportError(
                f"{name} holds the TensorFlow operator {node.op_type} (from {node.name}), which "
                "has no ONNX form: replace the layer it comes from"
            )
        if node.op_type not in OPERATORS:
            raise ExportError(
                f"{name} holds the operator {node.op_type} (from {node.name}), which no bundle may "
                "use: replace the layer it comes from"
            )


def _check_signature(
    model: ModelProto, name: str, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
) -> None:
    for kind, values, specs in (
        ("inputs", model.graph.input, inputs),
        ("outputs", model.graph.output, outputs),
    ):
        found = {value.name: _shape(value) for value in values}
        expected = {spec.name: spec.shape[1:] for spec in specs}
        if found != expected:
            raise ExportError(
                f"{name} has the {kind} {found}, expected {expected} behind the batch dimension: a "
                "layer that captures a constant, or whose output shape is not fixed, is a known "
                "cause"
            )
        for value in values:
            dtype = next(spec.dtype for spec in specs if spec.name == value.name)
            if value.type.tensor_type.elem_type != ELEMENT_TYPES[dtype]:
                raise ExportError(f"{name}'s {value.name} is not {dtype}: use {dtype} throughout")


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)[1:]


def _value_info(spec: TensorSpec) -> Any:
    return helper.make_tensor_value_info(spec.name, ELEMENT_TYPES[spec.dtype], spec.shape)


def _renamed_tensor(tensor: TensorProto, name: str) -> TensorProto:
    array = onnx.numpy_helper.to_array(tensor)
    return onnx.numpy_helper.from_array(array, name)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
