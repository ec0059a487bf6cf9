"""Text of a file: decompressed, and decoded from UTF-8, UTF-16 or Windows-1252."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from vae_runtime.errors import InputError

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip")
"""Extensions of compressed files, after that of the format: `sensors.csv.gz`."""

SAMPLE_BYTES = 1 << 16
MAX_CONTROL = 0.02
"""Largest share of control characters that a text may have by mistake."""
_BLOCK = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def format_extension(path: Path) -> str:
    """Return the extension of a file in lower case, without that of a compression.

    >>> format_extension(Path("a.CSV.gz")), format_extension(Path("a.csv"))
    ('.csv', '.csv')
    """
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    if len(suffixes) == 2 and suffixes[1] in COMPRESSIONS:
        return suffixes[0]
    return suffixes[-1] if suffixes else ""


@contextmanager
def open_bytes(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading; decompress it if its extension says so."""
    with path.open("rb") as raw:
        compression = path.suffix.lower()
        if compression == ".zip":
            with _open_zip(path, raw) as stream:
                yield stream
        elif compression in COMPRESSIONS:
            with _decompressed(raw, compression) as stream:
                yield stream
        else:
            yield raw


@contextmanager
def open_text(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a file as text; the ends of lines stay as they are."""
    with open_bytes(path) as stream, io.TextIOWrapper(stream, encoding, newline="") as text:
        yield text


def find_encoding(path: Path) -> str:
    """Return the encoding of a text file: by its mark, else UTF-8 if it is that, else Windows-1252.

    Raises `InputError` if the file is no text.
    """
    with open_bytes(path) as stream:
        sample = stream.read(SAMPLE_BYTES)
        for mark, encoding in _MARKS:
            if sample.startswith(mark):
                return encoding
        if unmarked := _unmarked_utf16(sample):
            return unmarked
        _refuse_binary(path, sample)
        decode = codecs.getincrementaldecoder("utf-8")().decode
        try:
            while sample:
                decode(sample)
                sample = stream.read(_BLOCK)
            decode(b"", True)
        except UnicodeDecodeError:
            return _single_byte_encoding(path)
    return "utf-8"


def _decompressed(raw: IO[bytes], compression: str) -> IO[bytes]:
    if compression == ".gz":
        import gzip

        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    opened: Any
    if compression == ".bz2":
        import bz2

        opened = bz2.BZ2File(raw)
    else:
        import lzma

        opened = lzma.LZMAFile(raw)  # noqa: SIM115 the caller closes it
    return cast(IO[bytes], opened)


@contextmanager
def _open_zip(path: Path, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    import zipfile

    with zipfile.ZipFile(raw) as archive:
        names = [info.filename for info in archive.infolist() if not info.is_dir()]
        hidden = ("__MACOSX/", ".")  # what macOS adds
        names = [n for n in names if not n.startswith(hidden) and PurePosixPath(n).name[0] != "."]
        if len(names) != 1:
            shown = ", ".join(names[:5]) + (", ..." if names[5:] else "")
            raise InputError(
                f"{path} holds {len(names)} files ({shown}), expected one table: unpack it, and "
                "give the file or folder to read"
            )
        with archive.open(names[0]) as stream:
            yield stream


def _unmarked_utf16(sample: bytes) -> str | None:
    """Return the encoding if every other byte is zero and the others are plain ASCII."""
    sample = sample[: len(sample) // 2 * 2]
    for zeros, letters, encoding in ((1, 0, "utf-16-le"), (0, 1, "utf-16-be")):
        others = sample[letters::2]
        if others and not any(sample[zeros::2]) and others.isascii() and b"\0" not in others:
            return encoding
    return None


def _refuse_binary(path: Path, sample: bytes) -> None:
    """Raise `InputError` for bytes that no text has."""
    control = sample.translate(None, bytes([*range(0x20, 0x100), 9, 10, 11, 12, 13]))
    if b"\0" in control or len(control) > MAX_CONTROL * len(sample):
        raise InputError(
            f"{path} is not a readable text file (it has the byte {control[0]:#04x}): it is "
            "damaged or of another kind; write or copy it again"
        )


def _single_byte_encoding(path: Path) -> str:
    """Return Windows-1252, or Latin-1 for bytes that Windows-1252 does not have."""
    with open_bytes(path) as stream:
        while block := stream.read(_BLOCK):
            if block.translate(None, b"\x81\x8d\x8f\x90\x9d") != block:
                return "latin-1"
    return "cp1252"
