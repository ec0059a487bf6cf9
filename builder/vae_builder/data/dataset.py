"""`Dataset`: samples in three disjoint splits, with how they came about.

Splits that a source does not bring are drawn from its training samples without replacement, by a
generator seeded with `[seed, SPLIT_STREAM]`; within a split the samples keep their order.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_builder.data.rows import Rows, Samples, chunks, subset
from vae_builder.data.samples import as_samples, check_samples
from vae_runtime.data.inputs import to_float
from vae_runtime.data.standardization import MIN_SCALE, Standardization
from vae_runtime.errors import InputError, OptionError

VALIDATION_FRACTION = 0.05
"""Share of the samples that becomes the validation split where the source has none."""
TEST_FRACTION = 0.1
"""Share of the samples that becomes the test split where the source has none."""
SPLIT_STREAM = 0x5B117
"""Second word of the seed, so that no other use of the same seed draws the same numbers."""

HELD_OUT = 2000
"""Test samples that are kept with a model: for its proof, and to be drawn in its card."""
HELD_OUT_VALUES = 1 << 22
"""Values that these may have in all, so that large pictures take neither memory nor time..."""
HELD_OUT_AT_LEAST = 64
"""...but so many samples are kept in any case, for the proof."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples to train, to validate and to test on.

    `Dataset.from_arrays` and `load_dataset` make one from arrays of any accepted dtype. The splits
    of a memory-mapped array are `Rows` of it: they are indexed by rows like an array, and
    `np.asarray(dataset.test)` reads one whole.

    Attributes:
        name: short name for people, such as "digits" or "faces.npz".
        train: samples, shape `(n, *input_shape)`, uint8 (standing for [0, 1]) or float32.
        validation: samples of the same shape and dtype, disjoint from `train`.
        test: samples of the same shape and dtype, disjoint from both.
        split_seed: seed of the splits that were drawn; `None` where the source brought all.
        columns: names of the elements of a vector, in their order; `None` where they have none.
    """

    name: str
    train: Samples
    validation: Samples
    test: Samples
    split_seed: int | None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for split, x in self._splits.items():
            if x.shape[1:] != self.input_shape or x.dtype != self.train.dtype:
                raise InputError(
                    f"{self.name}: {split} samples have shape {x.shape[1:]} and dtype {x.dtype}, "
                    f"train samples {self.input_shape} and {self.train.dtype}: make them the same"
                )
        if self.columns is not None and (len(self.columns),) != self.input_shape:
            raise InputError(
                f"{self.name}: {len(self.columns)} names of columns for samples of shape "
                f"{self.input_shape}: name each element of a vector once"
            )

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train: ArrayLike | Rows,
        *,
        validation: ArrayLike | Rows | None = None,
        test: ArrayLike | Rows | None = None,
        validation_fraction: float = VALIDATION_FRACTION,
        test_fraction: float = TEST_FRACTION,
        split_seed: int = 0,
        columns: tuple[str, ...] | None = None,
    ) -> Dataset:
        """Makes a data set and draws the splits that are not given from `train`.

        Args:
            name: short name, also for messages.
            train: samples, shape `(n, d)`, `(n, height, width)` or
                `(n, height, width, channels)`; see `vae_builder.data.samples` for dtypes. An
                `np.memmap` stays in its file, so it may be larger than memory.
            validation: samples to validate on; drawn from `train` where left out.
            test: samples to test on; drawn from `train` where left out.
            validation_fraction: share of `train` to draw, above 0; unused with `validation`.
            test_fraction: share of `train` to draw, above 0; unused with `test`.
            split_seed: seed of the draw, at least 0.
            columns: names of the elements of vectors.

        Returns:
            The data set; each split has at least one sample.

        Raises:
            InputError: the samples are empty, not finite, of an unknown shape or dtype, too few
                to split, or differ between the splits.
            OptionError: a fraction outside (0, 1), two that add up to 1 or more, or a seed
                below 0.

        >>> dataset = Dataset.from_arrays("ramp", np.linspace(0, 1, 80).reshape(20, 4))
        >>> dataset.counts
        {'train': 17, 'validation': 1, 'test': 2}
        """
        _check_split_options(validation_fraction, test_fraction, split_seed)
        whole = validation is None and test is None
        x = as_samples(train, name=name, what="sample" if whole else "train sample")
        given = {
            split: as_samples(array, name=name, what=f"{split} sample")
            for split, array in {"validation": validation, "test": test}.items()
            if array is not None
        }
        fractions = {"validation": validation_fraction, "test": test_fraction}
        missing = {split: value for split, value in fractions.items() if split not in given}
        if not missing:
            return cls(name, x, given["validation"], given["test"], None, columns)
        splits = given | _draw(name, x, missing, split_seed)
        return cls(name, splits["train"], splits["validation"], splits["test"], split_seed, columns)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample: `(height, width, channels)` or `(d,)`."""
        return self.train.shape[1:]

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples in "train", "validation" and "test"."""
        return {split: len(x) for split, x in self._splits.items()}

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 over dtype, shape and bytes (little-endian) of the three splits in order."""
        sha = hashlib.sha256()
        for x in self._splits.values():
            sha.update(f"{x.dtype.name} {x.shape}\n".encode())
            for _, part in chunks(x):
                content = np.ascontiguousarray(part, x.dtype.newbyteorder("<"))
                sha.update(content.reshape(-1).view(np.uint8).data)
        return sha.hexdigest()

    def standardization(self) -> Standardization:
        """Mean and standard deviation of the training samples, by entry of the last axis.

        Returns:
            One number for each column of vectors or channel of images, computed in float64; a
            scale of 1 where all values are the same.
        """
        columns = self.input_shape[-1]
        # Deviations from the first sample, so that large means leave digits for small deviations.
        offset = to_float(self.train[:1]).reshape(-1, columns)[0].astype(np.float64)
        count, total, squares = 0, np.zeros(columns), np.zeros(columns)
        for _, part in chunks(self.train):
            values = to_float(np.asarray(part)).reshape(-1, columns) - offset
            count += len(values)
            total, squares = total + values.sum(axis=0), squares + np.square(values).sum(axis=0)
        mean = total / count
        scale = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
        scale = np.where(scale < MIN_SCALE, 1.0, scale)
        return Standardization(*(tuple(map(float, n)) for n in (mean + offset, scale)))

    def held_out(self) -> NDArray[np.generic]:
        """The first test samples: those that are kept with a model.

        Returns:
            Shape `(m, *input_shape)`, uint8 or float32; m is at most `HELD_OUT`, and less where
            samples are large.
        """
        affordable = HELD_OUT_VALUES // math.prod(self.input_shape)
        return self.test[: min(HELD_OUT, max(HELD_OUT_AT_LEAST, affordable))]

    def require_range(self, value_range: tuple[float, float] | None) -> None:
        """Checks that all values lie in the range that a loss needs.

        Args:
            value_range: lowest and highest value, both inclusive; `None` for no bounds.

        Raises:
            InputError: names the split and the first sample in it that is out of range.
        """
        for split, x in self._splits.items():
            check_samples(x, value_range, what=f"{split} sample")

    @property
    def _splits(self) -> dict[str, Samples]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def _check_split_options(validation_fraction: float, test_fraction: float, split_seed: int) -> None:
    for name, value in [
        ("validation_fraction", validation_fraction),
        ("test_fraction", test_fraction),
    ]:
        if not 0 < value < 1:
            raise OptionError(f"{name} is {value}, expected a share above 0 and below 1")
    if validation_fraction + test_fraction >= 1:
        raise OptionError(
            f"validation_fraction {validation_fraction} and test_fraction {test_fraction} leave "
            "nothing to train on: their sum must stay below 1"
        )
    if split_seed < 0:
        raise OptionError(f"split_seed is {split_seed}, expected 0 or more")


def _draw(name: str, x: Samples, fractions: dict[str, float], seed: int) -> dict[str, Samples]:
    """Draws a split for each fraction; "train" keeps the rest, and at least one sample."""
    n = len(x)
    if n <= len(fractions):
        raise InputError(
            f"{name}: {n} samples, expected at least {len(fractions) + 1} to draw the "
            f"{' and '.join(fractions)} split: give more samples"
        )
    order = np.random.default_rng([seed, SPLIT_STREAM]).permutation(n)
    splits = {}
    for still_to_draw, (split, fraction) in zip(
        reversed(range(len(fractions))), fractions.items(), strict=True
    ):
        count = min(max(1, round(n * fraction)), len(order) - 1 - still_to_draw)
        splits[split], order = subset(x, np.sort(order[:count])), order[count:]
    return splits | {"train": subset(x, np.sort(order))}
