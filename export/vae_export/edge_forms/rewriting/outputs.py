"""Outputs that a runtime can have beside each other."""

from __future__ import annotations

from typing import Final

import onnx
from onnx import ModelProto

from vae_export.edge_forms.rewriting.editing import copied_info, drop_unused

DERIVED: Final = "reconstruction"
SOURCES: Final = ("logits", "values")


def without_reconstruction(model: ModelProto) -> ModelProto:
    """Return a model whose decoder gives logits or values only, without the reconstruction.

    hls4ml refuses an output that another output is computed from. The reconstruction is the sigmoid
    of the logits, or the values in the units of the data.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    outputs = {value.name for value in model.graph.output}
    if outputs.intersection(SOURCES):
        kept = [copied_info(v) for v in model.graph.output if v.name != DERIVED]
        del result.graph.output[:]
        result.graph.output.extend(kept)
        drop_unused(result)
    return result
