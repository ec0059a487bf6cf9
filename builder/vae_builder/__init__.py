"""The builder of build-vae: data, model, training, and export.

```python
from vae_builder import TrainConfig, export_trained, load_dataset, train

trained = train(load_dataset("digits"), TrainConfig(epochs=30))
exported = export_trained(trained, "digits-vae")
print(exported.report)
```

`import vae_builder` does not import TensorFlow. It is imported when you first use a name that needs
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vae_builder.config import PRESETS, TrainConfig
from vae_builder.data import Dataset, load_dataset
from vae_runtime.data.sources import load_array
from vae_runtime.errors import MissingExtraError
from vae_runtime.lazy_names import by_name, load_name
from vae_runtime.loss import LossSpec

if TYPE_CHECKING:
    from vae_builder.model.architectures import build_models
    from vae_builder.model.vae import VAE
    from vae_builder.own_models.export import export_model, export_models
    from vae_builder.own_models.files import load_model
    from vae_builder.run.record import Source
    from vae_builder.run.runs import load_run, resume_run, train_run
    from vae_builder.search.records import load_best
    from vae_builder.search.search import SearchResult, search_options
    from vae_builder.trained_models import export_trained, plan_variants
    from vae_builder.training.checkpoint import Checkpoint, Epoch
    from vae_builder.training.evaluation import evaluate
    from vae_builder.training.loop import Progress
    from vae_builder.training.train import Trained, train

_TENSORFLOW_MODULES = by_name(
    {
        "own_models.export": ("export_model", "export_models"),
        "own_models.files": ("load_model",),
        "model.architectures": ("build_models",),
        "model.vae": ("VAE",),
        "trained_models": ("export_trained", "plan_variants"),
        "search.records": ("load_best",),
        "search.search": ("SearchResult", "search_options"),
        "run.record": ("Source",),
        "run.runs": ("load_run", "resume_run", "train_run"),
        "training.checkpoint": ("Checkpoint", "Epoch"),
        "training.evaluation": ("evaluate",),
        "training.loop": ("Progress",),
        "training.train": ("Trained", "train"),
    }
)
"""Names that need TensorFlow, and their modules."""

__all__ = [
    "PRESETS",
    "VAE",
    "Checkpoint",
    "Dataset",
    "Epoch",
    "LossSpec",
    "Progress",
    "SearchResult",
    "Source",
    "TrainConfig",
    "Trained",
    "build_models",
    "evaluate",
    "export_model",
    "export_models",
    "export_trained",
    "load_array",
    "load_best",
    "load_dataset",
    "load_model",
    "load_run",
    "plan_variants",
    "resume_run",
    "search_options",
    "train",
    "train_run",
]


def __getattr__(name: str) -> Any:
    try:
        return load_name(__name__, _TENSORFLOW_MODULES, name)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        extra = "search" if missing == "optuna" else "build"
        raise MissingExtraError("building a model", missing, extra) from None
