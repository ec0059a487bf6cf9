"""Conversion of a TensorFlow function to ONNX: by tf2onnx, then in canonical form, then checked.

tf2onnx does not raise if it cannot convert an operator: it logs, and writes a graph that no runtime
loads. So every graph is checked before it is used.

Canonical form: the outputs determine the order of the nodes, that order determines all names,
initializers are sorted by name, and `batch` is the first dimension of every input and output.
Denormal numbers become zeros, as in TensorFlow, because many processors need 100 times as long for
them. The same weights give the same bytes, whatever else the process did before.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from vae_export.graphs.from_tensorflow import from_tensorflow
from vae_export.graphs.portable import make_portable
from vae_export.graphs.repairs import repair_convolutions
from vae_export.graphs.rewrites import group_logarithms
from vae_runtime.bundle.graph_fields import GraphSpec, TensorSpec
from vae_runtime.data.numbers.denormals import without_denormals
from vae_runtime.errors import BundleError, ExportError
from vae_runtime.graph.check import check_graph
from vae_runtime.graph.operators import OPERATORS

OPSETS = (17, 18)
ONNX_DOMAINS = ("", "ai.onnx")
RANDOM_OPERATORS = ("Bernoulli", "Multinomial", "RandomNormal", "RandomUniform")
"""Prefixes of the names of ONNX's random operators."""

KEPT_PREFIX = "score."
"""Start of the names of nodes that no variant lowers."""

ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
IR_VERSION = 8
"""ONNX file format of opset 17 and 18: the oldest runtimes that know these operators read it."""


def convert(function: Any, spec: GraphSpec, metadata: dict[str, str]) -> bytes:
    """Convert a `tf.function` that returns a dict of tensors to a checked ONNX file.

    `metadata` becomes the file's `metadata_props`. The same weights give the same bytes. An
    `ExportError` says why ONNX cannot express the function as `spec` states.
    """
    name = Path(spec.file).stem
    try:
        model = from_tensorflow(function, spec.opset, name)
    except ExportError:
        raise
    except Exception as error:  # tf2onnx raises whatever its handlers raise
        raise ExportError(f"{name} cannot be converted to ONNX: {one_line(error)}") from error
    _check_operators(model, name)
    _check_signature(model, name, spec)
    repair_convolutions(model)
    make_portable(model)
    rewritten = group_logarithms(model, opset=spec.opset)
    canonical = canonicalize(rewritten, spec, metadata)
    data: bytes = canonical.SerializeToString(deterministic=True)
    try:
        check_onnx(data, spec)
    except ExportError as error:
        origin = _origin(str(error), rewritten, canonical)
        raise ExportError(f"{error}: replace the layer that it comes from{origin}") from error
    return data


def canonicalize(model: ModelProto, spec: GraphSpec, metadata: dict[str, str]) -> ModelProto:
    """Return the same computation in canonical form, named like the stem of `spec.file`."""
    nodes = list(_sorted_from_outputs(model.graph, [tensor.name for tensor in spec.outputs]))
    names = {tensor.name: tensor.name for tensor in (*spec.inputs, *spec.outputs)}
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    kept: dict[str, TensorProto] = {}
    renamed: list[NodeProto] = []
    for i, node in enumerate(nodes):
        copy = NodeProto()
        copy.CopyFrom(node)
        kept_prefix = KEPT_PREFIX if node.name.startswith(KEPT_PREFIX) else ""
        copy.name = f"{kept_prefix}{node.op_type}_{i}"
        copy.ClearField("doc_string")
        copy.ClearField("domain")  # ONNX's own domain has two spellings
        for j, source in enumerate(node.input):
            if source in initializers and source not in names:
                names[source] = f"{copy.name}.{j}"
                kept[source] = _copied_tensor(initializers[source], names[source])
            copy.input[j] = names[source] if source else ""
        for j, target in enumerate(node.output):
            names.setdefault(target, copy.name if j == 0 else f"{copy.name}.out{j}")
            copy.output[j] = names[target] if target else ""
        copy.ClearField("attribute")
        copy.attribute.extend(sorted(node.attribute, key=lambda a: a.name))
        for attribute in copy.attribute:
            if attribute.HasField("t"):
                attribute.t.CopyFrom(_copied_tensor(attribute.t, attribute.t.name))
        renamed.append(copy)
    graph = helper.make_graph(
        renamed,
        Path(spec.file).stem,
        [_value_info(tensor) for tensor in spec.inputs],
        [_value_info(tensor) for tensor in spec.outputs],
        sorted(kept.values(), key=lambda tensor: tensor.name),
    )
    result = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", spec.opset)],
        ir_version=IR_VERSION,
        producer_name="build-vae",
    )
    helper.set_model_props(result, dict(sorted(metadata.items())))
    return result


def check_onnx(data: bytes, spec: GraphSpec) -> None:
    """Raise `ExportError` if ONNX's checker, ONNX Runtime or the bundle loader refuses a file."""
    try:
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the two libraries have no common base class of errors
        raise ExportError(
            f"{spec.file} was converted to an ONNX graph that does not load: {one_line(error)}"
        ) from error
    try:
        check_graph(data, spec, spec.file)
    except BundleError as error:
        raise ExportError(str(error).partition(": build-vae never writes")[0]) from error


def _origin(message: str, converted: ModelProto, canonical: ModelProto) -> str:
    """Return where the node that a message names comes from, in brackets; nothing if unknown."""
    outputs = [value.name for value in canonical.graph.output]
    words = set(re.findall(r"\w+", message))
    nodes = list(
        zip(canonical.graph.node, _sorted_from_outputs(converted.graph, outputs), strict=True)
    )
    found = [node for new, node in nodes if new.name in words]
    found += [node for new, node in nodes if new.op_type in words]
    for node in found[:1]:
        # Not every node has kept its name, but then its weights, the last inputs, have.
        names = (node.name, *node.output, *reversed(node.input))
        return f" ({next((name for name in names if '/' in name), node.name)})"
    return ""


def _sorted_from_outputs(graph: GraphProto, outputs: list[str]) -> Iterator[NodeProto]:
    """Yield the nodes that the outputs need, in the post-order of a walk towards the inputs."""
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
        kind, operator, reason = "operator", node.op_type, ""
        if node.domain not in ONNX_DOMAINS:
            operator, reason = f"{node.domain}:{node.op_type}", "is not part of ONNX: "
        elif any(attribute.HasField("g") for attribute in node.attribute):
            kind = "control flow"
            reason = (
                "no bundle may hold: compute without tf.while_loop, tf.map_fn and conditions on "
                "values, or "
            )
        elif node.op_type.startswith(RANDOM_OPERATORS):
            kind = "random operator"
            reason = "gives other numbers in every runtime: make noise an input, or "
        elif not onnx.defs.has(node.op_type):
            kind, reason = "TensorFlow operator", "has no ONNX form: "
        elif node.op_type not in OPERATORS:
            reason = "no bundle may use: "
        if reason:
            raise ExportError(
                f"{name} holds the {kind} {operator} (from {node.name}), which {reason}replace the "
                "layer it comes from"
            )


def _check_signature(model: ModelProto, name: str, spec: GraphSpec) -> None:
    for kind, values, tensors in (
        ("inputs", model.graph.input, spec.inputs),
        ("outputs", model.graph.output, spec.outputs),
    ):
        found = {v.name: v.type.tensor_type for v in values}
        shapes = {key: tuple(d.dim_value for d in t.shape.dim)[1:] for key, t in found.items()}
        expected = {tensor.name: tensor.shape[1:] for tensor in tensors}
        if shapes.keys() != expected.keys() or not all(
            _may_be(shapes[key], expected[key]) for key in shapes
        ):
            raise ExportError(
                f"{name} has the {kind} {shapes}, expected {expected} after the batch dimension: a "
                "layer that captures a constant, or whose output shape is not fixed, is a known "
                "cause"
            )
        for tensor in tensors:
            if found[tensor.name].elem_type != ELEMENT_TYPES[tensor.dtype]:
                raise ExportError(
                    f"{name}'s {tensor.name} is not {tensor.dtype}: use {tensor.dtype} throughout"
                )


def _may_be(found: tuple[int, ...], expected: tuple[Any, ...]) -> bool:
    """Tell whether sizes, 0 where tf2onnx does not know them, may be the expected ones."""
    return len(found) == len(expected) and all(
        size in (0, wanted) for size, wanted in zip(found, expected, strict=True)
    )


def _value_info(spec: TensorSpec) -> Any:
    return helper.make_tensor_value_info(spec.name, ELEMENT_TYPES[spec.dtype], spec.shape)


def _copied_tensor(tensor: TensorProto, name: str) -> TensorProto:
    values = onnx.numpy_helper.to_array(tensor)
    if values.dtype == np.float32:
        values = without_denormals(values)
    return onnx.numpy_helper.from_array(values, name)


def one_line(error: Exception) -> str:
    """Return the text of another library's error as one line of at most 400 characters."""
    return " ".join(str(error).split())[:400]


@contextlib.contextmanager
def muted_logging() -> Iterator[None]:
    """Suppress log messages up to warnings: ONNX Runtime's tools log advice."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
