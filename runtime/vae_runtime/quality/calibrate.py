"""Calibration of a bundle's anomaly score with normal samples, without TensorFlow."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.fields import Manifest, Variant
from vae_runtime.bundle.manifest import MODEL_CARD
from vae_runtime.bundle.packing import pack
from vae_runtime.bundle.publishing import copy_files, publishing, write_manifest
from vae_runtime.bundle.score_section import calibration_table, with_score_section
from vae_runtime.bundle.scores import CalibrationSpec, Tails
from vae_runtime.data.samples.conditions import as_condition
from vae_runtime.data.samples.inputs import as_batch
from vae_runtime.decision.calibration import MAX_SCORES, describe, no_score
from vae_runtime.decision.conformal import rank
from vae_runtime.errors import BundleError, InputError, OptionError
from vae_runtime.files.npz import npz_bytes
from vae_runtime.files.paths import absolute
from vae_runtime.graph.p_value import with_p_value
from vae_runtime.inference.inputs import GraphInputs
from vae_runtime.inference.loading import load
from vae_runtime.inference.per_sample import PerSample
from vae_runtime.quality.normal import normal_samples

Float32 = NDArray[np.float32]

SEED = 20260502
"""Seed of the choice of calibration samples, if there are more than are used."""

CHUNK = 256
"""Samples whose elements are compared at a time."""


@dataclass(frozen=True, eq=False)
class NormalSamples:
    """Samples that are normal, and took no part in training.

    Attributes:
        x: samples, as `VAERuntime.encode` takes them, but as an array.
        condition: condition of each sample; None if the model takes none.
        calibration: rows of x for the calibration.
        check: other rows of x, on which its rates are checked.
        source: where the samples come from, for people.
    """

    x: NDArray[np.generic]
    condition: Float32 | None
    calibration: NDArray[np.intp]
    check: NDArray[np.intp]
    source: str

    def rows(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.generic], Float32 | None]:
        """Return some of the samples, and their conditions."""
        return self.x[rows], None if self.condition is None else self.condition[rows]


@dataclass(frozen=True)
class Calibrated:
    """A bundle with a new calibration.

    Attributes:
        path: the bundle, an absolute path.
        manifest: its manifest.
        sha256: its digest.
    """

    path: Path
    manifest: Manifest
    sha256: str

    def __str__(self) -> str:
        """Return the thresholds of each precision as a table."""
        return calibration_table(self.manifest)


def calibrate(
    bundle: str | os.PathLike[str],
    x: ArrayLike,
    *,
    condition: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    normal: Collection[str] = (),
    output: str | os.PathLike[str] | None = None,
    tails: Tails | None = None,
    samples: int = MAX_SCORES,
    alphas: Sequence[float] = (),
    source: str = "given samples",
) -> Calibrated:
    """Calibrate the anomaly score anew, in every precision of the bundle.

    A p-value promises its false-alarm rate for samples like the calibration samples. Calibrate
    anew if the device sees other data than the test samples of the export.

    Args:
        bundle: the bundle, a folder or a single file.
        x: normal samples that took no part in training, as for `VAERuntime.encode`.
        condition: their condition, as for `VAERuntime.encode`.
        labels: label of each sample, shape `(batch,)`, for `normal`.
        normal: labels of the normal samples; others are left out. By default all are normal.
        output: path of the new bundle, of the same kind; by default the bundle is replaced.
        tails: "upper" if high scores are unusual, "both" if low ones are as well; by default as
            before.
        samples: largest number of calibration samples. The graph compares every sample with each
            of them, so more take more time. Of more samples, some are drawn at random, and the
            rest checks the calibration.
        alphas: false-alarm rates that the calibration must allow. The manifest states their
            thresholds beside those of 0.1, 0.05, 0.01 and 0.001.
        source: where the samples come from, for the manifest.

    Returns:
        The new bundle. A signature of the old one does not fit it.

    Raises:
        OptionError: the bundle has no score, an option is out of range, or there are too few
            samples for one of the `alphas`.
        InputError: there are no samples, or as for `VAERuntime.encode`.
        BundleError: the bundle is damaged.
        ExportError: the output cannot be written. The old bundle is still there.
    """
    if samples < 1 or tails not in (None, "upper", "both"):
        raise OptionError(
            f"samples is {samples} and tails {tails!r}, expected 1 or more, and upper or both"
        )
    found, target = Bundle(bundle), absolute(output or bundle)
    manifest = found.manifest
    if manifest.score is None:
        raise no_score(found)
    found.check_files()
    array = as_batch(x, manifest.input.shape, columns=manifest.table)
    if len(array) == 0:
        raise InputError("x has no samples: give at least one normal sample")
    rows = np.arange(len(array))
    if normal:
        rows = np.flatnonzero(normal_samples(labels, normal, len(array)))
    for alpha in alphas:
        rank(alpha, min(samples, len(rows)), tails or manifest.score.tails)
    order = np.random.default_rng(SEED).permutation(rows)
    for row in np.sort(order[: 2 * samples]).tolist():  # errors name the sample as x numbers it
        GraphInputs(manifest).chunk(array, slice(row, row + 1))
    given = NormalSamples(
        array,
        as_condition(manifest.condition, condition, len(array)),
        order[:samples],
        order[samples : 2 * samples],
        source,
    )
    if found.path.is_dir():
        with publishing(target, force=True) as folder:
            copy_files(found, folder)
            recalibrate(folder, given, tails, alphas)
            _renew_card(folder)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            copy_files(found, Path(temporary))
            recalibrate(Path(temporary), given, tails, alphas)
            pack(temporary, target, saved_models=manifest.saved_models is not None)
    written = Bundle(target)
    return Calibrated(written.path, written.manifest, written.sha256)


def recalibrate(
    folder: Path,
    normal: NormalSamples,
    tails: Tails | None = None,
    alphas: Sequence[float] = (),
) -> Manifest:
    """Calibrate the bundle in a private folder, in place; return its new manifest.

    The model card is not changed. `alphas` must be allowed by the number of samples.
    """
    manifest = Bundle(folder).manifest
    if manifest.score is None:
        raise BundleError(f"{folder} has no anomaly score: export it again")
    tails = tails or manifest.score.tails
    arrays: dict[str, Any] = {}
    calibrations: dict[str, CalibrationSpec] = {}
    for precision in manifest.precisions:
        per_sample = load(folder, precision=precision, tuned=False).per_sample
        scores, held_out = (
            np.sort(per_sample.score_alone(*normal.rows(rows)))
            for rows in (normal.calibration, normal.check)
        )
        mean, std = _element_statistics(per_sample, normal)
        arrays |= {
            f"{precision}_scores": scores,
            f"{precision}_element_mean": mean,
            f"{precision}_element_std": std,
        }
        graph = manifest.graphs_of(precision).score
        assert graph is not None
        path = folder / graph.file
        data = with_p_value(path.read_bytes(), scores, both_tails=tails == "both")
        path.write_bytes(data)
        calibrations[precision] = describe(scores, tails, data, held_out, alphas)
    (folder / manifest.score.file).write_bytes(npz_bytes(arrays))
    score = replace(
        manifest.score,
        tails=tails,
        data=normal.source,
        data_sha256=_digest(normal.x[normal.calibration]),
        calibrations=calibrations,
    )
    variants = _measured(folder, manifest)
    return write_manifest(folder, replace(manifest, score=score, variants=variants))


def _measured(folder: Path, manifest: Manifest) -> dict[str, Variant]:
    """Return the variants with the sizes of their graphs, which hold the calibration scores."""
    return {
        name: replace(
            variant,
            size=sum((folder / graph.file).stat().st_size for _, graph in variant.graphs.items()),
        )
        for name, variant in manifest.variants.items()
    }


def _renew_card(folder: Path) -> None:
    """Write the card's section on the score anew."""
    path, manifest = folder / MODEL_CARD, Bundle(folder).manifest
    if not path.is_file():
        return
    path.write_text(with_score_section(path.read_text("utf-8"), manifest), "utf-8")
    write_manifest(folder, manifest)


def _element_statistics(per_sample: PerSample, normal: NormalSamples) -> tuple[Float32, Float32]:
    """Return mean and standard deviation of each element's terms over the calibration samples."""
    rows, count = normal.calibration, len(normal.calibration)
    total: Any = 0.0
    squares: Any = 0.0
    for start in range(0, count, CHUNK):
        terms = per_sample.element_terms(*normal.rows(rows[start : start + CHUNK]))
        total = total + terms.sum(axis=0)
        squares = squares + np.square(terms).sum(axis=0)
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0.0)
    return mean.astype(np.float32), np.sqrt(variance).astype(np.float32)


def _digest(x: NDArray[np.generic]) -> str:
    digest = hashlib.sha256(f"{x.dtype.str} {x.shape}\n".encode())
    digest.update(np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()
