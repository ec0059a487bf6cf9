"""Losses of a batch in which some samples cannot be scored.

One absurd reading must not cost the other samples their scores, and it must not look normal either.
A sample has the loss infinity, in all parts, if

- one of its values is NaN, infinite, too large for float32, or out of the range of the loss; or
- its values are so large that a part of its loss is not finite.

A good sample of the same chunk takes its place in the graph, so it has no influence on the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vae_runtime.data.numbers.rounding import InputWarning
from vae_runtime.data.samples.inputs import check_values
from vae_runtime.errors import InputError

Array = NDArray[Any]
Run = Callable[[dict[str, Array]], dict[str, Any]]

MAX_NAMED = 10
"""Most samples that the warning names."""


class Unscorable:
    """The samples that could not be scored, and the reason of the first one.

    `value_range` is that of `check_values`; None also for uint8, which is always in range.
    `columns` names the column of each element, if it is known.
    """

    def __init__(
        self, value_range: tuple[float, float] | None, columns: Sequence[str] | None = None
    ) -> None:
        self._range, self._columns = value_range, columns
        self._reasons: dict[int, str] = {}  # threads add different samples

    @property
    def reasons(self) -> dict[int, str]:
        """By the number of a sample, why it cannot be scored."""
        return self._reasons

    def losses(self, inputs: dict[str, Array], first: int, run: Run) -> dict[str, Any]:
        """Run a graph that gives a number for each sample on a chunk, without its bad samples.

        `first` is the number of `x[0]`.
        """
        x = inputs["x"]
        bad = self._bad_inputs(x, first)
        while True:
            good = int(bad.argmin()) if len(bad) else 0
            stand_in = x[good] if not bad.all() else np.zeros_like(x[0])
            filled = x
            if bad.any():
                filled = x.copy()
                filled[bad] = stand_in
            values = run({**inputs, "x": filled})
            finite = np.logical_and.reduce([np.isfinite(part) for part in values.values()])
            if bad.all() or (found := ~finite & ~bad).sum() == 0:
                break
            for i in np.flatnonzero(found):
                self._reasons[first + int(i)] = "has values that are too large for this model"
            bad |= found
        return {name: np.where(bad, np.float32(np.inf), part) for name, part in values.items()}

    def warn(self, count: int) -> None:
        """Warn in one line that names the samples; not if there are none."""
        if not self._reasons:
            return
        numbers = sorted(self._reasons)
        shown = ", ".join(map(str, numbers[:MAX_NAMED]))
        more = f" and {len(numbers) - MAX_NAMED} more" if len(numbers) > MAX_NAMED else ""
        samples = "samples" if len(numbers) > 1 else "sample"
        warnings.warn(
            f"{samples} {shown}{more} of {count} cannot be scored, loss inf: "
            f"sample {numbers[0]} {self._reasons[numbers[0]]}",
            InputWarning,
            stacklevel=3,
        )

    def _bad_inputs(self, x: Array, first: int) -> NDArray[np.bool_]:
        bad = np.zeros(len(x), bool)
        try:
            check_values(x, self._range)
        except InputError:
            for i in range(len(x)):
                try:
                    check_values(x[i : i + 1], self._range, first=first + i, columns=self._columns)
                except InputError as error:
                    bad[i] = True
                    reason = str(error).removeprefix(f"sample {first + i} ")
                    self._reasons[first + i] = reason.rpartition(": ")[0]
        return bad
