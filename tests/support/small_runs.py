"""A small run of training, for tests of run folders."""

import numpy as np

from vae_builder import TrainConfig

CONFIG = TrainConfig(hidden=(4,), latent_dim=2, epochs=3, batch_size=4, seed=3, patience=3)


STEPS = 3 * 9  # of 42 samples, 36 train


X = np.random.default_rng(0).integers(0, 256, (42, 5, 4, 1)).astype(np.uint8)


class StopError(Exception):
    pass


def stop_at(step):
    def on_progress(progress):
        if progress.step >= step:
            raise StopError

    return on_progress


def weights(trained):
    return [w.numpy().tobytes() for w in trained.vae.weights]
