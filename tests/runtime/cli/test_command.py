"""The command line as a whole: help, examples, and what becomes of errors."""

import click
import pytest

from messages import one_line
from vae_runtime.cli.main import build_vae

COMMANDS = (
    "bench",
    "calibrate",
    "edge",
    "evaluate",
    "explain",
    "export",
    "fit-prior",
    "inspect",
    "monitor",
    "pack",
    "page",
    "quantize",
    "reconstruct",
    "sample",
    "score",
    "search",
    "sign",
    "train",
    "verify",
)


CONTEXT = click.Context(build_vae)


def test_commands():
    assert tuple(build_vae.list_commands(CONTEXT)) == COMMANDS


def test_commands_where_tensorflow_is_missing(monkeypatch, call):
    monkeypatch.setattr("vae_runtime.cli.extensions.find_spec", lambda name: None)
    light = {*COMMANDS} - {"edge", "export", "fit-prior", "quantize", "search", "train"}
    assert {*build_vae.list_commands(CONTEXT)} == light
    status, out, err = call("export", "a")
    assert (status, out) == (3, "")
    assert one_line(err) == (
        "Error: build-vae export needs tensorflow, which is not installed: "
        'pip install "build-vae[build]"'
    )


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_of_every_command_has_an_example(command, flag, call):
    status, out, err = call(command, flag)
    assert (status, err) == (0, "")
    example = out.split("Example:")[1].split("Options:")[0]
    lines = [line.strip() for line in example.strip().splitlines()]
    assert any(line.startswith(f"build-vae {command} ") for line in lines)
    assert all(line.startswith("build-vae ") for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_are_parsed(command, call):
    """Each line of an example names arguments and options that its command takes."""
    _, out, _ = call(command, "--help")
    for line in out.split("Example:")[1].split("Options:")[0].strip().splitlines():
        name, *words = line.split()[1:]
        build_vae.get_command(CONTEXT, name).make_context(name, words)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command):
    for parameter in build_vae.get_command(CONTEXT, command).params:
        if isinstance(parameter, click.Option):
            assert parameter.help[0].isupper(), f"{command} {parameter.name}"
            assert parameter.help.endswith((".", "]")), f"{command} {parameter.name}"


def test_version(call):
    from importlib.metadata import version

    assert call("--version") == (0, f"build-vae, version {version('build-vae')}\n", "")


def test_no_command_is_help(call):
    status, out, err = call()
    assert status == 2 and "Usage: build-vae" in out + err


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (
            ZeroDivisionError("two\nlines"),
            4,
            "Error: ZeroDivisionError: two lines: this is a defect of build-vae; run again with "
            "--debug to see where",
        ),
        (MemoryError("1 TiB"), 3, "Error: out of memory (1 TiB): lower --batch-size"),
        (
            OSError(28, "No space left", "out"),
            3,
            "Error: out: No space left: free some space, or write elsewhere",
        ),
        (
            PermissionError(13, "Permission denied", "out"),
            3,
            "Error: out: Permission denied: change its permissions, or use another place",
        ),
        (
            OSError(5, "Input/output error"),
            3,
            "Error: input or output: Input/output error: check the disk, or use another place",
        ),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_what_escapes(error, status, message, debug, call, monkeypatch):
    def fail(*args, **options):
        raise error

    monkeypatch.setattr("vae_runtime.cli.verify.verify_bundle", fail)
    found, out, err = call("verify", "a", *["--debug"] * debug)
    assert (found, out) == (status, "")
    if debug:
        assert err.startswith("Traceback (most recent call last):")
        assert f"{type(error).__name__}" in err
    else:
        assert one_line(err) == message


def test_debug_shows_where_a_user_error_comes_from(tmp_path, call):
    status, _, err = call("inspect", tmp_path / "none", "--debug")
    assert status == 3 and "Traceback" in err and "BundleError" in err


@pytest.mark.parametrize("command", ["verify", "inspect", "score", "reconstruct", "sample"])
def test_bundle_that_is_not_there(command, tmp_path, call):
    words = {
        "score": ("digits",),
        "reconstruct": ("digits", "-o", tmp_path / "a.png"),
        "sample": ("-o", tmp_path / "a.png"),
    }.get(command, ())
    status, out, err = call(command, tmp_path / "none", *words)
    assert (status, out) == (3, "")
    assert "none does not exist, expected a bundle" in one_line(err)
    assert not [*tmp_path.iterdir()]
