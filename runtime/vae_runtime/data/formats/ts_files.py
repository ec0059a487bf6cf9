"""Reader of `.ts` files, the text format of aeon, sktime and the UEA & UCR archive.

    # comments, then the header
    @equalLength true
    @classLabel true up down
    @data
    0.1,0.2,0.3:1.0,1.1,1.2:up        channels, each a series; at last the label

The library that owns the format, aeon, takes 612 MB with what it needs, for some fifty lines.

Source: https://www.aeon-toolkit.org, "Loading data into aeon", section on `.ts` files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.loaded import LoadedSamples, Reader, reader_of, reader_of_splits
from vae_runtime.data.read_errors import wrap_read_errors
from vae_runtime.errors import InputError

_LABELS = ("@classlabel", "@targetlabel")
_SPLITS = {"train": "_train.ts", "test": "_test.ts"}


def find_ts_files(folder: Path) -> dict[str, Path]:
    """Return `NAME_TRAIN.ts` and `NAME_TEST.ts` of a folder by split; empty if there are more."""
    files = sorted(folder.glob("*.ts"))
    found = {s: [p for p in files if p.name.lower().endswith(e)] for s, e in _SPLITS.items()}
    if not found["train"] or any(len(paths) > 1 for paths in found.values()):
        return {}
    return {split: paths[0] for split, paths in found.items() if paths}


def ts_reader(path: Path) -> Reader:
    """Return the reader of a `.ts` file, or of a folder with one for each split."""
    if path.is_file():
        return reader_of(partial(_read, path))
    return reader_of_splits({s: partial(_read, file) for s, file in find_ts_files(path).items()})


def _read(path: Path) -> LoadedSamples:
    """Return series of shape `(n, t)`, or of several channels `(n, t, c)`, and their labels."""
    with wrap_read_errors(path, "ts file"), path.open(encoding="utf-8") as lines:
        numbered = _lines(lines)
        header = _header(numbered)
        if header.get("@timestamps", "false") == "true":
            raise InputError(
                f"{path} has time stamps, expected values alone: write the values at equal times"
            )
        labelled = any(header.get(word, "false").startswith("true") for word in _LABELS)
        series, labels = [], []
        for number, line in numbered:
            *channels, last = line.split(":")
            if labelled:
                labels.append(last.strip())
            else:
                channels.append(last)
            series.append(_series(channels, f"{path}: line {number}"))
    x = _stack(path, series)
    named = np.array(labels, np.str_) if labelled else None
    if header.get("@targetlabel", "false").startswith("true") and named is not None:
        named = named.astype(np.float64)
    is_series = x.shape[-1] > 1
    return LoadedSamples(x if is_series else x[..., 0], labels=named, is_series=is_series)


def _lines(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith(("#", "%")):
            yield number, text


def _header(lines: Iterator[tuple[int, str]]) -> dict[str, str]:
    """Read up to `@data`; return the values of the header in lower case."""
    header: dict[str, str] = {}
    for _, line in lines:
        word, _, value = line.lower().partition(" ")
        if word == "@data":
            return header
        header[word] = value.strip()
    raise ValueError("it has no line @data")


def _series(channels: list[str], where: str) -> NDArray[np.float64]:
    """Return one sample, shape `(t, c)`."""
    values = [[*map(str.strip, channel.split(","))] for channel in channels]
    if any(cell.lower() in ("?", "nan", "") for channel in values for cell in channel):
        raise InputError(f"{where} has missing values: fill them, or leave out these series")
    if len({len(channel) for channel in values}) > 1:
        raise InputError(
            f"{where} has channels of {min(map(len, values))} to {max(map(len, values))} values, "
            "expected the same number: cut or pad them"
        )
    return np.array(values, np.float64).T


def _stack(path: Path, series: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    if not series:
        raise InputError(f"{path} has no series below @data: give samples")
    shapes = {sample.shape for sample in series}
    if len(shapes) > 1:
        lengths = [length for length, _ in shapes]
        raise InputError(
            f"{path} has series of {min(lengths)} to {max(lengths)} values, expected the same "
            "length in all: cut them into windows, or pad them"
        )
    return np.stack(series)
