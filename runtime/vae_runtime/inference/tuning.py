r"""Number of threads and chunk size: the defaults, and the values that `bench` saved.

A tuning holds for one bundle, precision, ONNX Runtime, list of providers and kind of processor.
Each combination has a file in the user's cache folder:

    Linux      $XDG_CACHE_HOME/build-vae/tuning, else ~/.cache/build-vae/tuning
    macOS      ~/Library/Caches/build-vae/tuning
    Windows    %LOCALAPPDATA%\build-vae\Cache\tuning

The files are hints. They change how fast a result comes, not the result, and you may delete them at
any time. A file that cannot be read, or is not what `save_tuning` writes, is ignored with a warning
in the log (`logging`, logger `vae_runtime`). It never prevents a bundle from loading.
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

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.errors import ExportError, OptionError
from vae_runtime.files import strict_json
from vae_runtime.files.atomic_files import replacing
from vae_runtime.files.strict_json import StrictJsonError, meta
from vae_runtime.inference.processors import processor_name, usable_processors
from vae_runtime.inference.providers import import_onnxruntime, short_name

CHUNK_SAMPLES = 256
CHUNK_ELEMENTS = 256 * 784
"""Maximum samples, and elements of x, in a default chunk: it stays in a processor's cache."""


@dataclass(frozen=True)
class Tuning:
    """Settings that a bundle runs with."""

    threads: Annotated[int, meta("threads that may compute at once", ge=1, le=4096)]
    batch_size: Annotated[int, meta("samples in one run of a graph", ge=1, le=1 << 16)]


@dataclass(frozen=True)
class TuningKey:
    """Bundle, software and hardware that a tuning holds for."""

    bundle: Annotated[str, meta("SHA-256 of the bundle's manifest")]
    onnxruntime: Annotated[str, meta("version of ONNX Runtime")]
    providers: Annotated[tuple[str, ...], meta("execution providers, by short name")]
    processor: Annotated[str, meta("the system's name for the processor")]
    processors: Annotated[int, meta("number of processors that the process may use")]


@dataclass(frozen=True)
class TuningFile:
    """Content of one file in the cache folder."""

    place: Annotated[TuningKey, meta("bundle, software and hardware that were measured")]
    precision: Annotated[str, meta("precision of the graphs that were measured")]
    tuning: Annotated[Tuning, meta("fastest settings")]


def check_positive(**counts: int | None) -> None:
    """Raise an `OptionError` for the first argument that is less than 1; None is accepted."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise OptionError(f"{name} is {count}, expected 1 or more")


def default_batch_size(shape: tuple[int, ...]) -> int:
    """Return the default number of samples in one chunk; `shape` is that of one sample."""
    return max(1, min(CHUNK_SAMPLES, CHUNK_ELEMENTS // math.prod(shape)))


def choose_tuning(
    bundle: Bundle,
    precision: str,
    providers: Sequence[str],
    *,
    threads: int | None,
    batch_size: int | None,
    tuned: bool,
) -> Tuning:
    """Return the caller's settings; each None is replaced by the saved or the default value.

    `providers` are ONNX Runtime's names. Saved values are used only if `tuned` is true.
    """
    saved = None
    if tuned and None in (threads, batch_size):
        saved = find_tuning(tuning_key(bundle, providers), precision)
    saved = saved or Tuning(usable_processors(), default_batch_size(bundle.manifest.input.shape))
    return Tuning(threads or saved.threads, batch_size or saved.batch_size)


def tuning_key(bundle: Bundle, providers: Sequence[str]) -> TuningKey:
    """Return the key of a bundle on this machine; `providers` are ONNX Runtime's names."""
    return TuningKey(
        bundle.sha256,
        import_onnxruntime().__version__,
        tuple(map(short_name, providers)),
        processor_name(),
        usable_processors(),
    )


def save_tuning(key: TuningKey, precision: str, tuning: Tuning) -> Path:
    """Write a tuning, replacing an earlier one, and return its file.

    The file is written completely or not at all. Raises an `ExportError` if it cannot be written.
    """
    try:
        path = _path(key, precision)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(strict_json.encode(TuningFile(key, precision, tuning)))
    except OSError as error:
        raise ExportError(
            f"{error.filename} cannot be written: {error.strerror}: free some space or check the "
            "folder; the tuning that was saved before is unchanged"
        ) from error
    except RuntimeError as error:  # no home folder
        raise ExportError(
            f"there is no folder to save tunings in ({error}): set HOME or XDG_CACHE_HOME"
        ) from error
    return path


def find_tuning(key: TuningKey, precision: str) -> Tuning | None:
    """Read the saved tuning, or return None if there is none.

    A damaged file also gives None, after a warning in the log.
    """
    try:
        path = _path(key, precision)
        if not path.is_file():
            return None
        with path.open("rb") as file:
            data = file.read(strict_json.MAX_BYTES + 1)
        saved = strict_json.parse(TuningFile, strict_json.decode(data))
        if (saved.place, saved.precision) != (key, precision):
            raise StrictJsonError("is of another bundle or machine than its name says")
    except (OSError, RuntimeError) as error:  # no home folder, or one without read permission
        _warn(f"saved tunings cannot be read: {error}: using the defaults")
        return None
    except StrictJsonError as error:
        _warn(f"{path} {error}: using the defaults; delete it, or save a new one")
        return None
    return saved.tuning


def _warn(message: str) -> None:
    import logging  # imported here: the normal start of a process does not need it

    logging.getLogger("vae_runtime").warning(message)


def _path(key: TuningKey, precision: str) -> Path:
    digest = hashlib.sha256(strict_json.encode(key)).hexdigest()
    return _folder() / f"{key.bundle[:12]}-{digest[:20]}-{precision}.json"


def _folder() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local"
        return Path(local) / "build-vae" / "Cache" / "tuning"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/build-vae/tuning"
    named = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a path that is not absolute is to be ignored.
    cache = Path(named) if Path(named).is_absolute() else Path.home() / ".cache"
    return cache / "build-vae" / "tuning"
