"""Choice of samples, labels and splits among arrays that have names.

`.npz`, HDF5, MATLAB and folders of `.npy` files hold arrays by name. A name is read word by word:
`x_train`, `trainX` and `train_images` are samples of the training split, `y_test` and
`test_labels` labels of the test split. What is left of a name without the words of splits is its
*stem*; arrays of one stem are the splits of one thing. A choice is made only if one stem can hold
the samples. Otherwise the error lists all arrays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vae_runtime.errors import InputError

MAX_LISTED = 20
"""Most arrays that a message describes."""

SPLIT_WORDS = {
    "train": ("train", "training", "tr", "trn"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "te", "tst"),
}
"""Split -> words that name it, in arrays, files and folders."""

_SAMPLES = (
    "x xs data dataset image images img imgs picture pictures feature features feat feats fea "
    "sample samples set sets input inputs pixel pixels signal signals series observations digits"
)
_OTHERS = "name names id ids index indices idx path paths meta metadata"
_LABELS = (
    "y ys label labels lbl target targets class classes category categories gnd truth gt "
    "annotation annotations"
)
SAMPLE_WORDS = frozenset(_SAMPLES.split())
"""Words that name samples."""
LABEL_WORDS = frozenset(_LABELS.split())
"""Words that name labels."""

_OTHER_WORDS = frozenset(_OTHERS.split())
_SPLIT_OF_WORD = {word: split for split, words in SPLIT_WORDS.items() for word in words}
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W_]+")
_USUAL_LABELS = (("y",), ("labels",), ("label",))
_GLUED_SPLIT = re.compile(
    "(?P<first>[a-z]+?)(?P<last>train(?:ing)?|test(?:ing)?|valid|val)|"
    "(?P<head>train(?:ing)?|test(?:ing)?|valid|val)(?P<tail>[a-z]+)"
)


@dataclass(frozen=True)
class ArrayInfo:
    """Shape and dtype of an array that was not read."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"

    @property
    def is_vector(self) -> bool:
        """Whether it has one row or one column, as vectors of MATLAB have."""
        return len(self.shape) == 2 and 1 in self.shape

    @property
    def can_be_samples(self) -> bool:
        """Whether it holds numbers and has more axes than labels have."""
        return self.dtype.kind in "biuf" and len(self.shape) > 1 and max(self.shape[1:]) > 0


@dataclass(frozen=True)
class ChosenArrays:
    """Names of arrays by split; "train" is always present.

    Attributes:
        samples: split -> name of the array of its samples.
        labels: split -> name of the array of its labels, for splits that have labels.
        scored: the split to score, "test" if there is one.
    """

    samples: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    scored: str = "train"


@dataclass(frozen=True)
class _Name:
    split: str | None
    stem: tuple[str, ...]
    role: str | None


def choose_arrays(
    arrays: Mapping[str, ArrayInfo], *, where: str, key: str | None = None
) -> ChosenArrays:
    """Choose the arrays to train on and to score.

    `key` names the array to score. In training, arrays of the same stem are its other splits if it
    is the training split, so that `--key train_images` keeps the split of the file. An `InputError`
    lists the arrays of `where` if the key is not among them, or if there is no clear choice.
    """
    names = {name: parse_name(name) for name in arrays}
    if key is not None:
        if key not in arrays:
            raise InputError(
                f"{where} has no array {key!r}, it has {describe_arrays(arrays)}: give one of "
                "these as the key"
            )
        splits = _splits_of_stem(names[key].stem, names, arrays)
        samples = splits if splits.get("train") == key else {"train": key}
        return ChosenArrays(samples, _labels(samples, names, arrays))
    stem = _sample_stem(names, arrays)
    splits = {} if stem is None else _splits_of_stem(stem, names, arrays)
    if len(arrays) == 1 and not splits:
        splits = {"train": next(iter(arrays))}
    if not splits:
        raise InputError(_unclear(where, arrays))
    if "train" not in splits:  # a file of test samples only, to score
        if len(splits) > 1:
            raise InputError(_unclear(where, arrays))
        splits = {"train": next(iter(splits.values()))}
    scored = "test" if "test" in splits else "train"
    return ChosenArrays(splits, _labels(splits, names, arrays), scored)


def parse_name(name: str) -> _Name:
    """Read the words of a name: its split, its stem, and whether it names samples or labels."""
    words: list[str] = []
    for word in map(str.lower, _WORDS.findall(name)):
        glued = _GLUED_SPLIT.fullmatch(word)
        parts = [part for part in glued.groups() if part] if glued else []
        words += parts if any(p in SAMPLE_WORDS | LABEL_WORDS for p in parts) else [word]
    splits = [_SPLIT_OF_WORD[word] for word in words if word in _SPLIT_OF_WORD]
    stem = tuple(word for word in words if word not in _SPLIT_OF_WORD)
    if len(set(splits)) > 1:  # such as "train_test_data"
        return _Name(None, tuple(words), None)
    return _Name(splits[0] if splits else None, stem, _role(stem, bool(splits)))


def describe_arrays(arrays: Mapping[str, ArrayInfo]) -> str:
    """Return the names, shapes and dtypes of arrays, for an error message."""
    shown = ", ".join(f"{name} {info}" for name, info in [*arrays.items()][:MAX_LISTED])
    more = f" and {len(arrays) - MAX_LISTED} more" if len(arrays) > MAX_LISTED else ""
    return f"{shown}{more}" or "no arrays"


def _role(stem: tuple[str, ...], has_split: bool) -> str | None:
    """Return "samples", "labels", "other" or None: x and y decide, then the last word of these."""
    if _OTHER_WORDS.intersection(stem):  # such as class_names
        return "other"
    if not stem:
        return "samples" if has_split else None
    for letter, role in (("x", "samples"), ("y", "labels")):
        if letter in stem:
            return role
    for word in reversed(stem):
        if word in LABEL_WORDS:
            return "labels"
        if word in SAMPLE_WORDS:
            return "samples"
    return None


def _sample_stem(
    names: Mapping[str, _Name], arrays: Mapping[str, ArrayInfo]
) -> tuple[str, ...] | None:
    """Return the only stem that can hold the samples: one that says so, or one that may."""
    for role in ("samples", None):
        found = {
            parsed.stem
            for name, parsed in names.items()
            if parsed.role == role
            and arrays[name].can_be_samples
            and (role or not arrays[name].is_vector)
        }
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _splits_of_stem(
    stem: tuple[str, ...], names: Mapping[str, _Name], arrays: Mapping[str, ArrayInfo]
) -> dict[str, str]:
    """Return split -> name of a stem's array; empty if two arrays claim one split.

    An array whose name has no split is all samples, which is not clear beside other splits.
    """
    members = [
        (parsed.split, name)
        for name, parsed in names.items()
        if parsed.stem == stem and arrays[name].can_be_samples
    ]
    by_split = dict(members)
    if len(by_split) < len(members) or (None in by_split and len(by_split) > 1):
        return {}
    if None in by_split:
        return {"train": by_split[None]}
    return {split: by_split[split] for split in SPLIT_WORDS if split in by_split}


def _labels(
    samples: Mapping[str, str], names: Mapping[str, _Name], arrays: Mapping[str, ArrayInfo]
) -> dict[str, str]:
    """Return the array of labels of each split, if exactly one fits the samples."""
    chosen = {}
    for split, samples_name in samples.items():
        own, shape = names[samples_name], arrays[samples_name].shape
        is_only_split = len(samples) == 1
        found = [
            name
            for name, parsed in names.items()
            if (parsed.role == "labels" or _follows(own, parsed))
            and (parsed.split == own.split or (parsed.split is None and is_only_split))
            and arrays[name].dtype.kind in "biufUS"  # objects are never unpickled
            and _label_count(arrays[name].shape) in (shape[0], shape[-1])
            and name not in samples.values()
        ]
        usual = [name for name in found if names[name].stem in _USUAL_LABELS]
        if len(found) == 1 or len(usual) == 1:
            chosen[split] = (usual or found)[0]
    return chosen


def _label_count(shape: tuple[int, ...]) -> int:
    """Return how many samples labels of this shape belong to: rows, or one row of MATLAB."""
    return shape[1] if len(shape) == 2 and shape[0] == 1 else shape[0] if shape else 0


def _follows(samples: _Name, other: _Name) -> bool:
    """Return whether two names are NumPy's `arr_0` and `arr_1`."""
    return samples.stem == ("arr", "0") and other.stem == ("arr", "1")


def _unclear(where: str, arrays: Mapping[str, ArrayInfo]) -> str:
    advice = "save an array of samples in it, shape (n, ...)"
    if any(info.can_be_samples for info in arrays.values()):
        advice = f"name the one to use, such as --key {_likely_samples(arrays)}"
    return (
        f"{where} holds {describe_arrays(arrays)}, expected a single array of samples, or names "
        f"such as x_train, y_train and x_test: {advice}"
    )


def _likely_samples(arrays: Mapping[str, ArrayInfo]) -> str:
    """Return the name of the largest array that can be samples; that of a training split first."""

    def rank(name: str) -> tuple[bool, bool, int]:
        parsed, info = parse_name(name), arrays[name]
        return info.can_be_samples, parsed.split in ("train", None), math.prod(info.shape)

    return max(arrays, key=rank)
