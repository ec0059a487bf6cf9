"""Samples in `.npy` and `.npz` files, each of which holds an array of samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.fields import Manifest
from vae_runtime.cluster.job import Part, Reading
from vae_runtime.cluster.samples.blocks import Block
from vae_runtime.cluster.trees import Tree
from vae_runtime.data.arrays.named_arrays import choose_arrays
from vae_runtime.data.arrays.numpy_files import npz_infos, read_npy, read_npz_array
from vae_runtime.data.samples.inputs import as_batch
from vae_runtime.errors import InputError

COPY_BYTES = 1 << 25
"""Largest piece of a memory-mapped file that is read at a time."""


def array_rows(path: Path, key: str | None, where: str, shape: tuple[int, ...]) -> int:
    """Return how many samples a file on this machine's disk holds, without reading them.

    Args:
        path: the `.npy` or `.npz` file.
        key: name of the array in an `.npz` file; None for the only choice.
        where: what messages call the file.
        shape: shape of a sample.

    Raises:
        InputError: the file cannot be read, or its array has another shape than `(n, *shape)`.
    """
    if path.suffix == ".npy":
        found: tuple[int, ...] = read_npy(path).shape
    else:
        found = npz_infos(path)[_array_name(path, key, where)].shape
    if found[1:] not in (shape, shape[:-1] if shape[-1] == 1 else shape, (*shape, 1)):
        raise InputError(
            f"{where} has shape {found}, expected ({', '.join(['n', *map(str, shape)])}): each "
            "file must hold an array of samples"
        )
    return found[0]


def array_blocks(part: Part, manifest: Manifest, reading: Reading, tree: Tree) -> Iterator[Block]:
    """Yield the samples of some rows of a file; see `vae_runtime.cluster.samples`."""
    file = part.files[0].path
    with tree.on_disk(file) as path:
        if path.suffix == ".npy":
            whole: NDArray[np.generic] = read_npy(path)
        else:
            whole = read_npz_array(path, _array_name(path, reading.key, file))
        x = as_batch(whole, manifest.input.shape, name=file)[part.first : part.first + part.rows]
        step = max(1, COPY_BYTES // (x.itemsize * max(1, math.prod(x.shape[1:]))))
        for start in range(0, len(x), step):
            rows = np.array(x[start : start + step])
            first = part.first + start
            yield Block(rows, np.arange(first, first + len(rows)))


def _array_name(path: Path, key: str | None, where: str) -> str:
    chosen = choose_arrays(npz_infos(path), where=where, key=key)
    return chosen.samples[chosen.scored]
