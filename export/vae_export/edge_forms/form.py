"""The form that edge forms are written in: target, batch and graphs, checked before writing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import onnx
from onnx import ModelProto

from vae_export.edge_forms.rewriting.registry import rewritten
from vae_export.edge_forms.targets import FIXED, INT8_DYNAMIC, ONE, OPEN, TARGETS, Target
from vae_export.graphs.convert import one_line
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest
from vae_runtime.bundle.graph_fields import GraphSpec
from vae_runtime.errors import ExportError, OptionError

Batch = int | str
"""Number of samples in one run, or `open` for any number."""

OPEN_BATCH: Final = 3
"""Samples in a test data set of a graph with an open batch."""


@dataclass(frozen=True)
class WrittenGraph:
    """An ONNX file, with its inputs and outputs in their order."""

    data: bytes
    spec: GraphSpec


@dataclass(frozen=True)
class Form:
    """What is written.

    Attributes:
        target: the runtime; None for the bundle's own graphs with a fixed batch.
        batch: number of samples in one run; None if it is open.
        samples: number of samples in a test data set.
        graphs: graphs to write, by name.
        left_out: graphs that the target does not take, with the reason.
    """

    target: Target | None
    batch: int | None
    samples: int
    graphs: Mapping[str, GraphSpec]
    left_out: Mapping[str, str]

    def graphs_of(self, bundle: Bundle) -> dict[str, WrittenGraph]:
        """Return the graphs of a bundle in this form.

        Raises `ExportError`, which names the file, if a graph does not allow it.
        """
        graphs = {}
        for name, spec in self.graphs.items():
            data = self.apply(bundle.read(spec.file), spec.file)
            kept = {value.name for value in onnx.load_from_string(data).graph.output}
            outputs = tuple(tensor for tensor in spec.outputs if tensor.name in kept)
            graphs[name] = WrittenGraph(data, replace(spec, outputs=outputs))
        return graphs

    def apply(self, data: bytes, where: str) -> bytes:
        """Return an ONNX file in this form, checked by ONNX's checker.

        Raises `ExportError`, which names `where`, if the graph does not allow it.
        """
        model = onnx.load_from_string(data)
        if self.batch is not None:
            _set_batch(model, self.batch)
        try:
            if self.target:
                model = rewritten(model, self.target)
            onnx.checker.check_model(model, full_check=True)
        except ExportError as error:
            title = self.target.title if self.target else ""
            raise ExportError(f"{where} cannot be written for {title}: {error}") from error
        except Exception as error:
            size = f"have a batch of {self.batch}" if self.batch else "be rewritten"
            raise ExportError(f"{where} cannot {size}: {one_line(error)}") from error
        result: bytes = model.SerializeToString(deterministic=True)
        return result


def choose_form(manifest: Manifest, target: str | None, batch: Batch, precision: str) -> Form:
    """Return the form; raise `OptionError` if the target cannot have what is asked for."""
    chosen = _find_target(target)
    size = _batch_size(batch)
    graphs = dict(manifest.graphs_of(precision).items())
    if chosen is None:
        if size is None:
            raise OptionError("batch is 'open', expected a number: only --for NAME takes 'open'")
        return Form(None, size, size, graphs, {})
    kind = precision_kind(manifest, precision)
    asked = [kind] if kind not in chosen.precisions else []
    asked += [OPEN] if size is None and chosen.batch != OPEN else []
    asked += [FIXED] if size not in (None, 1) and chosen.batch == ONE else []
    for thing in asked:
        what = {OPEN: "an open batch", FIXED: f"a batch of {batch}"}.get(thing, thing)
        raise OptionError(f"{chosen.title} cannot have {what}: {chosen.refused[thing]}")
    samples = size or (1 if kind == INT8_DYNAMIC else OPEN_BATCH)
    taken = {name: spec for name, spec in graphs.items() if name in chosen.graphs}
    left_out = {name: chosen.refused[name] for name in graphs if name not in taken}
    return Form(chosen, size, samples, taken, left_out)


def precision_kind(manifest: Manifest, precision: str) -> str:
    """Return the precision as `Target.precisions` names it: int8 is static or dynamic."""
    if precision != "int8":
        return precision
    return f"int8 {manifest.variants[precision].method}"


def _find_target(name: str | None) -> Target | None:
    if name is not None and name not in TARGETS:
        raise OptionError(f"target is {name!r}, expected one of {', '.join(TARGETS)}")
    return TARGETS[name] if name else None


def _batch_size(batch: Batch) -> int | None:
    if batch == OPEN:
        return None
    if not isinstance(batch, int) or batch < 1:
        raise OptionError(f"batch is {batch}, expected 1 or more")
    return batch


def _set_batch(model: ModelProto, batch: int) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
