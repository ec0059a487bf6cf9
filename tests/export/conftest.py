"""Fixtures for tests of exports, and of adopted Keras models."""

import contextlib

import pytest

from keras_models import vectors
from no_figures import is_about_figures, no_figures
from vae_export import adopt


@pytest.fixture
def refuse():
    """Return a function that adopts models and checks the type and message of the error."""

    def refuse(error, message, encoder=None, decoder=None, loss=None, shape=None):
        models = vectors()
        with pytest.raises(error) as caught:
            adopt(encoder or models[0], decoder or models[1], loss, shape)
        assert message in str(caught.value), str(caught.value)
        assert "\n" not in str(caught.value)

    return refuse


@pytest.fixture(autouse=True)
def without_figures(request):
    """Leave figures out of exports, except where a test is about them."""
    with contextlib.nullcontext() if is_about_figures(request) else no_figures():
        yield
