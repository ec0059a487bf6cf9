"""The files of a search folder that describe a search and its best trial.

```
search.json       what is searched: data, options that were given, objective, seed
trials.journal    the trials, unless they are in a database
trial-7/          run folder of a finished trial; see `vae_builder.run.folder`
trial-7.lock      held by the process that runs the trial, for as long as it lives
best.json         the best trial so far
trials.csv  history.png  importances.png     written at the end of each command
```
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeVar

from vae_builder.run.runs import load_run
from vae_builder.training.train import Trained
from vae_runtime.errors import ExportError, InputError, OptionError
from vae_runtime.files import strict_json
from vae_runtime.files.atomic_files import replacing
from vae_runtime.files.paths import absolute

SEARCH_FILE: Final = "search.json"
JOURNAL_FILE: Final = "trials.journal"
LOCK_FILE: Final = "search.lock"
BEST_FILE: Final = "best.json"

Objective = Literal["loss", "auroc"]
"""Mean validation loss, to be minimized, or AUROC of labelled samples, to be maximized."""

R = TypeVar("R")


@dataclass(frozen=True)
class SearchRecord:
    """Content of `search.json`. `study` is a random name, that of the study in the storage."""

    format: Literal["build-vae-search"]
    format_version: Literal[1]
    study: str
    objective: Objective
    seed: int
    data: str
    options: dict[str, str]
    in_database: bool


@dataclass(frozen=True)
class BestRecord:
    """Content of `best.json`."""

    trial: int
    value: float
    trials: int
    objective: Objective


def begin_search(
    path: Path,
    objective: Objective,
    seed: int,
    data: str,
    options: dict[str, str],
    storage: str | None,
) -> SearchRecord:
    """Write the record of a new search, or read and check that of the one in the folder.

    Raises:
        OptionError: the search was begun with other data or options.
        ExportError: the folder holds other files.
        InputError: the record is damaged.
    """
    new = SearchRecord(
        *("build-vae-search", 1, uuid.uuid4().hex, objective, seed, data, options),
        in_database=storage is not None,
    )
    if not (path / SEARCH_FILE).exists():
        others = sorted(p.name for p in path.iterdir() if p.name != LOCK_FILE)
        if others:
            raise ExportError(
                f"{path} holds {others[0]}, which belongs to no search: give a new folder"
            )
        with replacing(path / SEARCH_FILE) as file:
            file.write(strict_json.encode(new))
        return new
    old = read_record(path)
    for what, was, now in (
        ("the data", old.data[:12], data[:12]),
        ("the objective", old.objective, objective),
        ("--seed", old.seed, seed),
        ("a database", old.in_database, new.in_database),
        *((name, old.options.get(name), options.get(name)) for name in {**old.options, **options}),
    ):
        if was != now:
            raise OptionError(
                f"{path} was begun with {what} {was}, now it is {now}: give the same options to "
                "continue the search, or another folder"
            )
    return old


def read_record(path: Path) -> SearchRecord:
    """Read `search.json`; raise `InputError` if there is none or it is damaged."""
    return _read(path / SEARCH_FILE, SearchRecord, "make one with build-vae search")


def read_best(path: Path) -> BestRecord:
    """Read `best.json`; raise `InputError` if no trial has finished yet."""
    read_record(path)
    return _read(path / BEST_FILE, BestRecord, "no trial has finished; continue build-vae search")


def load_best(path: str | Path) -> Trained:
    """Read the model of the best trial of a search.

    Args:
        path: the search folder; the search may still go on.

    Returns:
        The trained model. Its `search` says which trial it is.

    Raises:
        InputError: the folder holds no search, no trial has finished, or a file is damaged.
    """
    path = absolute(path)
    best = read_best(path)
    what = "lowest validation loss" if best.objective == "loss" else "highest AUROC"
    note = f"trial {best.trial} of {best.trials}, {what} {best.value:.4f}"
    return replace(load_run(run_folder(path, best.trial)), search=note)


def run_folder(path: Path, number: int) -> Path:
    """Return the run folder of a trial."""
    return path / f"trial-{number}"


def _read(path: Path, kind: type[R], remedy: str) -> R:
    if not path.is_file():
        raise InputError(f"there is no {path}: {remedy}")
    try:
        return strict_json.parse(kind, strict_json.decode(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}: the file is damaged; search again") from None
