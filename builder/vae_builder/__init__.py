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
from vae_builder.data import Dataset, load_dataset
from vae_runtime.data.sources import load_array
from vae_runtime.errors import MissingExtraError
from vae_runtime.loss import LossSpec

if TYPE_CHECKING:
    from vae_builder.adopted import export_models, load_model
    from vae_builder.build import export_trained, plan_variants
    from vae_builder.model.architectures import build_models
    from vae_builder.model.vae import VAE
    from vae_builder.run.runs import Source, load_run, resume_run, train_run
    from vae_builder.training.checkpoint import Checkpoint, Epoch
    from vae_builder.training.evaluation import evaluate
    from vae_builder.training.loop import Progress
    from vae_builder.training.train import Trained, train

_NEEDS_TENSORFLOW = {
    "build_models": "model.architectures",
    "VAE": "model.vae",
    "Checkpoint": "training.checkpoint",
    "Epoch": "training.checkpoint",
    "Progress": "training.loop",
    "Trained": "training.train",
    "evaluate": "training.evaluation",
    "train": "training.train",
    "Source": "run.runs",
    "load_run": "run.runs",
    "resume_run": "run.runs",
    "train_run": "run.runs",
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
