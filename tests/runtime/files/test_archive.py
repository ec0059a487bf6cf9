"""Zip files: what is written can be read back, and every other form is refused."""

import io
import struct
import zipfile
import zlib

import pytest

from vae_runtime.files.archive import (
    MAX_SIZE,
    ArchiveError,
    Entry,
    read_directory,
    read_entry,
    write,
)

FILES = {"manifest.json": b"{}", "a/b.onnx": b"graph" * 10, "parity.npz": b""}


def written(files):
    buffer = io.BytesIO()
    write(buffer, files.items())
    return buffer.getvalue()


def read(data):
    file = io.BytesIO(data)
    entries = read_directory(file, len(data))
    return {name: read_entry(file, entry) for name, entry in entries.items()}


def raw_zip(files, *, central=(), local=(), end=(), behind=b"", gap=b""):
    """Return a zip file that is written without `archive`, field by field.

    Args:
        files: pairs of name and content.
        central: wrong fields of the last file's record in the directory.
        local: wrong fields of the last file's header.
        end: wrong fields of the end record.
        behind: bytes after each name in the directory.
        gap: bytes before the directory.
    """
    body = directory = b""
    for i, (name, data) in enumerate(files):
        last = i == len(files) - 1
        name = name.encode("latin-1")
        fields = {
            "made": 20,
            "needs": 20,
            "flags": 0,
            "method": 0,
            "time": 0,
            "date": 0x21,
            "crc": zlib.crc32(data),
            "packed": len(data),
            "size": len(data),
            "name": len(name),
            "extra": 0,
            "comment": 0,
            "disk": 0,
            "internal": 0,
            "external": 0,
            "header": len(body),
        }
        record = fields | (dict(central) if last else {})
        head = fields | (dict(local) if last else {})
        keys = list(fields)[1:11]  # "needs" to "extra"
        header = struct.pack("<4s5H3I2H", b"PK\3\4", *(head[k] for k in keys))
        packed = struct.pack("<4s6H3I5H2I", b"PK\1\2", *record.values())
        body += header + name + data
        directory += packed + name + behind
    count = len(files)
    values = {"disk": 0, "start_disk": 0, "here": count, "all": count}
    values |= {"length": len(directory), "start": len(body + gap), "comment": 0} | dict(end)
    return body + gap + directory + struct.pack("<4s4H2IH", b"PK\5\6", *values.values())


def test_written_files_are_read_back_by_archive_and_by_zipfile():
    data = written(FILES)
    assert read(data) == FILES
    assert data == raw_zip(list(FILES.items())) == written(FILES)
    with zipfile.ZipFile(io.BytesIO(data)) as other:
        assert other.testzip() is None
        assert {name: other.read(name) for name in other.namelist()} == FILES


PLAIN = list(FILES.items())
SPOILED = {
    "empty": (b"", "it has 0 bytes, too few or too many"),
    "prefix": (b"x" + written(FILES), "a prefix, or a gap"),
    "executable before": (b"#!/bin/sh\n" * 10 + written(FILES), "a prefix, or a gap"),
    "suffix": (written(FILES) + b"x", "does not end in a zip's end record"),
    "two zips": (written(FILES) * 2, "a prefix, or a gap"),
    "comment": (
        written(FILES)[:-2] + b"\x04\0abcd",
        "does not end in a zip's end record",
    ),
    "comment without room": (raw_zip(PLAIN, end={"comment": 1}), "a comment"),
    "duplicate": (raw_zip([*PLAIN, PLAIN[0]]), r"manifest\.json is there twice"),
    "case": (raw_zip([("readme.md", b""), ("README.md", b"")]), "there twice, or in another case"),
    "upwards": (raw_zip([("../x", b"")]), r"'\.\./x' is not a valid path"),
    "inner upwards": (raw_zip([("a/../../x", b"")]), "is not a valid path"),
    "absolute": (raw_zip([("/x", b"")]), "'/x' is not a valid path"),
    "drive": (raw_zip([("c:x", b"")]), "'c:x' is not a valid path"),
    "backslash": (raw_zip([("a\\b", b"")]), "is not a valid path"),
    "NUL": (raw_zip([("a\0.onnx", b"")]), "is not a valid path"),
    "not ASCII": (raw_zip([("\xe9", b"")]), "is not a valid path"),
    "empty name": (raw_zip([("", b"")]), "'' is not a valid path"),
    "folder": (raw_zip([("a/", b"")]), "is not a valid path"),
    "long name": (raw_zip([("a" * 301, b"")]), "is not a valid path|a prefix, or a gap"),
    "link": (raw_zip(PLAIN, central={"external": 0o120777 << 16}), "is a link"),
    "attributes": (raw_zip(PLAIN, central={"external": 0o100644 << 16}), "attributes"),
    "overlap": (raw_zip(PLAIN, central={"header": 10}), "overlaps something"),
    "inside another": (
        raw_zip([PLAIN[0], ("x", written({"y": b""})), ("y", b"")], central={"header": 60}),
        "overlaps something",
    ),
    "gap before the directory": (raw_zip(PLAIN, gap=b"hidden"), "a gap before or inside"),
    "gap in the directory": (raw_zip(PLAIN, behind=b"hidden"), "is not a valid path|cut short"),
    "compressed": (raw_zip(PLAIN, central={"method": 8}, local={"method": 8}), "is compressed"),
    "sizes differ": (raw_zip(PLAIN, central={"size": 1 << 30}), "is compressed"),
    "larger than the file": (
        raw_zip(PLAIN, central={"size": 1 << 30, "packed": 1 << 30}),
        "overlaps something",
    ),
    "local size": (raw_zip(PLAIN, local={"size": 9}), "another header than the directory"),
    "local name": (
        written(FILES).replace(b"a/b.onnx", b"a/c.onnx", 1),
        "another header than the directory",
    ),
    "local CRC": (raw_zip(PLAIN, local={"crc": 9}), "another header than the directory"),
    "CRC": (raw_zip(PLAIN, local={"crc": 9}, central={"crc": 9}), r"has the CRC 0+, not 00000009"),
    "encrypted": (raw_zip(PLAIN, central={"flags": 1}, local={"flags": 1}), "is encrypted"),
    "encrypted in one": (raw_zip(PLAIN, local={"flags": 1}), "another header"),
    "sizes behind": (raw_zip(PLAIN, central={"flags": 8}), "has the flags 0x8"),
    "extra": (raw_zip(PLAIN, central={"extra": 4}), "an extra field|cut short|a gap"),
    "time": (raw_zip(PLAIN, central={"time": 1}), "has a time"),
    "ZIP64 sizes": (
        raw_zip(PLAIN, central={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF}),
        "overlaps something",
    ),
    "ZIP64 start": (raw_zip(PLAIN, end={"start": 0xFFFFFFFF}), "is not where the end record says"),
    "ZIP64 count": (raw_zip(PLAIN, end={"here": 0xFFFF, "all": 0xFFFF}), "ZIP64"),
    "counts differ": (raw_zip(PLAIN, end={"here": 1}), "several disks"),
    "fewer": (raw_zip(PLAIN, end={"here": 2, "all": 2}), "a gap"),
    "more": (raw_zip(PLAIN, end={"here": 4, "all": 4}), "directory is cut short"),
    "disks": (raw_zip(PLAIN, end={"disk": 1}), "several disks"),
}


DIRECTORY = sum(len(Entry(name, 0, 0, 0).directory_record()) for name in FILES)
SPOILED["behind the directory"] = (
    raw_zip(PLAIN, end={"length": DIRECTORY + 6})[:-22]
    + b"hidden"
    + raw_zip(PLAIN, end={"length": DIRECTORY + 6})[-22:],
    "a gap before or inside its directory",
)


@pytest.mark.parametrize(("data", "rule"), SPOILED.values(), ids=SPOILED)
def test_every_other_form_is_refused(data, rule):
    with pytest.raises(ArchiveError, match=rule):
        read(data)


def test_files_written_by_zipfile_are_refused():
    for options in ({}, {"compression": zipfile.ZIP_DEFLATED}):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", **options) as other:
            other.writestr("manifest.json", b"0" * 1_000_000)
        with pytest.raises(ArchiveError):
            read(buffer.getvalue())
    with zipfile.ZipFile(buffer := io.BytesIO(), "w") as other, other.open("a", "w") as file:
        file.write(b"sizes after the content")
    with pytest.raises(ArchiveError):
        read(buffer.getvalue())


def test_every_truncation_is_refused():
    data = written(FILES)
    for length in range(len(data)):
        with pytest.raises(ArchiveError):
            read(data[:length])


def test_every_changed_byte_is_refused():
    data = bytearray(written(FILES))
    for place in range(len(data)):
        for change in (1, 0x80, 0xFF):
            data[place] ^= change
            with pytest.raises(ArchiveError):
                read(bytes(data))
            data[place] ^= change


@pytest.mark.parametrize("count", [1001, 65_535])
def test_too_many_entries(count):
    many = raw_zip([(f"f{i}", b"") for i in range(20)], end={"here": count, "all": count})
    with pytest.raises(ArchiveError, match="over 1000 entries"):
        read(many)
    with pytest.raises(ArchiveError, match="more than 1000 files"):
        written({f"f{i}": b"" for i in range(1001)})


def test_a_file_that_becomes_shorter_while_it_is_read():
    data = written(FILES)
    with pytest.raises(ArchiveError, match="it became shorter while it was read"):
        read_directory(io.BytesIO(data[:-1]), len(data))
    with pytest.raises(ArchiveError, match="too few or too many for a zip file without ZIP64"):
        read_directory(io.BytesIO(data), MAX_SIZE + 1)
