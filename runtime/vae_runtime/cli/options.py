"""Options that the commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _image_size(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parse `64x48`, height x width, into (64, 48)."""
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{value!r} is not height x width, such as 64x64")
    return int(parts[0]), int(parts[1])


def sizes(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parse `512,256` into (512, 256)."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise click.BadParameter(f"{value!r} is not a list of sizes, such as 512,256")
    return tuple(map(int, parts))


def names(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parse `float16,int8` into ("float16", "int8")."""
    return tuple(part.strip() for part in value.split(",")) if value else ()


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and isinstance(ctx.obj, dict):
        ctx.obj["debug"] = True


def combined(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Return one decorator that adds all options, in the order in which help lists them."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def file_option(*flags: str, help: str, required: bool = False) -> Callable[[F], F]:
    """Return an option that takes a path, such as `-o`."""
    return click.option(*flags, type=click.Path(path_type=Path), required=required, help=help)


def output_option(help: str) -> Callable[[F], F]:
    """Return a required `-o`."""
    return file_option("-o", "--output", help=help, required=True)


def json_option(what: str) -> Callable[[F], F]:
    """Return `--json`, for a command that prints `what`."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print the {what} as JSON.")


bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))

debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=_set_debug,
    help="Show the traceback of an error.",
)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print only results.")

source_options = combined(
    click.option("--key", help="Name of the array to use, if a file holds several."),
    click.option(
        "--image-size",
        callback=_image_size,
        metavar="HxW",
        help="Resize pictures to this height x width.",
    ),
    click.option(
        "--channels",
        type=click.Choice(["1", "3"]),
        callback=lambda _, __, value: value and int(value),
        help="Read pictures as grey (1) or as RGB (3).",
    ),
    click.option(
        "--skip-unreadable",
        is_flag=True,
        help="Leave out pictures that cannot be read, and name them.",
    ),
)

sha256_option = click.option(
    "--sha256",
    help="Expected SHA-256 of the bundle (see build-vae inspect); any other bundle is refused.",
)

precision_option = click.option(
    "--precision",
    default="float32",
    show_default=True,
    help="Precision of the graphs to run: float32, or a variant of the bundle.",
)

provider_option = click.option(
    "--provider",
    "providers",
    multiple=True,
    default=("cpu",),
    show_default=True,
    help="Execution provider: cpu, cuda, tensorrt, coreml, openvino, ... Repeat the option to "
    "name a second choice.",
)

machine_options = combined(
    provider_option,
    click.option(
        "--allow-fallback",
        is_flag=True,
        help="Run on the CPU if the provider is missing or does not start.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        help="Number of threads [default: saved by bench --save, else all processors].",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(1),
        help="Largest number of samples in one run of a graph "
        "[default: saved by bench --save, else fitted to the processor's cache].",
    ),
)

runtime_options = combined(precision_option, machine_options)
