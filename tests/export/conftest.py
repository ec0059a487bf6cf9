"""What the tests of models of others share."""

import pytest

from keras_models import vectors
from vae_export import adopt


@pytest.fixture
def refuse():
    """A function that adopts models, and holds the refusal to its error and message."""

    def refuse(error, message, encoder=None, decoder=None, loss=None, shape=None):
        usual = vectors()
        with pytest.raises(error) as caught:
            adopt(encoder or usual[0], decoder or usual[1], loss, shape)
        assert message in str(caught.value), str(caught.value)
        assert "\n" not in str(caught.value)

    return refuse
