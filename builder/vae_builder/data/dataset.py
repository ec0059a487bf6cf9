"""`Dataset`: samples in three disjoint splits.

If the source has no validation or test split, it is drawn from the training samples; `splits` says
how.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_builder.data.conditions import make_conditions
from vae_builder.data.encoded import Encoded, encode_frames
from vae_builder.data.labels import check_labels, labels_by_split
from vae_builder.data.rows import Rows, Samples, read_chunks, select_rows
from vae_builder.data.samples import (
    Layout,
    as_binary,
    as_samples,
    check_layout,
    check_samples,
    undivided,
)
from vae_builder.data.splits import (
    TEST_FRACTION,
    VALIDATION_FRACTION,
    check_split_options,
    draw_rows,
)
from vae_builder.data.statistics import are_binary, extent_of, standardization_of
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.numbers.standardization import Standardization
from vae_runtime.data.samples.conditions import Conditions
from vae_runtime.data.samples.frames import column_names
from vae_runtime.data.samples.inputs import read_array
from vae_runtime.data.tables.columns import COUNTS, number_reason
from vae_runtime.data.tables.encoding import Missing, TableEncoding, UnknownCategory
from vae_runtime.data.tables.names import quoted
from vae_runtime.data.tables.options import TableOptions
from vae_runtime.errors import InputError, OptionError

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
        table: encoding of the table's columns as the elements of a sample; None if each is a
            number.
        label: name of the column of the labels.
        labels: labels of the samples, by split, numbers or texts; None if there are none.
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
    table: TableEncoding | None = None
    label: str | None = None
    labels: dict[str, NDArray[Any]] | None = None

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
        check_labels(self.name, self.labels, self.counts)

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
        labels: ArrayLike | Mapping[str, ArrayLike] | None = None,
        label: str | None = None,
        categorical: Sequence[str] = (),
        missing: Missing = "error",
        unknown_category: UnknownCategory = "error",
        table: TableEncoding | None = None,
    ) -> Dataset:
        """Make a data set from arrays, and draw missing splits from `train` at random.

        Args:
            name: short name, also for messages.
            train: samples, shape `(n, d)`, `(n, height, width)`, `(n, height, width, channels)` or
                more axes; see `vae_builder.data.samples` for dtypes and layouts. An `np.memmap`
                stays in its file, so it may be larger than memory. A data frame keeps the names of
                its columns, and its numbers are never divided by 255. If it holds text, categories
                or booleans, its columns are chosen and encoded as in a file.
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
            labels: labels of `train`, or labels by split; they are split as the samples are.
            label: column of a data frame that holds the labels; or the name of `labels`.
            categorical: columns of a data frame whose values are categories.
            missing: what to do about missing values of a data frame, as for `load_dataset`.
            unknown_category: what a device does about an unknown category, as for `load_dataset`.
            table: encoding that the samples were made with.

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
        check_split_options(validation_fraction, test_fraction, split_seed)
        check_layout(layout)
        arrays: dict[str, Any] = {"validation": validation, "test": test}
        fractions = {"validation": validation_fraction, "test": test_fraction}
        drawn = {split: fractions[split] for split, x in arrays.items() if x is None}
        options = TableOptions(
            label=label if labels is None else None,
            categorical=tuple(categorical),
            missing=missing,
            unknown_category=unknown_category,
        )
        if encoded := encode_frames(name, {"train": train, **arrays}, options, drawn, split_seed):
            return cls.from_encoded(
                name,
                encoded,
                notes=notes,
                condition=condition,
                split_seed=split_seed,
                validation_fraction=validation_fraction,
                test_fraction=test_fraction,
            )
        if options != TableOptions():
            raise OptionError(
                f"{name} is no data frame, its columns have no names: name no columns, and no rule "
                "for missing values"
            )
        what = "sample" if len(drawn) == 2 else "train sample"
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
        known = labels_by_split(labels)
        check_labels(name, known, {split: len(x) for split, x in splits.items()})
        rows = draw_rows(name, count, drawn, split_seed) if drawn else {}
        of_split: dict[str, Any] = splits | select_rows(splits["train"], rows)
        if known and "train" in known:
            known |= select_rows(known["train"], rows)
        dataset = cls(
            name,
            **of_split,
            split_seed=split_seed if drawn else None,
            columns=columns,
            is_table=is_table,
            notes=notes,
            binary_uint8=splits is not given,
            channel_added=added,
            table=table,
            label=label,
            labels=known,
        )
        if condition is None:
            return dataset
        conditions = condition if isinstance(condition, Mapping) else {"train": condition}
        if drawn and "train" in conditions:
            array = read_array(conditions["train"], name=f"{name}: condition")
            if array.ndim == 0 or len(array) != count:
                raise InputError(
                    f"{name}: condition has shape {array.shape} for {count} samples: give one for "
                    "each sample"
                )
            conditions = {**conditions, **select_rows(array, rows)}
        return dataset.conditioned_on(conditions)

    @classmethod
    def from_encoded(
        cls, name: str, encoded: Encoded, *, notes: tuple[str, ...] = (), **options: Any
    ) -> Dataset:
        """Make a data set from an encoded table; `options` as for `from_arrays`."""
        encoding, splits = encoded.encoding, encoded.splits
        return cls.from_arrays(
            name,
            splits["train"],
            validation=splits.get("validation"),
            test=splits.get("test"),
            columns=encoded.columns,
            is_table=True,
            notes=(*notes, *encoded.notes),
            labels=encoded.labels,
            label=encoded.label if encoded.labels else None,
            table=None if encoding.is_plain else encoding,
            **options,
        )

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
        return standardization_of(self.train)

    def undivided(self) -> Dataset:
        """Return the same samples as float32, uint8 as numbers from 0 to 255."""
        splits: dict[str, Any] = undivided(self._splits)
        return replace(self, **splits)

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
        return are_binary([*self._splits.values()])

    def require_range(self, value_range: tuple[float, float] | None) -> None:
        """Check that all values lie in the range that a loss needs.

        Args:
            value_range: lowest and highest value, both inclusive; None for no bounds.

        Raises:
            InputError: names the split and the first sample in it that is out of range.
        """
        if value_range is None:
            return
        try:
            for split, x in self._splits.items():
                check_samples(x, value_range, what=f"{split} sample")
        except InputError:
            extent = extent_of([*self._splits.values()])
            for split, x in self._splits.items():
                check_samples(x, value_range, what=f"{split} sample", extent=extent)

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
