"""PNG pictures: against Pillow, against filters written another way, and against damaged files."""

import contextlib
import io
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vae_runtime.data import png
from vae_runtime.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIZES = [(1, 1), (1, 7), (9, 1), (5, 3), (17, 23)]
COLOUR_TYPES = {"grey": 0, "rgb": 2, "palette": 3, "grey+alpha": 4, "rgba": 6}
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width=2, height=2, depth=8, colour=0, compression=0, filters=0, interlace=0) -> bytes:
    fields = (width, height, depth, colour, compression, filters, interlace)
    return chunk(b"IHDR", struct.pack(">IIBBBBB", *fields))


def rows(raw: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(raw))


IEND = chunk(b"IEND", b"")
TWO_BY_TWO = rows(bytes([0, 1, 2, 0, 3, 4]))


def picture(*chunks: bytes) -> bytes:
    return SIGNATURE + b"".join(chunks) + IEND


def pack(samples: np.ndarray, depth: int) -> list[bytes]:
    """The bytes of each row of samples, shape (height, width * channels), from text digits."""
    lines = ["".join(f"{int(s):0{depth}b}" for s in row) for row in samples]
    return [
        bytes(int(line[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(line), 8))
        for line in lines
    ]


def predict(kind: int, a: int, b: int, c: int) -> int:
    """The standard's table of filters; Paeth by the words of section 9.4: nearest of a, b, c."""
    if kind == 4:
        return min((a, b, c), key=lambda x: abs(a + b - c - x))
    return [0, a, b, (a + b) // 2][kind]


def filtered(lines: list[bytes], kinds: list[int], step: int) -> bytes:
    """Applies filters as an encoder does, byte by byte on the unfiltered rows."""
    out = bytearray()
    above = bytes(len(lines[0]))
    for line, kind in zip(lines, kinds, strict=True):
        out.append(kind)
        for i, x in enumerate(line):
            a, c = (line[i - step], above[i - step]) if i >= step else (0, 0)
            out.append((x - predict(kind, a, above[i], c)) % 256)
        above = line
    return bytes(out)


def draw(seed: int, *shape: int, top: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, shape)


def pillow():
    return pytest.importorskip("PIL.Image")


def over_black(image) -> np.ndarray:
    """What Pillow makes of a picture on a black ground, shape (height, width, 3)."""
    ground = pillow().new("RGBA", image.size, (0, 0, 0, 255))
    return np.asarray(pillow().alpha_composite(ground, image.convert("RGBA")))[..., :3]


def file_of(image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


# --- encode -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_pillow_reads_what_encode_writes(size, channels, mode):
    image = draw(channels, *size, channels).astype(np.uint8)
    with pillow().open(io.BytesIO(png.encode(image))) as read:
        assert read.mode == mode
        np.testing.assert_array_equal(np.asarray(read).reshape(image.shape), image)


def test_encode_takes_grey_without_channel_axis_and_views():
    image = draw(0, 6, 8).astype(np.uint8)
    assert png.encode(image) == png.encode(image[..., np.newaxis])
    view = image.T[::2]
    assert png.encode(view) == png.encode(view.copy())


def test_encode_writes_these_bytes():
    data = png.encode(np.array([[1, 2], [3, 4]], np.uint8))
    head, tail = SIGNATURE + header(), IEND
    assert data.startswith(head) and data.endswith(tail)
    idat = data[len(head) : -len(tail)]
    raw = zlib.decompress(idat[8:-4])
    assert raw == bytes([0, 1, 2, 0, 3, 4])
    assert idat == chunk(b"IDAT", idat[8:-4])


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (np.zeros((2, 2), np.float32), "dtype float32, expected uint8: convert with to_uint8"),
        (np.zeros((2, 2, 5), np.uint8), r"shape \(2, 2, 5\)"),
        (np.zeros(4, np.uint8), r"shape \(4,\)"),
        (np.zeros((1, 2, 2, 1), np.uint8), r"shape \(1, 2, 2, 1\)"),
        (np.zeros((0, 2), np.uint8), "2 wide and 0 high, expected 1 to 67108864 pixels"),
        (np.broadcast_to(np.uint8(0), (2**13, 2**13 + 1)), "8193 wide and 8192 high"),
    ],
)
def test_encode_refuses(image, match):
    with pytest.raises(InputError, match=match):
        png.encode(image)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 12)] * 2, st.sampled_from([1, 3]))))
def test_decode_undoes_encode(image):
    decoded = png.decode(png.encode(image))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, image)


# --- decode: kinds of pictures ------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_reads_what_pillow_writes(size, mode):
    pixels = draw(len(mode), *size, 4).astype(np.uint8)
    image = pillow().fromarray(pixels).convert(mode)
    decoded = png.decode(file_of(image))
    assert decoded.dtype == np.uint8
    assert decoded.shape == (*size, 1 if mode in ("1", "L", "LA") else 3)
    np.testing.assert_array_equal(np.broadcast_to(decoded, (*size, 3)), over_black(image))


@pytest.mark.parametrize("colours", [2, 4, 16, 256])
def test_reads_palettes_that_pillow_writes(colours):
    image = pillow().fromarray(draw(colours, 19, 21, 3).astype(np.uint8)).quantize(colours)
    data = file_of(image, transparency=bytes([0, 100]))
    assert data[24] == {2: 1, 4: 2, 16: 4, 256: 8}[colours]
    with pillow().open(io.BytesIO(data)) as read:
        np.testing.assert_array_equal(png.decode(data), over_black(read))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("colour", "depth"),
    [("grey", d) for d in (1, 2, 4, 8, 16)]
    + [(c, d) for c in ("rgb", "grey+alpha", "rgba") for d in (8, 16)],
)
def test_every_depth_and_filter(size, colour, depth):
    kind = COLOUR_TYPES[colour]
    channels = CHANNELS[kind]
    samples = draw(depth, *size, channels, top=2**depth)
    lines = pack(samples.reshape(size[0], -1), depth)
    kinds = [(y + 4) % 5 for y in range(size[0])]
    raw = filtered(lines, kinds, max(1, channels * depth // 8))
    decoded = png.decode(picture(header(size[1], size[0], depth, kind), rows(raw)))
    scaled = samples // 256 if depth == 16 else samples * 255 // (2**depth - 1)
    if "a" in colour[-5:] and channels in (2, 4):
        scaled = np.floor(scaled[..., :-1] * scaled[..., -1:] / 255 + 0.5)
    np.testing.assert_array_equal(decoded, scaled)


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("channels", [1, 3])
def test_each_filter(kind, channels):
    image = draw(kind, 6, 7, channels).astype(np.uint8)
    raw = filtered([row.tobytes() for row in image], [kind] * 6, channels)
    data = picture(header(7, 6, 8, 0 if channels == 1 else 2), rows(raw))
    np.testing.assert_array_equal(png.decode(data), image)
    with pillow().open(io.BytesIO(data)) as read:  # the filters above are those of the standard
        np.testing.assert_array_equal(np.asarray(read).reshape(image.shape), image)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_of_greys_gives_one_channel(depth):
    entries = np.repeat(np.array([[7], [200]], np.uint8), 3, axis=1)
    index = draw(depth, 3, 5, top=2)
    raw = b"".join(b"\0" + line for line in pack(index, depth))
    data = picture(header(5, 3, depth, 3), chunk(b"PLTE", entries.tobytes()), rows(raw))
    np.testing.assert_array_equal(png.decode(data), entries[index][..., :1])


@pytest.mark.parametrize(
    ("depth", "colour", "key", "raw", "expected"),
    [
        (8, 0, [2], [0, 1, 2, 0, 3, 4], [[[1], [0]], [[3], [4]]]),
        (2, 0, [2], [0, 0b01100000, 0, 0b11100000], [[[85], [0]], [[255], [0]]]),
        # Equal high bytes, different low bytes: only the sample that is equal is transparent.
        (16, 0, [0x0902], [0, 9, 2, 9, 3, 0, 8, 2, 7, 7], [[[0], [9]], [[8], [7]]]),
        # One channel that is equal does not make a pixel transparent.
        (
            8,
            2,
            [1, 2, 3],
            [0, 1, 2, 3, 1, 2, 4, 0, 9, 2, 3, 5, 5, 5],
            [[[0, 0, 0], [1, 2, 4]], [[9, 2, 3], [5, 5, 5]]],
        ),
    ],
)
def test_transparent_colour_becomes_black(depth, colour, key, raw, expected):
    key_chunk = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    data = picture(header(2, 2, depth, colour), key_chunk, rows(bytes(raw)))
    np.testing.assert_array_equal(png.decode(data), expected)


def test_split_idat_unknown_ancillary_chunks_and_bytes_after_the_end():
    body = zlib.compress(bytes([0, 1, 2, 0, 3, 4]))
    parts = [chunk(b"IDAT", body[i : i + 3]) for i in range(0, len(body), 3)]
    data = picture(header(), chunk(b"prVt", b"?"), *parts, chunk(b"tEXt", b"a\0b")) + b"more"
    np.testing.assert_array_equal(png.decode(data)[..., 0], [[1, 2], [3, 4]])


def test_a_megapixel_of_paeth_is_quick():
    image = draw(0, 1000, 1000, 3).astype(np.uint8)
    raw = np.full((1000, 3001), 4, np.uint8)
    raw[:, 1:] = image.reshape(1000, -1)
    data = picture(header(1000, 1000, 8, 2), chunk(b"IDAT", zlib.compress(raw.tobytes(), 0)))
    start = time.process_time()
    png.decode(data)
    assert time.process_time() - start < 10  # about 1 s; the bound is for slow machines


# --- decode: what cannot be read ----------------------------------------------------------------

PALETTE = chunk(b"PLTE", bytes(range(6)))
FLIPPED_CRC = TWO_BY_TWO[:-1] + bytes([TWO_BY_TWO[-1] ^ 1])
NO_ADLER = chunk(b"IDAT", zlib.compress(bytes(6))[:-4])
BAD_ADLER = chunk(b"IDAT", zlib.compress(bytes(6))[:-1] + b"\xff")

BAD = {
    "empty": (b"", "not a PNG picture, it begins with b''"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(20), "not a PNG picture"),
    "signature only": (SIGNATURE, "without an IEND"),
    "crc": (picture(header(), FLIPPED_CRC), "chunk b'IDAT' at byte 33 does not match its CRC"),
    "beyond": (SIGNATURE + header() + b"\x7f\xff\xff\xffIDAT", "'IDAT' at byte 33 goes beyond"),
    "cut in a chunk": (picture(header(), TWO_BY_TWO)[:-1], "'IEND' at byte .* goes beyond"),
    "cut in a length": (picture(header(), TWO_BY_TWO)[:-10], "goes beyond the end"),
    "no IHDR": (picture(TWO_BY_TWO), "'IDAT' is out of place: IHDR comes first"),
    "two IHDR": (picture(header(), header(), TWO_BY_TWO), "'IHDR' is out of place"),
    "short IHDR": (picture(chunk(b"IHDR", bytes(12)), TWO_BY_TWO), "IHDR has 12 bytes"),
    "no IDAT": (picture(header()), "no IDAT chunk"),
    "no IEND": (SIGNATURE + header() + TWO_BY_TWO, "ends without an IEND chunk"),
    "critical": (picture(header(), chunk(b"ABCD", b""), TWO_BY_TWO), "b'ABCD' is critical"),
    "width 0": (picture(header(width=0), TWO_BY_TWO), "0 wide and 2 high, expected 1 to"),
    "height 0": (picture(header(height=0), TWO_BY_TWO), "2 wide and 0 high, expected 1 to"),
    "huge": (picture(header(2**31 - 1, 2**31 - 1), TWO_BY_TWO), "expected 1 to 67108864 pixels"),
    "above cap": (picture(header(2**13, 2**13 + 1), TWO_BY_TWO), "8192 wide and 8193 high"),
    "colour": (picture(header(colour=1), TWO_BY_TWO), "colour type 1 with 8 bits"),
    "depth": (picture(header(depth=3), TWO_BY_TWO), "colour type 0 with 3 bits"),
    "rgb depth": (picture(header(depth=4, colour=2), TWO_BY_TWO), "colour type 2 with 4 bits"),
    "palette depth": (picture(header(depth=16, colour=3), TWO_BY_TWO), "type 3 with 16 bits"),
    "compression": (picture(header(compression=1), TWO_BY_TWO), "methods 1, 0, 0 in IHDR"),
    "filter method": (picture(header(filters=1), TWO_BY_TWO), "methods 0, 1, 0 in IHDR"),
    "interlace method": (picture(header(interlace=2), TWO_BY_TWO), "methods 0, 0, 2 in IHDR"),
    "adam7": (picture(header(interlace=1), TWO_BY_TWO), "save it non-interlaced, or install pi"),
    "not zlib": (picture(header(), chunk(b"IDAT", b"hello")), "do not decompress"),
    "bad adler": (picture(header(), BAD_ADLER), "do not decompress"),
    "no adler": (picture(header(), NO_ADLER), "stop at byte 6 of 6"),
    "too little": (picture(header(), rows(bytes(5))), "stop at byte 5 of 6"),
    "too much": (picture(header(), rows(bytes(7))), "hold more than the 6 bytes"),
    "filter type": (picture(header(), rows(bytes([0, 1, 2, 5, 3, 4]))), "row 1 has filter type 5"),
    "no palette": (picture(header(colour=3), TWO_BY_TWO), "palette has 0 bytes"),
    "palette of 4 bytes": (
        picture(header(colour=3), chunk(b"PLTE", bytes(4)), TWO_BY_TWO),
        "palette has 4 bytes",
    ),
    "large palette": (
        picture(header(colour=3, depth=1), chunk(b"PLTE", bytes(9)), rows(bytes(4))),
        "palette has 9 bytes .* 1 to 2 colours",
    ),
    "index": (
        picture(header(colour=3), PALETTE, rows(bytes([0, 1, 2, 0, 1, 0]))),
        "colour 2 of a palette with 0 to 1",
    ),
    "long tRNS": (
        picture(header(colour=3), PALETTE, chunk(b"tRNS", bytes(3)), rows(bytes(6))),
        "3 alphas",
    ),
    "tRNS of grey": (
        picture(header(), chunk(b"tRNS", bytes(3)), TWO_BY_TWO),
        "tRNS has 3 bytes, expected 2",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_picture_is_an_input_error_of_one_line(name):
    data, match = BAD[name]
    with pytest.raises(InputError, match=match) as caught:
        png.decode(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


def test_bomb_is_not_unpacked(monkeypatch):
    sizes = []

    class Watched:
        def __init__(self, stream):
            self.stream = stream

        def decompress(self, data, max_length=0):
            out = self.stream.decompress(data, max_length)
            sizes.append(len(out))
            return out

    bomb = picture(header(), rows(bytes(2**24)))
    watched = Watched(zlib.decompressobj())
    monkeypatch.setattr(png.zlib, "decompressobj", lambda: watched)
    with pytest.raises(InputError, match="hold more than the 6 bytes"):
        png.decode(bomb)
    assert sizes == [7]  # one byte too many is enough to know


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_is_an_input_error_or_harmless(data):
    """No other exception escapes, even where the CRCs are right."""
    body = bytearray(struct.pack(">IIBBBBB", 3, 2, 4, 3, 0, 0, 0))
    raw = bytearray([4, 0x12, 0x30, 3, 0x01, 0x20])
    palette, alphas = bytearray(range(12)), bytearray([0, 9])
    for part in (body, raw, palette, alphas):
        if data.draw(st.booleans()):
            part[data.draw(st.integers(0, len(part) - 1))] = data.draw(st.integers(0, 255))
    parts = [chunk(b"IHDR", bytes(body)), chunk(b"PLTE", bytes(palette))]
    parts += [chunk(b"tRNS", bytes(alphas)), rows(bytes(raw))]
    whole = picture(*parts)
    cut = data.draw(st.integers(0, len(whole)))
    for candidate in (whole, whole[:cut]):
        with contextlib.suppress(InputError):
            assert png.decode(candidate).dtype == np.uint8
