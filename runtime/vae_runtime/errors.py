"""Exceptions that build-vae raises for problems that a user can fix.

```
BuildVaeError
├── InputError           arrays or data files: unreadable, wrong shape or dtype, NaN, out of range
├── OptionError          an option or argument that is not allowed: unknown preset, latent size 0
├── BundleError          a bundle that is missing, incomplete, changed, or in an unknown format
├── ProviderError        an execution provider that is missing, does not start, or fails
├── TrainingError        training that cannot continue
├── ExportError          a model that cannot be exported, or a target that cannot be written
├── MeasurementError     times that cannot be measured, or are too noisy to be used
├── EngineError          workers of a cluster that cannot be reached, or fail
└── MissingExtraError    a missing package that an extra of build-vae installs
```

Each message is one line that says what was found, what was expected and what to do about it. Any
other exception is a bug in build-vae. Exceptions can be pickled, so they reach the caller from a
process of a pool.
"""

from __future__ import annotations

from typing import Any


class BuildVaeError(Exception):
    """Base class of all exceptions that build-vae raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickle would call the class with the message, but a class may take other arguments.
        return _restore, (type(self), self.args), self.__dict__


class InputError(BuildVaeError, ValueError):
    """Data cannot be used: unreadable, wrong shape or dtype, not finite, or out of range."""


class OptionError(BuildVaeError, ValueError):
    """An option or argument has a value that is not allowed."""


class BundleError(BuildVaeError):
    """A bundle is missing, incomplete, changed since it was exported, or in an unknown format."""


class ProviderError(BuildVaeError):
    """An execution provider of ONNX Runtime is missing, did not start, or failed."""


class TrainingError(BuildVaeError):
    """Training cannot continue."""


class ExportError(BuildVaeError):
    """A model cannot be exported, or a file or folder cannot be written."""


class MeasurementError(BuildVaeError):
    """Times cannot be measured here, or are too noisy to be used."""


class EngineError(BuildVaeError):
    """The workers of a cluster cannot be reached, do not fit the job, or fail."""


class MissingExtraError(BuildVaeError, ImportError):
    """A package is missing that an extra of build-vae installs.

    Args:
        what: the feature that needs the package.
        package: name of the package.
        extra: name of the extra, such as `cpu`.
        remedy: what to do instead, for a package or program that no extra installs.
    """

    def __init__(self, what: str, package: str, extra: str = "", remedy: str = "") -> None:
        remedy = remedy or f'pip install "build-vae[{extra}]"'
        super().__init__(f"{what} needs {package}, which is not installed: {remedy}")


def _restore(cls: type[BuildVaeError], args: tuple[Any, ...]) -> BuildVaeError:
    """Make an exception from its message instead of the arguments that its class takes."""
    error = cls.__new__(cls)
    super(BuildVaeError, error).__init__(*args)
    return error
