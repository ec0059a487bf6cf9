"""Samples from N(0, I) and from the mixture prior, compared with test images.

    python tests/benchmarks/prior.py [BUNDLE] [--samples 2000] [--components N]

Needs scikit-learn (the extra `prior`). Without a bundle, the digits model is exported with default
options. The bundle is copied; it stays as it is.

The feature space is fixed by the training images: their 50 leading principal components. In it,
for images drawn from each prior, beside images decoded from z ~ q(z given x) of other data, which
is the best that any prior can do, and beside other real images:

    precision  share of drawn images that lie within the data: nearer to a test image than its 5th
               nearest neighbour among test images (Kynkäänniemi et al. 2019)
    recall     share of test images that lie within the drawn images
    MMD        squared maximum mean discrepancy from the test images, times 1,000; Gaussian kernel,
               the median distance of test images as its width
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances

import vae_runtime
from vae_builder import TrainConfig, export_trained, load_dataset, train
from vae_export import PriorSamples, fit_prior
from vae_runtime import VAERuntime

Array = NDArray[Any]
FEATURES, NEIGHBOURS = 50, 5


def flat(x: Array) -> Array:
    """Return images in [0, 1] as vectors."""
    unit = x / 255.0 if x.dtype == np.uint8 else x
    return unit.reshape(len(x), -1).astype(np.float64)


def coverage(inner: Array, outer: Array) -> float:
    """Return the share of `inner` that lies within the neighbourhoods of `outer`."""
    radius = np.sort(pairwise_distances(outer), axis=1)[:, NEIGHBOURS]
    return float((pairwise_distances(inner, outer) <= radius).any(axis=1).mean())


def discrepancy(x: Array, y: Array) -> float:
    """Return the squared MMD of two sets of features."""
    width = np.median(pairwise_distances(y)) ** 2

    def kernel(a: Array, b: Array) -> Array:
        return np.exp(-(pairwise_distances(a, b) ** 2) / (2 * width))

    return float(kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean())


def from_posterior(vae: VAERuntime, x: Array) -> Array:
    """Decode one z ~ q(z given x) of each image."""
    encoding = vae.encode(x)
    eps = np.random.default_rng(0).standard_normal(encoding.z_mean.shape)
    z = encoding.z_mean + np.exp(0.5 * encoding.z_log_var) * eps
    return vae.decode(z.astype(np.float32))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each source of images."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--components", type=int)
    options = parser.parse_args(arguments)
    dataset = load_dataset("digits")
    training, held_out, test = (
        np.asarray(split) for split in (dataset.train, dataset.validation, dataset.test)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits-vae"
        if options.bundle:
            shutil.copytree(options.bundle, path)
        else:
            export_trained(train(dataset, TrainConfig()), path)
        samples = PriorSamples(training), PriorSamples(held_out)
        spec = fit_prior(path, *samples, components=options.components)
        vae = vae_runtime.load(path)
        count = min(options.samples, len(test))
        drawn = {
            "N(0, I)": vae.sample(count, seed=1),
            f"mixture of {spec.components}": vae.sample(count, seed=1, prior="mixture"),
            "z of training images": from_posterior(vae, training[:count]),
            "training images": training[:count],
        }
    project = PCA(FEATURES, random_state=0).fit(flat(training)).transform
    reference = project(flat(test[:count]))
    print(f"{'images':22} {'precision':>9} {'recall':>7} {'MMD':>7}")
    for name, images in drawn.items():
        found = project(flat(images))
        precision, recall = coverage(found, reference), coverage(reference, found)
        print(
            f"{name:22} {precision:9.3f} {recall:7.3f} {1000 * discrepancy(found, reference):7.2f}"
        )


if __name__ == "__main__":
    main()
