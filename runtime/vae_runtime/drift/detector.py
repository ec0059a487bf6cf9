"""Detect drift in a stream of scores: no files, no models.

```python
detector = DriftDetector(calibration_scores, delta=0.01, seed=0)
report = detector.update(scores)  # as often as you like; the order of the scores counts
```

`ranks` makes p-values of the scores, `martingale` bets against them. The alarm is raised when the
martingale reaches 1 / delta. Without drift that happens in at most a share delta of all streams,
however long they are and however often one looks. It holds if the calibration scores and those of
the stream are exchangeable: drawn independently from one distribution, for example. Samples that
depend on each other, such as pictures of a slow video, are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vae_runtime.drift.elements import MAX_ELEMENTS, ElementReference, element_change
from vae_runtime.drift.martingale import Martingale
from vae_runtime.drift.ranks import Cells, as_scores, uniform_noise
from vae_runtime.drift.report import BINS, DriftReport
from vae_runtime.errors import InputError, OptionError

DELTA = 0.01
"""Largest share of streams without drift that ever raise an alarm, unless you choose another."""

MAX_SEED = 10**18 - 1


@dataclass(frozen=True, eq=False)
class DriftState:
    """What a detector remembers of its stream. Its size does not grow with the stream.

    Attributes:
        stream: number of scores of the stream in each of the `Cells`, int64.
        unscorable: number of scores that are NaN or +inf.
        martingale: the martingale now.
        log_maximum: the largest logarithm of its value, 0 or more.
        log_minimum: the smallest before the alarm, 0 or less.
        since: number of samples up to that minimum.
        alarm_at: number of the sample that raised the alarm; None without an alarm.
        histogram: number of p-values in each bin.
        recent_histogram: the same, from sample `since` on.
        element_sums: sums of the errors of each element from sample `since` on, float64; None if
            they are not known.
        element_samples: number of samples in these sums.
    """

    stream: NDArray[np.int64]
    unscorable: int = 0
    martingale: Martingale = field(default_factory=Martingale)
    log_maximum: float = 0.0
    log_minimum: float = 0.0
    since: int = 0
    alarm_at: int | None = None
    histogram: tuple[int, ...] = (0,) * BINS
    recent_histogram: tuple[int, ...] = (0,) * BINS
    element_sums: NDArray[np.float64] | None = None
    element_samples: int = 0

    @property
    def samples(self) -> int:
        """Number of samples so far."""
        return self.martingale.samples


class DriftDetector:
    """An alarm for drift in a stream of scores.

    Attributes:
        delta: largest share of streams without drift that ever raise an alarm.
        seed: seed of the noise that breaks ties.
        cells: the cells in which scores are counted.
        reference: errors of the elements over the calibration samples; None to leave them out.
        state: what it remembers; may be set to an earlier one.
    """

    def __init__(
        self,
        calibration_scores: ArrayLike,
        *,
        delta: float = DELTA,
        seed: int = 0,
        reference: ElementReference | None = None,
    ) -> None:
        """Begin a stream.

        Args:
            calibration_scores: scores of normal samples that took no part in training, in any
                order, shape `(n,)`. Larger is more unusual.
            delta: largest share of streams without drift that ever raise an alarm, in (0, 1).
            seed: seed of the noise. The same seed and scores give the same report.
            reference: errors of the elements over the calibration samples, to find those that
                moved. Ignored for samples of more than `MAX_ELEMENTS` elements.

        Raises:
            OptionError: `delta` or `seed` is out of range.
            InputError: there are no calibration scores, or they are not a vector.
        """
        if not 0 < delta < 1:
            raise OptionError(f"delta is {delta}, expected a share between 0 and 1, such as 0.01")
        if not 0 <= seed <= MAX_SEED:
            raise OptionError(f"seed is {seed}, expected 0 to {MAX_SEED}")
        self.delta, self.seed = float(delta), int(seed)
        self.cells = Cells(calibration_scores)
        too_large = reference is not None and reference.mean.size > MAX_ELEMENTS
        self.reference = None if too_large else reference
        self.state = self.new_state()

    def new_state(self) -> DriftState:
        """Return the state before the first sample."""
        sums = None if self.reference is None else np.zeros(self.reference.mean.shape)
        return DriftState(np.zeros_like(self.cells.calibration), element_sums=sums)

    def update(self, scores: ArrayLike, errors: ArrayLike | None = None) -> DriftReport:
        """Take the next scores of the stream, in order.

        Args:
            scores: shape `(batch,)`; NaN and +inf are the most unusual.
            errors: error of each element of each sample, shape `(batch, *input_shape)`; needed if
                the detector has a `reference`, else ignored.

        Returns:
            The report after these scores. It does not depend on how they are divided into batches.

        Raises:
            InputError: shapes are wrong, or `errors` is missing. The detector is unchanged.
        """
        self.state = self.after(self.state, scores, errors)
        return self.report()

    def after(
        self, state: DriftState, scores: ArrayLike, errors: ArrayLike | None = None
    ) -> DriftState:
        """Return the state after the next scores; see `update`. `state` is unchanged."""
        values = as_scores(scores, "scores")
        if self.reference is not None:
            if errors is None:
                raise InputError("errors is missing, expected the error of each element of x")
            errors = self.reference.check(errors, len(values))
        stream = state.stream.copy()
        noise = uniform_noise(self.seed, state.samples, len(values))
        p_values = self.cells.p_values(stream, self.cells.find(values), noise)
        martingale, log_values = state.martingale.after(p_values)
        new = replace(
            state,
            stream=stream,
            unscorable=state.unscorable + int(np.isposinf(values).sum()),
            martingale=martingale,
            log_maximum=max([state.log_maximum, *log_values.tolist()]),
            histogram=_added(state.histogram, p_values),
        )
        new = _with_alarm(new, state.samples, log_values, -math.log(self.delta))
        return _with_recent(new, state.samples, p_values, errors)

    def report(self) -> DriftReport:
        """Return the report on the samples so far."""
        state, change = self.state, None
        if self.reference and state.element_sums is not None and state.element_samples:
            change = element_change(self.reference, state.element_sums, state.element_samples)
        return DriftReport(
            samples=state.samples,
            unscorable=state.unscorable,
            delta=self.delta,
            alarm_at=state.alarm_at,
            log_martingale=state.martingale.log_value,
            log_maximum=state.log_maximum,
            since=state.since,
            histogram=state.histogram,
            recent_histogram=state.recent_histogram,
            elements=change,
        )


def _with_alarm(
    state: DriftState, first: int, log_values: NDArray[np.float64], threshold: float
) -> DriftState:
    """Find the alarm and the last running minimum before it; `log_values[0]` is sample `first`."""
    if state.alarm_at is not None:
        return state
    reached = np.flatnonzero(log_values >= threshold)
    if len(reached):
        state = replace(state, alarm_at=first + int(reached[0]))
        log_values = log_values[: reached[0]]
    lowest = np.minimum.accumulate(np.append(state.log_minimum, log_values))
    minima = np.flatnonzero(log_values <= lowest[:-1])
    if not len(minima):
        return state
    return replace(state, log_minimum=float(lowest[-1]), since=first + int(minima[-1]) + 1)


def _with_recent(
    state: DriftState, first: int, p_values: NDArray[np.float64], errors: ArrayLike | None
) -> DriftState:
    """Count the samples from `state.since` on; `p_values[0]` is sample `first`."""
    start = max(0, state.since - first)
    counts, sums, samples = state.recent_histogram, state.element_sums, state.element_samples
    if state.since > first:  # the change is later than was thought
        counts, samples = (0,) * BINS, 0
        sums = None if sums is None else np.zeros_like(sums)
    if sums is not None and errors is not None:
        recent = np.asarray(errors)[start:]
        finite = np.isfinite(recent).all(axis=tuple(range(1, recent.ndim)))
        sums = sums.copy()
        for row in recent[finite]:  # one by one: batches must not change how sums are rounded
            sums += row
        samples += int(finite.sum())
    counts = _added(counts, p_values[start:])
    return replace(state, recent_histogram=counts, element_sums=sums, element_samples=samples)


def _added(histogram: tuple[int, ...], p_values: NDArray[np.float64]) -> tuple[int, ...]:
    bins = np.minimum((p_values * BINS).astype(np.int64), BINS - 1)
    counts = np.array(histogram, np.int64) + np.bincount(bins, minlength=BINS)
    return tuple(counts.tolist())
