"""`Dataset`: samples in three disjoint splits.

If the source has no validation or test split, it is drawn from the training samples without
replacement, by a generator seeded with `[seed, SPLIT_STREAM]`. Within a split the samples keep
their order.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_builder.data.conditions import make_conditions
from vae_builder.data.rows import Rows, Samples, read_chunks
from vae_builder.data.samples import (
    Layout,
    as_binary,
    as_samples,
    check_layout,
    check_samples,
    undivided,
)
from vae_runtime.data.conditions import Conditions
from vae_runtime.data.frames import column_names
from vae_runtime.data.inputs import read_array, to_scaled_float32
from vae_runtime.data.rounding import InputWarning
from vae_runtime.data.standardization import MIN_SCALE, Standardization
from vae_runtime.data.tables.columns import COUNTS, number_reason, quoted
from vae_runtime.errors import InputError, OptionError

VALIDATION_FRACTION = 0.05
"""Default fraction of the samples for the validation split, if the source has none."""
TEST_FRACTION = 0.1
"""Default fraction of the samples for the test split, if the source has none."""
SPLIT_STREAM = 0x5B117
"""Second word of the seed, so that no other use of the same seed draws the same numbers."""

MAX_HELD_OUT_SAMPLES = 2000
"""Maximum number of test samples that are kept with a model, for its proof and its card."""
MAX_HELD_OUT_VALUES = 1 << 22
"""Maximum number of values in these samples, which bounds memory and time for large images."""
MIN_HELD_OUT_SAMPLES = 64
"""Number of samples that are kept even if they have more than `MAX_HELD_OUT_VALUES` values."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples for training, validation and test.

    `Dataset.from_arrays` and `load_dataset` make one from arrays of any accepted dtype. The splits
    of a memory-mapped array are `Rows`, which are indexed like an array. `np.asarray(dataset.test)`
    reads a whole split into memory.

    Attributes:
        name: short name for people, such as "digits" or "faces.npz".
        train: samples, shape `(n, *input_shape)`, uint8 (standing for [0, 1]) or float32.
        validation: samples of the same shape and dtype, disjoint from `train`.
        test: samples of the same shape and dtype, disjoint from both.
        split_seed: seed of the random split; None if the source has all three splits.
        columns: names of the elements of a vector, in order; None if they have no names.
        is_table: whether the samples are rows of a table, whose columns may have any unit.
        binary_uint8: whether the samples, float32, were uint8 that held only 0 and 1.
        notes: what the reader of a table left out, and why; a line each.
        channel_added: whether the channel axis, of length 1, is not that of the arrays, and was
            added without being asked for.
        conditions: conditions of the samples, by split, for a conditional model; None otherwise.
    """

    name: str
    train: Samples
    validation: Samples
    test: Samples
    split_seed: int | None
    columns: tuple[str, ...] | None = None
    is_table: bool = False
    notes: tuple[str, ...] = ()
    binary_uint8: bool = False
    channel_added: bool = False
    conditions: dict[str, Conditions] | None = None

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
        is_table: bool = False,
        notes: tuple[str, ...] = (),
        layout: Layout | None = None,
        condition: ArrayLike | Mapping[str, ArrayLike] | None = None,
    ) -> Dataset:
        """Make a data set from arrays, and draw missing splits from `train` at random.

        Args:
            name: short name, also for messages.
            train: samples, shape `(n, d)`, `(n, height, width)`, `(n, height, width, channels)` or
                more axes; see `vae_builder.data.samples` for dtypes and layouts. An `np.memmap`
                stays in its file, so it may be larger than memory. A data frame keeps the names of
                its columns, and its numbers are never divided by 255.
            validation: validation samples; by default drawn from `train`.
            test: test samples; by default drawn from `train`.
            validation_fraction: fraction of `train` to draw, above 0; unused with `validation`.
            test_fraction: fraction of `train` to draw, above 0; unused with `test`.
            split_seed: seed of the random split, at least 0.
            columns: names of the elements of vectors. They are taken from data frames by name; by
                default those of `train`, if it is a frame.
            is_table: whether the samples are rows of a table.
            notes: lines about the samples, for people.
            layout: what samples are: `vectors`, `series`, `images` or `volumes`. By default the
                number of axes says it: 2 for vectors, 3 and 4 for images.
            condition: condition of each sample of `train`, or conditions by split, for a
                conditional model. Labels, shape `(n,)`, become one-hot vectors;
                `vae_builder.data.conditions` has the rule.

        Returns:
            The data set; each split has at least one sample.

        Raises:
            InputError: the samples are empty, masked, not finite, of an unknown shape or dtype,
                too few to split, without one of the columns, or differ in shape or dtype between
                the splits.
            OptionError: a fraction is outside (0, 1), the two add up to 1 or more, or the seed is
                below 0.

        >>> dataset = Dataset.from_arrays("ramp", np.linspace(0, 1, 80).reshape(20, 4))
        >>> dataset.counts
        {'train': 17, 'validation': 1, 'test': 2}
        """
        _check_split_options(validation_fraction, test_fraction, split_seed)
        check_layout(layout)
        arrays = {"validation": validation, "test": test}
        fractions = {"validation": validation_fraction, "test": test_fraction}
        missing = {split: fractions[split] for split, x in arrays.items() if x is None}
        what = "sample" if len(missing) == 2 else "train sample"
        names = column_names(train)
        columns, is_table = columns or names, is_table or names is not None
        reading: dict[str, Any] = {"name": name, "columns": columns, "layout": layout}
        splits = {"train": as_samples(train, what=what, **reading)}
        for split, x in arrays.items():
            if x is not None:
                splits[split] = as_samples(x, what=f"{split} sample", **reading)
        added = layout is None and splits["train"].ndim > np.ndim(train)
        if names is not None:
            _warn_of_row_numbers(names, splits["train"], name)
        if columns is not None:  # numbers of a table have units of their own
            splits = undivided(splits)
        given, splits = splits, as_binary(splits, name=name)
        count = len(splits["train"])
        if missing:
            splits |= _draw_splits(name, splits["train"], missing, split_seed)
        of_split: dict[str, Any] = splits
        dataset = cls(
            name,
            **of_split,
            split_seed=split_seed if missing else None,
            columns=columns,
            is_table=is_table,
            notes=notes,
            binary_uint8=splits is not given,
            channel_added=added,
        )
        if condition is None:
            return dataset
        conditions = condition if isinstance(condition, Mapping) else {"train": condition}
        if missing and "train" in conditions:
            array = read_array(conditions["train"], name=f"{name}: condition")
            if array.ndim == 0 or len(array) != count:
                raise InputError(
                    f"{name}: condition has shape {array.shape} for {count} samples: give one for "
                    "each sample"
                )
            conditions = {**conditions, **_draw_splits(name, array, missing, split_seed)}
        return dataset.conditioned_on(conditions)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, such as `(height, width, channels)` or `(d,)`."""
        return self.train.shape[1:]

    def conditioned_on(self, splits: Mapping[str, ArrayLike]) -> Dataset:
        """Return the data set with conditions, for a conditional model.

        Args:
            splits: labels or numbers of each sample, by split.

        Returns:
            The same samples with `conditions`.

        Raises:
            InputError: see `vae_builder.data.conditions`.
        """
        return replace(self, conditions=make_conditions(self.name, splits, self.counts))

    def conditions_of(self, split: str, count: int | None = None) -> Conditions | None:
        """Return the conditions of the first samples of a split; None if there are none.

        Args:
            split: `train`, `validation` or `test`.
            count: number of samples; by default all.
        """
        if self.conditions is None:
            return None
        own = self.conditions[split]
        return Conditions(own.spec, own.values[:count])

    def held_out_conditions(self) -> Conditions | None:
        """Return the conditions of the samples of `held_out`; None if there are none."""
        return self.conditions_of("test", len(self.held_out()))

    def in_shape(self, shape: tuple[int, ...]) -> Dataset:
        """Return the data set with samples of a shape, if only a channel axis of 1 is between.

        An axis that the arrays had is not removed. In every other case the result is this one.

        Args:
            shape: shape of one sample, as a model takes it.
        """
        present = shape == (*self.input_shape, 1)
        if not present and not (self.channel_added and self.input_shape == (*shape, 1)):
            return self
        splits: dict[str, Any] = {
            split: _with_channel_axis(x, present) for split, x in self._splits.items()
        }
        return replace(self, **splits, channel_added=False)

    @property
    def counts(self) -> dict[str, int]:
        """Number of samples in "train", "validation" and "test"."""
        return {split: len(x) for split, x in self._splits.items()}

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of dtype, shape and little-endian bytes of the three splits in order.

        Conditions follow, if there are any.
        """
        sha = hashlib.sha256()
        for x in self._splits.values():
            sha.update(f"{x.dtype.name} {x.shape}\n".encode())
            for _, part in read_chunks(x):
                content = np.ascontiguousarray(part, x.dtype.newbyteorder("<"))
                sha.update(content.reshape(-1).view(np.uint8).data)
        for conditions in (self.conditions or {}).values():
            sha.update(f"condition {conditions.spec}\n".encode())
            sha.update(np.ascontiguousarray(conditions.values, "<f4").tobytes())
        return sha.hexdigest()

    def standardization(self) -> Standardization:
        """Return the mean and standard deviation of the training samples along the last axis.

        Returns:
            One mean and one scale for each column of vectors or channel of images, computed in
            float64. The scale is 1 if all values are equal.
        """
        columns = self.input_shape[-1]
        # Subtract the first sample, so that a large mean costs no digits of the deviation.
        offset = to_scaled_float32(self.train[:1]).reshape(-1, columns)[0].astype(np.float64)
        count, total, squares = 0, np.zeros(columns), np.zeros(columns)
        for _, part in read_chunks(self.train):
            values = to_scaled_float32(np.asarray(part)).reshape(-1, columns) - offset
            count += len(values)
            total, squares = total + values.sum(axis=0), squares + np.square(values).sum(axis=0)
        mean = total / count
        scale = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
        scale = np.where(scale < MIN_SCALE, 1.0, scale)
        return Standardization(*(tuple(map(float, n)) for n in (mean + offset, scale)))

    def held_out(self) -> NDArray[np.generic]:
        """Return the first test samples, which are kept with a model.

        Returns:
            Samples, shape `(m, *input_shape)`, uint8 or float32. m is at most
            `MAX_HELD_OUT_SAMPLES`, and less if samples are large.
        """
        affordable = MAX_HELD_OUT_VALUES // math.prod(self.input_shape)
        return self.test[: min(MAX_HELD_OUT_SAMPLES, max(MIN_HELD_OUT_SAMPLES, affordable))]

    def is_in(self, value_range: tuple[float, float]) -> bool:
        """Return whether all values, uint8 divided by 255, lie in a range, both ends included.

        Args:
            value_range: lowest and highest value.
        """
        try:
            self.require_range(value_range)
        except InputError:
            return False
        return True

    @cached_property
    def is_binary(self) -> bool:
        """Whether all values are 0 or 1, as float32."""
        return self.train.dtype != np.uint8 and all(
            bool(((part == 0) | (part == 1)).all())
            for x in self._splits.values()
            for _, part in read_chunks(x)
        )

    def require_range(self, value_range: tuple[float, float] | None) -> None:
        """Check that all values lie in the range that a loss needs.

        Args:
            value_range: lowest and highest value, both inclusive; None for no bounds.

        Raises:
            InputError: names the split and the first sample in it that is out of range.
        """
        for split, x in self._splits.items():
            check_samples(x, value_range, what=f"{split} sample")

    @property
    def _splits(self) -> dict[str, Samples]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def _with_channel_axis(x: Samples, present: bool) -> Samples:
    """Add or remove a last axis of length 1."""
    if isinstance(x, Rows):
        return x.with_channel_axis(present)
    return x[..., np.newaxis] if present else x[..., 0]


def _warn_of_row_numbers(names: tuple[str, ...], x: Samples, data: str) -> None:
    """Name the columns of a data frame that a file's reader would leave out; here they stay."""
    if not isinstance(x, np.ndarray) or x.ndim != 2 or x.shape[1] != len(names):
        return
    reasons = [number_reason(n, x[:, i].astype(np.float64)) for i, n in enumerate(names)]
    found = [n for n, reason in zip(names, reasons, strict=True) if reason not in (None, COUNTS)]
    if found:
        warnings.warn(
            f"{data}: {quoted(found)} looks like row numbers, identifiers or times, and is trained "
            "on: leave it out of the data frame unless it is a feature",
            InputWarning,
            stacklevel=3,
        )


def _check_split_options(validation_fraction: float, test_fraction: float, split_seed: int) -> None:
    fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    for name, value in fractions.items():
        if not 0 < value < 1:
            raise OptionError(f"{name} is {value}, expected a share above 0 and below 1")
    if validation_fraction + test_fraction >= 1:
        raise OptionError(
            f"validation_fraction {validation_fraction} and test_fraction {test_fraction} leave "
            "nothing to train on: their sum must stay below 1"
        )
    if split_seed < 0:
        raise OptionError(f"split_seed is {split_seed}, expected 0 or more")


def _draw_splits(
    name: str, x: Samples, fractions: dict[str, float], seed: int
) -> dict[str, Samples]:
    """Draw a split for each fraction, and "train" from the rest; none is empty."""
    n = len(x)
    if n <= len(fractions):
        raise InputError(
            f"{name}: {n} samples, expected at least {len(fractions) + 1} to draw the "
            f"{' and '.join(fractions)} split: give more samples"
        )
    select = x.subset if isinstance(x, Rows) else x.__getitem__
    order = np.random.default_rng([seed, SPLIT_STREAM]).permutation(n)
    splits = {}
    for i, (split, fraction) in enumerate(fractions.items(), 1):
        splits_left = len(fractions) - i
        count = min(max(1, round(n * fraction)), len(order) - 1 - splits_left)
        splits[split], order = select(np.sort(order[:count])), order[count:]
    return splits | {"train": select(np.sort(order))}
