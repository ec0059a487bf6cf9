"""Fixture for tests that train and export."""

import contextlib

import pytest

from no_figures import is_about_figures, no_figures


@pytest.fixture(autouse=True)
def without_figures(request):
    """Leave figures out of exports, except where a test is about them."""
    with contextlib.nullcontext() if is_about_figures(request) else no_figures():
        yield
