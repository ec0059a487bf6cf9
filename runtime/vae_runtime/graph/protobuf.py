"""The wire format of Protocol Buffers, read strictly and without a copy.

ONNX files are Protocol Buffers. A parser that skips what it does not know would let a file say one
thing to a check and another to ONNX Runtime, so here every field must be declared, of the declared
wire type, and there once unless it is repeated. Numbers must be encoded in the shortest way.

The format (https://protobuf.dev/programming-guides/encoding): a message is a row of fields; a field
is a varint `number << 3 | wire type` and a value, which is a varint (wire type 0), 8 bytes (1), a
varint length and that many bytes (2), or 4 bytes (5).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 1 << 16
"""Longest text, in bytes."""

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


class Kind(enum.Enum):
    """What a field holds."""

    INT = "an integer"
    FLOAT = "a float"
    TEXT = "text"
    BYTES = "bytes"
    REFUSED = "refused"


_WIRE_TYPES = {
    Kind.INT: _VARINT,
    Kind.FLOAT: _FOUR_BYTES,
    Kind.TEXT: _LENGTH,
    Kind.BYTES: _LENGTH,
}


@dataclass(frozen=True)
class Field:
    """One field of a message; `BYTES` is for inner messages too."""

    name: str
    kind: Kind
    repeated: bool = False


@dataclass(frozen=True)
class Message:
    """The fields of a message, by number."""

    name: str
    fields: Mapping[int, Field]


class WireError(ValueError):
    """The bytes are not such a message."""


class Reader:
    """Reads messages, and no more fields in all than a limit: what bounds its time.

    Args:
        limit: how many fields, and elements of packed fields, may be read.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit

    def read(self, data: memoryview, message: Message) -> dict[str, Any]:
        """Reads one message.

        Args:
            data: its bytes.
            message: what it may hold.

        Returns:
            What is there, by name: int, float, str, memoryview, or a list of these for a repeated
            field, which is there always.

        Raises:
            WireError: says what is wrong.
        """
        values: dict[str, Any] = {f.name: [] for f in message.fields.values() if f.repeated}
        for number, wire_type, raw in self._fields(data):
            field = message.fields.get(number)
            if field is None:
                raise WireError(f"{message.name} has the unknown field {number}")
            if field.kind is Kind.REFUSED:
                raise WireError(f"{message.name} has {field.name}, which is not allowed")
            if field.repeated:
                values[field.name].extend(self._elements(field, wire_type, raw))
            elif field.name in values:
                raise WireError(f"{message.name} has {field.name} twice")
            else:
                values[field.name] = _value(field, wire_type, raw)
        return values

    def _fields(self, data: memoryview) -> Iterator[tuple[int, int, Any]]:
        position, end = 0, len(data)
        while position < end:
            self._count(1)
            key, position = _varint(data, position)
            wire_type = key & 7
            raw: Any
            if wire_type == _VARINT:
                raw, position = _varint(data, position)
            elif wire_type == _LENGTH:
                size, position = _varint(data, position)
                raw, position = _bytes(data, position, size)
            elif wire_type in (_FOUR_BYTES, _EIGHT_BYTES):
                raw, position = _bytes(data, position, 4 if wire_type == _FOUR_BYTES else 8)
            else:
                raise WireError(f"a field has the wire type {wire_type}")
            yield key >> 3, wire_type, raw

    def _elements(self, field: Field, wire_type: int, raw: Any) -> list[Any]:
        """The elements of a repeated field: one, or several packed into one value."""
        if wire_type != _LENGTH or field.kind in (Kind.TEXT, Kind.BYTES):
            return [_value(field, wire_type, raw)]
        if field.kind is Kind.FLOAT:
            self._count(len(raw) // 4)
            return [_float(part) for part in _quads(raw)]
        values, position = [], 0
        while position < len(raw):
            self._count(1)
            value, position = _varint(raw, position)
            values.append(_signed(value))
        return values

    def _count(self, fields: int) -> None:
        self._left -= fields
        if self._left < 0:
            raise WireError(f"it has more than {self._limit} fields")


def _value(field: Field, wire_type: int, raw: Any) -> Any:
    if wire_type != _WIRE_TYPES[field.kind]:
        raise WireError(f"{field.name} has the wire type {wire_type}, expected {field.kind.value}")
    if field.kind is Kind.INT:
        return _signed(raw)
    if field.kind is Kind.FLOAT:
        return _float(raw)
    return _text(field.name, raw) if field.kind is Kind.TEXT else raw


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """An unsigned integer of seven bits a byte, lowest first, and the position behind it."""
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (byte == 0 and shift) or value >> 64:
                break
            return value, position
        shift += 7
    raise WireError("a number is cut short, too large, or longer than it needs to be")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _bytes(data: memoryview, position: int, size: int) -> tuple[memoryview, int]:
    if size > len(data) - position:
        raise WireError(f"a field of {size} bytes is cut short")
    return data[position : position + size], position + size


def _quads(raw: memoryview) -> Iterator[memoryview]:
    if len(raw) % 4:
        raise WireError(f"packed floats have {len(raw)} bytes")
    return (raw[at : at + 4] for at in range(0, len(raw), 4))


def _float(raw: memoryview) -> float:
    return float(struct.unpack("<f", raw)[0])


def _text(name: str, raw: memoryview) -> str:
    if len(raw) > MAX_TEXT:
        raise WireError(f"{name} has {len(raw)} bytes, at most {MAX_TEXT} are allowed")
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise WireError(f"{name} is not UTF-8") from None
