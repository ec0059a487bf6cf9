"""What the tests of the commands share."""

import numpy as np
import pytest


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)


@pytest.fixture
def data(images, tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, images)
    return path
