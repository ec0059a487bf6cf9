"""Held-out log-likelihood of small tables: preset `table` beside factor analysis and PCA.

    python tests/benchmarks/tables.py [--seeds 3] [--draws 500]

Needs scikit-learn (the extra `peers`), whose bundled tables these are. Each table is split as
`build-vae export` splits it. The VAE has default options. Factor analysis and probabilistic PCA are
fitted to its training and validation samples together, with the number of factors that
cross-validation chooses. All three see the same standardized values. The importance-weighted bound
stands for the log-likelihood of the VAE, and lies below it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.model_selection import cross_val_score

import vae_runtime
from vae_builder import Dataset, export_trained, train
from vae_runtime.data.numbers.standardization import standardize

TABLES = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "linnerud": datasets.load_linnerud,
    "digits": datasets.load_digits,
}
FACTORS = (1, 2, 3, 4, 6, 8, 10, 12, 15, 20, 25, 30, 40)


def peer(kind, fit, test):
    """Return the mean log-likelihood of test samples, and the number of factors."""
    choices = [k for k in FACTORS if k < fit.shape[1]]
    scores = {k: np.mean(cross_val_score(kind(k), fit, cv=5)) for k in choices}
    best = max(scores, key=lambda k: -np.inf if np.isnan(scores[k]) else scores[k])
    return kind(best).fit(fit).score(test), best


def compare(name: str, seed: int, draws: int, folder: Path) -> tuple[float, float, float]:
    """Return the log-likelihoods of the VAE, factor analysis and PCA on the test samples."""
    x = TABLES[name]().data.astype(np.float32)
    x = x[:, x.std(axis=0) > 0]  # without columns of one value, whose density is infinite
    dataset = Dataset.from_arrays(name, x, split_seed=seed, is_table=True)
    exported = export_trained(train(dataset), folder / f"{name}-{seed}".replace(" ", "-"))
    vae = vae_runtime.load(exported.path)
    test = np.asarray(dataset.test)
    bound = -vae_runtime.evaluate(vae, test, draws=draws).importance_weighted_loss
    scaled = [
        standardize(np, exported.manifest.input.standardization, np.asarray(part)).astype(float)
        for part in (dataset.train, dataset.validation, dataset.test)
    ]
    fit = np.concatenate(scaled[:2])
    analysis, factors = peer(lambda k: FactorAnalysis(k, max_iter=5000), fit, scaled[2])
    pca, components = peer(PCA, fit, scaled[2])
    print(
        f"{name:14} {seed:4} {x.shape[0]:5} x {x.shape[1]:<3} {exported.manifest.latent_dim:3} "
        f"{bound:9.3f} {analysis:9.3f} ({factors}) {pca:9.3f} ({components})",
        flush=True,
    )
    return bound, analysis, pca


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--tables", default=",".join(TABLES))
    args = parser.parse_args()
    print(f"{'table':14} {'seed':4} {'rows x columns':11} {'L':3} {'VAE':>9} {'FA':>9} {'PCA':>13}")
    with tempfile.TemporaryDirectory() as folder:
        for name in args.tables.split(","):
            rows = [compare(name, s, args.draws, Path(folder)) for s in range(args.seeds)]
            vae, analysis, pca = np.mean(rows, axis=0)
            print(f"{name:14} mean {'':15} {vae:9.3f} {analysis:9.3f} {pca:13.3f}", flush=True)


if __name__ == "__main__":
    main()
