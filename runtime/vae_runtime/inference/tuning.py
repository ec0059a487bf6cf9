r"""How many threads, and how large the chunks: the defaults, and what `bench` found and saved.

What was found holds for one bundle, ONNX Runtime, provider and kind of processor, and for one
precision; it is kept in a file of its own for each of them, in the user's cache folder:

    Linux      $XDG_CACHE_HOME/build-vae/tuning, else ~/.cache/build-vae/tuning
    macOS      ~/Library/Caches/build-vae/tuning
    Windows    %LOCALAPPDATA%\build-vae\Cache\tuning

The files are hints: they change how fast a result comes, not what it is, and each may be deleted at
any time. One that cannot be read or is not what `save` writes is passed over with a line in the log
(`logging`, logger `vae_runtime`); it never keeps a bundle from loading.
"""

from __future__ import annotations

import hashlib
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from vae_runtime import strict_json
from vae_runtime.bundle.atomic_files import replacing
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.errors import ExportError, OptionError
from vae_runtime.inference.processors import processor_name, usable_processors
from vae_runtime.inference.providers import onnxruntime, short_name
from vae_runtime.strict_json import StrictJsonError, meta

CHUNK_SAMPLES = 256
CHUNK_ELEMENTS = 256 * 784
"""Samples, and elements of x, in one chunk: what stays in a processor's cache between operators."""


@dataclass(frozen=True)
class Tuning:
    """How a bundle is run."""

    threads: Annotated[int, meta("threads that may compute at once", ge=1, le=4096)]
    batch_size: Annotated[int, meta("samples in one run of a graph", ge=1, le=1 << 16)]


@dataclass(frozen=True)
class Place:
    """Where a tuning holds."""

    bundle: Annotated[str, meta("SHA-256 of the bundle's manifest")]
    onnxruntime: Annotated[str, meta("version of ONNX Runtime")]
    providers: Annotated[tuple[str, ...], meta("execution providers, by short name")]
    processor: Annotated[str, meta("what the system calls the processor")]
    processors: Annotated[int, meta("how many of them the process may use")]


@dataclass(frozen=True)
class Saved:
    """The content of a file of tunings."""

    place: Annotated[Place, meta("where it holds")]
    precision: Annotated[str, meta("of the graphs that it holds for")]
    tuning: Annotated[Tuning, meta("what was fastest there")]


def check_counts(**counts: int | None) -> None:
    """Checks numbers of threads, or of samples.

    Args:
        **counts: by the name of the argument; None where it was left out.

    Raises:
        OptionError: names the first that is less than 1.
    """
    for name, count in counts.items():
        if count is not None and count < 1:
            raise OptionError(f"{name} is {count}, expected 1 or more")


def default_batch_size(shape: tuple[int, ...]) -> int:
    """Samples in one chunk, unless told otherwise.

    Args:
        shape: of one sample.
    """
    return max(1, min(CHUNK_SAMPLES, CHUNK_ELEMENTS // math.prod(shape)))


def choose(
    bundle: Bundle,
    precision: str,
    providers: Sequence[str],
    *,
    threads: int | None,
    batch_size: int | None,
    tuned: bool,
) -> Tuning:
    """What a bundle is run with.

    Args:
        bundle: the bundle.
        precision: of the graphs that run.
        providers: ONNX Runtime's names.
        threads: what the caller asks for, or None.
        batch_size: what the caller asks for, or None.
        tuned: whether to look for a saved tuning where one of the two is None.

    Returns:
        What the caller asks for; what is None, as saved, or by default.
    """
    saved = None
    if tuned and None in (threads, batch_size):
        saved = find(place(bundle, providers), precision)
    saved = saved or Tuning(usable_processors(), default_batch_size(bundle.manifest.input.shape))
    return Tuning(threads or saved.threads, batch_size or saved.batch_size)


def place(bundle: Bundle, providers: Sequence[str]) -> Place:
    """Where a bundle would run: on this machine, on these providers.

    Args:
        bundle: the bundle.
        providers: ONNX Runtime's names.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
    """
    return Place(
        bundle.sha256,
        onnxruntime().__version__,
        tuple(map(short_name, providers)),
        processor_name(),
        usable_processors(),
    )


def save(place: Place, precision: str, tuning: Tuning) -> Path:
    """Saves a tuning, in the place of an earlier one.

    Args:
        place: where it holds.
        precision: of the graphs that it holds for.
        tuning: what is fastest there.

    Returns:
        The file, written whole or not at all.

    Raises:
        ExportError: the file cannot be written.
    """
    try:
        path = _path(place, precision)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(strict_json.encode(Saved(place, precision, tuning)))
    except OSError as error:
        raise ExportError(
            f"{error.filename} cannot be written: {error.strerror}: free some space or check the "
            "folder; what was saved before still holds"
        ) from error
    except RuntimeError as error:  # no home
        raise ExportError(
            f"there is no folder to save tunings in ({error}): set HOME or XDG_CACHE_HOME"
        ) from error
    return path


def find(place: Place, precision: str) -> Tuning | None:
    """Reads what was saved for a place and a precision.

    Args:
        place: where a bundle is about to run.
        precision: of the graphs that run.

    Returns:
        The tuning; None where nothing was saved, or, after a line in the log, where the file is
        damaged.
    """
    try:
        path = _path(place, precision)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(strict_json.MAX_BYTES + 1)
        saved = strict_json.parse(Saved, strict_json.decode(data))
        if (saved.place, saved.precision) != (place, precision):
            raise StrictJsonError("is of another bundle or machine than its name says")
    except (OSError, RuntimeError) as error:  # no home, a folder that may not be read
        _log(f"saved tunings cannot be read: {error}: using the defaults")
        return None
    except StrictJsonError as error:
        _log(f"{path} {error}: using the defaults; delete it, or save a new one")
        return None
    return saved.tuning


def _log(message: str) -> None:
    import logging  # here, so that it costs the start of a healthy process nothing

    logging.getLogger("vae_runtime").warning(message)


def _path(place: Place, precision: str) -> Path:
    digest = hashlib.sha256(strict_json.encode(place)).hexdigest()
    return _folder() / f"{place.bundle[:12]}-{digest[:20]}-{precision}.json"


def _folder() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local"
        return Path(local) / "build-vae" / "Cache" / "tuning"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/build-vae/tuning"
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of these folders: a path that is not absolute is to be ignored.
    cache = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return cache / "build-vae" / "tuning"
