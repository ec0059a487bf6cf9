"""`build-vae explain`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from vae_runtime.cli.conditions import condition_option
from vae_runtime.cli.explain_text import to_csv, to_text
from vae_runtime.cli.opening import open_samples, progress_bar
from vae_runtime.cli.options import (
    bundle_argument,
    debug_option,
    file_option,
    json_option,
    quiet_option,
    runtime_options,
    sha256_option,
    source_options,
)
from vae_runtime.cli.outputs import check_output
from vae_runtime.data.samples.conditions import as_condition
from vae_runtime.data.samples.inputs import to_scaled_float32
from vae_runtime.explanation.picture import Rows, check_shape, write_picture
from vae_runtime.explanation.report import findings, most_unusual
from vae_runtime.files.atomic_files import replacing


@click.command("explain", short_help="Show why samples are unusual.")
@bundle_argument
@click.argument("data")
@file_option("-o", "--output", help="A .png picture or a .csv file [default: standard output].")
@click.option(
    "--top",
    type=click.IntRange(1, 100),
    default=8,
    show_default=True,
    help="Number of samples: those with the smallest p-values.",
)
@json_option("explanations")
@source_options
@condition_option(of_data=True)
@sha256_option
@runtime_options
@quiet_option
@debug_option
def explain_command(
    bundle: Path,
    data: str,
    output: Path | None,
    top: int,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Explain the most unusual samples of DATA.

    A picture shows each input, its reconstruction, the nearest training sample decoded, and what
    is unusual. Of a table the columns are ranked, with value, reconstruction and usual range.

    \b
    Example:
        build-vae explain digits-vae digits -o why.png
        build-vae explain sensors-vae sensors.csv --top 3
    """
    check_output(output, ".png", ".csv")
    opened = open_samples(bundle, data, options)
    vae, x = opened.vae, opened.loaded.x
    sample = vae.manifest.input
    if output and output.suffix == ".png":
        check_shape(sample.shape)
    given = as_condition(vae.manifest.condition, opened.condition, len(x))
    with progress_bar("scoring", len(x), quiet=quiet) as bar:
        scores = vae.score(x, condition=given, strict=False, on_progress=bar.update)
    indices = most_unusual(scores, top)
    x = np.asarray(x[indices])
    explanation = vae.explain(x, condition=None if given is None else given[indices])
    names, name_column = opened.loaded.names, "file"
    if output and output.suffix == ".png":
        origin = vae.manifest.data
        undivided = sample.undivided_uint8 or bool(origin and origin.binary_uint8)
        low, high = sample.unit_values
        values = to_scaled_float32(x, binary_uint8=undivided).reshape(-1, *sample.shape)
        rows = Rows(
            (values - low) / (high - low), explanation, (low, high), indices.tolist(), names
        )
        with replacing(output) as file:
            write_picture(file, rows)
    found = list(findings(vae.manifest, x, explanation, indices, names))
    if output and output.suffix == ".csv":
        with replacing(output) as file:
            file.write(to_csv(found, name_column).encode())
    if as_json:
        click.echo(json.dumps([finding.to_dict() for finding in found], indent=2))
    elif output:
        click.echo(f"wrote {output}: the {len(found)} most unusual of {len(scores)} samples")
    else:
        click.echo(to_text(found), nl=False)
