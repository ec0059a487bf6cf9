"""Blocks of samples: consecutive rows of a part, with those that cannot be read marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive samples of a part.

    Attributes:
        x: the samples, shape `(n, ...)`. The values of a row that cannot be read mean nothing.
        rows: number of each sample in its file, from 0, shape `(n,)`, int64.
        files: path of each sample's file below the source; None if a part has one file.
        bad: reasons of the rows that cannot be read, by their positions in the block.
    """

    x: NDArray[Any]
    rows: NDArray[np.int64]
    files: tuple[str, ...] | None = None
    bad: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, part: slice) -> Block:
        """Return a slice of the block."""
        start, stop, _ = part.indices(len(self))
        bad = {i - start: reason for i, reason in self.bad.items() if start <= i < stop}
        files = None if self.files is None else self.files[part]
        return Block(self.x[part], self.rows[part], files, bad)


def rebatched(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """Yield blocks of exactly `size` samples, and a last one that may be smaller.

    The borders of chunks in the graph are then those of the part, however its file is stored.
    """
    kept: list[Block] = []
    count = 0
    for block in blocks:
        start = 0
        if kept:  # only what is left over is copied
            start = min(size - count, len(block))
            kept.append(block.taken(slice(0, start)))
            count += start
            if count == size:
                yield _joined(kept)
                kept, count = [], 0
        while len(block) - start >= size:
            yield block.taken(slice(start, start + size))
            start += size
        if start < len(block):
            kept.append(block.taken(slice(start, None)))
            count += len(block) - start
    if count:
        yield _joined(kept)


def _joined(blocks: list[Block]) -> Block:
    blocks = [block for block in blocks if len(block)]
    if len(blocks) == 1:
        return blocks[0]
    bad: dict[int, str] = {}
    start = 0
    for block in blocks:
        bad.update({start + i: reason for i, reason in block.bad.items()})
        start += len(block)
    x, rows = (np.concatenate([getattr(b, name) for b in blocks]) for name in ("x", "rows"))
    named = blocks[0].files is not None
    files = tuple(name for block in blocks for name in block.files or ()) if named else None
    return Block(x, rows, files, bad)
