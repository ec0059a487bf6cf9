"""The parity check of a whole bundle: float32 first, then each of its variants."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.bundle.bundle import Bundle
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.inference.loading import load
from vae_runtime.proof.parity import VerifyReport

Recompute = Callable[[Bundle], dict[str, NDArray[np.float32]]]


@dataclass(frozen=True)
class BundleReport:
    """The parity checks of a bundle.

    Attributes:
        reports: one for each precision that was checked.
    """

    reports: tuple[VerifyReport, ...]

    @property
    def passed(self) -> bool:
        """Whether all passed."""
        return all(report.passed for report in self.reports)

    def to_dict(self) -> dict[str, Any]:
        """The first report as plain JSON types, the others by precision as its `variants`."""
        first, *others = self.reports
        variants = {report.precision: report.to_dict() for report in others}
        return {**first.to_dict(), "variants": variants, "passed": self.passed}

    def __str__(self) -> str:
        """The reports as tables."""
        return "\n\n".join(map(str, self.reports))


def verify_bundle(
    bundle: str | os.PathLike[str],
    *,
    precision: str | None = None,
    recompute: Recompute | None = None,
    **options: Any,
) -> BundleReport:
    """Loads a bundle in each of its precisions, and holds it against TensorFlow's values.

    Args:
        bundle: the bundle, a folder or a single file.
        precision: only this one, `float32` or a variant; all where left out.
        recompute: gives TensorFlow's values, computed anew; those in the bundle where left out.
        options: as for `load`.

    Returns:
        The reports.

    Raises:
        BundleError, MissingExtraError, OptionError, ProviderError: as `load`.
    """
    vae = load(bundle, precision=precision or FLOAT32, **options)
    against: dict[str, Any] = {}
    if recompute:
        against = {"reference": recompute(vae.bundle), "source": "the SavedModels, computed now"}
    reports = [vae.verify(**against)]
    for variant in () if precision else vae.manifest.variants:
        reports.append(load(bundle, precision=variant, **options).verify(**against))
    return BundleReport(tuple(reports))
