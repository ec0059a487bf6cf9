"""Kinds of files that hold samples, by their extensions, and the reader of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from vae_runtime.bundle.fields import Manifest
from vae_runtime.cluster.job import Part, Reading
from vae_runtime.cluster.samples.arrays import array_blocks
from vae_runtime.cluster.samples.blocks import Block
from vae_runtime.cluster.samples.parquet import parquet_blocks
from vae_runtime.cluster.samples.pictures import picture_blocks
from vae_runtime.cluster.trees import Tree
from vae_runtime.data.pictures.picture_files import PICTURE_EXTENSIONS
from vae_runtime.data.tables.files.arrow_files import PARQUET_EXTENSIONS

PARQUET, ARRAYS, PICTURES = "Parquet files", "arrays", "pictures"

_KIND_OF_EXTENSION = {
    **dict.fromkeys(PARQUET_EXTENSIONS, PARQUET),
    **dict.fromkeys((".npy", ".npz"), ARRAYS),
    **dict.fromkeys(PICTURE_EXTENSIONS, PICTURES),
}
_READERS: dict[str, Callable[[Part, Manifest, Reading, Tree], Iterator[Block]]] = {
    PARQUET: parquet_blocks,
    ARRAYS: array_blocks,
    PICTURES: picture_blocks,
}


def kind_of(path: str) -> str | None:
    """Return the kind of a file; None if it holds no samples."""
    return _KIND_OF_EXTENSION.get(PurePosixPath(path).suffix.lower())


def part_blocks(part: Part, manifest: Manifest, reading: Reading, tree: Tree) -> Iterator[Block]:
    """Yield the samples of a part, in blocks of any size.

    Raises:
        InputError: a file is not the one of the plan, cannot be read, or is no samples of the
            model. A row that cannot be read is marked in its block instead.
        MissingExtraError: pyarrow or Pillow is not installed.
    """
    for file in part.files:
        tree.check(file)
    kind = kind_of(part.files[0].path)
    assert kind is not None, "the plan has only files of known kinds"
    yield from _READERS[kind](part, manifest, reading, tree)
