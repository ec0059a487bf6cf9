"""Export of an encoder and a decoder as a bundle: SavedModel, ONNX, reference values, manifest."""

from vae_export.adoption.adopt import Adopted, adopt
from vae_export.bundle import Exported, ExportOptions, export
from vae_export.bundle_writer import Provenance
from vae_export.card.plots import Curve
from vae_export.edge_forms.check.check import check_edge_forms
from vae_export.edge_forms.check.report import EdgeCheck
from vae_export.edge_forms.check.running import require_runtime
from vae_export.edge_forms.write import EdgeForms, edge
from vae_export.prior.fit import PriorSamples, fit_prior
from vae_export.scoring.plan import ScorePlan
from vae_export.variants.plan import VariantOutcome, VariantPlan
from vae_export.variants.quantize import quantize

__all__ = [
    "Adopted",
    "Curve",
    "EdgeCheck",
    "EdgeForms",
    "ExportOptions",
    "Exported",
    "PriorSamples",
    "Provenance",
    "ScorePlan",
    "VariantOutcome",
    "VariantPlan",
    "adopt",
    "check_edge_forms",
    "edge",
    "export",
    "fit_prior",
    "quantize",
    "require_runtime",
]
