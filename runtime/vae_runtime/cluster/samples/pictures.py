"""Samples in picture files: a row for each page of each file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vae_runtime.bundle.fields import Manifest
from vae_runtime.cluster.job import Part, Reading
from vae_runtime.cluster.samples.blocks import Block
from vae_runtime.cluster.samples.columns import picture_of
from vae_runtime.cluster.trees import Tree
from vae_runtime.errors import InputError


def picture_blocks(part: Part, manifest: Manifest, reading: Reading, tree: Tree) -> Iterator[Block]:
    """Yield the pages of each picture; one that cannot be read is a row that cannot be read."""
    shape = manifest.input.shape
    for file in part.files:
        bad = {}
        with tree.open(file.path) as opened:
            content = opened.read()
        try:
            x = picture_of(content, file.path, shape, reading)
        except InputError as error:
            x, bad = np.zeros((1, *shape), np.uint8), {0: str(error)}
        yield Block(x, np.arange(len(x)), (file.path,) * len(x), bad)
