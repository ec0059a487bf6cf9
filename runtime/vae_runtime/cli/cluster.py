"""`build-vae score` into a folder: its options, and the line of its progress."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_runtime.cli.conditions import read_condition
from vae_runtime.cli.options import combined
from vae_runtime.errors import OptionError

if TYPE_CHECKING:
    from vae_runtime.cluster import Progress

_ENGINES = ("local", "ray", "dask")

cluster_options = combined(
    click.option(
        "--engine",
        type=click.Choice(_ENGINES),
        help="What runs the workers, if -o is a folder: processes of this machine, Ray or Dask "
        "[default: local].",
    ),
    click.option(
        "--workers",
        type=click.IntRange(1),
        help="How many parts are scored at once [default: one on each processor].",
    ),
    click.option("--ray-address", metavar="HOST:PORT", help="Join this cluster of Ray."),
    click.option("--dask-scheduler", metavar="URL", help="Join the cluster of this scheduler."),
    click.option(
        "--num-gpus", type=click.FloatRange(0), help="GPUs that Ray gives to each worker."
    ),
    click.option(
        "--part-rows",
        type=click.IntRange(1),
        help="Rows, or pictures, of a part [default: 65536 rows, 4096 pictures].",
    ),
    click.option("--resume", is_flag=True, help="Go on in a folder: finished parts are kept."),
)

CLUSTER_NAMES = (
    *("engine", "workers", "ray_address", "dask_scheduler", "num_gpus", "part_rows", "resume"),
)


def wants_folder(output: str | None, given: dict[str, Any]) -> bool:
    """Return whether the scores go into a folder: by the output, or by `--engine`."""
    if given["engine"] is not None:
        return True
    if output is None:
        return False
    return "://" in output or Path(output).is_dir() or not Path(output).suffix


def check_unused(given: dict[str, Any]) -> None:
    """Raise `OptionError` if options of a folder are given without one."""
    for name, value in given.items():
        if value:
            flag = f"--{name.replace('_', '-')}"
            raise OptionError(f"{flag} is for scores in a folder: give one, such as -o scores")


def score_into_folder(
    bundle: Path,
    source: str,
    output: str | None,
    ids: tuple[str, ...],
    *,
    alpha: float | None,
    strict: bool,
    quiet: bool,
    given: dict[str, Any],
    options: dict[str, Any],
) -> int:
    """Score a source into a folder, print what was done, and return the exit status."""
    from vae_runtime import cluster
    from vae_runtime.bundle.bundle import Bundle

    if output is None:
        raise OptionError("--engine writes a folder: name it with -o, such as -o scores")
    engine = given["engine"] or "local"
    address = _address(engine, given)
    if options.pop("skip_unreadable"):
        raise OptionError("--skip-unreadable: in a folder, errors/ names what cannot be read")
    text = options.pop("condition")
    if text is not None:
        text = read_condition(Bundle(bundle).manifest.condition, text)
    context = click.get_current_context()
    if isinstance(context.obj, dict):
        context.obj["interrupted"] = "Interrupted: finished parts are kept, go on with --resume."
    line = _Line(hidden=quiet)
    try:
        report = cluster.score(
            source,
            bundle,
            output,
            engine=engine,
            workers=given["workers"],
            address=address,
            gpus=given["num_gpus"] or 0,
            resume=given["resume"],
            part_rows=given["part_rows"],
            strict=strict,
            ids=ids,
            condition=text,
            alpha=alpha,
            on_progress=line.show,
            **options,
        )
    finally:
        line.clear()
    if not quiet or not report.passed:
        click.echo(str(report), err=True)
    return 0 if report.passed else 1


def _address(engine: str, given: dict[str, Any]) -> str | None:
    addresses = {"ray": "ray_address", "dask": "dask_scheduler"}
    for own, name in addresses.items():
        if given[name] is not None and own != engine:
            raise OptionError(f"--{name.replace('_', '-')} is for --engine {own}: give both")
    if given["num_gpus"] and engine != "ray":
        raise OptionError("--num-gpus is for --engine ray: other engines share what is there")
    return given[addresses[engine]] if engine in addresses else None


class _Line:
    """One line on standard error that is written over; elsewhere only the first of a long wait."""

    def __init__(self, *, hidden: bool) -> None:
        self._hidden = hidden
        self._width = 0
        self._has_warned = False

    def show(self, progress: Progress) -> None:
        if self._hidden:
            return
        if sys.stderr.isatty():
            text = str(progress)
            click.echo(f"\r{text.ljust(self._width)}", err=True, nl=False)
            self._width = len(text)
        elif progress.waited is not None and not self._has_warned:
            click.echo(str(progress), err=True)
            self._has_warned = True

    def clear(self) -> None:
        if self._width:
            click.echo(f"\r{' ' * self._width}\r", err=True, nl=False)
