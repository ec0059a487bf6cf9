"""Reads and writes PNG pictures with NumPy and zlib alone, for edge devices without Pillow.

Source: PNG (Portable Network Graphics), W3C Recommendation, third edition; RFC 2083 describes the
same format.

Written: 8 bits, not interlaced, no filter; grey, grey with alpha, RGB or RGBA.

Read: every colour type and bit depth of the standard that is not interlaced (Adam7 is refused),
brought to uint8 with shape `(height, width, channels)`, where channels is 1 or 3:
    - Grey of 1, 2 or 4 bits is scaled to 0..255; of 16 bits the high byte is kept.
    - A palette gives 3 channels, or 1 where all its entries are grey.
    - Alpha, and the transparency of a tRNS chunk, is composited onto black; no channel is left.
    - Gamma, colour profile, animation and text are ignored; CRCs are checked in every chunk.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_runtime.errors import InputError

MAX_PIXELS = 2**26
"""The largest picture, width times height, that is read or written."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_CHANNELS = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}
_COLOUR = {1: _GREY, 2: _GREY_ALPHA, 3: _RGB, 4: _RGBA}
_DEPTHS = {_GREY: (1, 2, 4, 8, 16), _PALETTE: (1, 2, 4, 8)}  # of the others: 8 and 16


@dataclass(frozen=True)
class _Header:
    """What the IHDR chunk says, and what follows from it."""

    width: int
    height: int
    depth: int  # bits per sample
    colour: int  # colour type

    @property
    def channels(self) -> int:
        return _CHANNELS[self.colour]

    @property
    def stride(self) -> int:  # bytes per row, without the filter byte
        return (self.width * self.channels * self.depth + 7) // 8


def encode(image: NDArray[np.uint8]) -> bytes:
    """Writes a picture as PNG; the same picture gives the same bytes with the same zlib.

    Args:
        image: uint8, shape `(height, width)` or `(height, width, channels)` with 1 (grey),
            2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels.

    Returns:
        The content of a PNG file.

    Raises:
        InputError: the dtype is not uint8, the shape is another, or the size is 0 or above
            `MAX_PIXELS`.

    >>> decode(encode(np.array([[0, 255]], np.uint8))).tolist()
    [[[0], [255]]]
    """
    if image.dtype != np.uint8:
        raise InputError(f"picture has dtype {image.dtype}, expected uint8: convert with to_uint8")
    pixels = image[..., np.newaxis] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOUR:
        raise InputError(
            f"picture has shape {image.shape}, expected (height, width) or (height, width, "
            "channels) with 1 to 4 channels: reshape it"
        )
    height, width, channels = pixels.shape
    check_size(width, height)
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # column 0: filter type 0
    lines[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR[channels], 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 6)  # 9 takes up to ten times longer for a few percent
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def decode(data: bytes) -> NDArray[np.uint8]:
    """Reads a PNG picture as grey or RGB; the module docstring says how each kind is converted.

    Args:
        data: the content of a PNG file.

    Returns:
        uint8, shape `(height, width, channels)`, channels 1 or 3.

    Raises:
        InputError: the data is no PNG, is damaged or breaks the standard, or the picture is
            interlaced or larger than `MAX_PIXELS`.
    """
    parts = _parts(data)
    header = _header(parts[b"IHDR"])
    samples = _samples(_unfilter(_inflate(parts[b"IDAT"], header), header), header)
    key = parts.get(b"tRNS")
    if header.colour == _PALETTE:
        return _look_up(samples, parts.get(b"PLTE", b""), key or b"", header)
    if header.depth == 16:
        pixels = (samples >> 8).astype(np.uint8)
    else:
        pixels = samples.astype(np.uint8) * np.uint8(255 // (2**header.depth - 1))
    if header.colour in (_GREY_ALPHA, _RGBA):
        return _over_black(pixels[..., :-1], pixels[..., -1:])
    return pixels if key is None else pixels * _opaque(samples, key, header)


def _damaged(what: str) -> InputError:
    return InputError(f"the PNG picture is damaged: {what}: copy or save it again")


def check_size(width: int, height: int) -> None:
    """Refuses a picture of no pixels or of more than `MAX_PIXELS`.

    Raises:
        InputError: says the size and the limit.
    """
    if not 1 <= width * height <= MAX_PIXELS:
        raise InputError(
            f"picture is {width} wide and {height} high, expected 1 to {MAX_PIXELS} pixels: "
            "resize it"
        )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and body of each chunk up to IEND; what follows IEND is ignored."""
    if not data.startswith(_SIGNATURE):
        raise InputError(f"not a PNG picture, it begins with {data[:8]!r}: convert it to PNG")
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        if at == len(data):
            raise _damaged("it ends without an IEND chunk")
        length, kind = struct.unpack(">I4s", data[at : at + 8].ljust(8, b"?"))
        end = at + 12 + length
        if end > len(data):
            raise _damaged(f"chunk {kind!r} at byte {at} goes beyond the end, byte {len(data)}")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise _damaged(f"chunk {kind!r} at byte {at} does not match its CRC")
        yield kind, data[at + 8 : end - 4]
        at = end


def _parts(data: bytes) -> dict[bytes, bytes]:
    """The chunks by type, IDAT joined; IHDR, the first, and IDAT are there."""
    parts: dict[bytes, bytes] = {}
    idat = []
    for kind, body in _chunks(data):
        if (kind == b"IHDR") == bool(parts):
            raise _damaged(f"chunk {kind!r} is out of place: IHDR comes first and once")
        if kind[:1].isupper() and kind not in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            raise _damaged(f"chunk {kind!r} is critical and not in the standard")
        parts[kind] = body
        if kind == b"IDAT":
            idat.append(body)
    if not idat:
        raise _damaged("it has no IDAT chunk")
    return parts | {b"IDAT": b"".join(idat)}


def _header(body: bytes) -> _Header:
    if len(body) != 13:
        raise _damaged(f"chunk IHDR has {len(body)} bytes, expected 13")
    width, height, depth, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", body)
    if colour not in _CHANNELS or depth not in _DEPTHS.get(colour, (8, 16)):
        raise _damaged(f"colour type {colour} with {depth} bits is not in the standard")
    if interlace == 1:
        raise InputError(
            "the PNG picture is interlaced (Adam7): save it non-interlaced, or install pillow"
        )
    if (compression, filters, interlace) != (0, 0, 0):
        raise _damaged(f"methods {compression}, {filters}, {interlace} in IHDR, expected 0, 0, 0")
    check_size(width, height)
    return _Header(width, height, depth, colour)


def _inflate(idat: bytes, header: _Header) -> bytes:
    """Decompresses the rows, a filter byte before each, to one byte above their size at most."""
    size = header.height * (1 + header.stride)
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(idat, size + 1)
    except zlib.error as error:
        raise _damaged(f"its IDAT chunks do not decompress ({error})") from error
    if len(raw) > size:
        raise _damaged(f"its IDAT chunks hold more than the {size} bytes of its size")
    if len(raw) < size or not stream.eof:
        raise _damaged(f"its IDAT chunks stop at byte {len(raw)} of {size}")
    return raw


def _unfilter(raw: bytes, header: _Header) -> NDArray[np.uint8]:
    """Undoes the filter of each row (section 9); shape `(height, stride)`."""
    lines = np.frombuffer(raw, np.uint8).reshape(header.height, -1)
    kinds, rows = lines[:, 0], lines[:, 1:].copy()
    if kinds.max() > 4:
        raise _damaged(f"row {kinds.argmax()} has filter type {kinds.max()}, expected 0 to 4")
    step = max(1, header.channels * header.depth // 8)  # bytes from one pixel to the next
    above = np.zeros((header.stride // step, step), np.uint8)
    for kind, row in zip(kinds.tobytes(), rows, strict=True):
        line = row.reshape(-1, step)  # a view
        if kind == 1:
            np.cumsum(line, axis=0, dtype=np.uint8, out=line)
        elif kind == 2:
            line += above
        elif kind > 2:
            undo = _average if kind == 3 else _paeth
            for i in range(step):
                line[:, i] = undo(line[:, i].tolist(), above[:, i].tolist())
        above = line
    return rows


def _average(line: list[int], above: list[int]) -> list[int]:
    # Each pixel needs the one before it, so this loop and the next stay in Python.
    out, left = [], 0
    for x, up in zip(line, above, strict=True):
        left = (x + ((left + up) >> 1)) & 255
        out.append(left)
    return out


def _paeth(line: list[int], above: list[int]) -> list[int]:
    out, left, corner = [], 0, 0
    for x, up in zip(line, above, strict=True):
        to_left, to_up = abs(up - corner), abs(left - corner)
        to_corner = abs(left + up - corner - corner)
        if to_left > to_up or to_left > to_corner:
            left = up if to_up <= to_corner else corner
        left = (x + left) & 255
        corner = up
        out.append(left)
    return out


def _samples(rows: NDArray[np.uint8], header: _Header) -> NDArray[np.integer]:
    """Splits rows of bytes into samples as they are stored; shape `(height, width, channels)`."""
    shape = (header.height, header.width, header.channels)
    if header.depth == 16:
        return rows.view(">u2").reshape(shape)
    if header.depth < 8:
        shifts = np.arange(8 - header.depth, -1, -header.depth, dtype=np.uint8)
        bits = (rows[..., np.newaxis] >> shifts) & np.uint8(2**header.depth - 1)
        rows = bits.reshape(header.height, -1)[:, : header.width]  # without the bits that fill up
    return rows.reshape(shape)


def _over_black(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The colour times alpha / 255, rounded to nearest; 255 * 255 + 127 fits uint16."""
    return ((colour.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def _opaque(samples: NDArray[np.integer], key: bytes, header: _Header) -> NDArray[np.bool_]:
    """Where the stored colour is not the transparent one; shape `(height, width, 1)`."""
    if len(key) != 2 * header.channels:
        raise _damaged(f"chunk tRNS has {len(key)} bytes, expected {2 * header.channels}")
    colour = np.frombuffer(key, ">u2") & (2**header.depth - 1)
    opaque: NDArray[np.bool_] = (samples != colour).any(axis=-1, keepdims=True)
    return opaque


def _look_up(
    samples: NDArray[np.integer], entries: bytes, alphas: bytes, header: _Header
) -> NDArray[np.uint8]:
    """The colours of a palette picture, over black; one channel where all entries are grey."""
    n, most = len(entries) // 3, 2**header.depth
    if len(entries) != 3 * n or not max(1, len(alphas)) <= n <= most:
        raise _damaged(
            f"its palette has {len(entries)} bytes (PLTE) and {len(alphas)} alphas (tRNS), "
            f"expected 3 for each of 1 to {most} colours and 1 for each at most"
        )
    if samples.max() >= n:
        raise _damaged(f"a pixel has colour {samples.max()} of a palette with 0 to {n - 1}")
    alpha = np.frombuffer(alphas.ljust(n, b"\xff"), np.uint8).reshape(n, 1)
    palette = _over_black(np.frombuffer(entries, np.uint8).reshape(n, 3), alpha)
    palette = palette[:, :1] if (palette == palette[:, :1]).all() else palette
    pixels: NDArray[np.uint8] = palette[samples[..., 0]]
    return pixels
