"""Fixture for tests of run folders."""

import numpy as np
import pytest

from small_runs import X


@pytest.fixture
def data(tmp_path):
    np.save(tmp_path / "x.npy", X)
    return tmp_path / "x.npy"
