"""Zip files in one fixed form: written, and read in place.

Zip allows several ways to say the same thing, and even two contradictory ones: sizes are stored
twice, a reader may start from either end, and programs differ in which one they trust. Python's
`zipfile` accepts such files, so this module has its own reader. It refuses every file that is not
byte for byte in this form: stored entries without gaps from the first byte on, then the directory,
then the end record, which ends the file. No compression, encryption, ZIP64, times, attributes,
extra fields or comments. Any unzip program and `numpy.load` can read such a file.

Single-file bundles and `parity.npz` have this form.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Final

PATH_PATTERN: Final = r"README\.md|[a-z0-9_-][a-z0-9_.-]*(/[a-z0-9_-][a-z0-9_.-]*)*"
"""Regular expression of a file's path in a bundle. No path is hidden or leaves the bundle."""

MAX_ENTRIES = 1000
MAX_SIZE = (1 << 32) - 1
"""Largest zip file, in bytes, that does not need ZIP64."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION = 20
_DATE = 0x21  # 1 January 1980, the earliest date in zip
_MAX_NAME = 300
_LINK = 0o12


class ArchiveError(ValueError):
    """A zip file does not have the fixed form."""


@dataclass(frozen=True)
class Entry:
    """One file in a zip file: its path, size in bytes, CRC-32 and the offset of its header."""

    name: str
    size: int
    crc: int
    header: int

    @property
    def start(self) -> int:
        """Offset of the content."""
        return self.header + _LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        """Offset of the first byte after the content."""
        return self.start + self.size

    def local_header(self) -> bytes:
        """Return the header, which is before the content."""
        sizes = (self.crc, self.size, self.size, len(self.name), 0)
        return _LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, 0, _DATE, *sizes) + self.name.encode()

    def directory_record(self) -> bytes:
        """Return the entry's record in the directory."""
        sizes = (self.crc, self.size, self.size, len(self.name))
        head = _CENTRAL.pack(
            *(b"PK\1\2", _VERSION, _VERSION, 0, 0, 0, _DATE),
            *(*sizes, 0, 0, 0, 0, 0, self.header),
        )
        return head + self.name.encode()


def write(file: IO[bytes], contents: Iterable[tuple[str, bytes]]) -> None:
    """Write pairs of path and content as a zip file; equal pairs give equal bytes.

    Raises `ArchiveError` if the zip file would need ZIP64 or has too many entries.
    """
    entries: list[Entry] = []
    end = 0
    for name, data in contents:
        entry = Entry(name, len(data), zlib.crc32(data), end)
        end = entry.end
        if end > MAX_SIZE or len(entries) == MAX_ENTRIES:
            raise ArchiveError(f"more than {MAX_ENTRIES} files, or {MAX_SIZE} bytes")
        file.write(entry.local_header())
        file.write(data)
        entries.append(entry)
    directory = b"".join(entry.directory_record() for entry in entries)
    file.write(directory + _end_record(len(entries), len(directory), end))


def read_directory(file: IO[bytes], size: int) -> dict[str, Entry]:
    """Return the entries of a zip file of `size` bytes by name, in order.

    Raises `ArchiveError`, which names the rule that the file breaks.
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
        if _read_at(file, entry.header, entry.start - entry.header) != entry.local_header():
            raise ArchiveError(f"{entry.name} has another header than the directory says")
        seen.add(entry.name.casefold())
        entries[entry.name] = entry
        expected = entry.end
    if at != len(directory) or expected != start:
        raise ArchiveError("there is a gap before or inside its directory")
    return entries


def read_entry(file: IO[bytes], entry: Entry) -> bytes:
    """Return the content of one entry. Raises `ArchiveError` if its CRC differs."""
    data = _read_at(file, entry.start, entry.size)
    if zlib.crc32(data) != entry.crc:
        raise ArchiveError(f"{entry.name} has the CRC {zlib.crc32(data):08x}, not {entry.crc:08x}")
    return data


def _directory(file: IO[bytes], size: int) -> tuple[int, int, bytes]:
    """Return the offset of the directory, its number of entries, and its bytes."""
    if not _END.size <= size <= MAX_SIZE:
        raise ArchiveError(f"it has {size} bytes, too few or too many for a zip file without ZIP64")
    record = _read_at(file, size - _END.size, _END.size)
    signature, *_, count, length, start, comment = _END.unpack(record)
    if signature != b"PK\5\6":
        raise ArchiveError("it does not end in a zip's end record: cut short, or more follows")
    if record != _end_record(count, length, start) or count > MAX_ENTRIES or comment:
        raise ArchiveError(
            f"its end record has several disks, ZIP64, a comment or over {MAX_ENTRIES} entries"
        )
    if start + length + _END.size != size or length > count * (_CENTRAL.size + _MAX_NAME):
        raise ArchiveError("its directory is not where the end record says: a prefix, or a gap")
    return start, count, _read_at(file, start, length)


def _entry(directory: bytes, at: int) -> tuple[Entry, int]:
    """Return the entry whose record is at an offset of the directory, and the record's end."""
    if at + _CENTRAL.size > len(directory):
        raise ArchiveError("its directory is cut short")
    record = _CENTRAL.unpack_from(directory, at)
    flags, method, crc, packed, size, length = (record[i] for i in (3, 4, 7, 8, 9, 10))
    attributes, header = record[15:]
    end = at + _CENTRAL.size + length
    name = directory[at + _CENTRAL.size : end].decode("latin-1")
    if length > _MAX_NAME or not re.fullmatch(PATH_PATTERN, name):
        raise ArchiveError(f"{name!r:.80} is not a valid path of a file in a bundle")
    if flags:
        what = "is encrypted" if flags & 1 else f"has the flags {flags:#x}"
        raise ArchiveError(f"{name} {what}, expected no flags")
    if method or packed != size:
        raise ArchiveError(f"{name} is compressed, expected stored bytes")
    if attributes >> 28 == _LINK:
        raise ArchiveError(f"{name} is a link")
    entry = Entry(name, size, crc, header)
    if directory[at:end] != entry.directory_record():
        raise ArchiveError(f"{name} has a time, attributes, an extra field, ZIP64 or a comment")
    return entry, end


def _end_record(count: int, length: int, start: int) -> bytes:
    return _END.pack(b"PK\5\6", 0, 0, count, count, length, start, 0)


def _read_at(file: IO[bytes], start: int, size: int) -> bytes:
    file.seek(start)
    data = file.read(size)
    if len(data) != size:
        raise ArchiveError("it became shorter while it was read")
    return data
