"""Result of `bench`: its tables, its JSON form, and the recommended settings.

The tables name the precision only if another one than float32 was measured.
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
from vae_runtime.inference.tuning import Tuning, TuningKey, save_tuning

TIE_TOLERANCE = 0.03
"""Settings up to this much slower than the fastest one, relative to it, count as equally fast."""


@dataclass(frozen=True)
class BenchReport:
    """Result of a measurement on this machine.

    The attributes are also the keys of the JSON form.
    """

    name: Annotated[str, "name of the model"]
    place: Annotated[TuningKey, "bundle, ONNX Runtime, providers and processors that were measured"]
    rounds: Annotated[int, "number of rounds; each case has one turn in each round"]
    timings: Annotated[tuple[Timing, ...], "VAERuntime.loss(x) by batch, threads and precision"]
    peers: Annotated[tuple[Timing, ...], "the same call in other runtimes, by batch and threads"]
    chunks: Annotated[tuple[Timing, ...], "one batch, by batch_size, threads and precision"]
    cold_starts: Annotated[tuple[ColdStart, ...], "from the start of a process to its first score"]
    recommendations: Annotated[dict[str, Tuning], "fastest settings of `chunks`, by precision"]
    left_out: Annotated[tuple[int, ...], "default batches that would have taken too long"]
    noise: Annotated[tuple[str, ...], "reasons why the machine was too noisy; empty if it was not"]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types."""
        return asdict(self)

    def save(self) -> tuple[Path, ...]:
        """Save the recommendations where `load` finds them.

        Returns:
            The files that were written, one for each precision.

        Raises:
            MeasurementError: The machine was too noisy to tell which settings are fastest.
            ExportError: The file cannot be written.
        """
        if self.noise:
            raise MeasurementError(
                f"the machine was too noisy to tell what is fastest ({'; '.join(self.noise)}): "
                "nothing was saved; run again when it is idle"
            )
        return tuple(
            save_tuning(self.place, precision, best)
            for precision, best in self.recommendations.items()
        )

    def __str__(self) -> str:
        """Return the report as tables, at most 100 columns wide."""
        place = self.place
        lines = [
            f"{self.name} on {place.processor}, {place.processors} usable, "
            f"{', '.join(place.providers)}, ONNX Runtime {place.onnxruntime}; {self.rounds} rounds",
            "",
            *self._timing_lines(),
            "",
            *self._chunk_lines(),
            "",
            *self._start_lines(),
            *self._recommendation_lines(),
        ]
        return "\n".join(lines)

    @property
    def _names_precisions(self) -> bool:
        return tuple(self.recommendations) != (FLOAT32,)

    def _timing_lines(self) -> list[str]:
        peers = list(dict.fromkeys(timing.runtime for timing in self.peers))
        titles = peers if self._names_precisions else [f"{name}, p50" for name in peers]
        columns = ["batch", "threads", "precision", "p50", "p95", "p99", "samples/s", "spread"]
        rows = [
            [*columns, "/float32", *titles],
            *(
                [*self._timing_cells(timing), *(self._peer_cell(name, timing) for name in peers)]
                for timing in self.timings
            ),
        ]
        # With the two columns for precisions, the others are as wide as 100 columns allow.
        widths = (
            [6, 7, 9, 9, 9, 9, 9, 6, 8, *[18] * len(peers)]
            if self._names_precisions
            else [6, 7, 0, 11, 11, 11, 11, 7, 0, *[27] * len(peers)]
        )
        lines = [_table_line(row, widths) for row in rows]
        if self.left_out:
            sizes = ", ".join(map(str, self.left_out))
            reason = "as one call takes too long: give --batch or more --seconds"
            lines.append(f"batch {sizes} left out, {reason}")
        return lines

    def _timing_cells(self, timing: Timing) -> list[str]:
        p50_ms = {(t.precision, t.batch, t.threads): t.p50_ms for t in self.timings}
        float32_ms = p50_ms.get((FLOAT32, timing.batch, timing.threads))
        return [
            f"{timing.batch}",
            f"{timing.threads}",
            timing.precision,
            *map(_ms, (timing.p50_ms, timing.p95_ms, timing.p99_ms)),
            f"{timing.samples_per_second:,.0f}",
            f"{timing.spread:.1%}",
            f"{timing.p50_ms / float32_ms:.2f}" if float32_ms else "-",
        ]

    def _peer_cell(self, name: str, timing: Timing) -> str:
        for peer in self.peers:
            if (peer.runtime, peer.batch, peer.threads) == (name, timing.batch, timing.threads):
                ratio = f"{peer.p50_ms / timing.p50_ms:.1f} x"
                return f"{_ms(peer.p50_ms)} {ratio:>{7 if self._names_precisions else 8}}"
        return ""

    def _chunk_lines(self) -> list[str]:
        threads = sorted({timing.threads for timing in self.chunks})
        sizes = sorted({timing.batch_size or 0 for timing in self.chunks})
        rates = {
            (t.precision, t.batch_size, t.threads): f"{1e3 * t.batch / t.p50_ms:,.0f}"
            for t in self.chunks
        }
        rows = [
            ["precision", "batch_size", *(_counted(n, "thread", "s") for n in threads)],
            *(
                [f"{precision:9}", f"{size}", *(rates[precision, size, n] for n in threads)]
                for precision in self.recommendations
                for size in sizes
            ),
        ]
        widths = [9 if self._names_precisions else 0, 10, *[13] * len(threads)]
        return [
            f"{self.chunks[0].batch} samples in chunks, samples/s at the median",
            *(_table_line(row, widths) for row in rows),
        ]

    def _start_lines(self) -> list[str]:
        return [
            f"cold start of {start.runtime}"
            + (f" in {start.precision}" if self._names_precisions else "")
            + f": {_ms(start.median_ms)} ({start.fastest_ms:,.0f} to "
            f"{start.slowest_ms:,.0f}, {_counted(start.starts, 'process', 'es')})"
            + ("" if start.resident_mb is None else f", {start.resident_mb:.0f} MB resident")
            for start in self.cold_starts
        ]

    def _recommendation_lines(self) -> list[str]:
        lines = []
        for precision, best in self.recommendations.items():
            suffix = f" in {precision}" if self._names_precisions else ""
            lines.append(
                f"fastest for large batches{suffix}: threads={best.threads}, "
                f"batch_size={best.batch_size}"
            )
            singles = [t for t in self.timings if (t.batch, t.precision) == (1, precision)]
            if len(singles) > 1:
                fastest = min(singles, key=lambda timing: timing.p50_ms)
                lines.append(
                    f"fastest for one sample{suffix}: threads={fastest.threads}, "
                    f"{_ms(fastest.p50_ms)}"
                )
        if self.noise:
            lines.append("TOO NOISY to tell what is fastest:")
            lines += [f"  {reason}" for reason in self.noise]
        return lines


def recommend(chunks: Sequence[Timing]) -> Tuning:
    """Return the fastest settings of one precision.

    Ties go to the fewest threads, then to the smallest chunks: they leave more to other processes.
    """
    fastest = min(timing.p50_ms for timing in chunks)
    equal = [timing for timing in chunks if timing.p50_ms <= (1 + TIE_TOLERANCE) * fastest]
    return min(
        (Tuning(timing.threads, timing.batch_size or timing.batch) for timing in equal),
        key=lambda tuning: (tuning.threads, tuning.batch_size),
    )


def _table_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Align cells to the right; columns of width 0 are left out."""
    shown = zip(cells, widths, strict=True)
    return " ".join(f"{cell:>{width}}" for cell, width in shown if width).rstrip()


def _ms(milliseconds: float | None) -> str:
    if milliseconds is None:
        return "-"
    digits = 3 if milliseconds < 1 else 2 if milliseconds < 10 else 1 if milliseconds < 100 else 0
    return f"{milliseconds:,.{digits}f} ms"


def _counted(count: int, noun: str, ending: str) -> str:
    return f"{count} {noun}" + (ending if count > 1 else "")
