"""Zip files in one form only: written, and read in place.

Zip has many ways to say the same and some to say two things at once: sizes stand twice, a reader
may start from either end, and programs differ in which they believe. Here there is one form, and
what is not byte for byte in it is refused: entries stored one behind the other from the first byte
on, then the directory, then its end record, which ends the file. No compression, encryption, ZIP64,
times, attributes, extra fields or comments. Any unzip reads such a file, and so does `numpy.load`.

A single-file bundle and `parity.npz` are such files.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Final

PATH: Final = r"README\.md|[a-z0-9_-][a-z0-9_.-]*(/[a-z0-9_-][a-z0-9_.-]*)*"
"""What the relative path of a file in a bundle looks like: nothing hides, nothing leaves it."""

MAX_ENTRIES = 1000
MAX_SIZE = (1 << 32) - 1
"""Beyond it zip needs ZIP64."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION = 20
_DATE = 0x21  # 1 January 1980, the first that zip knows
_MAX_NAME = 300
_LINK = 0o12


class ArchiveError(ValueError):
    """A zip file is not in the one form."""


@dataclass(frozen=True)
class Entry:
    """One file in a zip file.

    Attributes:
        name: its path.
        size: its bytes.
        crc: CRC-32 of them.
        header: where its header begins.
    """

    name: str
    size: int
    crc: int
    header: int

    @property
    def start(self) -> int:
        """Where its bytes begin."""
        return self.header + _LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        """Where its bytes end."""
        return self.start + self.size

    def local(self) -> bytes:
        """Its header."""
        sizes = (self.crc, self.size, self.size, len(self.name), 0)
        return _LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, 0, _DATE, *sizes) + self.name.encode()

    def central(self) -> bytes:
        """Its record in the directory."""
        sizes = (self.crc, self.size, self.size, len(self.name))
        head = _CENTRAL.pack(
            *(b"PK\1\2", _VERSION, _VERSION, 0, 0, 0, _DATE),
            *(*sizes, 0, 0, 0, 0, 0, self.header),
        )
        return head + self.name.encode()


def write(file: IO[bytes], contents: Iterable[tuple[str, bytes]]) -> None:
    """Writes a zip file; its bytes follow from the names and contents alone.

    Args:
        file: an empty file.
        contents: names, as `PATH` says, and bytes.

    Raises:
        ArchiveError: more than a zip without ZIP64 can hold.
    """
    entries: list[Entry] = []
    for name, data in contents:
        at = entries[-1].end if entries else 0
        entry = Entry(name, len(data), zlib.crc32(data), at)
        if entry.end > MAX_SIZE or len(entries) == MAX_ENTRIES:
            raise ArchiveError(f"more than {MAX_ENTRIES} files, or {MAX_SIZE} bytes")
        file.write(entry.local())
        file.write(data)
        entries.append(entry)
    directory = b"".join(entry.central() for entry in entries)
    file.write(directory)
    file.write(_end_record(len(entries), len(directory), entries[-1].end if entries else 0))


def read_directory(file: IO[bytes], size: int) -> dict[str, Entry]:
    """Reads what is in a zip file.

    Args:
        file: a file that can seek.
        size: its bytes.

    Returns:
        Its entries by name, in order.

    Raises:
        ArchiveError: names the rule that it breaks.
    """
    start, count, directory = _directory(file, size)
    entries: dict[str, Entry] = {}
    seen: set[str] = set()
    expected = at = 0
    for _ in range(count):
        entry, at = _entry(directory, at)
        if entry.name.casefold() in seen:
            raise ArchiveError(f"{entry.name} is there twice, or in another case")
        if entry.header != expected or entry.end > start:
            raise ArchiveError(f"{entry.name} overlaps something, or there is a gap before it")
        if _read_at(file, entry.header, len(entry.local())) != entry.local():
            raise ArchiveError(f"{entry.name} has another header than the directory says")
        seen.add(entry.name.casefold())
        entries[entry.name] = entry
        expected = entry.end
    if at != len(directory) or expected != start:
        raise ArchiveError("there is a gap between its entries and its directory, or in that")
    return entries


def read_entry(file: IO[bytes], entry: Entry) -> bytes:
    """Reads one file out of a zip file.

    Raises:
        ArchiveError: its CRC is another.
    """
    data = _read_at(file, entry.start, entry.size)
    if zlib.crc32(data) != entry.crc:
        raise ArchiveError(f"{entry.name} has the CRC {zlib.crc32(data):08x}, not {entry.crc:08x}")
    return data


def _directory(file: IO[bytes], size: int) -> tuple[int, int, bytes]:
    """Where the directory starts, how many entries it has, and its bytes."""
    if not _END.size <= size <= MAX_SIZE:
        raise ArchiveError(f"it has {size} bytes, which is no zip file without ZIP64")
    record = _read_at(file, size - _END.size, _END.size)
    signature, *_, count, length, start, comment = _END.unpack(record)
    if signature != b"PK\5\6":
        raise ArchiveError("it does not end in a zip's end record: cut short, or more follows")
    if record != _end_record(count, length, start) or count > MAX_ENTRIES or comment:
        raise ArchiveError(
            f"its end record is of several disks, ZIP64, a comment or over {MAX_ENTRIES} entries"
        )
    if start + length + _END.size != size or length > count * (_CENTRAL.size + _MAX_NAME):
        raise ArchiveError("its directory is not where the end record says: a prefix, or a gap")
    return start, count, _read_at(file, start, length)


def _entry(directory: bytes, at: int) -> tuple[Entry, int]:
    """The record at a place of the directory, and the place behind it."""
    if at + _CENTRAL.size > len(directory):
        raise ArchiveError("its directory is cut short")
    record = _CENTRAL.unpack_from(directory, at)
    flags, method, crc, packed, size, length = (record[i] for i in (3, 4, 7, 8, 9, 10))
    attributes, header = record[15:]
    end = at + _CENTRAL.size + length
    raw = directory[at + _CENTRAL.size : end]
    name = raw.decode("latin-1")
    if length > _MAX_NAME or not re.fullmatch(PATH, name):
        raise ArchiveError(f"{name!r:.80} is no path of a file in a bundle")
    if flags:
        what = "is encrypted" if flags & 1 else f"has the flags {flags:#x}"
        raise ArchiveError(f"{name} {what}, expected no flags")
    if method or packed != size:
        raise ArchiveError(f"{name} is compressed, expected stored bytes")
    if attributes >> 28 == _LINK:
        raise ArchiveError(f"{name} is a link")
    entry = Entry(name, size, crc, header)
    if directory[at:end] != entry.central():
        raise ArchiveError(f"{name} has a time, attributes, an extra field, ZIP64 or a comment")
    return entry, end


def _end_record(count: int, length: int, start: int) -> bytes:
    return _END.pack(b"PK\5\6", 0, 0, count, count, length, start, 0)


def _read_at(file: IO[bytes], start: int, size: int) -> bytes:
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        raise ArchiveError("it is shorter than it was")
    return data
