"""Exports without the figures of the model card, which take half of the time of a small export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def no_figures() -> Iterator[None]:
    """Leave the figures out of every export in this block."""
    from vae_export import bundle_writer

    with pytest.MonkeyPatch.context() as patch:
        for name in ("draw_figures", "draw_score_figures"):
            patch.setattr(bundle_writer, name, lambda *_: ())
        yield


def is_about_figures(request: pytest.FixtureRequest) -> bool:
    """Return whether a test looks at figures: those of the card, of whole bundles, or marked."""
    marked = request.node.get_closest_marker("figures") is not None
    return marked or "card" in request.path.parts or request.path.name == "test_bundle.py"
