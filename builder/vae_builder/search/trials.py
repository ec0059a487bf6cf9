"""The trials of one process that works on a search."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from vae_builder.config import TrainConfig
from vae_builder.data import Dataset
from vae_builder.run.runs import train_run
from vae_builder.search.records import SearchRecord, run_folder
from vae_builder.search.space import config_of, usual_params
from vae_builder.search.storage import (
    REASON,
    HeldTrial,
    close_interrupted,
    count_trials,
    has_queued_trial,
    locked,
    queue_again,
    write_best,
)
from vae_builder.trained_models import export_trained
from vae_builder.training.loop import Progress
from vae_export.graphs.convert import one_line
from vae_runtime.errors import TrainingError

STARTUP_TRIALS: Final = 6
"""Trials that are drawn at random, and before which none is stopped."""

STEADY_FRACTION: Final = 1 / 3
"""Fraction of the epochs in which no trial is stopped, because the KL weight may still rise."""

Detect = Callable[[Path], float]
"""Returns the AUROC of the bundle at a path."""


class _StopTrial(Exception):  # noqa: N818
    """The trial is not worth more time, or there is no more time."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late


@dataclass
class Worker:
    """A process that works on a search; see `search_options` for what it is given."""

    path: Path
    study: Study
    record: SearchRecord
    space: dict[str, BaseDistribution]
    dataset: Dataset
    choices: dict[str, Any]
    detect: Detect | None
    on_progress: Callable[[Progress], None] | None
    _deadline: float | None = None

    def run(
        self, trials: int, timeout: float | None, on_trial: Callable[[FrozenTrial], None] | None
    ) -> int:
        """Run trials until the search has enough of them or time is up; return their number."""
        self._deadline = None if timeout is None else time.monotonic() + timeout
        usual, ran = usual_params(self.space, self.dataset, self.choices), 0
        while not self._is_late():
            with locked(self.path):
                close_interrupted(self.path, self.study)
                done = count_trials(self.study)
                if done >= trials:
                    break
                self.study.sampler = _sampler(self.record.seed, done)
                if done < len(usual) and not has_queued_trial(self.study):
                    self.study.enqueue_trial(usual[done])
                trial = self.study.ask(self.space)
                held = HeldTrial(self.path, trial.number)
            ended = self._run_trial(trial, held)
            if ended is not None:
                ran += 1
                if on_trial:
                    on_trial(ended)
        return ran

    def _run_trial(self, trial: Trial, held: HeldTrial) -> FrozenTrial | None:
        """Run a trial to its end and return it; return None if it is to be tried again."""
        state, value, again = TrialState.FAIL, None, True
        try:
            value = self._value(trial)
            state, again = TrialState.COMPLETE, False
        except _StopTrial as stop:
            if not stop.late:
                state, again = TrialState.PRUNED, False
        except (TrainingError, MemoryError, tf.errors.ResourceExhaustedError) as error:
            trial.set_user_attr(REASON, one_line(error))
            again = False
        finally:
            ended = self._tell(trial, value, state, again=again)
            held.release()
        return None if again else ended

    def _tell(
        self, trial: Trial, value: float | None, state: TrialState, *, again: bool
    ) -> FrozenTrial:
        with locked(self.path):
            ended = self.study.tell(trial, value, state)
            if again:
                queue_again(self.study, ended)
            write_best(self.path, self.study, self.record)
            if state is not TrialState.COMPLETE:
                shutil.rmtree(run_folder(self.path, trial.number), ignore_errors=True)
        return ended

    def _value(self, trial: Trial) -> float:
        """Train the trial's model in its run folder, and return the objective."""
        config = config_of(trial.params, self.dataset, self.choices)
        self.study.pruner = self._pruner(config)
        reported = 0

        def show(progress: Progress) -> None:
            nonlocal reported
            if self.on_progress:
                self.on_progress(progress)
            if self._is_late():
                raise _StopTrial(late=True)
            if self.detect is None and progress.validation and progress.epoch - 1 > reported:
                reported = progress.epoch - 1
                trial.report(progress.validation.loss, reported)
                if trial.should_prune():
                    raise _StopTrial(late=False)

        folder = run_folder(self.path, trial.number)
        trained = train_run(folder, self.dataset, config, force=True, on_progress=show)
        if self.detect is None:
            return trained.validation.loss
        with tempfile.TemporaryDirectory() as temporary:
            return self.detect(export_trained(trained, Path(temporary) / "trial").path)

    def _pruner(self, config: TrainConfig) -> BasePruner:
        if self.detect:
            return NopPruner()
        epochs = config.for_samples(len(self.dataset.train)).epochs or 1
        return MedianPruner(STARTUP_TRIALS, round(STEADY_FRACTION * epochs))

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline


def _sampler(seed: int, trial: int) -> TPESampler:
    """Return the sampler of a trial, so that an interrupted search draws as if it had not been."""
    own = int(np.random.SeedSequence((seed, trial)).generate_state(1)[0])
    return TPESampler(seed=own, n_startup_trials=STARTUP_TRIALS)
