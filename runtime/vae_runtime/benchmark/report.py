"""What `bench` found: times, memory, cold starts, and what to load the bundle with.

Precisions are named where there is another than float32: a bundle without variants has no use for
the words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from vae_runtime.benchmark.cold_start import ColdStart
from vae_runtime.benchmark.timing import Timing
from vae_runtime.bundle.variants import FLOAT32
from vae_runtime.errors import MeasurementError
from vae_runtime.inference import tuning
from vae_runtime.inference.tuning import Place, Tuning

TIE = 0.03
"""Ways whose times differ by less than this share of the faster one count as equally fast."""


@dataclass(frozen=True)
class BenchReport:
    """The result of a measurement on this machine.

    Attributes are also the keys of the JSON form.
    """

    name: Annotated[str, "the model"]
    place: Annotated[Place, "bundle, ONNX Runtime, providers and processors that were measured"]
    rounds: Annotated[int, "turns that each kind of call had"]
    timings: Annotated[tuple[Timing, ...], "VAERuntime.loss(x) by batch, threads and precision"]
    peers: Annotated[tuple[Timing, ...], "the same by other runtimes"]
    chunks: Annotated[tuple[Timing, ...], "the same by batch_size, threads and precision"]
    cold_starts: Annotated[tuple[ColdStart, ...], "from the start of a process to a score"]
    recommendations: Annotated[dict[str, Tuning], "what was fastest of `chunks`, by precision"]
    left_out: Annotated[tuple[int, ...], "batches of the default that would have taken too long"]
    noise: Annotated[tuple[str, ...], "why the machine was too noisy to tell; empty if it was not"]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return asdict(self)

    def save(self) -> tuple[Path, ...]:
        """Saves the recommendations where `load` finds them.

        Returns:
            The files that were written, one for each precision.

        Raises:
            MeasurementError: the machine was too noisy to tell what is fastest.
            ExportError: the file cannot be written.
        """
        if self.noise:
            raise MeasurementError(
                f"the machine was too noisy to tell what is fastest ({'; '.join(self.noise)}): "
                "nothing was saved; run again when it is idle"
            )
        return tuple(
            tuning.save(self.place, precision, best)
            for precision, best in self.recommendations.items()
        )

    def __str__(self) -> str:
        """The report as tables, at most 100 columns wide."""
        where = self.place
        lines = [
            f"{self.name} on {where.processor}, {where.processors} usable, "
            f"{', '.join(where.providers)}, ONNX Runtime {where.onnxruntime}; {self.rounds} rounds",
            "",
            *self._timing_lines(),
            "",
            *self._chunk_lines(),
            "",
            *self._start_lines(),
            *self._verdict_lines(),
        ]
        return "\n".join(lines)

    @property
    def _several(self) -> bool:
        """Whether something else than float32 was measured; its name is shown then."""
        return tuple(self.recommendations) != (FLOAT32,)

    def _timing_lines(self) -> list[str]:
        names = list(dict.fromkeys(timing.runtime for timing in self.peers))
        rows = [
            ["batch", "threads", "precision", "p50", "p95", "p99", "samples/s", "spread"],
            *(self._timing_cells(timing) for timing in self.timings),
        ]
        rows[0] += ["/float32", *(name if self._several else f"{name}, p50" for name in names)]
        for row, timing in zip(rows[1:], self.timings, strict=True):
            row += [self._peer_cell(name, timing) for name in names]
        # With the two columns for precisions, the others are as wide as 100 columns allow.
        widths = (
            [6, 7, 9, 9, 9, 9, 9, 6, 8, *[18] * len(names)]
            if self._several
            else [6, 7, 0, 11, 11, 11, 11, 7, 0, *[27] * len(names)]
        )
        lines = [
            " ".join(f"{cell:>{n}}" for cell, n in zip(row, widths, strict=True) if n).rstrip()
            for row in rows
        ]
        if self.left_out:
            some = ", ".join(map(str, self.left_out))
            lines.append(
                f"batch {some} left out, as one call takes too long: give --batch or more --seconds"
            )
        return lines

    def _timing_cells(self, timing: Timing) -> list[str]:
        exact = [
            other.p50_ms
            for other in self.timings
            if (other.precision, other.batch, other.threads)
            == (FLOAT32, timing.batch, timing.threads)
        ]
        return [
            f"{timing.batch}",
            f"{timing.threads}",
            timing.precision,
            *map(_ms, (timing.p50_ms, timing.p95_ms, timing.p99_ms)),
            f"{timing.samples_per_second:,.0f}",
            f"{timing.spread:.1%}",
            f"{timing.p50_ms / exact[0]:.2f}" if exact else "-",
        ]

    def _peer_cell(self, name: str, timing: Timing) -> str:
        for peer in self.peers:
            if (peer.runtime, peer.batch, peer.threads) == (name, timing.batch, timing.threads):
                times = f"{peer.p50_ms / timing.p50_ms:.1f} x"
                return f"{_ms(peer.p50_ms)} {times:>{7 if self._several else 8}}"
        return ""

    def _chunk_lines(self) -> list[str]:
        threads = sorted({timing.threads for timing in self.chunks})
        sizes = sorted({timing.batch_size or 0 for timing in self.chunks})
        by_key = {(t.precision, t.batch_size, t.threads): t for t in self.chunks}
        lines = [
            f"{self.chunks[0].batch} samples in chunks, samples/s at the median",
            (f"{'precision':9} " if self._several else "")
            + f"{'batch_size':>10}"
            + "".join(f"{_counted(n, 'thread', 's'):>14}" for n in threads),
        ]
        for precision in self.recommendations:
            for size in sizes:
                cells = (
                    1e3 * t.batch / t.p50_ms for n in threads for t in [by_key[precision, size, n]]
                )
                lines.append(
                    (f"{precision:9} " if self._several else "")
                    + f"{size:10}"
                    + "".join(f"{cell:14,.0f}" for cell in cells)
                )
        return lines

    def _start_lines(self) -> list[str]:
        return [
            f"cold start of {start.runtime}"
            + (f" in {start.precision}" if self._several else "")
            + f": {_ms(start.median_ms)} ({start.fastest_ms:,.0f} to "
            f"{start.slowest_ms:,.0f}, {_counted(start.starts, 'process', 'es')})"
            + ("" if start.resident_mb is None else f", {start.resident_mb:.0f} MB resident")
            for start in self.cold_starts
        ]

    def _verdict_lines(self) -> list[str]:
        lines = []
        for precision, best in self.recommendations.items():
            where = f" in {precision}" if self._several else ""
            lines.append(
                f"fastest for large batches{where}: threads={best.threads}, "
                f"batch_size={best.batch_size}"
            )
            singles = [t for t in self.timings if (t.batch, t.precision) == (1, precision)]
            if len(singles) > 1:
                first = min(singles, key=lambda timing: timing.p50_ms)
                lines.append(
                    f"fastest for one sample{where}: threads={first.threads}, {_ms(first.p50_ms)}"
                )
        if self.noise:
            lines.append("TOO NOISY to tell what is fastest:")
            lines += [f"  {sign}" for sign in self.noise]
        return lines


def recommend(chunks: Sequence[Timing]) -> Tuning:
    """What to load a bundle with.

    Args:
        chunks: the same call by `batch_size` and threads, in one precision.

    Returns:
        Of those within `TIE` of the fastest, the one with the fewest threads, and of these the
        one with the smallest chunks: what is no slower and leaves more to others.
    """
    fastest = min(timing.p50_ms for timing in chunks)
    equal = [timing for timing in chunks if timing.p50_ms <= (1 + TIE) * fastest]
    return min(
        (Tuning(timing.threads, timing.batch_size or timing.batch) for timing in equal),
        key=lambda found: (found.threads, found.batch_size),
    )


def _ms(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    digits = 3 if milliseconds < 1 else 2 if milliseconds < 10 else 1 if milliseconds < 100 else 0
    return f"{milliseconds:,.{digits}f} ms"


def _counted(count: int, what: str, ending: str) -> str:
    return f"{count} {what}" + (ending if count > 1 else "")
