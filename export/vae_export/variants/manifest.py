"""Variants in the manifest and the model card of a bundle that is not yet published."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from vae_export.card.readme import with_variants
from vae_export.scoring.write import provisional_calibration
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest, Variant
from vae_runtime.bundle.manifest import MODEL_CARD
from vae_runtime.bundle.publishing import write_manifest
from vae_runtime.bundle.score_section import with_score_section
from vae_runtime.bundle.variants import PRECISIONS


def update_manifest(folder: Path, changes: dict[str, Variant | None]) -> None:
    """Set variants, or remove those that are None; write manifest and model card again."""
    manifest = Bundle(folder).manifest
    changed = {**manifest.variants, **changes}
    variants = {name: v for name in PRECISIONS if (v := changed.get(name))}
    for name in changes.keys() - variants.keys():
        shutil.rmtree(folder / name, ignore_errors=True)
    manifest = replace(manifest, variants=variants)
    if manifest.score:
        manifest = replace(manifest, score=provisional_calibration(folder, manifest))
    write_card(folder, manifest)
    write_manifest(folder, manifest)


def write_card(folder: Path, manifest: Manifest) -> None:
    """Write the sections of the card anew that depend on variants and calibrations."""
    card = folder / MODEL_CARD
    text = with_score_section(card.read_text("utf-8"), manifest)
    card.write_text(with_variants(text, manifest), "utf-8")
