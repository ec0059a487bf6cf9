"""The parity check of a whole bundle: float32 first, then each variant."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.files.paths import absolute
from vae_runtime.inference.loading import load
from vae_runtime.proof.parity import VerifyReport

Recompute = Callable[[Bundle], dict[str, NDArray[np.float32]]]
"""Computes TensorFlow's values of a bundle anew, by name as in `parity.npz`."""


@dataclass(frozen=True)
class BundleReport:
    """Results of the parity checks of a bundle.

    Attributes:
        reports: one report for each precision that was checked.
    """

    reports: tuple[VerifyReport, ...]

    @property
    def passed(self) -> bool:
        """Whether all checks passed."""
        return all(report.passed for report in self.reports)

    def to_dict(self) -> dict[str, Any]:
        """Return the first report as plain JSON types, with the other reports as its `variants`."""
        first, *others = self.reports
        variants = {report.precision: report.to_dict() for report in others}
        return {**first.to_dict(), "variants": variants, "passed": self.passed}

    def __str__(self) -> str:
        """Return the reports as tables."""
        return "\n\n".join(map(str, self.reports))


def verify_bundle(
    bundle: str | os.PathLike[str],
    *,
    precision: str | None = None,
    recompute: Recompute | None = None,
    **options: Any,
) -> BundleReport:
    """Load a bundle in each of its precisions, and compare it with TensorFlow's values.

    Args:
        bundle: the bundle, a folder or a single file.
        precision: `float32` or a variant, to check only this one; by default all are checked.
        recompute: computes TensorFlow's values anew; by default those in the bundle are used.
        options: keyword arguments of `load`.

    Returns:
        The reports.

    Raises:
        BundleError, MissingExtraError, OptionError, ProviderError: as for `load`.
    """
    bundle = absolute(bundle)
    vae = load(bundle, precision=precision or FLOAT32, **options)
    values: dict[str, Any] = {}
    if recompute:
        values = {"reference": recompute(vae.bundle), "source": "the SavedModels, computed now"}
    reports = [vae.verify(**values)]
    for variant in () if precision else vae.manifest.variants:
        reports.append(load(bundle, precision=variant, **options).verify(**values))
    return BundleReport(tuple(reports))
