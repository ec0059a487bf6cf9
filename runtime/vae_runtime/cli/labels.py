"""`--labels` and `--normal`: which samples of the data are normal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from vae_runtime.cli.options import combined
from vae_runtime.errors import InputError

label_options = combined(
    click.option(
        "--labels",
        metavar="COLUMN|FILE",
        help="Labels of the samples: a column of the table, or a file with one for each (.npy; "
        "text with a label on each line) [default: those of DATA: subfolders, y beside X, the "
        "column that was --label in training].",
    ),
    click.option(
        "--normal",
        multiple=True,
        metavar="LABEL",
        help="Label of normal samples; all others are anomalous. Repeat the option for several "
        "labels [default: if train/ has one class, such as good, that class].",
    ),
)


def read_labels(path: Path) -> NDArray[Any]:
    """Read a file with one label for each sample.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        if path.suffix == ".npy":
            labels: NDArray[Any] = np.load(path, allow_pickle=False)
            return labels
        return np.array(path.read_text("utf-8").splitlines())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as labels ({' '.join(str(error).split()):.150}): give an .npy "
            "file, or text with a label on each line"
        ) from None
