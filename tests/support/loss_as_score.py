"""A bundle's loss as its score, calibrated on uniform samples."""

from types import SimpleNamespace

import numpy as np


def score(self, x, *, condition=None, strict=True):
    """Stand for `VAERuntime.score`."""
    return SimpleNamespace(score=self.loss(x, condition=condition, strict=strict).loss)


@property
def calibration(self):
    """Stand for `VAERuntime.calibration`."""
    x = np.random.default_rng(5).random((300, *self.manifest.input.shape), dtype=np.float32)
    if self.manifest.input.dtype == "uint8":
        x = (255 * x).astype(np.uint8)
    return SimpleNamespace(scores=np.sort(self.loss(x).loss))
