"""Planted anomalies: the explanation points at the square, and at the changed column.

Run with `--full` for 1,000 of each, and for scikit-learn's tables if it is installed.
"""

import numpy as np
import pytest

from vae_runtime import load

ALPHA = 0.01
SHORT, FULL = 200, 1000


def planted_squares(x, count, seed):
    """Return pictures with a white square of 4 to 6 pixels, and where it is."""
    rng = np.random.default_rng(seed)
    x = x[rng.integers(0, len(x), count)].copy()
    side = rng.integers(4, 7, count)
    top, left = (rng.integers(0, 28 - side + 1) for _ in range(2))
    for i in range(count):
        x[i, top[i] : top[i] + side[i], left[i] : left[i] + side[i]] = 1.0
    return x, np.stack([top, left], axis=1), np.stack([top + side, left + side], axis=1)


def share_of_squares_found(path, x, count):
    """Return the share of alarms whose most unusual box has its centre in the square.

    Only alarms are explained. Half of the squares are none: they lie on a stroke, for example.
    """
    vae, hits, alarms, seed = load(path), 0, 0, 0
    while alarms < count:
        x_planted, start, stop = planted_squares(x, count, seed)
        chosen = np.flatnonzero(vae.score(x_planted).alarms(ALPHA))[: count - alarms]
        boxes = vae.explain(x_planted[chosen]).boxes()
        centre = (boxes.start + boxes.stop)[:, :2] / 2
        hits += ((centre >= start[chosen]) & (centre <= stop[chosen])).all(axis=1).sum()
        alarms, seed = alarms + len(chosen), seed + 1
    return hits / count


def share_of_columns_found(path, x, count):
    """Return the share of rows whose changed column is ranked first, and that by its error."""
    rng = np.random.default_rng(1)
    rows = np.arange(count)
    changed = x[rng.integers(0, len(x), count)].copy()
    column = rng.integers(0, x.shape[1], count)
    changed[rows, column] += rng.choice([-6, 6], count) * x.std(axis=0)[column]
    found = load(path).explain(changed)
    return tuple(
        float((values.argmax(axis=1) == column).mean())
        for values in (found.unusual_elements, found.elements)
    )


def test_a_bright_square(trained_digits):
    assert share_of_squares_found(*trained_digits, SHORT) >= 0.95


def test_a_changed_column(trained_table):
    found, by_error = share_of_columns_found(*trained_table, SHORT)
    assert found >= 0.95 > by_error


@pytest.mark.slow
def test_a_thousand_squares(tmp_path):
    from vae_builder import TrainConfig, export_trained, load_dataset, train
    from vae_runtime import load_array

    export_trained(train(load_dataset("digits"), TrainConfig(epochs=30)), tmp_path / "v")
    x = load_array("digits").astype(np.float32)[..., np.newaxis] / 255
    assert share_of_squares_found(tmp_path / "v", x, FULL) >= 0.95


@pytest.mark.slow
def test_a_thousand_columns(trained_table):
    assert share_of_columns_found(*trained_table, FULL)[0] >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wine", "breast_cancer"])
def test_a_thousand_columns_of_a_real_table(name, tmp_path):
    datasets = pytest.importorskip("sklearn.datasets")
    from vae_builder import Dataset, LossSpec, TrainConfig, export_trained, train

    x = getattr(datasets, f"load_{name}")().data.astype(np.float32)
    dataset = Dataset.from_arrays(name, x, is_table=True)
    config = TrainConfig("table", loss=LossSpec("gaussian"), standardize=True)
    export_trained(train(dataset, config), tmp_path / "v")
    assert share_of_columns_found(tmp_path / "v", x, FULL)[0] >= 0.95
