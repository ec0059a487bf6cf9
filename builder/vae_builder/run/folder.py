"""What a run folder holds, and where one may be begun.

```
run.json        choices, where the data is and its digest, library versions
checkpoint.npz  where training is, after every epoch and every few seconds
history.csv     the losses of each epoch
tensorboard/    the same for TensorBoard
encoder.keras   decoder.keras   held_out.npz    at the end: the model, test samples for its bundle
result.json     at the very end: what the model reached
```

Each file is replaced atomically. A run that is started over takes its own files with it, and no
others: a folder that holds some is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from vae_export.publish import check_parent
from vae_runtime.bundle.atomic_files import WRITING, remove_debris
from vae_runtime.errors import ExportError

RUN = "run.json"
RESULT = "result.json"
CHECKPOINT = "checkpoint.npz"
HISTORY = "history.csv"
HELD_OUT = "held_out.npz"
TENSORBOARD = "tensorboard"
MODELS = ("encoder", "decoder")
FILES = (RUN, RESULT, CHECKPOINT, HISTORY, HELD_OUT, *(f"{name}.keras" for name in MODELS))
"""All that a run folder holds, besides TensorBoard's folder."""

EVENTS = "events.out.tfevents."
"""How the names of TensorBoard's files begin."""


def check_new(path: Path, *, force: bool) -> None:
    """Checks that a run may begin here, before anything is read.

    Args:
        path: folder to make.
        force: there may be a run, to be started over.

    Raises:
        ExportError: there is a run already, with `force` one among files that are not its own; or
            something else; or the folder cannot be made.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise ExportError(f"{path} exists and is not a folder: choose another name")
    check_parent(path)
    if not path.exists() or all(map(_is_debris, path.iterdir())):
        return  # one that was killed before it had written its first file counts as empty
    if not (path / RUN).is_file():
        raise ExportError(f"{path} exists and has no {RUN}: choose another name")
    if not force:
        raise ExportError(
            f"{path} exists: give --resume to go on with it, --force to start over, or another name"
        )
    if other := next(_others(path), None):
        raise ExportError(
            f"{other} is not part of the run that --force replaces: move it elsewhere, or choose "
            "another name"
        )


def clear(path: Path) -> None:
    """Makes a folder without a run; what marks it as one goes last, so that --force works again.

    Args:
        path: folder that `check_new` found fit.

    Raises:
        OSError: it cannot be made, or a file cannot be removed.
    """
    path.mkdir(parents=True, exist_ok=True)
    remove_debris(path)
    board = path / TENSORBOARD
    if board.is_dir() and not board.is_symlink():
        shutil.rmtree(board)
    else:
        board.unlink(missing_ok=True)
    for name in reversed(FILES):
        (path / name).unlink(missing_ok=True)


def _others(path: Path) -> Iterator[Path]:
    """What is in a run folder and none of a run's files."""
    for entry in sorted(path.iterdir()):
        if entry.name == TENSORBOARD and entry.is_dir():
            yield from (file for file in sorted(entry.iterdir()) if not _is_events(file))
        elif not (_is_debris(entry) or (entry.name in FILES and entry.is_file())):
            yield entry


def _is_events(file: Path) -> bool:
    return file.name.startswith(EVENTS) and file.is_file()


def _is_debris(entry: Path) -> bool:
    """Whether it has the name of a file of a run that is being written."""
    name, writing, _ = entry.name.removeprefix(".").partition(WRITING)
    return bool(writing) and name.rpartition(".")[0] in FILES and entry.is_file()
