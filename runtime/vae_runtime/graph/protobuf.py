"""Strict reader of the wire format of Protocol Buffers, without a copy of the data, and a writer.

No library is used: the protobuf package skips unknown fields and takes the last of several values.
With that, one file could mean one thing to our check and another to ONNX Runtime. So every field
must be declared, have the declared wire type, and occur once unless it is repeated. Numbers must be
encoded in as few bytes as possible.

The format (https://protobuf.dev/programming-guides/encoding): a message is a sequence of fields. A
field is a varint `number << 3 | wire type` and a value. The value is a varint (wire type 0), 8
bytes (1), a varint length and that many bytes (2), or 4 bytes (5).
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_TEXT_BYTES = 1 << 16
"""Longest text field, in bytes."""

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


class FieldKind(enum.Enum):
    """Type of a field's value, unless it is an inner message."""

    INT = "an integer"
    FLOAT = "a float"
    TEXT = "text"
    BYTES = "bytes"
    REFUSED = "refused"


@dataclass(frozen=True)
class Message:
    """Declaration of a message: its fields by number."""

    name: str
    fields: Mapping[int, Field]


@dataclass(frozen=True)
class Field:
    """Declaration of a field: the type of its value, and whether it is a list of values."""

    name: str
    kind: FieldKind | Message
    repeated: bool = False


_WIRE_TYPES = {FieldKind.INT: _VARINT, FieldKind.FLOAT: _FOUR_BYTES}  # all others: _LENGTH


class WireError(ValueError):
    """The bytes are not the declared message."""


class Reader:
    """Reader of messages that bounds its time: it reads at most `limit` fields in all.

    Each element of a packed field counts as a field.
    """

    def __init__(self, limit: int) -> None:
        self._limit = self._left = limit

    def read(self, data: memoryview, message: Message) -> dict[str, Any]:
        """Return the values of a message and its inner messages by name, or raise `WireError`.

        A value is an int, float, str, memoryview or, for an inner message, a dict. A repeated
        field is always present, as a list.
        """
        values: dict[str, Any] = {f.name: [] for f in message.fields.values() if f.repeated}
        for number, wire_type, raw in self._fields(data):
            field = message.fields.get(number)
            if field is None:
                raise WireError(f"{message.name} has the unknown field {number}")
            if field.kind is FieldKind.REFUSED:
                raise WireError(f"{message.name} has {field.name}, which is not allowed")
            if field.repeated:
                values[field.name].extend(self._elements(field, wire_type, raw))
            elif field.name in values:
                raise WireError(f"{message.name} has {field.name} twice")
            else:
                values[field.name] = self._value(field, wire_type, raw)
        return values

    def _fields(self, data: memoryview) -> Iterator[tuple[int, int, Any]]:
        """Yield number, wire type and raw value of each field."""
        position, end = 0, len(data)
        while position < end:
            self._count(1)
            key, position = _read_varint(data, position)
            wire_type = key & 7
            raw: Any
            if wire_type == _VARINT:
                raw, position = _read_varint(data, position)
            elif wire_type == _LENGTH:
                size, position = _read_varint(data, position)
                raw, position = _read_bytes(data, position, size)
            elif wire_type in (_FOUR_BYTES, _EIGHT_BYTES):
                raw, position = _read_bytes(data, position, 4 if wire_type == _FOUR_BYTES else 8)
            else:
                raise WireError(f"a field has the wire type {wire_type}")
            yield key >> 3, wire_type, raw

    def _elements(self, field: Field, wire_type: int, raw: Any) -> list[Any]:
        """Return one element of a repeated field, or several that are packed into one value."""
        if wire_type != _LENGTH or field.kind not in (FieldKind.INT, FieldKind.FLOAT):
            return [self._value(field, wire_type, raw)]
        if field.kind is FieldKind.FLOAT:
            self._count(len(raw) // 4)
            if len(raw) % 4:
                raise WireError(f"packed floats have {len(raw)} bytes")
            return list(struct.unpack(f"<{len(raw) // 4}f", raw))
        values, position = [], 0
        while position < len(raw):
            self._count(1)
            value, position = _read_varint(raw, position)
            values.append(_signed(value))
        return values

    def _value(self, field: Field, wire_type: int, raw: Any) -> Any:
        kind = FieldKind.BYTES if isinstance(field.kind, Message) else field.kind
        if wire_type != _WIRE_TYPES.get(kind, _LENGTH):
            raise WireError(f"{field.name} has the wire type {wire_type}, expected {kind.value}")
        if isinstance(field.kind, Message):
            return self.read(raw, field.kind)
        if kind is FieldKind.INT:
            return _signed(raw)
        if kind is FieldKind.FLOAT:
            return struct.unpack("<f", raw)[0]
        return _decode_text(field.name, raw) if kind is FieldKind.TEXT else raw

    def _count(self, fields: int) -> None:
        self._left -= fields
        if self._left < 0:
            raise WireError(f"it has more than {self._limit} fields")


def encode(values: Mapping[str, Any], message: Message) -> bytes:
    """Return the bytes of a message: the inverse of `Reader.read`.

    Fields are written in the order of their numbers, as the protobuf package writes them.
    """
    parts: list[bytes | memoryview] = []
    for number, field in sorted(message.fields.items()):
        if field.kind is not FieldKind.REFUSED and field.name in values:
            value = values[field.name]
            for element in value if field.repeated else (value,):
                parts += _encoded_field(number, field, element)
    return b"".join(parts)


def _encoded_field(number: int, field: Field, value: Any) -> tuple[bytes | memoryview, ...]:
    if field.kind is FieldKind.INT:
        return _varint(number << 3 | _VARINT), _varint(value % (1 << 64))
    if field.kind is FieldKind.FLOAT:
        return _varint(number << 3 | _FOUR_BYTES), struct.pack("<f", value)
    if isinstance(field.kind, Message):
        value = encode(value, field.kind)
    elif field.kind is FieldKind.TEXT:
        value = value.encode()
    return _varint(number << 3 | _LENGTH), _varint(len(value)), value


def _varint(value: int) -> bytes:
    """Return an unsigned integer, 7 bits a byte, lowest first."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return an unsigned integer (7 bits a byte, lowest first) and the position after it."""
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


def _read_bytes(data: memoryview, position: int, size: int) -> tuple[memoryview, int]:
    if size > len(data) - position:
        raise WireError(f"a field of {size} bytes is cut short")
    return data[position : position + size], position + size


def _decode_text(name: str, raw: memoryview) -> str:
    if len(raw) > MAX_TEXT_BYTES:
        raise WireError(f"{name} has {len(raw)} bytes, at most {MAX_TEXT_BYTES} are allowed")
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise WireError(f"{name} is not UTF-8") from None
