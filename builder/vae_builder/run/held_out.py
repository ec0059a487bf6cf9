"""`held_out.npz` of a run folder: the samples that an export needs, so that it needs no data.

x, condition             test samples for the proof and the card, and their conditions
train, train_condition   training samples for the anomaly score; not in older runs
normal                   which of x are normal; left out if all are
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_builder.run.folder import HELD_OUT_FILE
from vae_builder.training.train import Trained
from vae_export.scoring.plan import ScorePlan
from vae_runtime.data.samples.conditions import Conditions, ConditionSpec
from vae_runtime.files.atomic_files import replacing


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What the file holds, as the attributes of `Trained` that have these names.

    Attributes:
        held_out: test samples, shape `(m, *input_shape)`.
        conditions: their conditions; None if the model is not conditional.
        scoring: samples for the anomaly score; None if an older run lacks them.
    """

    held_out: NDArray[np.generic]
    conditions: Conditions | None
    scoring: ScorePlan | None


def write_held_out(path: Path, trained: Trained) -> None:
    """Write the file of a run folder; an `OSError` names it."""
    arrays: dict[str, Any] = {"x": trained.held_out}
    if trained.conditions:
        arrays["condition"] = trained.conditions.values
    if (scoring := trained.scoring) and scoring.training is not None:
        arrays["train"] = scoring.training
        if scoring.training_conditions:
            arrays["train_condition"] = scoring.training_conditions.values
        if scoring.normal is not None:
            arrays["normal"] = scoring.normal
    with replacing(path / HELD_OUT_FILE) as file:
        np.savez_compressed(file, **arrays)


def read_held_out(path: Path, condition: ConditionSpec | None) -> HeldOut:
    """Read the file of a run folder; NumPy raises whatever fits a damaged one."""
    with (path / HELD_OUT_FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:

        def conditions(name: str) -> Conditions | None:
            return Conditions(condition, arrays[name]) if condition else None

        scoring = None
        if "train" in arrays:
            scoring = ScorePlan(
                training=arrays["train"],
                training_conditions=conditions("train_condition"),
                normal=arrays.get("normal"),
            )
        return HeldOut(arrays["x"], conditions("condition"), scoring)
