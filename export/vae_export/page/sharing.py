"""Files that have long runs of bytes in common, each run written once.

The loss graph holds the weights of encoder and decoder, and the score graph holds them again. A
file becomes parts: bytes of its own, and runs of files before it. Whoever has the files before it
puts it together again, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

STRIDE = 16384
"""Distance of the places whose bytes are looked for in another file; shorter runs may be missed."""

PROBE = 64
"""Number of bytes that are looked for."""

MIN_DISTINCT = 16
"""Fewest different bytes in a probe: long runs of zeros are found everywhere."""

OWN = ""
"""Source of a part that stands in no earlier file."""


@dataclass(frozen=True)
class Part:
    """A run of a file.

    Attributes:
        source: name of the earlier file that has it, or `OWN`.
        start: where it begins, in the source, or in the own bytes.
        stop: where it ends.
    """

    source: str
    start: int
    stop: int


@dataclass(frozen=True)
class SharedFile:
    """A file as parts.

    Attributes:
        name: its name.
        own: its own bytes, one run after the other.
        parts: the parts in order.
    """

    name: str
    own: bytes
    parts: tuple[Part, ...]

    def join(self, earlier: Mapping[str, bytes]) -> bytes:
        """Return the file, from the earlier files by name."""
        sources = {**earlier, OWN: self.own}
        return b"".join(sources[part.source][part.start : part.stop] for part in self.parts)


def share(files: Mapping[str, bytes]) -> list[SharedFile]:
    """Return files as parts, in their order."""
    shared: list[SharedFile] = []
    for i, (name, data) in enumerate(files.items()):
        earlier = dict(list(files.items())[:i])
        shared.append(_split(name, data, earlier))
    return shared


def _split(name: str, data: bytes, earlier: Mapping[str, bytes]) -> SharedFile:
    own, parts, end = bytearray(), list[Part](), 0

    def add_own(stop: int) -> None:
        if stop > end:
            parts.append(Part(OWN, len(own), len(own) + stop - end))
            own.extend(data[end:stop])

    runs = [run for source in earlier for run in _runs(data, source, earlier[source])]
    for start, part in sorted(runs, key=lambda run: run[0]):
        if start >= end:
            add_own(start)
            parts.append(part)
            end = start + part.stop - part.start
    add_own(len(data))
    return SharedFile(name, bytes(own), tuple(parts))


def _runs(data: bytes, source: str, other: bytes) -> Iterator[tuple[int, Part]]:
    """Yield the runs of another file that `data` has, each with its place in `data`."""
    end = 0
    for at in range(0, len(other) - PROBE, STRIDE):
        probe = other[at : at + PROBE]
        if at < end or len({*probe}) < MIN_DISTINCT or (place := data.find(probe)) < 0:
            continue
        before = _common(data[:place][::-1], other[end:at][::-1])
        after = _common(data[place:], other[at:])
        end = at + after
        yield place - before, Part(source, at - before, end)


def _common(a: bytes, b: bytes) -> int:
    """Return the length of the common beginning of two texts."""
    low, high = 0, min(len(a), len(b))
    while low < high:  # the texts agree up to low, and differ before high + 1
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low
