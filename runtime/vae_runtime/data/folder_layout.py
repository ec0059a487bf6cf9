"""Splits and labels of the files in a folder, from the names of its subfolders.

    train/ test/ val/            the splits of the data set, at any depth
    cats/ dogs/                  the labels, also below train/ and test/
    train/good test/good test/cut ground_truth/cut       MVTec: the masks are no samples

If training has one class, here `good`, other classes of the test split are anomalies. They are
scored, but they are not in the split whose mean loss tells how well the model was trained.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vae_runtime.data.arrays.named_arrays import SAMPLE_WORDS, parse_name
from vae_runtime.data.read_errors import wrap_read_errors

MASK_FOLDERS = frozenset(("ground_truth", "groundtruth", "ground truth"))
"""Folders whose pictures are masks."""
MASK_FOLDERS_BESIDE_IMAGES = frozenset(
    ("masks", "mask", "annotations", "annotation", "labels", "gt", "segmentation", "segmentations")
)
"""Folders whose pictures are masks if they stand beside a folder of images."""
IMAGE_FOLDERS = frozenset(("images", "image", "imgs", "img", "pictures", "photos"))

_SHORT_WORDS = frozenset(("tr", "trn", "te", "tst"))  # of arrays; as folders they may be languages
_MAX_LISTED = 5

Parts = tuple[str, ...]
"""Path of a file relative to the folder, as its parts."""


@dataclass(frozen=True)
class PlacedFile:
    """One file: its path relative to the folder, its split, and the names of its subfolders."""

    path: str
    split: str
    label: str


@dataclass(frozen=True)
class FolderLayout:
    """The files of a folder that are samples, in order.

    Attributes:
        files: all of them; "train" is the split of a folder without splits.
        held_back: labels that are scored but not in the splits: classes that training has not seen.
        notes: what was left out, a line each.
    """

    files: tuple[PlacedFile, ...]
    held_back: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def of_splits(self) -> dict[str, list[PlacedFile]]:
        """Return the files to train on, by split."""
        splits: dict[str, list[PlacedFile]] = {}
        for split in ("train", "validation", "test"):
            found = [f for f in self.files if f.split == split]
            found = [f for f in found if split == "train" or f.label not in self.held_back]
            if found:
                splits[split] = found
        return splits

    def scored(self) -> list[PlacedFile]:
        """Return the files to score: the test split if there is one, else the training split."""
        splits = {file.split for file in self.files}
        split = "test" if "test" in splits else "train"
        return [file for file in self.files if file.split == split]

    def normal_among(self, labels: Iterable[str]) -> frozenset[str]:
        """Return those of the labels that training has, if others are held back; else none."""
        return frozenset(labels) - self.held_back if self.held_back else frozenset()

    @property
    def held_back_note(self) -> tuple[str, ...]:
        """A line about `held_back`; none if it is empty."""
        if not self.held_back:
            return ()
        found = Counter(
            f.label for f in self.files if f.label in self.held_back and f.split != "train"
        )
        are = "is of a class" if found.total() == 1 else "are of classes"
        return (
            f"{_counted(found, 'file')} {are} that training has not seen, {_listed(found)}: "
            "scored, but not in the test split that training uses",
        )


def find_files(folder: Path, extensions: Sequence[str]) -> Iterator[Parts]:
    """Yield the files below a folder that have one of the extensions; hidden ones are skipped.

    `os.scandir` knows the type of each entry; `Path.rglob` would need a system call per file.
    """
    with wrap_read_errors(folder, "folder"):
        yield from _visible(folder, (), tuple(extensions))


def arrange(paths: Sequence[Parts]) -> FolderLayout:
    """Find the splits and the labels of files."""
    paths, notes = _without_masks(sorted(paths))
    depth = _split_depth(paths)
    if depth is None:
        files = [PlacedFile("/".join(p), "train", "/".join(p[:-1])) for p in paths]
        return FolderLayout(tuple(files), notes=notes)
    files, outside = _placed(paths, depth)
    if outside:
        left_out = f"left out {_counted(outside, 'file')} outside of the splits"
        notes += (f"{left_out}: {_listed(outside)}",)
    if not any(f.split == "train" for f in files):  # one split alone: all samples
        files = [PlacedFile(f.path, "train", f.label) for f in files]
    return FolderLayout(tuple(files), _unseen_classes(files), notes)


def _placed(paths: Sequence[Parts], depth: int) -> tuple[list[PlacedFile], Counter[str]]:
    """Return the files in folders of splits, and the number of files in each folder beside them."""
    files, outside = [], Counter[str]()
    for parts in paths:
        split = split_of_folder(parts[depth]) if len(parts) > depth + 1 else None
        if split is None:
            outside["/".join(parts[:-1][: depth + 1]) or parts[-1]] += 1
        else:
            label = "/".join((*parts[:depth], *parts[depth + 1 : -1]))
            files.append(PlacedFile("/".join(parts), split, label))
    return files, outside


def _visible(folder: Path, parts: Parts, extensions: tuple[str, ...]) -> Iterator[Parts]:
    with os.scandir(folder.joinpath(*parts)) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _visible(folder, (*parts, entry.name), extensions)
            elif Path(entry.name).suffix.lower() in extensions and entry.is_file():
                yield (*parts, entry.name)


def _without_masks(paths: list[Parts]) -> tuple[list[Parts], tuple[str, ...]]:
    """Leave out the masks of pictures, unless nothing else is there."""
    folders = {parts[: i + 1] for parts in paths for i in range(len(parts) - 1)}
    beside_images = {f[:-1] for f in folders if f[-1].lower() in IMAGE_FOLDERS}

    def mask_folder(parts: Parts) -> str | None:
        for i, name in enumerate(map(str.lower, parts[:-1])):
            if name in MASK_FOLDERS or (
                name in MASK_FOLDERS_BESIDE_IMAGES and parts[:i] in beside_images
            ):
                return "/".join(parts[: i + 1])
        return None

    masks = Counter(folder for parts in paths if (folder := mask_folder(parts)))
    kept = [parts for parts in paths if mask_folder(parts) is None] if masks else paths
    if not masks or not kept:
        return paths, ()
    return kept, (f"left out {_counted(masks, 'mask')}: {_listed(masks)}",)


def _split_depth(paths: Sequence[Parts]) -> int | None:
    """Return which part of the paths names a split; None if none does.

    One folder called `train` beside others may be a class. `train` and `test` are splits.
    """
    for depth in range(max((len(parts) for parts in paths), default=0) - 1):
        splits = {split_of_folder(parts[depth]) for parts in paths if len(parts) > depth + 1}
        if ("train" in splits and len(splits - {None}) > 1) or None not in splits:
            return depth
    return None


def split_of_folder(folder: str) -> str | None:
    """Return the split that a folder's name states, such as `Train`, `test_images`, `val`."""
    parsed = parse_name(folder)
    if parsed.split is None or folder.lower() in _SHORT_WORDS:
        return None
    return parsed.split if SAMPLE_WORDS.issuperset(parsed.stem) else None


def _unseen_classes(files: Sequence[PlacedFile]) -> frozenset[str]:
    """Return the labels of anomalies: training has one class, another split has it and others."""
    classes = {f.label.rpartition("/")[2] for f in files if f.split == "train"}
    if len(classes) != 1 or classes == {""}:
        return frozenset()
    (normal,) = classes
    others = {f.label for f in files if f.label.rpartition("/")[2] != normal}
    has_normal = any(f.split != "train" and f.label not in others for f in files)
    return frozenset(others) if has_normal else frozenset()


def _counted(counts: Counter[str], what: str) -> str:
    return f"{counts.total()} {what}{'s' if counts.total() != 1 else ''}"


def _listed(counts: Counter[str]) -> str:
    shown = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:_MAX_LISTED])
    more = len(counts) - _MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
