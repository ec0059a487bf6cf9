"""`build-vae fit-prior`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from vae_builder.cli.progress import step_progress
from vae_builder.cli.tensorflow import import_tensorflow
from vae_builder.data.loading import load_data_of
from vae_runtime.bundle.bundle import Bundle
from vae_runtime.cli.options import bundle_argument, debug_option, quiet_option, source_options


@click.command("fit-prior", short_help="Add a mixture prior to a bundle, to draw samples from.")
@bundle_argument
@click.option("--data", required=True, help="The data that the model was trained on; see export.")
@click.option(
    "--components",
    type=click.IntRange(1),
    help="Number of Gaussians [default: the one with the best likelihood of held-out samples].",
)
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the fit."
)
@source_options
@quiet_option
@debug_option
def fit_prior_command(
    bundle: Path, data: str, components: int | None, seed: int, quiet: bool, **reading: Any
) -> None:
    """Fit a Gaussian mixture to the latent samples of BUNDLE's training data.

    Draws from N(0, I) also fall where no data lies; draws from the mixture do not. Validation
    samples choose the number of components.

    \b
    Example:
        build-vae fit-prior digits-vae --data digits
        build-vae sample digits-vae --prior mixture -o samples.png
    """
    import_tensorflow("fitting a prior")
    from vae_export import PriorSamples, fit_prior
    from vae_export.prior.fit import MAX_PRIOR_SAMPLES

    dataset = load_data_of(Bundle(bundle).manifest, data, reading)
    training, held_out = (
        PriorSamples(np.asarray(split[:MAX_PRIOR_SAMPLES]), dataset.conditions_of(name))
        for name, split in (("train", dataset.train), ("validation", dataset.validation))
    )
    with step_progress("fitting", quiet) as on_step:
        spec = fit_prior(
            bundle, training, held_out, components=components, seed=seed, on_step=on_step
        )
    gaussians = "1 Gaussian" if spec.components == 1 else f"{spec.components} Gaussians"
    click.echo(
        f"mixture of {gaussians}: {spec.log_likelihood:.2f} nats for each of {spec.held_out} "
        f"held-out latent samples, N(0, I) {spec.normal_log_likelihood:.2f}"
    )
    click.echo(f"next: build-vae sample {bundle} --prior mixture -o samples.png")
