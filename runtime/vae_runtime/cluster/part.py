"""`score_part`: from a part to its file of scores, and nothing else.

The file has a row for each row of the part, in its order, also for those that cannot be scored:
their loss and score are infinite and their p-value is the smallest, and `errors/NAME.jsonl` has
their place, their identifiers and the reason. Equal parts give equal bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.scores import P_VALUE, SCORE
from vae_runtime.cluster.job import Job, Part
from vae_runtime.cluster.samples.blocks import Block, rebatched
from vae_runtime.cluster.samples.kinds import part_blocks
from vae_runtime.cluster.samples.parquet import id_columns
from vae_runtime.cluster.trees import Tree
from vae_runtime.errors import InputError
from vae_runtime.inference.decisions import ALARM
from vae_runtime.inference.runtime import VAERuntime
from vae_runtime.loss import LOSS_NAMES

PARTS, ERRORS = "parts", "errors"
"""Folders of the scores and of the rows that cannot be scored, in the folder of results."""

FILE, ROW, REASON = "file", "row", "reason"
"""Columns that say where a sample is, and why it cannot be scored."""

OWN_NAMES = (FILE, ROW, *LOSS_NAMES, SCORE, P_VALUE, ALARM, REASON)
"""Names that identifiers cannot have; theirs then start with `id_`."""

BLOCK_BYTES = 1 << 24
"""Size of the samples that are scored at a time, in bytes of float32."""


@dataclass(frozen=True)
class Report:
    """What became of a part.

    Attributes:
        rows: number of rows that were written.
        bad: number of rows that cannot be scored.
        first_reason: the place of the first of them, and why; None if there is none.
        warnings: what was noticed about the values; a line each.
    """

    rows: int
    bad: int
    first_reason: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class _Scored:
    """What is known about the rows of a part so far."""

    columns: list[dict[str, NDArray[Any]]]
    files: list[str]
    rows: list[NDArray[np.int64]]
    bad: dict[int, str]


def part_file(part: Part) -> str:
    """Return the path of the scores of a part in the folder of results."""
    return f"{PARTS}/{part.name}.parquet"


def score_part(
    vae: VAERuntime, part: Part, job: Job, source: Tree, out: Tree, *, strict: bool = False
) -> Report:
    """Score a part and write its file.

    Args:
        vae: the bundle of the job, loaded with its batch size and threads.
        part: what to score.
        job: how.
        source: the folder of the source.
        out: the folder of results.
        strict: raise an `InputError` for the first row that cannot be scored, and write nothing.

    Returns:
        How many rows there are, and how many cannot be scored.

    Raises:
        InputError: the input is missing, changed or damaged.
        OSError: it cannot be read, or the result cannot be written.
        ProviderError, BundleError, MissingExtraError: as of `vae_runtime.load`.
    """
    size = _block_size(vae, job.running.batch_size)
    scored = _Scored([], [], [], {})
    count = 0
    for block in rebatched(part_blocks(part, vae.manifest, job.reading, source), size):
        columns, bad = _score_block(vae, block, job, count)
        if strict and bad:
            place = _place(part, block, min(bad) - count)
            raise InputError(f"{place} {bad[min(bad)]}: repair it, or leave out --strict")
        scored.columns.append(columns)
        scored.files += block.files or ()
        scored.rows.append(block.rows)
        scored.bad.update(bad)
        count += len(block)
    ids = {_id_name(name): own for name, own in id_columns(part, job.reading, source).items()}
    table = _table(part, scored, ids, job)
    if scored.bad:
        out.write(f"{ERRORS}/{part.name}.jsonl", _error_lines(table, scored.bad, ids))
    out.write(part_file(part), _parquet_bytes(table))
    first = None
    if scored.bad:
        i = min(scored.bad)
        first = f"{table.column(FILE)[i]}, row {table.column(ROW)[i]} {scored.bad[i]}"
    return Report(count, len(scored.bad), first)


def _block_size(vae: VAERuntime, batch_size: int) -> int:
    values = int(np.prod(vae.manifest.input.shape))
    return max(1, BLOCK_BYTES // (4 * values * batch_size)) * batch_size


def _score_block(
    vae: VAERuntime, block: Block, job: Job, first: int
) -> tuple[dict[str, NDArray[Any]], dict[int, str]]:
    """Return losses or scores of a block, and the reasons of rows by their number in the part."""
    per_sample = vae.per_sample
    unscorable = per_sample.unscorable()
    x, is_bad = block.x, np.zeros(len(block), bool)
    is_bad[[*block.bad]] = True
    if block.bad and not is_bad.all():
        x = x.copy()
        x[is_bad] = x[int(is_bad.argmin())]
    if vae.manifest.score is None:
        columns = vars(per_sample.losses(x, None, job.condition, unscorable, first=first))
    else:
        calibration = vae.calibration
        scores = per_sample.scores(x, job.condition, calibration, unscorable, first=first)
        columns = dict(vars(scores))
        columns[P_VALUE] = np.where(
            is_bad, np.float32(calibration.smallest_p_value), columns[P_VALUE]
        )
        if job.alpha is not None:
            columns[ALARM] = type(scores)(**columns).alarms(job.alpha)
    for name in (*LOSS_NAMES, SCORE):
        if name in columns:
            columns[name] = np.where(is_bad, np.float32(np.inf), columns[name])
    own = {first + i: reason for i, reason in block.bad.items()}
    return columns, {**unscorable.reasons, **own}


def _table(part: Part, scored: _Scored, ids: dict[str, Any], job: Job) -> Any:
    import pyarrow as pa

    rows = np.concatenate(scored.rows) if scored.rows else np.zeros(0, np.int64)
    files = pa.array(scored.files) if scored.files else pa.repeat(part.files[0].path, len(rows))
    columns = {
        name: np.concatenate([block[name] for block in scored.columns])
        for name in scored.columns[0]
    }
    named = {FILE: files, ROW: pa.array(rows), **ids, **columns}
    return pa.table(named).replace_schema_metadata({"bundle": job.bundle})


def _parquet_bytes(table: Any) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _error_lines(table: Any, bad: dict[int, str], ids: dict[str, Any]) -> bytes:
    def lines() -> Iterator[str]:
        for i in sorted(bad):
            own = {name: table.column(name)[i].as_py() for name in (FILE, ROW, *ids)}
            yield json.dumps({**own, REASON: bad[i]}, ensure_ascii=False, default=str) + "\n"

    return "".join(lines()).encode()


def _id_name(name: str) -> str:
    return f"id_{name}" if name in OWN_NAMES else name


def _place(part: Part, block: Block, i: int) -> str:
    file = block.files[i] if block.files else part.files[0].path
    return f"{file}, row {block.rows[i]}"
