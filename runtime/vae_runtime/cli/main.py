"""The `build-vae` command. Each subcommand parses, calls the library once, and prints.

Exit status:
    0     done
    1     a check failed
    2     wrong usage of the command line
    3     unsuitable data, bundle, option or machine; one line says what to do
    4     a defect of build-vae
    130   interrupted
"""

from __future__ import annotations

import contextlib
import errno
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import click

from vae_runtime.cli.bench import bench_command
from vae_runtime.cli.bundles import inspect_command, pack_command, sign_command
from vae_runtime.cli.calibrate import calibrate_command
from vae_runtime.cli.evaluate import evaluate_command
from vae_runtime.cli.explain import explain_command
from vae_runtime.cli.extensions import (
    COMMANDS,
    LIGHT_COMMANDS,
    command_names,
    has_tensorflow,
    load_extension,
)
from vae_runtime.cli.monitor import monitor_command
from vae_runtime.cli.samples import reconstruct_command, sample_command
from vae_runtime.cli.score import score_command
from vae_runtime.cli.verify import verify_command
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.errors import BuildVaeError

UNFIT = 3
DEFECT = 4
INTERRUPTED = 130

REMEDIES = {
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some space, or write elsewhere",
    errno.EACCES: "change its permissions, or use another place",
    errno.EPERM: "change its permissions, or use another place",
    errno.EROFS: "write elsewhere",
    errno.ENOENT: "check its name",
}
"""Remedy for each error of the operating system."""


class _Commands(click.Group):
    """The runtime's subcommands and the builder's; of these, some need TensorFlow."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        with_tensorflow = command_names(COMMANDS) if has_tensorflow() else []
        return sorted([*self.commands, *command_names(LIGHT_COMMANDS), *with_tensorflow])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        for group in (COMMANDS, LIGHT_COMMANDS):
            if cmd_name in command_names(group):
                command: click.Command = load_extension(
                    group, cmd_name, purpose=f"build-vae {cmd_name}"
                )
                return command
        return None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="build-vae")
def build_vae() -> None:
    """Train a VAE, ship it as SavedModel and ONNX, and prove that the loss stayed the same.

    \b
    Example:
        build-vae export digits-vae
        build-vae verify digits-vae
    """


for command in (
    verify_command,
    score_command,
    explain_command,
    evaluate_command,
    calibrate_command,
    reconstruct_command,
    sample_command,
    monitor_command,
    inspect_command,
    pack_command,
    sign_command,
    bench_command,
):
    build_vae.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: the arguments of `build-vae`; by default those of this process.

    Returns:
        The exit status.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    state: dict[str, Any] = {
        "debug": False,
        "status": 0,
        "interrupted": "Interrupted: nothing was written.",
    }
    try:
        with _shown_warnings():
            result = build_vae.main(words, prog_name="build-vae", standalone_mode=False, obj=state)
        return result if isinstance(result, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(state["interrupted"], err=True)
        return INTERRUPTED
    except SystemExit:
        # click exits if the reader of a pipe went away, as `head` does.
        return int(state["status"])
    except Exception as error:
        if state["debug"]:
            traceback.print_exc()
        else:
            click.echo(_one_line(error), err=True)
        return UNFIT if isinstance(error, BuildVaeError | OSError | MemoryError) else DEFECT


@contextlib.contextmanager
def _shown_warnings() -> Iterator[None]:
    """Show each warning about data once, as one line without a place in the code."""
    show_others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        if issubclass(category, InputWarning):
            click.echo(f"Warning: {' '.join(str(message).split())}", err=True)
        else:
            show_others(message, category, *place, **more)

    with warnings.catch_warnings():
        warnings.showwarning = show
        warnings.simplefilter("default", InputWarning)
        yield


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, BuildVaeError):
        return f"Error: {text}"
    if isinstance(error, OSError):
        remedy = REMEDIES.get(error.errno or 0, "check the disk, or use another place")
        where, what = error.filename or "input or output", error.strerror or text
        return f"Error: {where}: {what}: {remedy}"
    if isinstance(error, MemoryError):
        return f"Error: out of memory{f' ({text})' if text else ''}: lower --batch-size"
    return (
        f"Error: {type(error).__name__}: {text}: this is a defect of build-vae; run again with "
        "--debug to see where"
    )
