"""Exports an encoder and a decoder as a bundle: SavedModel, ONNX, reference values, manifest."""

from vae_export.adopt import Adopted, adopt
from vae_export.bundle import Exported, Provenance, export
from vae_export.plots import Curve

__all__ = ["Adopted", "Curve", "Exported", "Provenance", "adopt", "export"]
