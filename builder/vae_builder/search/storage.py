"""The study of a search: where its trials are stored, shared by processes, and what a kill leaves.

Any number of processes may work on a search, also on several machines that share the folder. A
trial whose process is gone is closed, and tried again by whoever asks next.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from vae_builder.search.records import (
    BEST_FILE,
    JOURNAL_FILE,
    LOCK_FILE,
    BestRecord,
    SearchRecord,
    run_folder,
)
from vae_runtime.errors import OptionError
from vae_runtime.files import strict_json
from vae_runtime.files.atomic_files import replacing

if sys.platform != "win32":
    import fcntl


RETRY_OF: Final = "retry_of"
"""Attribute of a trial: number of the interrupted trial whose parameters it has."""
RETRIES: Final = "retries"
"""Attribute of a trial: how often its parameters were tried before."""
REASON: Final = "reason"
"""Attribute of a failed trial: why it failed."""
MAX_RETRIES: Final = 3
"""Times that the parameters of interrupted trials are tried again."""


def write_best(path: Path, study: Study, record: SearchRecord) -> None:
    """Write `best.json`, if a trial has finished."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not finished:
        return
    best = study.best_trial
    found = BestRecord(best.number, float(best.values[0]), count_trials(study), record.objective)
    with replacing(path / BEST_FILE) as file:
        file.write(strict_json.encode(found))


def count_trials(study: Study) -> int:
    """Return the number of trials that run, have ended, or failed by themselves.

    Interrupted ones do not count, unless their parameters were tried too often: a model that is too
    large for the memory would end every process that tries it.
    """
    return sum(_counts(trial) for trial in study.get_trials(deepcopy=False))


def _counts(trial: FrozenTrial) -> bool:
    if trial.state is TrialState.FAIL:
        return REASON in trial.user_attrs or trial.user_attrs.get(RETRIES, 0) >= MAX_RETRIES
    return trial.state is not TrialState.WAITING


def has_queued_trial(study: Study) -> bool:
    """Return whether the parameters of an interrupted trial wait to be tried again."""
    return bool(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))


def open_study(path: Path, record: SearchRecord, storage: str | None) -> Study:
    """Open the study of a search folder, or create it.

    Args:
        path: the folder, locked by `locked`.
        record: its record.
        storage: address of a database, as SQLAlchemy takes it; None for a file in the folder.

    Raises:
        OptionError: the database cannot be opened.
    """
    direction = StudyDirection.MINIMIZE if record.objective == "loss" else StudyDirection.MAXIMIZE
    backend: BaseStorage
    try:
        if storage is None:
            backend = JournalStorage(JournalFileBackend(str(path / JOURNAL_FILE)))
        else:
            backend = RDBStorage(storage)
        return optuna.create_study(
            storage=backend, study_name=record.study, direction=direction, load_if_exists=True
        )
    except Exception as error:  # SQLAlchemy and its drivers raise errors of their own
        reason = " ".join(str(error).split())[:200]
        raise OptionError(
            f"the storage of the search cannot be opened: {reason}: check --storage"
        ) from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a search folder: one process at a time asks for a trial."""
    with contextlib.ExitStack() as stack:
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT)
        stack.callback(os.close, descriptor)
        _lock(descriptor)
        yield


class HeldTrial:
    """The lock of a running trial. The system frees it if this process dies."""

    def __init__(self, path: Path, number: int) -> None:
        """Take the lock of a trial in a search folder, which is locked."""
        self._file = _lock_of(path, number)
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT)
        _lock(self._descriptor)

    def release(self) -> None:
        """Release the lock, after the study was told how the trial ended."""
        self._file.unlink(missing_ok=True)
        os.close(self._descriptor)


def close_interrupted(path: Path, study: Study) -> None:
    """Close the trials whose processes are gone, and queue their parameters again."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _is_held(path, trial.number):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            _lock_of(path, trial.number).unlink(missing_ok=True)
            shutil.rmtree(run_folder(path, trial.number), ignore_errors=True)
            queue_again(study, trial)


def queue_again(study: Study, trial: FrozenTrial) -> None:
    """Queue the parameters of an interrupted trial, unless that has happened too often."""
    retries = int(trial.user_attrs.get(RETRIES, 0))
    if trial.params and retries < MAX_RETRIES:
        again = {RETRIES: retries + 1, RETRY_OF: trial.number}
        study.enqueue_trial(trial.params, user_attrs=again)


def _lock(descriptor: int) -> None:
    """Wait for the lock of a file; do nothing if the system has no locks."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # some network drives have none
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _lock_of(path: Path, number: int) -> Path:
    return path / f"trial-{number}.lock"


def _is_held(path: Path, number: int) -> bool:
    """Return whether a process runs a trial; always, on a system that cannot tell."""
    if sys.platform == "win32":
        return True
    try:
        descriptor = os.open(_lock_of(path, number), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)
