"""The plan of a job: the parts of a source, in order, and their names.

A part is a file, a range of its row groups (Parquet) or rows (`.npy`), or some pictures. The plan
depends on the source, the bundle and the options alone, never on the engine or on the number of
workers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from vae_runtime.bundle.fields import Manifest
from vae_runtime.cluster.job import Job, Part, identity_bytes, named_part
from vae_runtime.cluster.samples.arrays import array_rows
from vae_runtime.cluster.samples.kinds import PARQUET, PICTURES, kind_of
from vae_runtime.cluster.samples.parquet import check_columns, opened_parquet
from vae_runtime.cluster.trees import SourceFile, Tree, is_url, open_tree
from vae_runtime.errors import InputError

PART_ROWS = 1 << 16
"""Rows of a part, about. A Parquet file is never divided inside a row group."""

PART_PICTURES = 1 << 12
"""Pictures of a part."""

PLANNING_THREADS = 16
"""Files whose heads are read at once: most of the time is spent waiting for them."""


def plan(job: Job, manifest: Manifest, part_rows: int | None = None) -> list[Part]:
    """List the parts of a source, by the paths of their files.

    Every file is scored: folders called `train` or `test` have no meaning here. Files and folders
    whose names start with a dot or an underscore are left out.

    Args:
        job: source, bundle and options.
        manifest: manifest of the bundle.
        part_rows: rows, or pictures, of a part; by default `PART_ROWS` or `PART_PICTURES`. Parts
            of arrays end with a chunk of the graph, those of Parquet files with a row group.

    Raises:
        InputError: the source does not exist, holds no samples or several kinds of them, or a
            file cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    tree = open_tree(job.reading.source)
    files, kind = _samples(tree)
    identity, chunk = identity_bytes(job), job.running.batch_size
    if kind == PICTURES:
        size = part_rows or PART_PICTURES
        groups = [tuple(files[i : i + size]) for i in range(0, len(files), size)]
        return [named_part(identity, group, 0, len(group)) for group in groups]
    size = part_rows or PART_ROWS

    def parquet_parts(file: SourceFile) -> list[Part]:
        with opened_parquet(tree, file.path) as opened:
            metadata, schema = opened.metadata, opened.schema_arrow
            rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        parts, first = [], 0
        for start, stop in _row_groups(rows, size):
            count = sum(rows[start:stop])
            parts.append(named_part(identity, (file,), first, count, (start, stop)))
            first += count
        if file is files[0] and parts:
            check_columns(schema, parts[0], manifest, job.reading)
        return parts

    def array_parts(file: SourceFile) -> list[Part]:
        with tree.on_disk(file.path) as path:
            rows = array_rows(path, job.reading.key, file.path, manifest.input.shape)
        divided = file.path.endswith(".npy") and not is_url(tree.location)
        step = max(1, size // chunk) * chunk if divided else max(1, rows)
        starts = range(0, rows, step)
        return [named_part(identity, (file,), i, min(step, rows - i)) for i in starts]

    found = _each(parquet_parts if kind == PARQUET else array_parts, files)
    parts = [part for parts in found for part in parts]
    if not parts:
        raise InputError(f"{tree.location} has no rows: give samples")
    return parts


def _samples(tree: Tree) -> tuple[list[SourceFile], str]:
    """Return the files that hold samples, and their kind."""
    files = [(file, kind) for file in tree.files() if (kind := kind_of(file.path))]
    kinds = sorted({kind for _, kind in files})
    if not kinds:
        raise InputError(
            f"{tree.location} holds no samples, expected Parquet files, .npz, .npy or pictures: "
            "give another folder, or convert the files"
        )
    if kinds[1:]:
        raise InputError(
            f"{tree.location} holds {' and '.join(kinds)}, expected files of one kind: give a "
            "subfolder"
        )
    return [file for file, _ in files], kinds[0]


def _row_groups(rows: Sequence[int], size: int) -> list[tuple[int, int]]:
    """Divide row groups into ranges of at most `size` rows, but at least one row group."""
    ranges: list[tuple[int, int]] = []
    start, count = 0, 0
    for i, own in enumerate(rows):
        if count and count + own > size:
            ranges.append((start, i))
            start, count = i, 0
        count += own
    if count:
        ranges.append((start, len(rows)))
    return ranges


def _each(function: Callable[[SourceFile], Any], files: Sequence[SourceFile]) -> list[Any]:
    """Call a function for each file, in several threads; the first error is raised."""
    with ThreadPoolExecutor(PLANNING_THREADS) as pool:
        return list(pool.map(function, files))
