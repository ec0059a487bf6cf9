"""A test martingale that bets against uniform p-values, and starts afresh at every sample.

A bet multiplies the capital by f(p), where f >= 0 has the mean 1 over uniform p. So, without drift,
the expected capital never grows, and by Ville's inequality a capital of 1 at the start ever reaches
1 / delta in at most a share delta of all streams. This holds at all times at once, so one may look
after every sample.

**Bets.** f(p) = 1 + e (p - 1/2) for the slopes e in `SLOPES` finds scores that rise (e < 0) or fall
(e > 0). f(p) = 1 + `TAIL` (1 / (2 sqrt(p)) - 1) finds a few scores that are far too large, which
hardly change the mean of p. Before each sample a share `JUMP_RATE` of the capital is spread evenly
over all bets, so that the bet on the present drift soon holds most of it. With three slopes and no
tail this is the Simple Jumper of Vovk, Petej, Nouretdinov, Ahlberg, Carlsson and Gammerman,
"Retrain or not retrain: conformal test martingales for change-point detection" (COPA 2021).

**Reserve.** While nothing happens, bets lose: the Simple Jumper has lost 50 nats after 10,000
samples, and must win them back before it can raise an alarm. So only a share `FIRST` of the capital
bets from the start. The rest is a reserve, of which a little goes to the bets before each sample:

    reserve(t) = (1 - FIRST) / (1 + log(1 + t / SCALE))

This is a weighted sum of martingales, one that starts at each sample. The weights add up to 1, so
the promise is the same. Because bets are linear in the capital, the sum takes no more memory than
one martingale. The reserve falls so slowly that a change after t samples costs about log t nats.

Capital is kept as its logarithm in nats and the shares of the bets, so it never overflows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLOPES = (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0)
"""Slopes e of the bets 1 + e (p - 1/2); f >= 0 needs |e| <= 2."""

TAIL = 0.2
"""Share of its capital that the bet on large scores risks."""

BETS = len(SLOPES) + 1

JUMP_RATE = 0.001
"""Share of the capital that is spread over all bets before each sample."""

FIRST = 0.5
"""Share of the capital that bets from the first sample on."""

SCALE = 1000.0
"""Number of samples over which the reserve first falls; then it falls as 1 / log t."""


@dataclass(frozen=True)
class Martingale:
    """The capital after some samples.

    Attributes:
        samples: number t of samples so far.
        log_capital: natural logarithm of the capital that bets.
        shares: share of each bet in it: those on `SLOPES`, then the one on large scores.
    """

    samples: int = 0
    log_capital: float = math.log(FIRST)
    shares: tuple[float, ...] = (1 / BETS,) * BETS

    @property
    def log_value(self) -> float:
        """Natural logarithm of the martingale: the capital that bets, and the reserve."""
        return _log_sum(self.log_capital, _log_reserve(max(0, self.samples - 1)))

    def after(self, p_values: NDArray[np.float64]) -> tuple[Martingale, NDArray[np.float64]]:
        """Bet on the next p-values.

        Args:
            p_values: in (0, 1], shape `(batch,)`.

        Returns:
            The martingale after them, and the logarithm of its value after each, `(batch,)`.
        """
        log_capital, shares = self.log_capital, [*self.shares]
        log_values = np.empty(len(p_values))
        for i, factors in enumerate(_factors(p_values).tolist()):
            t = self.samples + i
            if t:
                log_capital, shares = _paid_in(log_capital, shares, _log_payment(t))
            grown = [
                factor * ((1 - JUMP_RATE) * share + JUMP_RATE / BETS)
                for factor, share in zip(factors, shares, strict=True)
            ]
            growth = math.fsum(grown)
            log_capital += math.log(growth)
            shares = [part / growth for part in grown]
            log_values[i] = _log_sum(log_capital, _log_reserve(t))
        return Martingale(self.samples + len(p_values), log_capital, tuple(shares)), log_values


def _factors(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what each bet multiplies its capital by, shape `(batch, BETS)`."""
    slopes = 1 + np.array(SLOPES) * (p[:, np.newaxis] - 0.5)
    tail = 1 + TAIL * (0.5 / np.sqrt(p) - 1)
    return np.column_stack([slopes, tail])


def _log_reserve(t: int) -> float:
    """Return the logarithm of the reserve while sample t is bet on, t = 0, 1, ..."""
    return math.log(1 - FIRST) - math.log1p(math.log1p(t / SCALE))


def _log_payment(t: int) -> float:
    """Return log(reserve(t - 1) - reserve(t)), without cancellation."""
    before, now = math.log1p((t - 1) / SCALE), math.log1p(t / SCALE)
    step = math.log1p(1 / (SCALE + t - 1))  # now - before
    return math.log(1 - FIRST) + math.log(step) - math.log1p(before) - math.log1p(now)


def _paid_in(
    log_capital: float, shares: list[float], log_payment: float
) -> tuple[float, list[float]]:
    """Add a payment to the capital, divided evenly among the bets."""
    total = _log_sum(log_capital, log_payment)
    kept, added = math.exp(log_capital - total), math.exp(log_payment - total) / BETS
    return total, [kept * share + added for share in shares]


def _log_sum(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b))."""
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))
