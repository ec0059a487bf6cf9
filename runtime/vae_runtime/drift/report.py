"""What a drift monitor says about its stream."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from vae_runtime.drift.elements import ElementChange

BINS = 10
"""Number of bins of the histograms of p-values."""

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class DriftReport:
    """State of a stream after some samples. Samples are numbered from 0.

    Attributes:
        samples: number of samples so far.
        unscorable: number of those whose score is NaN or +inf.
        delta: largest share of streams without drift that ever raise an alarm.
        alarm_at: number of the sample that raised the alarm; None without an alarm.
        log_martingale: natural logarithm of the martingale now. The alarm is raised when it first
            reaches log(1 / delta).
        log_maximum: the largest that it ever was.
        since: number of the first sample after the change, an estimate: where the martingale was at
            its last running minimum before the alarm. Without an alarm it means little.
        histogram: number of all p-values so far in `BINS` equal bins from 0 to 1. Without drift
            they are equally full. Unusual samples have small p-values.
        recent_histogram: the same, for the samples from `since` on.
        elements: which elements moved since then; None if this is not known.
    """

    samples: int
    unscorable: int
    delta: float
    alarm_at: int | None
    log_martingale: float
    log_maximum: float
    since: int
    histogram: tuple[int, ...]
    recent_histogram: tuple[int, ...]
    elements: ElementChange | None = None

    @property
    def alarm(self) -> bool:
        """Whether there was an alarm. It stays, also if the stream becomes normal again."""
        return self.alarm_at is not None

    @property
    def martingale(self) -> float:
        """The martingale now; infinite if it is too large for a float."""
        return _exp(self.log_martingale)

    @property
    def maximum(self) -> float:
        """The largest that the martingale ever was; infinite if it is too large for a float."""
        return _exp(self.log_maximum)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as values that JSON can hold; of the elements, those that moved most.

        A `z` that is infinite is None.
        """
        moved = self.elements.largest() if self.elements else None
        for element in moved or ():
            element["z"] = element["z"] if math.isfinite(element["z"]) else None
        return {
            "samples": self.samples,
            "unscorable": self.unscorable,
            "delta": self.delta,
            "alarm": self.alarm,
            "alarm_at": self.alarm_at,
            "log_martingale": self.log_martingale,
            "log_maximum": self.log_maximum,
            "since": self.since,
            "histogram": list(self.histogram),
            "recent_histogram": list(self.recent_histogram),
            "elements": moved,
        }

    def headline(self) -> str:
        """Return one line: alarm or not, at which sample, since when."""
        if self.alarm_at is None:
            return f"{self.samples} samples, no drift found"
        return (
            f"drift: alarm at sample {self.alarm_at}, since about sample {self.since} (false in at "
            f"most {100 * self.delta:g} % of streams)"
        )

    def __str__(self) -> str:
        """Return the report as a few lines of text."""
        lines = [
            self.headline(),
            f"martingale {_shown(self.log_martingale)} after {self.samples} samples, at most "
            f"{_shown(self.log_maximum)}; alarm at {1 / self.delta:g}",
            f"p-values in {BINS} bins from 0 to 1",
            _bins("all samples", self.histogram),
        ]
        if self.alarm:  # without an alarm, `since` is only where chance put it
            lines.append(_bins(f"from {self.since} on", self.recent_histogram))
        if self.unscorable:
            lines.append(f"{self.unscorable} samples cannot be scored, and count as most unusual")
        if self.alarm and self.elements:
            lines.append(f"elements that moved most from sample {self.since} on:")
            lines += map(_moved, self.elements.largest(_SHOWN))
        return "\n".join(lines)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _shown(log_value: float) -> str:
    """Return exp(log_value) as text, however large it is."""
    if log_value < math.log(1e6):
        return f"{math.exp(log_value):.3g}"
    return f"1e{log_value / math.log(10):.0f}"


def _bins(what: str, counts: tuple[int, ...]) -> str:
    return f"  {what:20}" + "".join(f"{count:>8}" for count in counts)


def _moved(element: dict[str, Any]) -> str:
    return (
        f"  {element['element']!s:24} error {element['mean']:.4g}, calibration "
        f"{element['calibration_mean']:.4g}, z {element['z']:+.1f}"
    )
