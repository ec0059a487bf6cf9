"""Layout of a run folder, and validation of a target path.

```
run.json        options, source and digest of the data, library versions
checkpoint.npz  state of training, written after every epoch and every few seconds
history.csv     the losses of each epoch
tensorboard/    the same for TensorBoard
encoder.keras   decoder.keras   held_out.npz    at the end: the model, test samples for its bundle
result.json     written last: the results
```

Each file is replaced atomically. Starting a run over removes the files of the old run. A folder
that holds any other file is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from vae_runtime.bundle.publishing import check_parent
from vae_runtime.errors import ExportError
from vae_runtime.files.atomic_files import TEMPORARY_MARK, remove_debris

RUN_FILE = "run.json"
RESULT_FILE = "result.json"
CHECKPOINT_FILE = "checkpoint.npz"
HISTORY_FILE = "history.csv"
HELD_OUT_FILE = "held_out.npz"
TENSORBOARD_FOLDER = "tensorboard"
MODEL_FILES = ("encoder.keras", "decoder.keras")
ALL_FILES = (RUN_FILE, RESULT_FILE, CHECKPOINT_FILE, HISTORY_FILE, HELD_OUT_FILE, *MODEL_FILES)
"""Names of the files of a run folder, besides TensorBoard's folder."""

EVENTS_PREFIX = "events.out.tfevents."
"""Prefix of the names of TensorBoard's files."""


def check_run_target(path: Path, *, force: bool) -> None:
    """Check that a run can start in a folder; with `force`, that its run can be started over.

    Raises:
        ExportError: the path is not a folder, holds a run and `force` is not given, holds files
            that belong to no run, or cannot be made.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ExportError(f"{path} exists and is not a folder: choose another name")
    check_parent(path)
    if not path.exists() or all(map(_is_debris, path.iterdir())):
        return  # a run that was killed before it wrote its first file counts as empty
    if not (path / RUN_FILE).is_file():
        raise ExportError(f"{path} exists and has no {RUN_FILE}: choose another name")
    if not force:
        raise ExportError(
            f"{path} exists: give --resume to continue it, --force to start again, or another name"
        )
    if other := next(_foreign_files(path), None):
        raise ExportError(
            f"{other} is not part of the run that --force replaces: move it elsewhere, or choose "
            "another name"
        )


def prepare_run_folder(path: Path) -> None:
    """Make the folder and remove the files of a run in it, after `check_run_target`.

    `run.json` is removed last: if this is interrupted, `--force` works again.
    """
    path.mkdir(parents=True, exist_ok=True)
    remove_debris(path)
    board = path / TENSORBOARD_FOLDER
    if board.is_dir() and not board.is_symlink():
        shutil.rmtree(board)
    else:
        board.unlink(missing_ok=True)
    for name in reversed(ALL_FILES):
        (path / name).unlink(missing_ok=True)


def _foreign_files(path: Path) -> Iterator[Path]:
    """Yield what a run folder holds besides the files of a run."""
    for entry in sorted(path.iterdir()):
        if entry.name == TENSORBOARD_FOLDER and entry.is_dir():
            for file in sorted(entry.iterdir()):
                if not (file.name.startswith(EVENTS_PREFIX) and file.is_file()):
                    yield file
        elif not (_is_debris(entry) or (entry.name in ALL_FILES and entry.is_file())):
            yield entry


def _is_debris(entry: Path) -> bool:
    """Return whether an entry is a temporary file of a run, left by a killed process."""
    name, writing, _ = entry.name.removeprefix(".").partition(TEMPORARY_MARK)
    return bool(writing) and name.rpartition(".")[0] in ALL_FILES and entry.is_file()
