"""What a job tells: while it runs, and at its end."""

from __future__ import annotations

from dataclasses import dataclass

MAX_NAMED = 10
"""Most parts that a text names."""


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        rows: rows that were scored in this run.
        total: rows that this run has to score.
        seconds: seconds since the engine was ready.
        waited: seconds since a part ended, if that is long ago.
    """

    rows: int
    total: int
    seconds: float
    waited: float | None = None

    def __str__(self) -> str:
        """Return one line, with rows per second and the time left."""
        if self.waited is not None:
            return (
                f"no part has ended for {self.waited:.0f} s: check that the cluster has processors "
                "free"
            )
        line = f"{self.rows:,} of {self.total:,} rows"
        if not self.rows:
            return line
        rate = self.rows / self.seconds
        left = int((self.total - self.rows) / rate)
        hours, minutes = left // 3600, left // 60 % 60
        return f"{line}, {rate:,.0f} rows/s, {hours}:{minutes:02}:{left % 60:02} left"


@dataclass(frozen=True)
class SetAside:
    """A part that was not scored.

    Attributes:
        name: name of the part.
        input: its file and rows.
        reason: why.
    """

    name: str
    input: str
    reason: str


@dataclass(frozen=True)
class JobReport:
    """What a job did.

    Attributes:
        rows: rows of the finished parts, also of an earlier run.
        parts: parts of the source.
        resumed: parts that an earlier run had finished.
        bad: rows of this run that cannot be scored; `errors/` has all.
        reason: the first of them, and why; None if there is none.
        failed: parts that were set aside.
        rate: rows per second of this run; None if nothing was left to do.
        out: the folder of results.
    """

    rows: int
    parts: int
    resumed: int
    bad: int
    reason: str | None
    failed: tuple[SetAside, ...]
    rate: float | None
    out: str

    @property
    def passed(self) -> bool:
        """Whether no part was set aside, and some row could be scored."""
        return not self.failed and not (self.bad and self.bad == self.rows)

    def __str__(self) -> str:
        """Return the report as lines of text."""
        before = f", {self.resumed:,} of them from before" if self.resumed else ""
        rate = f" at {self.rate:,.0f} rows/s" if self.rate else ""
        lines = [
            f"{self.rows:,} rows in {self.parts - len(self.failed):,} parts{before}{rate}: "
            f"{self.out}/parts"
        ]
        if self.bad:
            rows = "row" if self.bad == 1 else "rows"
            lines.append(
                f"{self.bad:,} {rows} cannot be scored, loss inf, see {self.out}/errors: "
                f"{self.reason}"
            )
        if self.failed:
            count = "1 part was" if len(self.failed) == 1 else f"{len(self.failed):,} parts were"
            lines.append(f"{count} set aside, see {self.out}/failed.jsonl; try with --resume:")
            lines += [f"  {each.input}: {each.reason}" for each in self.failed[:MAX_NAMED]]
            if self.failed[MAX_NAMED:]:
                lines.append(f"  and {len(self.failed) - MAX_NAMED:,} more")
        return "\n".join(lines)
