"""Public names of a package whose modules are imported when a name is first used."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any


def load_name(package: str, modules: Mapping[str, str], name: str) -> Any:
    """Import the module of a name, and keep the name in the package.

    Args:
        package: full name of the package.
        modules: module of each such name, relative to the package.
        name: the name.

    Raises:
        AttributeError: there is no such name.
        ImportError: the module cannot be imported.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    value = getattr(import_module(f"{package}.{modules[name]}"), name)
    setattr(sys.modules[package], name, value)
    return value


def by_name(names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the module of each name, given the names of each module."""
    return {name: module for module, own in names.items() for name in own}
