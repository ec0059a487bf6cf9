"""Training that takes no time, for tests of how a search chooses, shares and continues trials.

The loss is a smooth function of the options, so that there is something to find.
"""

import math
import time
from types import SimpleNamespace

import numpy as np

from vae_builder import Dataset
from vae_builder.training.loop import Progress
from vae_runtime.errors import TrainingError
from vae_runtime.loss import Losses

EPOCHS = 6
DIVERGES_ABOVE = 5e-3
"""Learning rate above which training fails."""


def random_dataset(*shape, count=300, name="random"):
    """Return a data set of uniform noise."""
    x = np.random.default_rng(0).random((count, *shape), np.float32)
    return Dataset.from_arrays(name, x, validation=x[:20], test=x[:20])


def quick_loss(config):
    """Return the validation loss that training with these options ends with."""
    return (
        (math.log10(config.learning_rate) + 2.8) ** 2
        + (config.latent_dim - 7) ** 2 / 100
        + config.input_dropout
        + sum(config.hidden) / 1e4
    )


def quick_train_run(path, dataset, config, *, force, on_progress, seconds=0.0):
    """Do as `train_run` does, as far as a search can see."""
    assert force
    time.sleep(seconds)
    path.mkdir()
    (path / "run.json").write_text("{}")
    loss = quick_loss(config)
    for epoch in range(1, EPOCHS + 1):
        if config.learning_rate > DIVERGES_ABOVE:
            raise TrainingError("the loss is nan at step 1")
        validation = Losses(loss + 1 / epoch, 0.0, loss + 1 / epoch)
        on_progress(Progress(epoch + 1, epoch, EPOCHS, validation, validation))
    return SimpleNamespace(validation=Losses(loss, 0.0, loss))
