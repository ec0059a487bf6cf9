"""`--condition`: the condition of a conditional model on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from vae_runtime.cli.labels import read_labels
from vae_runtime.data.samples.conditions import ConditionSpec
from vae_runtime.data.sources import load_array
from vae_runtime.errors import InputError, OptionError

DATA_LABELS = "labels"
"""Word that takes the labels of the data."""


def condition_option(of_data: bool) -> Callable[[Any], Any]:
    """Return `--condition`; `of_data`: the command reads data, which may have labels."""
    words = ", labels for those of DATA" if of_data else ""
    return click.option(
        "--condition",
        metavar="LABEL|NUMBERS|FILE",
        help="Condition of a conditional model: a label or numbers (0.5,1) for all "
        f"samples{words}, or a file with one for each (.npy; text with a label on each line).",
    )


def read_condition(
    spec: ConditionSpec | None, given: str | None, labels: NDArray[Any] | None = None
) -> Any:
    """Return the condition that an option gives, as `VAERuntime.encode` takes it.

    Args:
        spec: what the model takes; None if it takes no condition.
        given: text of the option; None if it was not given.
        labels: labels of the data; None if it has none.

    Raises:
        OptionError: the text is no condition of this model.
        InputError: the data has no labels, or the file cannot be read.
    """
    if given is None or spec is None:
        return given
    if spec.categories and given in spec.categories:
        return given
    if given == DATA_LABELS:
        if labels is None:
            raise InputError(
                "--condition labels: the data has no labels, expected one for each sample: give a "
                "file with them"
            )
        return labels
    if Path(given).is_file():
        return _read_file(spec, Path(given))
    try:
        if spec.categories is None:
            return np.array([float(part) for part in given.split(",")]).reshape(spec.shape)
    except ValueError:
        pass
    raise OptionError(
        f"--condition is {given!r}, which is no file and no condition of this model, expected "
        f"{spec.describe()}: give one of these, or a file"
    )


def _read_file(spec: ConditionSpec, path: Path) -> Any:
    if spec.categories is None:
        return load_array(path)
    return read_labels(path)
