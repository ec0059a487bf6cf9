"""Detectors of anomalies that are fitted to normal samples, shape `(n, d)`.

A larger score is more unusual.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import skew
from sklearn.covariance import EmpiricalCovariance
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

Array = NDArray[Any]
Score = Callable[[Array], Array]


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
"""The detectors by name."""
