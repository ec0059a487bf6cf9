"""Commands and functions that the builder adds to `build-vae`, found through entry points.

The runtime never names the builder. `pyproject.toml` registers three groups of entry points:

    build_vae.commands          subcommands that need TensorFlow: export, train, quantize, edge
    build_vae.light_commands    subcommands that do not: page
    build_vae.tensorflow        TensorFlow's part in commands of the runtime: bench, verify
"""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from vae_runtime.errors import MissingExtraError

COMMANDS = "build_vae.commands"
LIGHT_COMMANDS = "build_vae.light_commands"
TENSORFLOW = "build_vae.tensorflow"


def has_tensorflow() -> bool:
    """Return whether TensorFlow is installed, without importing it."""
    return find_spec("tensorflow") is not None


def command_names(group: str = COMMANDS) -> list[str]:
    """Return the names of the subcommands of a group: `COMMANDS` or `LIGHT_COMMANDS`."""
    return sorted(entry_points(group=group).names)


def load_extension(group: str, name: str, *, purpose: str) -> Any:
    """Import what the builder registers under a name.

    Args:
        group: `COMMANDS`, `LIGHT_COMMANDS` or `TENSORFLOW`.
        name: name of the entry point.
        purpose: what it is needed for, for the error message.

    Returns:
        The command or the function.

    Raises:
        MissingExtraError: it needs TensorFlow, which is not installed.
    """
    if group != LIGHT_COMMANDS and not has_tensorflow():
        raise MissingExtraError(purpose, "tensorflow", "build")
    (found,) = entry_points(group=group, name=name)
    return found.load()
