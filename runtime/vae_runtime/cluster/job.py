"""What a job scores and how: the same for every worker, and the names of its parts.

The name of a part follows from its input (path, size, time of the last change, rows) and from the
job (bundle, chunk size and all options that change a number). So a part that is there is finished,
and two workers that score the same part write the same bytes to the same place.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from vae_runtime.cluster.trees import SourceFile
from vae_runtime.errors import MissingExtraError

PACKAGES = ("build-vae", "numpy", "onnxruntime", "pyarrow")
"""Packages whose versions decide about the bytes of a part."""


@dataclass(frozen=True)
class Reading:
    """How the samples of a source are read.

    Attributes:
        source: absolute path or URL of the folder, or of a single file.
        key: column of Parquet files, or array of .npz files, that holds the samples; None for the
            only one that can.
        ids: columns of Parquet files that the scores carry.
        image_size: height and width to resize pictures to, in pixels; None to keep their size.
        channels: channels to read pictures with, 1 or 3; None for those that the model takes.
    """

    source: str
    key: str | None = None
    ids: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    channels: int | None = None


@dataclass(frozen=True)
class Running:
    """How the graphs run; see `vae_runtime.load`."""

    batch_size: int
    threads: int = 1
    precision: str = "float32"
    providers: tuple[str, ...] = ("cpu",)
    allow_fallback: bool = False


@dataclass(frozen=True)
class Job:
    """All that a worker must know, apart from the part.

    Attributes:
        bundle: SHA-256 of the bundle.
        out: absolute path or URL of the folder of the results.
        reading: how the samples are read.
        running: how the graphs run.
        condition: condition of all samples; None if the model takes none.
        alpha: false-alarm rate of the column `alarm`; None without it.
        versions: version of each of `PACKAGES`.
    """

    bundle: str
    out: str
    reading: Reading
    running: Running
    condition: Any = None
    alpha: float | None = None
    versions: tuple[tuple[str, str], ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about the numbers of a part, apart from its input and the versions.

        The place of the source is not in it: a source that moved is still the same.
        """
        reading = asdict(self.reading)
        reading.pop("source")
        condition = self.condition.tolist() if hasattr(self.condition, "tolist") else self.condition
        others = {"condition": condition, "alpha": self.alpha}
        return {"bundle": self.bundle, **reading, **asdict(self.running), **others}


@dataclass(frozen=True)
class Part:
    """A file, a range of its rows, or some pictures.

    Attributes:
        name: name of its results, without an extension.
        files: its file, or its pictures.
        first: number of its first row in the file, from 0.
        rows: number of rows; of pictures, the number of files.
        row_groups: first and last + 1 of the row groups of a Parquet file; None for other files.
    """

    name: str
    files: tuple[SourceFile, ...]
    first: int
    rows: int
    row_groups: tuple[int, int] | None = None

    def __str__(self) -> str:
        """Name the input, for messages."""
        if self.files[1:]:
            return f"{self.files[0].path} and {len(self.files) - 1} more pictures"
        rows = f"rows {self.first} to {self.first + self.rows - 1}"
        return f"{self.files[0].path}, {rows}"


def named_part(
    identity: bytes,
    files: tuple[SourceFile, ...],
    first: int,
    rows: int,
    row_groups: tuple[int, int] | None = None,
) -> Part:
    """Return a part with its name; `identity` is `identity_bytes` of the job."""
    digest = hashlib.sha256(identity)
    for file in files:
        digest.update(json.dumps([file.path, file.size, file.stamp]).encode())
    digest.update(json.dumps([first, rows, row_groups]).encode())
    stem = PurePosixPath(files[0].path).stem[:60]
    return Part(f"{stem}-{first:012d}-{digest.hexdigest()[:20]}", files, first, rows, row_groups)


def identity_bytes(job: Job) -> bytes:
    """Return the identity of a job in one form; equal jobs give equal bytes."""
    return json.dumps(job.identity, sort_keys=True).encode()


def installed_versions() -> tuple[tuple[str, str], ...]:
    """Return the versions of `PACKAGES` here, by the packages themselves.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    import numpy as np

    from vae_runtime.inference.providers import import_onnxruntime

    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("scoring into a folder", "pyarrow", "parquet") from error
    try:
        own = version("build-vae")
    except PackageNotFoundError:
        own = "not installed"
    found = (own, np.__version__, import_onnxruntime().__version__, pyarrow.__version__)
    return tuple(zip(PACKAGES, found, strict=True))


def differing_versions(
    expected: tuple[tuple[str, str], ...], found: tuple[tuple[str, str], ...]
) -> str | None:
    """Return "build-vae 0.1 instead of 0.2" for all that differ; None if none does."""
    theirs = dict(found)
    differences = [
        f"{package} {theirs.get(package, 'none')} instead of {version}"
        for package, version in expected
        if theirs.get(package) != version
    ]
    return ", ".join(differences) or None
