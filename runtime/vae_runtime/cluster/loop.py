"""The loop of a job: parts go to an engine, and come back finished, to try again, or to set aside.

The engine schedules; here is decided what is tried again. A part whose worker dies, or that fails
for a reason that may pass, is tried three times in all. A part whose input is damaged is set aside
at once. The job goes on in both cases. Only what the next part would meet too, such as a full disk,
ends it.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path

from vae_runtime.cluster.engines.protocol import Died, Engine, Outcome
from vae_runtime.cluster.job import Part
from vae_runtime.cluster.part import Report, part_file
from vae_runtime.cluster.report import JobReport, Progress, SetAside
from vae_runtime.cluster.trees import Tree, is_url
from vae_runtime.cluster.worker import RETRY, SET_ASIDE, Failure
from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.errors import EngineError, InputError

MAX_TRIES = 3
"""How often a part is tried before it is set aside."""

MAX_WARNINGS = 5
"""Most different lines about values that are shown."""

VISIBLE_SECONDS = 10.0
"""How long a shared folder may take to show the first part that a worker wrote."""

PATIENCE_SECONDS = 60.0
"""If no part ends for so long, a line says what to look at."""


class RunningParts:
    """The parts of a job on their way."""

    def __init__(
        self,
        parts: Sequence[Part],
        done: set[str],
        out: Tree,
        on_progress: Callable[[Progress], None] | None,
        *,
        strict: bool,
    ) -> None:
        self._strict = strict
        self.waiting = deque(part for part in parts if part.name not in done)
        self.failed: list[SetAside] = []
        self._parts, self._out, self._on_progress = parts, out, on_progress
        self._before = sum(part.rows for part in parts if part.name in done)
        self._resumed = len(parts) - len(self.waiting)
        self._total = sum(part.rows for part in self.waiting)
        self._rows = self._bad = self._finished = self._deaths = 0
        self._tries: Counter[str] = Counter()
        self._reason: str | None = None
        self._warned: set[str] = set()
        self._started = self._last = time.monotonic()
        self._seconds = 0.0

    def run(self, start: Callable[[], Engine]) -> None:
        """Score all parts that wait."""
        engine = start()
        self._started = self._last = time.monotonic()
        try:
            self._loop(engine)
        finally:
            self._seconds = time.monotonic() - self._started
            engine.close()

    def report(self) -> JobReport:
        """Say what was done."""
        return JobReport(
            self._before + self._rows,
            len(self._parts),
            self._resumed,
            self._bad,
            self._reason,
            tuple(self.failed),
            self._rows / self._seconds if self._seconds else None,
            self._out.location,
        )

    def _loop(self, engine: Engine) -> None:
        held, asked, capacity = 0, -1.0, 1
        while self.waiting or held:
            if time.monotonic() - asked > 1:
                capacity, asked = engine.capacity, time.monotonic()
            while self.waiting and held < capacity:
                engine.submit(self.waiting.popleft())
                held += 1
            outcome = engine.result(1.0)
            if outcome is not None:
                held -= 1
                self._last = time.monotonic()
                self._take(outcome, capacity)
            self._tell()

    def _take(self, outcome: Outcome, capacity: int) -> None:
        part, result = outcome.part, outcome.result
        if isinstance(result, Report):
            self._take_report(part, result)
        elif isinstance(result, Died):
            self._deaths += 1
            if self._finished == 0 and self._deaths >= MAX_TRIES * max(2, capacity):
                raise EngineError(
                    f"{self._deaths} workers ended before any part did ({result.reason}): they may "
                    "lack memory, or cannot start; try --engine local --workers 1"
                )
            self._again(part, f"its worker died: {result.reason}", result.deaths)
        elif result.then == RETRY:
            self._again(part, result.message, 1)
        elif result.then == SET_ASIDE:
            self.failed.append(SetAside(part.name, str(part), result.message))
        else:
            raise _stopped(result)

    def _take_report(self, part: Part, report: Report) -> None:
        if not self._finished:
            self._check_visible(part)
        self._finished += 1
        self._rows += report.rows
        self._total += report.rows - part.rows  # pages of pictures
        self._bad += report.bad
        self._reason = self._reason or report.first_reason
        for line in report.warnings:
            if line not in self._warned and len(self._warned) < MAX_WARNINGS:
                self._warned.add(line)
                warnings.warn(line, InputWarning, stacklevel=2)

    def _again(self, part: Part, reason: str, tries: int) -> None:
        self._tries[part.name] += tries
        if self._tries[part.name] < MAX_TRIES:
            self.waiting.append(part)
        else:
            reason = f"{reason} ({self._tries[part.name]} times)"
            if self._strict:
                raise EngineError(f"{part}: {reason}: finished parts are kept; use --resume")
            self.failed.append(SetAside(part.name, str(part), reason))

    def _check_visible(self, part: Part) -> None:
        """Raise `EngineError` if workers write into a folder of their own."""
        path = Path(self._out.location, part_file(part))
        end = time.monotonic() + VISIBLE_SECONDS
        while not is_url(self._out.location) and not path.is_file():
            if time.monotonic() > end:
                raise EngineError(
                    f"a worker wrote {path}, which is not here: give a folder that all machines "
                    "share, or an object store"
                )
            time.sleep(0.1)

    def _tell(self) -> None:
        now = time.monotonic()
        waited = now - self._last if now - self._last > PATIENCE_SECONDS else None
        if self._on_progress:
            self._on_progress(Progress(self._rows, self._total, now - self._started, waited))


def _stopped(failure: Failure) -> Exception:
    """Return the error that ends the job."""
    if failure.number is not None:
        return EngineError(
            f"{failure.message}: free some space or change the permissions, then go on with "
            "--resume"
        )
    if failure.is_input:
        return InputError(failure.message)
    return EngineError(failure.message)
