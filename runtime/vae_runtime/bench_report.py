"""What `bench` found: times, memory, cold starts, and what to load the bundle with."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from vae_runtime import tuning
from vae_runtime.cold_start import ColdStart
from vae_runtime.errors import MeasurementError
from vae_runtime.timing import Timing
from vae_runtime.tuning import Place, Tuning

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
    timings: Annotated[tuple[Timing, ...], "VAERuntime.loss(x) by batch and threads"]
    peers: Annotated[tuple[Timing, ...], "the same by other runtimes"]
    chunks: Annotated[tuple[Timing, ...], "VAERuntime.loss(x) by batch_size and threads"]
    cold_starts: Annotated[tuple[ColdStart, ...], "from the start of a process to a score"]
    recommendation: Annotated[Tuning, "what was fastest of `chunks`"]
    left_out: Annotated[tuple[int, ...], "batches of the default that would have taken too long"]
    noise: Annotated[tuple[str, ...], "why the machine was too noisy to tell; empty if it was not"]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return asdict(self)

    def save(self) -> Path:
        """Saves the recommendation where `load` finds it.

        Returns:
            The file that was written.

        Raises:
            MeasurementError: the machine was too noisy to tell what is fastest.
            ExportError: the file cannot be written.
        """
        if self.noise:
            raise MeasurementError(
                f"the machine was too noisy to tell what is fastest ({'; '.join(self.noise)}): "
                "nothing was saved; run again when it is idle"
            )
        return tuning.save(self.place, self.recommendation)

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

    def _timing_lines(self) -> list[str]:
        names = list(dict.fromkeys(timing.runtime for timing in self.peers))
        lines = [
            f"{'batch':>6} {'threads':>7} {'p50':>11} {'p95':>11} {'p99':>11} {'samples/s':>11} "
            f"{'spread':>7}" + "".join(f"  {f'{name}, p50':>26}" for name in names)
        ]
        known = {(peer.runtime, peer.batch, peer.threads): peer for peer in self.peers}
        for timing in self.timings:
            line = (
                f"{timing.batch:6} {timing.threads:7} {_ms(timing.p50_ms):>11} "
                f"{_ms(timing.p95_ms):>11} {_ms(timing.p99_ms):>11} "
                f"{timing.samples_per_second:11,.0f} {timing.spread:7.1%}"
            )
            for name in names:
                if peer := known.get((name, timing.batch, timing.threads)):
                    times = f"{peer.p50_ms / timing.p50_ms:.1f} x"
                    line += f"  {f'{_ms(peer.p50_ms)} {times:>8}':>26}"
            lines.append(line)
        if self.left_out:
            some = ", ".join(map(str, self.left_out))
            lines.append(
                f"batch {some} left out, as one call takes too long: give --batch or more --seconds"
            )
        return lines

    def _chunk_lines(self) -> list[str]:
        threads = sorted({timing.threads for timing in self.chunks})
        by_key = {(t.batch_size, t.threads): t for t in self.chunks}
        lines = [
            f"{self.chunks[0].batch} samples in chunks, samples/s at the median",
            f"{'batch_size':>10}" + "".join(f"{_counted(n, 'thread', 's'):>14}" for n in threads),
        ]
        for size in sorted({timing.batch_size or 0 for timing in self.chunks}):
            cells = (1e3 * t.batch / t.p50_ms for t in (by_key[size, n] for n in threads))
            lines.append(f"{size:10}" + "".join(f"{cell:14,.0f}" for cell in cells))
        return lines

    def _start_lines(self) -> list[str]:
        return [
            f"cold start of {start.runtime}: {_ms(start.median_ms)} ({start.fastest_ms:,.0f} to "
            f"{start.slowest_ms:,.0f}, {_counted(start.starts, 'process', 'es')})"
            + ("" if start.resident_mb is None else f", {start.resident_mb:.0f} MB resident")
            for start in self.cold_starts
        ]

    def _verdict_lines(self) -> list[str]:
        best = self.recommendation
        lines = [f"fastest for large batches: threads={best.threads}, batch_size={best.batch_size}"]
        singles = [timing for timing in self.timings if timing.batch == 1]
        if len(singles) > 1:
            first = min(singles, key=lambda timing: timing.p50_ms)
            lines.append(f"fastest for one sample: threads={first.threads}, {_ms(first.p50_ms)}")
        if self.noise:
            lines.append("TOO NOISY to tell what is fastest:")
            lines += [f"  {sign}" for sign in self.noise]
        return lines


def recommend(chunks: tuple[Timing, ...]) -> Tuning:
    """What to load a bundle with.

    Args:
        chunks: the same call by `batch_size` and threads.

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
