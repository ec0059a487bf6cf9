"""Watch the samples that a bundle scores for drift, with a state that outlives the process.

```python
monitor = vae_runtime.DriftMonitor(vae, state="drift.json", delta=0.01)
report = monitor.update(images)  # the next samples of the stream, in order
if report.alarm:
    print(report)
```
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.drift.detector import DELTA, DriftDetector, DriftState
from vae_runtime.drift.elements import ElementReference
from vae_runtime.drift.ranks import as_scores
from vae_runtime.drift.report import DriftReport
from vae_runtime.drift.state_fields import (
    Owner,
    StateFields,
    calibration_sha256,
    parse_state,
    state_bytes,
    to_state,
)
from vae_runtime.drift.state_file import StateFile
from vae_runtime.errors import InputError, OptionError
from vae_runtime.files.strict_json import StrictJsonError


class ScoredBundle(Protocol):
    """What a monitor needs of a loaded bundle; `VAERuntime` is one."""

    precision: str

    @property
    def bundle(self) -> Any:
        """Has `sha256` and `path`."""

    @property
    def manifest(self) -> Any:
        """Has `columns`, the names of the elements or None."""

    @property
    def calibration(self) -> Any:
        """Has `scores`, shape `(n,)`; `element_mean` and `element_std`, shape `input_shape`."""

    def score(self, x: Any, *, condition: Any = None, strict: bool = True) -> Any:
        """Return an object with `score`, shape `(batch,)`."""

    def element_terms(self, x: Any, *, condition: Any = None) -> NDArray[Any]:
        """Return what each element adds, shape `(batch, *input_shape)`; NaN without a score."""


class Samples(Protocol):
    """Some consecutive samples; `inference.scoring.SamplePart` is one."""

    @property
    def x(self) -> Any:
        """The samples, as `VAERuntime.encode` takes them."""

    @property
    def condition(self) -> Any:
        """Condition of each sample, or of all; None if the model takes none."""


class DriftMonitor:
    """An alarm for drift in the samples that a bundle scores.

    One monitor may have a state file at a time. If another process saves the same file, `update`
    raises an `InputError` and the file keeps that other state.
    """

    def __init__(
        self,
        vae: ScoredBundle,
        *,
        state: str | os.PathLike[str],
        delta: float | None = None,
        seed: int | None = None,
    ) -> None:
        """Begin a stream, or go on with the one in the state file.

        Args:
            vae: the loaded bundle, with a calibration.
            state: the state file. If there is none, `update` makes it.
            delta: largest share of streams without drift that ever raise an alarm, in (0, 1). By
                default that of the state file, or 0.01 for a new one.
            seed: seed of the noise that breaks ties, by default that of the state file, or 0.

        Raises:
            OptionError, BundleError: the bundle has no calibration, or one that was edited.
            InputError: the state file is damaged, or belongs to another bundle, precision or
                calibration.
            OptionError: also if `delta` or `seed` is out of range, or not that of the state file.
        """
        self._vae = vae
        self._file = StateFile(state)
        scores = vae.calibration.scores
        data = self._file.read()
        fields = None if data is None else self._parsed(data)
        if fields is not None:
            self._check_promise(fields.owner, delta, seed)
            delta, seed = fields.owner.delta, fields.owner.seed
        self._detector = DriftDetector(
            scores,
            delta=DELTA if delta is None else delta,
            seed=0 if seed is None else seed,
            reference=_reference(vae),
        )
        self._owner = Owner(
            bundle=vae.bundle.sha256,
            precision=vae.precision,
            calibration=calibration_sha256(as_scores(scores, "calibration_scores")),
            delta=self._detector.delta,
            seed=self._detector.seed,
        )
        if fields is not None:
            self._check_owner(fields.owner)
            try:
                self._detector.state = to_state(fields, self._detector.new_state())
            except StrictJsonError as error:
                raise self._damaged(error) from None

    def update(self, x: ArrayLike, *, condition: ArrayLike | None = None) -> DriftReport:
        """Score the next samples of the stream, and save the state.

        Args:
            x: samples in their order in time, as for `VAERuntime.score`. One that cannot be scored
                counts as most unusual.
            condition: as for `VAERuntime.score`.

        Returns:
            The report after these samples, which are in the state file.

        Raises:
            InputError, ProviderError, BundleError: as for `VAERuntime.score`; an `InputError` also
                if another process changed the state file.
            OSError: the state cannot be saved. After any error the monitor and the file are as
                before, so you may try again.
        """
        return self._save(self._after(self._detector.state, x, condition))

    def update_parts(self, parts: Iterable[Samples]) -> DriftReport:
        """Score samples part by part, and save the state after the last one.

        So all samples are in the state file or, after an error, none. Arguments and errors are
        those of `update`.
        """
        state = self._detector.state
        for part in parts:
            state = self._after(state, part.x, part.condition)
        return self._save(state)

    def report(self) -> DriftReport:
        """Return the report on all samples so far."""
        return self._detector.report()

    def _after(self, state: DriftState, x: Any, condition: Any) -> DriftState:
        scores = self._vae.score(x, condition=condition, strict=False).score
        errors = None
        if self._detector.reference is not None:
            errors = self._vae.element_terms(x, condition=condition)
        return self._detector.after(state, scores, errors)

    def _save(self, state: DriftState) -> DriftReport:
        if state.samples > self._detector.state.samples:
            self._file.write(state_bytes(state, self._owner))
            self._detector.state = state
        return self.report()

    def _parsed(self, data: bytes) -> StateFields:
        try:
            return parse_state(data)
        except StrictJsonError as error:
            raise self._damaged(error) from None

    def _damaged(self, error: StrictJsonError) -> InputError:
        return InputError(
            f"{self._file.path} is no state of this monitor, or is damaged ({error}): restore a "
            "copy, or delete it to begin a new stream"
        )

    def _check_promise(self, owner: Owner, delta: float | None, seed: int | None) -> None:
        for name, given, kept in (("delta", delta, owner.delta), ("seed", seed, owner.seed)):
            if given is not None and given != kept:
                raise OptionError(
                    f"{name} is {given}, {self._file.path} was begun with {kept}: leave it out, or "
                    "give another state file for a new stream"
                )

    def _check_owner(self, found: Owner) -> None:
        for name in ("bundle", "precision", "calibration"):
            theirs, ours = getattr(found, name), getattr(self._owner, name)
            if theirs != ours:
                raise InputError(
                    f"{self._file.path} belongs to {name} {theirs:.12}, {self._vae.bundle.path} "
                    f"has {name} {ours:.12}: give another state file, or delete this one to begin "
                    "a new stream"
                )


def _reference(vae: ScoredBundle) -> ElementReference:
    """Return the errors of the elements over the calibration samples."""
    calibration = vae.calibration
    return ElementReference(
        np.asarray(calibration.element_mean, np.float64),
        np.asarray(calibration.element_std, np.float64),
        len(calibration.scores),
        vae.manifest.columns,
    )
