"""What the commands on samples share: the bundle, the samples as it takes them, a progress bar."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from vae_runtime.cli.conditions import read_condition
from vae_runtime.cli.labels import read_labels
from vae_runtime.data.loaded import LoadedSamples
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.sources import is_pictures, is_table, load_samples, open_source_table
from vae_runtime.data.tables.cells import to_labels
from vae_runtime.data.tables.model_rows import ModelRows, Rows
from vae_runtime.errors import InputError, OptionError
from vae_runtime.inference.loading import load
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.inference.scoring import SamplePart

READING = ("key", "image_size", "channels", "skip_unreadable")
"""Options of a command that say how the source is read."""


@dataclass(frozen=True, eq=False)
class Opened:
    """A loaded bundle, and samples as it takes them.

    Attributes:
        vae: the bundle.
        loaded: the samples, with their names and labels.
        condition: condition of the samples; None if the model takes none.
    """

    vae: VAERuntime
    loaded: LoadedSamples
    condition: Any


def open_samples(
    bundle: Path, source: str, options: dict[str, Any], *, labels: str | None = None
) -> Opened:
    """Load the bundle, and all samples of a source as the model takes them.

    `labels` is a column of the source or a file; None for the labels that the source has.
    """
    vae, reading, given = _open_bundle(bundle, source, options)
    loaded = _read(vae, source, reading, labels)
    return Opened(vae, loaded, read_condition(vae.manifest.condition, given, loaded.labels))


def open_parts(
    bundle: Path,
    source: str,
    options: dict[str, Any],
    *,
    strict: bool,
    id_column: str | None,
    check: Callable[[VAERuntime], None] = lambda vae: None,
) -> tuple[VAERuntime, Iterator[SamplePart], int | None]:
    """Load the bundle, and the samples of a source in parts, so that a table is never in memory.

    `check` is called with the bundle before samples are read.

    Returns:
        The bundle, the parts, and the number of samples; None if it is not known before the end.
    """
    vae, reading, given = _open_bundle(bundle, source, options)
    check(vae)
    if is_table(source):
        return vae, _table_parts(vae, source, reading, given, strict, id_column), None
    if id_column is not None:
        raise OptionError(f"--id is for columns of tables, {source} is no table: leave it out")
    loaded = _read(vae, source, reading)
    condition = read_condition(vae.manifest.condition, given, loaded.labels)
    return vae, iter([SamplePart(loaded.x, loaded.names, condition)]), len(loaded.x)


def progress_bar(label: str, length: int, *, quiet: bool) -> Any:
    """Return a progress bar with the time left, on standard error if that is a terminal."""
    hidden = quiet or not sys.stderr.isatty()
    return click.progressbar(length=length, label=label, file=sys.stderr, hidden=hidden)


def _open_bundle(
    bundle: Path, source: str, options: dict[str, Any]
) -> tuple[VAERuntime, dict[str, Any], str | None]:
    """Load the bundle; return it, how to read the source, and the text of --condition."""
    given = options.pop("condition")
    reading = {name: options.pop(name) for name in READING}
    vae = load(bundle, **options)
    shape = vae.manifest.input.shape
    if reading["channels"] is None and len(shape) in (2, 3) and is_pictures(source):
        reading["channels"] = shape[2] if len(shape) == 3 else 1
    return vae, reading, given


def _read(
    vae: VAERuntime, source: str, reading: dict[str, Any], labels: str | None = None
) -> LoadedSamples:
    shape = vae.manifest.input.shape
    if is_table(source):
        label = labels or _label(vae)
        reading = {**reading, "columns": vae.manifest.table or shape[0], "label": label}
    loaded = load_samples(source, **reading)
    if labels is not None and not (is_table(source) and loaded.labels is not None):
        if not Path(labels).is_file():
            column = f"no column of {source} and " if is_table(source) else ""
            raise InputError(
                f"--labels is {labels!r}, which is {column}no file: give a file with one label "
                "for each sample, or a column of a table"
            )
        loaded = replace(loaded, labels=read_labels(Path(labels)), normal=frozenset())
    for note in loaded.notes:
        warnings.warn(f"{source}: {note}", InputWarning, stacklevel=2)
    if len(shape) in (2, 3) and is_pictures(source) and loaded.x.shape[1:3] != shape[:2]:
        have, want = ("x".join(map(str, size)) for size in (loaded.x.shape[1:3], shape[:2]))
        raise InputError(
            f"{source} is {have} (height x width), the model takes {want}: give --image-size {want}"
        )
    return loaded


def _table_parts(
    vae: VAERuntime,
    source: str,
    reading: dict[str, Any],
    given: str | None,
    strict: bool,
    id_column: str | None,
) -> Iterator[SamplePart]:
    """Yield the rows of a table, a chunk at a time."""
    file = open_source_table(source, **reading)
    label, takes = _label(vae), vae.manifest.table or vae.manifest.input.shape[0]
    spec = vae.manifest.condition
    with_labels = spec is not None and label in file.names
    names = [name for name in (id_column, label if with_labels else None) if name is not None]
    chunks = ModelRows(file, takes).chunks(strict=strict, texts=[*dict.fromkeys(names)])
    start = 0
    for rows in _read_ahead(chunks):  # the last one is checked before it is scored
        labels = to_labels(rows.texts[label], file.decimal) if label and with_labels else None
        condition = read_condition(spec, given, labels)
        own = rows.texts[id_column] if id_column is not None else None
        yield SamplePart(rows.x, own, _rows_of(condition, start, len(rows.x)))
        start += len(rows.x)


def _read_ahead(chunks: Iterator[Rows]) -> Iterator[Rows]:
    """Yield each chunk after the next one was read, or the end was reached."""
    previous: Rows | None = None
    for chunk in chunks:
        if previous is not None:
            yield previous
        previous = chunk
    if previous is not None:
        yield previous


def _rows_of(condition: Any, start: int, count: int) -> Any:
    """Return the conditions of some rows, if a file has one for each row of the source."""
    if isinstance(condition, np.ndarray) and len(np.shape(condition)) and len(condition) > count:
        part: NDArray[Any] = condition[start : start + count]
        return part
    return condition


def _label(vae: VAERuntime) -> str | None:
    return vae.manifest.data.label if vae.manifest.data else None
