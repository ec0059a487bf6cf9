"""Options that the commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def _image_size(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parses `64x48`, height x width, into (64, 48)."""
    if value is None:
        return None
    parts = value.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{value!r} is not height x width, such as 64x64")
    return int(parts[0]), int(parts[1])


def sizes(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parses `512,256` into (512, 256)."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise click.BadParameter(f"{value!r} is not a list of sizes, such as 512,256")
    return tuple(map(int, parts))


def names(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    """Parses `float16,int8` into ("float16", "int8")."""
    return tuple(part.strip() for part in value.split(",")) if value else ()


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and isinstance(ctx.obj, dict):
        ctx.obj["debug"] = True


def combined(*options: Callable[[F], F]) -> Callable[[F], F]:
    """One decorator from several, in the order in which help lists them."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_set_debug, help="Show tracebacks."
)

quiet_option = click.option("-q", "--quiet", is_flag=True, help="Print results only.")

bundle_argument = click.argument("bundle", type=click.Path(path_type=Path))


def output_option(what: str) -> Callable[[F], F]:
    """`-o`, where a command must be told where to write."""
    return click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help=what)


def json_option(what: str) -> Callable[[F], F]:
    """`--json`, of what a command prints."""
    return click.option("--json", "as_json", is_flag=True, help=f"Print the {what} as JSON.")


source_options = combined(
    click.option("--key", help="Array to take from an npz that holds several."),
    click.option(
        "--image-size",
        callback=_image_size,
        metavar="HxW",
        help="Resize pictures to height x width.",
    ),
    click.option(
        "--channels", type=click.IntRange(1, 4), help="1 reads pictures as grey, 3 as RGB."
    ),
)

pin_option = click.option(
    "--sha256", help="Take this bundle only: its digest, as build-vae inspect prints it."
)

precision_option = click.option(
    "--precision",
    default="float32",
    show_default=True,
    help="Which graphs run: float32, or a variant that the bundle has.",
)

provider_option = click.option(
    "--provider",
    "providers",
    multiple=True,
    default=("cpu",),
    show_default=True,
    help="cpu, cuda, tensorrt, coreml, openvino, ...; again for a second choice.",
)

machine_options = combined(
    provider_option,
    click.option(
        "--allow-fallback", is_flag=True, help="Run on the CPU where the provider cannot."
    ),
    click.option(
        "--threads",
        type=click.IntRange(1),
        help="Threads [default: as bench --save found, or all processors].",
    ),
    click.option("--batch-size", type=click.IntRange(1), help="Samples computed at once."),
)

runtime_options = combined(precision_option, machine_options)
