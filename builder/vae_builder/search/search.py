"""`search_options`: tries training options, and keeps the best model.

The first trials have the options that training has by default, one for each preset, so that the
best is never worse than these. Then Optuna's tree-structured Parzen estimator proposes. A trial
that is worse than the median of the others at the same epoch is stopped.

With one process, the same seed, data and versions give the same trials, also if the search was
interrupted: the sampler is seeded anew for each trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from vae_builder.data import Dataset
from vae_builder.search.records import Objective, begin_search
from vae_builder.search.space import search_space
from vae_builder.search.storage import REASON, locked, open_study
from vae_builder.search.trials import Detect, Worker
from vae_builder.training.loop import Progress
from vae_runtime.errors import OptionError, TrainingError
from vae_runtime.files.paths import absolute


@dataclass(frozen=True)
class SearchResult:
    """A search, as its storage tells it.

    Attributes:
        path: the search folder.
        objective: what was searched for: the lowest validation `loss` or the highest `auroc`.
        study: Optuna's study; `study.best_trial` and `study.trials` hold all that was tried.
        ran: number of trials that this call ran to their end.
    """

    path: Path
    objective: Objective
    study: Study
    ran: int


def search_options(
    path: str | Path,
    dataset: Dataset,
    choices: Mapping[str, Any] | None = None,
    *,
    trials: int = 30,
    timeout: float | None = None,
    seed: int = 0,
    detect: Detect | None = None,
    with_kl_weight: bool = False,
    storage: str | None = None,
    on_trial: Callable[[FrozenTrial], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> SearchResult:
    """Search for training options, or continue or join a search.

    Each finished trial leaves its run folder in `path`. Any number of processes may call this at
    once with the same folder; together they run `trials` trials.

    Args:
        path: the search folder: a new one, or that of a search with the same data and options.
        dataset: the data. Its test samples are never looked at for a decision.
        choices: arguments of `vae_builder.training.defaults.config_for` that are given and
            therefore not searched.
        trials: number of trials of the whole search, interrupted ones not counted.
        timeout: seconds after which this call ends; the trial that runs then is tried again by the
            next call. None for no limit.
        seed: seed of the search.
        detect: returns the AUROC of a trial's bundle, which is then maximized; its samples should
            not be test samples. By default the validation loss is minimized.
        with_kl_weight: also search the KL weight. It needs `detect`, because losses of different
            weights do not compare.
        storage: address of a database, as SQLAlchemy takes it, instead of a file in the folder.
        on_trial: called after each trial that this process ran.
        on_progress: called after each block of training steps.

    Returns:
        The search, with at least one finished trial.

    Raises:
        OptionError: options are wrong, all are given, or others than those that began the search.
        ExportError: the folder holds other files, or cannot be written.
        InputError: the data does not suit the loss.
        TrainingError: no trial has finished.
    """
    path, choices = absolute(path), dict(choices or {})
    if trials < 1:
        raise OptionError(f"trials is {trials}, expected 1 or more")
    if with_kl_weight and detect is None:
        raise OptionError(
            "the KL weight is searched for detection only, because losses of different weights do "
            "not compare: give detect"
        )
    objective: Objective = "auroc" if detect else "loss"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = search_space(dataset, choices, with_kl_weight=with_kl_weight)
    path.mkdir(parents=True, exist_ok=True)
    options = {name: str(value) for name, value in sorted(choices.items()) if value is not None}
    with locked(path):
        record = begin_search(path, objective, seed, dataset.digest, options, storage)
        study = open_study(path, record, storage)
    worker = Worker(path, study, record, space, dataset, choices, detect, on_progress)
    ran = worker.run(trials, timeout, on_trial)
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        failed = [t.user_attrs[REASON] for t in study.trials if REASON in t.user_attrs]
        why = f"the last one failed: {failed[-1]}" if failed else "there was no time for one"
        raise TrainingError(f"no trial of {path} has finished: {why}")
    return SearchResult(path, objective, study, ran)
