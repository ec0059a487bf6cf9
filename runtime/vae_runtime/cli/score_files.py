"""Scores as CSV or JSON lines, written part by part, or as npz."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from vae_runtime.bundle.scores import P_VALUE, SCORE
from vae_runtime.files.atomic_files import replacing
from vae_runtime.inference.decisions import ALARM, DISCOVERY
from vae_runtime.inference.scoring import ScoredPart
from vae_runtime.loss import LOSS_NAMES

INDEX = "index"
"""Name of the column that numbers the samples, from 0."""

OWN_NAMES = (INDEX, *LOSS_NAMES, SCORE, P_VALUE, ALARM, DISCOVERY)
"""Names that the names of the samples cannot have."""

Write = Callable[[ScoredPart], None]


@contextmanager
def score_writer(
    output: Path | None, name_column: str, *, as_json: bool, strict: bool
) -> Iterator[Write]:
    """Yield a function that writes the scores of a part.

    Args:
        output: a .csv, .jsonl or .npz file, which appears when the block ends without an error;
            None for standard output.
        name_column: what the names of the samples are called, if they have any.
        as_json: write JSON lines to standard output instead of CSV.
        strict: write nothing to standard output before the block ends.
    """
    if name_column in OWN_NAMES:
        name_column = f"id_{name_column}"
    if output is None:
        to_text = _json_lines(name_column) if as_json else _csv_lines(name_column)
        kept: list[str] = []
        yield lambda part: (kept.extend if strict else sys.stdout.writelines)(to_text(part))
        sys.stdout.writelines(kept)
        sys.stdout.flush()  # fail here, not at exit, if the reader of a pipe went away
        return
    with replacing(output) as file:
        if output.suffix == ".npz":
            parts: list[ScoredPart] = []
            yield parts.append
            _write_npz(file, name_column, parts)
        else:
            lines = (_json_lines if output.suffix == ".jsonl" else _csv_lines)(name_column)
            yield lambda part: file.writelines(text.encode() for text in lines(part))


def _rows(part: ScoredPart) -> Iterator[list[Any]]:
    """Yield number, name if there are names, losses, scores and decisions of each sample."""
    numbers = range(part.first, part.first + len(part.losses.loss))
    names: Sequence[Sequence[str]] = [] if part.names is None else [part.names]
    yield from map(list, zip(numbers, *names, *part.columns.values(), strict=True))


def _header(name_column: str, part: ScoredPart) -> list[str]:
    return [INDEX, *([] if part.names is None else [name_column]), *part.columns]


def _csv_lines(name_column: str) -> Callable[[ScoredPart], Iterator[str]]:
    def lines(part: ScoredPart) -> Iterator[str]:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if part.first == 0:
            writer.writerow(_header(name_column, part))
        for row in _rows(part):
            writer.writerow(int(v) if isinstance(v, np.bool_) else v for v in row)
        yield text.getvalue()

    return lines


def _json_lines(name_column: str) -> Callable[[ScoredPart], Iterator[str]]:
    def lines(part: ScoredPart) -> Iterator[str]:
        names = _header(name_column, part)
        for row in _rows(part):
            values = (v.item() if isinstance(v, np.generic) else v for v in row)
            finite = (None if isinstance(v, float) and not math.isfinite(v) else v for v in values)
            yield json.dumps(dict(zip(names, finite, strict=True)), ensure_ascii=False) + "\n"

    return lines


def _write_npz(file: IO[bytes], name_column: str, parts: list[ScoredPart]) -> None:
    arrays: dict[str, Any] = {
        name: np.concatenate([part.columns[name] for part in parts] or [np.empty(0)])
        for name in (parts[0].columns if parts else LOSS_NAMES)
    }
    if parts and parts[0].names is not None:
        arrays[name_column] = np.array([name for part in parts for name in part.names or ()], str)
    np.savez(file, **arrays)
