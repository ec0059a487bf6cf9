"""The exceptions that build-vae raises for what a user can mend.

```
BuildVaeError
├── InputError           arrays or data files: unreadable, wrong shape or dtype, NaN, out of range
├── OptionError          an option or argument outside its choices: unknown preset, latent size 0
├── BundleError          a bundle that is missing, incomplete, changed, or not in a known format
├── ProviderError        an execution provider that is not there, does not start, or fails
├── TrainingError        training that cannot go on
├── ExportError          a model that cannot be exported, or a target that cannot be written
├── MeasurementError     times that cannot be taken, or say too little to be kept
└── MissingExtraError    a package that an extra of build-vae installs
```

Each message is one line that says what was found, what was expected and what to do about it.
Everything else that escapes is a defect of build-vae.
"""


class BuildVaeError(Exception):
    """Base of every exception that build-vae raises on purpose."""


class InputError(BuildVaeError, ValueError):
    """Data cannot be used: unreadable, wrong shape or dtype, not finite, or out of range."""


class OptionError(BuildVaeError, ValueError):
    """An option lies outside its choices."""


class BundleError(BuildVaeError):
    """A bundle is missing, incomplete, changed since it was exported, or in an unknown format."""


class ProviderError(BuildVaeError):
    """An execution provider of ONNX Runtime is not available, did not start, or failed."""


class TrainingError(BuildVaeError):
    """Training cannot go on."""


class ExportError(BuildVaeError):
    """A model cannot be exported, or a file or folder cannot be written."""


class MeasurementError(BuildVaeError):
    """Times cannot be taken here, or the machine was too noisy for them to be kept."""


class MissingExtraError(BuildVaeError, ImportError):
    """A package is missing that one of build-vae's extras installs."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f'{what} needs {package}, which is not installed: pip install "build-vae[{extra}]"'
        )
