"""Exports an encoder and a decoder as a bundle: SavedModel, ONNX, reference values, manifest."""

from vae_export.adopt import Adopted, adopt
from vae_export.bundle import Exported, ExportOptions, Provenance, export
from vae_export.edge import EdgeForms, edge
from vae_export.plots import Curve
from vae_export.variants import VariantOutcome, VariantPlan, quantize

__all__ = [
    "Adopted",
    "Curve",
    "EdgeForms",
    "ExportOptions",
    "Exported",
    "Provenance",
    "VariantOutcome",
    "VariantPlan",
    "adopt",
    "edge",
    "export",
    "quantize",
]
