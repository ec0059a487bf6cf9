"""Export of an encoder and a decoder as a bundle: SavedModel, ONNX, reference values, manifest."""

from vae_export.adoption.adopt import Adopted, adopt
from vae_export.bundle import Exported, ExportOptions, export
from vae_export.bundle_writer import Provenance
from vae_export.card.plots import Curve
from vae_export.edge_forms.write import EdgeForms, edge
from vae_export.scoring.plan import ScorePlan
from vae_export.variants.quantize import VariantOutcome, VariantPlan, quantize

__all__ = [
    "Adopted",
    "Curve",
    "EdgeForms",
    "ExportOptions",
    "Exported",
    "Provenance",
    "ScorePlan",
    "VariantOutcome",
    "VariantPlan",
    "adopt",
    "edge",
    "export",
    "quantize",
]
