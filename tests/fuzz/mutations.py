"""Mutants of a bundle; each depends only on the bundle, a seed and a number.

Unsealed mutants imitate damage and mistakes: changed bits, bytes, lengths, exchanged files. Sealed
mutants imitate an attacker: a manifest, a graph or a proof is changed within its grammar, and sizes
and digests are corrected afterwards, so that the later checks are reached. Sealed mutants are made
without the parsers under test.
"""

import contextlib
import copy
import hashlib
import io
import json
import math
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from vae_runtime.files import archive

MANIFEST = "manifest.json"
Files = dict[str, bytes]


@dataclass(frozen=True)
class Mutant:
    """A changed bundle: the files of a folder, or the bytes of a single file."""

    kind: str
    files: Files | None = None
    archive: bytes | None = None


class Mutator:
    """Generator of the mutants of one bundle.

    Args:
        folder: files of the bundle's folder.
        packed: files of its single-file form.
    """

    def __init__(self, folder: Files, packed: Files) -> None:
        self.folder, self.packed = folder, packed
        self.archive = zipped(packed.items())

    def mutant(self, rng: random.Random) -> Mutant:
        """Return a random mutant."""
        if rng.random() < 0.1:
            return Mutant("single file, raw bytes", archive=changed_bytes(rng, self.archive))
        single = rng.random() < 0.5
        files = dict(self.packed if single else self.folder)
        name, change = rng.choices(KINDS, WEIGHTS)[0]
        change(rng, files)
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            with contextlib.suppress(Exception):  # the first change may have broken the grammar
                change(rng, files)
        if single:
            return Mutant(f"single file, {name}", archive=zipped(files.items()))
        return Mutant(f"folder, {name}", files=files)


FLIPS = 9
"""Ways to flip a byte: each bit alone, or all bits."""


def flipped(data: bytes, number: int) -> bytes:
    """Return flip `number` of `data`; there are `FLIPS` for each byte."""
    at, way = divmod(number, FLIPS)
    mask = 1 << way if way < 8 else 0xFF
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def zipped(contents) -> bytes:
    buffer = io.BytesIO()
    archive.write(buffer, contents)
    return buffer.getvalue()


def seal(files: Files) -> None:
    """Write the sizes and digests of the listed files into the manifest."""
    manifest = json.loads(files[MANIFEST])
    for name, entry in manifest["files"].items():
        if name in files:
            digest = hashlib.sha256(files[name]).hexdigest()
            entry.update(size=len(files[name]), sha256=digest)
    files[MANIFEST] = json.dumps(manifest, indent=2).encode()


# --- bytes and files ---------------------------------------------------------------------------


def changed_bytes(rng: random.Random, data: bytes) -> bytes:
    """Make one to four small changes."""
    buffer = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(buffer) + 1)
        size = rng.choice((1, 1, 2, 4, 8, 64))
        match rng.randrange(8):
            case 0 | 1 | 2 if at < len(buffer):
                buffer[at] ^= 1 << rng.randrange(8)
            case 3 if at < len(buffer):
                buffer[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 4:
                buffer[at:at] = rng.randbytes(size)
            case 5:
                del buffer[at : at + size]
            case 6:
                del buffer[at:]
            case _:
                other = rng.randrange(len(buffer) + 1)
                buffer[at : at + size] = buffer[other : other + size]
    return bytes(buffer)


def change_bytes(rng: random.Random, files: Files) -> None:
    name = rng.choice(sorted(files))
    files[name] = changed_bytes(rng, files[name])


def change_bytes_and_seal(rng: random.Random, files: Files) -> None:
    used = [name for name in sorted(files) if name.endswith((".onnx", ".npz"))]
    name = rng.choice(used)
    files[name] = changed_bytes(rng, files[name])
    seal(files)


def exchange_files(rng: random.Random, files: Files) -> None:
    one, two = rng.sample(sorted(files), 2)
    match rng.randrange(6):
        case 0 | 1:
            files[one], files[two] = files[two], files[one]
        case 2:
            files[one] = files[two]
        case 3:
            del files[one]
        case 4:
            files[rng.choice(("extra", f"{one}~", ".hidden", f"new/{two}"))] = files[two]
        case _:
            files[one], files[two] = files[two], files[one]
            if MANIFEST not in (one, two):
                seal(files)


# --- manifests ---------------------------------------------------------------------------------

VALUES = (
    *(None, True, False, 0, 1, -1, 2, 3, 64, 255, 2**31 - 1, 2**31, 2**53, 2**63, 2**64, 10**17),
    *(0.0, -0.0, 0.5, 1.0, 1e-9, 1e-3, 1e308, -1e308, 5e-324, 1.5, math.nan, math.inf, -math.inf),
    *("", "batch", "x", "z", "loss", "float32", "uint8", "bce", "mse", "gaussian", "logits"),
    *("values", "probabilities", "encoder.onnx", "parity.npz", "manifest.json", "README.md"),
    *("../loss.onnx", "/etc/passwd", "C:\\x", "a\\b", "\0", "\ud800", "é", "A", "0" * 64, "f" * 64),
    *([], {}, [0], [0, 1], ["batch"], [[]], {"": {}}, [1] * 100, "9" * 300),
)


def json_paths(tree, at=()):
    """Yield the path of keys to every value in parsed JSON."""
    yield at
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            yield from json_paths(value, (*at, key))
        else:
            yield (*at, key)


def value_at(tree, at):
    for key in at:
        tree = tree[key]
    return tree


def similar_value(rng: random.Random, value):
    """Return a value that is almost the same."""
    if isinstance(value, bool) or value is None:
        return rng.choice((True, False, None, 0, 1))
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, value * 2, float(value), str(value)))
    if isinstance(value, float):
        scaled = value * (1 + rng.choice((1e-12, 1e-9, 1e-6, 1e-3, 0.1, -2)))
        return rng.choice((math.nextafter(value, math.inf), -value, scaled, int(value)))
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        return rng.choice(
            (
                value[:at] + rng.choice("aZ0_./\\ \n\0é") + value[at + rng.randrange(2) :],
                value.upper(),
                value[:at],
            )
        )
    return rng.choice((None, [value], {"": value}, str(value)))


def change_manifest(rng: random.Random, files: Files) -> None:
    manifest = json.loads(files[MANIFEST])
    every = list(json_paths(manifest))
    at = rng.choice(every[1:])
    outer, key = value_at(manifest, at[:-1]), at[-1]
    match rng.randrange(8):
        case 0 | 1:
            outer[key] = similar_value(rng, outer[key])
        case 2 | 3:
            outer[key] = copy.deepcopy(rng.choice(VALUES))
        case 4:
            outer[key] = copy.deepcopy(value_at(manifest, rng.choice(every)))
        case 5:
            del outer[key]
        case 6:
            other = rng.choice(every[1:])
            if other[: len(at)] != at and at[: len(other)] != other:
                place = value_at(manifest, other[:-1])
                outer[key], place[other[-1]] = place[other[-1]], outer[key]
        case _ if isinstance(outer, dict):
            outer[rng.choice(("x", "Loss", key.upper(), f"{key} "))] = outer[key]
        case _:
            outer.insert(key, copy.deepcopy(outer[key]))
    text = json.dumps(manifest, indent=2)
    if rng.random() < 0.05:  # text that json.dumps never writes
        key = rng.choice(("format", "name", "size", "latent_dim", "file"))
        text = text.replace(f'"{key}":', rng.choice((f'"{key}": 1, "{key}":', f"'{key}':")), 1)
    if rng.random() < 0.02:
        depth = rng.choice((15, 17, 2000, 200_000))
        text = text.replace('"latent_dim": ', '"latent_dim": ' + "[" * depth, 1)
    files[MANIFEST] = text.encode(errors="surrogatepass")


# --- graphs ------------------------------------------------------------------------------------

INTEGERS = (0, 1, 2, 3, 7, 16, 64, -1, -2, 127, 255, 2**24, 2**31, 2**31 - 1, 2**62, -(2**63))
OPERATORS = (
    *("Loop", "If", "Scan", "RandomNormal", "ConstantOfShape", "Expand", "Tile", "Shape", "Range"),
    *("Identity", "Reshape", "MatMul", "Add", "Gather", "Slice", "Concat", "Resize", "Pad", ""),
    *("SequenceEmpty", "OptionalHasElement", "Constant", "Einsum", "TopK", "LSTM", "NonZero"),
)
INT64 = -(2**63), 2**63 - 1


@dataclass
class Tree:
    """Protobuf message as a list of fields, in any order and number."""

    kind: Any
    fields: list[tuple[Any, Any]]

    @classmethod
    def of(cls, message) -> "Tree":
        return cls(
            message.DESCRIPTOR,
            [
                (field, cls.of(value) if field.message_type else value)
                for field, values in message.ListFields()
                for value in (values if field.is_repeated else [values])
            ],
        )

    def copy(self) -> "Tree":
        return Tree(
            self.kind, [(f, v.copy() if isinstance(v, Tree) else v) for f, v in self.fields]
        )

    def encode(self) -> bytes:
        return b"".join(encode_field(field, value) for field, value in self.fields)

    def walk(self) -> Iterator["Tree"]:
        yield self
        for _, value in self.fields:
            if isinstance(value, Tree):
                yield from value.walk()


def encode_field(field, value) -> bytes:
    if field.cpp_type == field.CPPTYPE_FLOAT:
        return varint(field.number << 3 | 5) + struct.pack("<f", value)
    if field.cpp_type == field.CPPTYPE_DOUBLE:
        return varint(field.number << 3 | 1) + struct.pack("<d", value)
    if field.cpp_type not in (field.CPPTYPE_STRING, field.CPPTYPE_MESSAGE):
        return varint(field.number << 3) + varint(value % (1 << 64))
    data = value.encode() if isinstance(value, Tree | str) else value
    return varint(field.number << 3 | 2) + varint(len(data)) + data


def varint(number: int) -> bytes:
    groups = [number >> shift & 0x7F for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def change_graph(rng: random.Random, files: Files) -> None:
    name = rng.choice([name for name in sorted(files) if name.endswith(".onnx")])
    tree = Tree.of(onnx.load_model_from_string(files[name]))
    for _ in range(rng.choice((1, 1, 2))):
        every = list(tree.walk())
        change_message(rng, rng.choice(every), every)
    data = tree.encode()
    if rng.random() < 0.05:
        data += rng.choice((b"\x98\x06\x01", b"\x3a\x00", b"\x08\x08", b"\xa0\x01\x01"))
    files[name] = data
    seal(files)


def change_message(rng: random.Random, message: Tree, every: list[Tree]) -> None:
    """Add, remove, repeat, move or change one field of a message."""
    fields, action = message.fields, rng.randrange(10)
    if not fields or action == 0:
        field = rng.choice(message.kind.fields)
        fields.insert(rng.randrange(len(fields) + 1), (field, other_value(rng, field, 0, every)))
        return
    at, other = rng.randrange(len(fields)), rng.randrange(len(fields))
    field, value = fields[at]
    if action == 1:
        del fields[at]
    elif action == 2:
        fields[at], fields[other] = fields[other], fields[at]
    elif action == 3:
        fields[at:at] = [fields[at]] * rng.choice((1, 1, 2, 50))
    elif action == 4:
        fields[at] = rng.choice(message.kind.fields), value
        if isinstance(value, Tree) or fields[at][0].cpp_type != field.cpp_type:
            fields[at] = field, value
    else:
        fields[at] = field, other_value(rng, field, value, every)


def other_value(rng: random.Random, field, value, every: list[Tree]):
    if field.message_type:
        alike = [other for other in every if other.kind == field.message_type]
        return (rng.choice(alike) if alike else Tree(field.message_type, [])).copy()
    return other_scalar(rng, field, value, every)


def other_scalar(rng: random.Random, field, value, every):
    """Return another value of a field's type."""
    if field.enum_type:
        return rng.choice(field.enum_type.values).number
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return rng.choice((0.0, 1.0, -1.0, 1e30, math.nan, math.inf, 1e-30))
    if field.cpp_type != field.CPPTYPE_STRING:
        number = rng.choice((*INTEGERS, value + 1, value - 1, value * 2))
        low, high = (-(2**31), 2**31 - 1) if field.cpp_type == field.CPPTYPE_INT32 else INT64
        return min(max(number, low), high)
    if field.type == field.TYPE_BYTES:
        data = value if isinstance(value, bytes) else b""
        return rng.choice((changed_bytes(rng, data), data[:-1], data * 2, other_numbers(rng, data)))
    if field.name == "op_type":
        return rng.choice(OPERATORS)
    names = [name for node in every for field, name in node.fields if field.name == "input"]
    texts = [name for name in names if isinstance(name, str)]
    return rng.choice((*texts, "", "x", "z", "batch", "custom", "\0", "a" * 70_000, "é"))


def other_numbers(rng: random.Random, data: bytes) -> bytes:
    """Change one number of weights or sizes; the number of bytes stays the same."""
    for dtype in ("<f4", "<i8"):
        if len(data) % np.dtype(dtype).itemsize == 0 and data and rng.random() < 0.7:
            values = np.frombuffer(data, dtype).copy()
            choices = INTEGERS if dtype == "<i8" else (0, 1e-3, 1e30, -3e38, np.nan, np.inf)
            values[rng.randrange(len(values))] = rng.choice(choices)
            return values.tobytes()
    return bytes(len(data))


# --- proofs ------------------------------------------------------------------------------------


def change_proof(rng: random.Random, files: Files) -> None:
    with np.load(io.BytesIO(files["parity.npz"]), allow_pickle=False) as stored:
        arrays = {name: npy(array) for name, array in stored.items()}
        chosen = rng.choice(sorted(stored))
        array = stored[chosen].copy()
    match rng.randrange(9):
        case 0 | 1 if array.size:
            array.flat[rng.randrange(array.size)] = rng.choice((np.nan, np.inf, 0, 1e30, 0.25))
        case 2:
            array = array.astype(rng.choice(("<f8", ">f4", "<f2", "<i4", "|u1", "?", "<c8")))
        case 3:
            array = np.asfortranarray(array) if array.ndim > 1 else array[::-1]
        case 4:
            array = array[: rng.randrange(len(array) + 1)] if array.ndim else array
        case 5:
            array = array.reshape(-1)[np.newaxis]
        case 6:
            del arrays[chosen]
            chosen = rng.choice(("extra", "x", "eps", "X", "a/b"))
        case 7:
            arrays[chosen] = array_header(rng, npy(array))
            put_proof(files, arrays)
            return
        case _:
            array = array + np.float32(rng.choice((1e-7, 1e-4, 1.0)))
    arrays[chosen] = npy(array)
    put_proof(files, arrays)


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def array_header(rng: random.Random, data: bytes) -> bytes:
    old, new = rng.choice(
        (
            (b"'<f4'", b"'|O8'"),
            (b"'<f4'", b"'<f8'"),
            (b"False", b"True "),
            (b"(", b"(9999999999,"),
            (b"(", b"(-1,"),
            (b"(", b"(__import__('os').abort(),"),
            (b"NUMPY\1", b"NUMPY\2"),
            (b"NUMPY\1\0", b"NUMPY\3\0"),
        )
    )
    return data.replace(old, new, 1)


def put_proof(files: Files, arrays: Files) -> None:
    files["parity.npz"] = zipped((f"{name}.npy", data) for name, data in arrays.items())
    seal(files)


KINDS = (
    ("bytes", change_bytes),
    ("bytes, sealed", change_bytes_and_seal),
    ("exchanged files", exchange_files),
    ("manifest", change_manifest),
    ("graph, sealed", change_graph),
    ("proof, sealed", change_proof),
)
WEIGHTS = (1, 1, 1, 3, 3, 1)


def seeded(seed: int, number: int) -> random.Random:
    """Return the random generator of one mutant."""
    return random.Random(zlib.crc32(f"{seed}/{number}".encode()) | number << 32)
