"""Export of an encoder and a decoder as a bundle: SavedModel, ONNX, reference values, manifest.

`import vae_export` does not import TensorFlow. It is imported when you first use a name that needs
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vae_export.page.write import Page, write_page
from vae_runtime.errors import MissingExtraError
from vae_runtime.lazy_names import by_name, load_name

if TYPE_CHECKING:
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

_TENSORFLOW_MODULES = by_name(
    {
        "adoption.adopt": ("Adopted", "adopt"),
        "bundle": ("Exported", "ExportOptions", "export"),
        "bundle_writer": ("Provenance",),
        "card.plots": ("Curve",),
        "edge_forms.check.check": ("check_edge_forms",),
        "edge_forms.check.report": ("EdgeCheck",),
        "edge_forms.check.running": ("require_runtime",),
        "edge_forms.write": ("EdgeForms", "edge"),
        "prior.fit": ("PriorSamples", "fit_prior"),
        "scoring.plan": ("ScorePlan",),
        "variants.plan": ("VariantOutcome", "VariantPlan"),
        "variants.quantize": ("quantize",),
    }
)
"""Names that need TensorFlow, and their modules."""

__all__ = [
    "Adopted",
    "Curve",
    "EdgeCheck",
    "EdgeForms",
    "ExportOptions",
    "Exported",
    "Page",
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
    "write_page",
]


def __getattr__(name: str) -> Any:
    try:
        return load_name(__name__, _TENSORFLOW_MODULES, name)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise MissingExtraError("exporting a model", missing, "build") from None
