"""The documents keep up with the code: commands, exported names, version."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from vae_builder import PRESETS
from vae_runtime.cli.main import build_vae

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PACKAGES = ("vae_builder", "vae_export", "vae_runtime")


@pytest.mark.parametrize("command", sorted(build_vae.commands))
def test_readme_has_every_command(command):
    assert re.search(rf"\bbuild-vae {command}\b", README), f"README.md: no `build-vae {command}`"


def test_readme_has_no_other_command():
    """In code, that is; `build-vae` in a sentence is the name of the project."""
    code = re.findall(r"```.*?```|`[^`\n]+`", README, re.S)
    used = {word for text in code for word in re.findall(r"(?:^|[\n`$] ?)build-vae ([a-z]+)", text)}
    assert used <= set(build_vae.commands)


def test_readme_names_only_options_that_exist():
    options = {
        flag
        for command in (build_vae, *build_vae.commands.values())
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help", "--version"}
    lines = [line for line in README.splitlines() if re.match(r"\s*(\$ )?build-vae [a-z]", line)]
    used = {flag for line in lines for flag in re.findall(r"(?<=\s)--[a-z-]+", line)}
    assert used <= options


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_exists(package):
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__) > 0
    for name in module.__all__:
        value = getattr(module, name)
        assert type(value).__name__ != "module", f"{package}.{name} is a module"
        assert value.__doc__, f"{package}.{name} has no docstring"


def test_readme_imports_only_names_that_exist():
    for package, names in re.findall(r"^from (vae_\w+(?:\.\w+)*) import ([\w, ]+)", README, re.M):
        module = importlib.import_module(package)
        for name in names.split(","):
            assert hasattr(module, name.strip()), f"README.md: {package}.{name.strip()}"


@pytest.mark.parametrize("preset", PRESETS)
def test_readme_states_what_a_preset_chooses(preset):
    heading = re.search(r"^\| `--preset` \| layers \| (.+) \|$", README, re.M)[1]
    row = re.search(rf"^\| `{preset}`[^|]*\|[^|]*\| (.+) \|$", README, re.M)[1]
    for flag, value in zip(heading.split(" | "), row.split(" | "), strict=True):
        choice = getattr(PRESETS[preset], flag.strip("`-").replace("-", "_"))
        assert value == (",".join(map(str, choice)) if flag == "`--hidden`" else f"{choice:g}")


def test_changelog_has_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == version
