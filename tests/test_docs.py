"""The documents keep up with the code: commands, options, exported names, and code that runs."""

import importlib
import re
import shlex
import shutil
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest

from vae_builder import PRESETS
from vae_runtime.cli.main import build_vae, run
from vae_runtime.data import named_datasets as named

ROOT = Path(__file__).parent.parent
READMES = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        *("builder/README.md", "export/README.md", "runtime/README.md", "tests/README.md"),
    )
}
ALL = "\n".join(READMES.values())
PACKAGES = ("vae_builder", "vae_export", "vae_runtime")

CONTEXT = click.Context(build_vae)
COMMANDS = {name: build_vae.get_command(CONTEXT, name) for name in build_vae.list_commands(CONTEXT)}


def blocks(text):
    """The code blocks of a document, as pairs of language and code."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.S | re.M)


def commands(text):
    """The lines of shell blocks, without prompts, comments, and what commands print."""
    for language, code in blocks(text):
        if language in ("sh", "console"):
            for line in code.splitlines():
                if language == "sh" or line.startswith("$ "):
                    yield line.removeprefix("$ ")


@pytest.mark.parametrize("command", COMMANDS)
def test_readme_has_every_command(command):
    pattern = rf"^\| `build-vae {command}\b"
    assert re.search(pattern, READMES["README.md"], re.M), f"README.md: no `build-vae {command}`"


def test_readmes_have_no_other_command():
    """Only code counts; in a sentence `build-vae` is the name of the project."""
    code = re.findall(r"```.*?```|`[^`\n]+`", ALL, re.S)
    words = (re.findall(r"(?:^|[\n`$] ?)build-vae ([a-z-]+)", text) for text in code)
    used = {word for found in words for word in found}
    assert used <= COMMANDS.keys()


def test_readmes_name_only_options_that_exist():
    options = {
        flag
        for command in (build_vae, *COMMANDS.values())
        for parameter in command.params
        for flag in (*parameter.opts, *parameter.secondary_opts)
    } | {"--help", "--version"}
    code = [*commands(ALL), *re.findall(r"`((?:build-vae |--)[^`]+)`", ALL)]
    lines = [line for line in code if line.startswith(("build-vae ", "--"))]
    used = {flag for line in lines for flag in re.findall(r"(?:^|(?<=\s))--[a-z0-9-]+", line)}
    # Those of pytest, run_kills.py and anomaly.py.
    of_scripts = {"--full", "--training", "--export", "--sets", "--results"}
    assert used - of_scripts <= options


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\((?!http)([^)]+)\)", READMES[name]):
        path, _, heading = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), f"{name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.M)
            anchors = {re.sub(r"[^\w\- ]", "", t).lower().replace(" ", "-") for t in titles}
            assert heading in anchors, f"{name}: {target}"


def test_readmes_name_only_scripts_that_exist():
    for path in re.findall(r"`(?:python|pytest) (tests/[\w/]+(?:\.py)?)", ALL):
        assert (ROOT / path).exists(), path


def test_readmes_name_only_things_that_exist():
    """Dotted names such as `vae_runtime.load`, also inside code."""
    for dotted in re.findall(r"\bvae_(?:builder|export|runtime)(?:\.\w+)+", ALL):
        module, *names = dotted.split(".")
        thing = importlib.import_module(module)
        for name in names:
            if not hasattr(thing, name):
                thing = importlib.import_module(f"{thing.__name__}.{name}")
            else:
                thing = getattr(thing, name)
    for module, names in re.findall(r"\bfrom (vae_\w+(?:\.\w+)*) import ([\w, ]+)", ALL):
        for name in names.split(","):
            assert hasattr(importlib.import_module(module), name.strip()), f"{module}.{name}"


def test_the_main_readme_is_short():
    assert len(READMES["README.md"].splitlines()) <= 200


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_exists(package):
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__) > 0
    for name in module.__all__:
        value = getattr(module, name)
        assert type(value).__name__ != "module", f"{package}.{name} is a module"
        assert value.__doc__, f"{package}.{name} has no docstring"


@pytest.mark.parametrize("preset", PRESETS)
def test_readme_states_what_a_preset_chooses(preset):
    text = READMES["builder/README.md"]
    heading = re.search(r"^\| `--preset` \| layers \| (.+) \|$", text, re.M)[1]
    row = re.search(rf"^\| `{preset}`[^|]*\|[^|]*\| (.+) \|$", text, re.M)[1]
    for flag, value in zip(heading.split(" | "), row.split(" | "), strict=True):
        choice = getattr(PRESETS[preset], flag.strip("`-").replace("-", "_"))
        assert value == (",".join(map(str, choice)) if flag == "`--hidden`" else f"{choice:g}")


def test_changelog_has_the_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert headings[0] == version


@pytest.fixture(scope="module")
def few_digits():
    """The embedded digits, but fewer of them, so that a document's lines run in seconds."""

    def read(split):
        digits = named.read_digits(split)
        return replace(digits, x=digits.x[:500], labels=digits.labels[:500])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae_runtime.data.sources.read_digits", read)
        # Of a model that is hardly trained, static int8 may differ too much.
        methods = {"float16": ("weights",), "int8": ("dynamic",)}
        patch.setattr("vae_export.variants.building.METHODS", methods)
        yield


@pytest.fixture(scope="module")
def prepared(few_digits, tmp_path_factory):
    """A folder with the files that the documents speak of, and a bundle of the digits."""
    from PIL import Image

    from vae_builder import build_models

    folder = tmp_path_factory.mktemp("docs")
    rng = np.random.default_rng(0)
    for name, model in zip(("enc", "dec"), build_models("dense", (8, 8, 1), 3), strict=True):
        model.save(folder / f"{name}.keras")
    np.save(folder / "x.npy", rng.random((80, 8, 8, 1), dtype=np.float32))
    table = rng.normal(100.0, 5.0, (200, 4))
    np.savetxt(folder / "sensors.csv", table, delimiter=",", header="a,b,c,d", comments="")
    (folder / "pictures").mkdir()
    for i, pixels in enumerate(rng.integers(0, 256, (40, 8, 8), dtype=np.uint8)):
        Image.fromarray(pixels).save(folder / "pictures" / f"{i}.png")
    assert run(["export", str(folder / "digits-vae"), "--epochs", "1", "-q"]) == 0
    return folder


@pytest.mark.parametrize("name", [name for name, text in READMES.items() if name[0] != "t"])
def test_code_blocks_run(name, prepared, tmp_path, monkeypatch):
    """All Python and shell blocks of a document, in order, with one epoch and few digits."""
    folder = shutil.copytree(prepared, tmp_path / "docs")
    monkeypatch.chdir(folder)
    namespace = {}
    for language, code in blocks(READMES[name]):
        if language == "python":
            exec(re.sub(r"\bepochs=\d+", "epochs=1", code), namespace)
        for line in commands(f"```{language}\n{code}```\n"):
            words = shlex.split(re.sub(r"--epochs \d+", "", line))
            if words[0] == "openssl":
                subprocess.run(words, check=True, capture_output=True)
            elif words[0] == "build-vae":
                finished = {"--run", "--search", "--encoder"} & {*words}
                trains = words[1] in ("export", "search", "train") and not finished
                shorter = ["--epochs", "1"] * trains
                again = ["--force"] * (words[1] == "export")
                poor = ["--allow-drift", "float16,int8"] * (words[1] == "quantize")
                assert run([*words[1:], *shorter, *again, *poor]) == 0, line
            else:
                assert words[:3] == ["python3", "-m", "venv"], line  # .ci/run runs these
