"""The builder of build-vae: data, model, training, and the `build-vae` command.

```python
from vae_builder import TrainConfig, export_trained, load_dataset, train

trained = train(load_dataset("digits"), TrainConfig(epochs=30))
exported = export_trained(trained, "digits-vae")
print(exported.report)
```

TensorFlow is imported by the first name that needs it, not by `import vae_builder`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vae_builder.config import PRESETS, TrainConfig
from vae_builder.data import Dataset, load_array, load_dataset
from vae_runtime.errors import MissingExtraError
from vae_runtime.loss import LossSpec

if TYPE_CHECKING:
    from vae_builder.adopted import export_models, load_model
    from vae_builder.build import export_trained, plan_variants
    from vae_builder.checkpoint import Checkpoint, Epoch
    from vae_builder.evaluation import evaluate
    from vae_builder.models import build_models
    from vae_builder.run import Source, load_run, resume_run, train_run
    from vae_builder.trainer import Progress
    from vae_builder.training import Trained, train
    from vae_builder.vae import VAE

_NEEDS_TENSORFLOW = {
    "build_models": "models",
    "VAE": "vae",
    "Checkpoint": "checkpoint",
    "Epoch": "checkpoint",
    "Progress": "trainer",
    "Trained": "training",
    "evaluate": "evaluation",
    "train": "training",
    "Source": "run",
    "load_run": "run",
    "resume_run": "run",
    "train_run": "run",
    "export_trained": "build",
    "plan_variants": "build",
    "export_models": "adopted",
    "load_model": "adopted",
}

__all__ = [
    "PRESETS",
    "VAE",
    "Checkpoint",
    "Dataset",
    "Epoch",
    "LossSpec",
    "Progress",
    "Source",
    "TrainConfig",
    "Trained",
    "build_models",
    "evaluate",
    "export_models",
    "export_trained",
    "load_array",
    "load_dataset",
    "load_model",
    "load_run",
    "plan_variants",
    "resume_run",
    "train",
    "train_run",
]


def __getattr__(name: str) -> Any:
    if name not in _NEEDS_TENSORFLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(f"{__name__}.{_NEEDS_TENSORFLOW[name]}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "building a model", str(error.name).partition(".")[0], "build"
        ) from None
    value = getattr(module, name)
    globals()[name] = value
    return value
