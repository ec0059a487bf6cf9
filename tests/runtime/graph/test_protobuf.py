"""The reader of the wire format, compared with the protobuf package."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto

from vae_runtime.graph.operators import ATTRIBUTE_PROTO
from vae_runtime.graph.protobuf import Field, FieldKind, Message, Reader, WireError

INT64 = st.integers(-(2**63), 2**63 - 1)
SOME = Message(
    "some",
    {
        1: Field("number", FieldKind.INT),
        2: Field("numbers", FieldKind.INT, repeated=True),
        3: Field("text", FieldKind.TEXT),
        4: Field("inner", FieldKind.BYTES),
        5: Field("float", FieldKind.FLOAT),
        6: Field("secret", FieldKind.REFUSED),
    },
)


def read(data, message=SOME, limit=100):
    return Reader(limit).read(memoryview(data), message)


@given(
    st.text(max_size=20),
    INT64,
    st.floats(width=32, allow_nan=False),
    st.lists(INT64, max_size=9),
    st.lists(st.floats(width=32, allow_nan=False), max_size=9),
)
def test_a_message_of_the_protobuf_package_is_read_back(name, i, f, ints, floats):
    proto = AttributeProto(name=name, i=i, f=f, ints=ints, floats=floats, strings=[name.encode()])
    found = read(proto.SerializeToString(), ATTRIBUTE_PROTO)
    assert (found["name"], found["i"], found["f"]) == (name, i, f)
    assert (found["ints"], found["floats"]) == (ints, floats)
    assert bytes(found["strings"][0]) == name.encode()


def test_repeated_numbers_packed_or_not():
    assert read(b"\x10\x01\x12\x02\x02\x03\x10\x04")["numbers"] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\x08", "cut short"),
        (b"\x08\x80", "cut short"),
        (b"\x08" + b"\x80" * 10 + b"\x01", "too large"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "too large"),
        (b"\x08\x81\x00", "longer than it needs"),
        (b"\x88\x00\x01", "longer than it needs"),
        (b"\x1a\x05abcd", "a field of 5 bytes is cut short"),
        (b"\x1a" + b"\xff" * 9 + b"\x01", "a field of 18446744073709551615 bytes is cut short"),
        (b"\x2d\x00\x00\x00", "a field of 4 bytes is cut short"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x0e\x00", "wire type 6"),
        (b"\x00\x00", "some has the unknown field 0"),
        (b"\x38\x00", "some has the unknown field 7"),
        (b"\x30\x00", "some has secret, which is not allowed"),
        (b"\x08\x01\x08\x01", "some has number twice"),
        (b"\x0d\x00\x00\x00\x00", "number has the wire type 5, expected an integer"),
        (b"\x09" + b"\x00" * 8, "number has the wire type 1"),
        (b"\x18\x00", "text has the wire type 0, expected text"),
        (b"\x28\x00", "float has the wire type 0, expected a float"),
        (b"\x15\x00\x00\x00\x00", "numbers has the wire type 5"),
        (b"\x12\x01\x80", "cut short"),
        (b"\x1a\x01\xff", "text is not UTF-8"),
        (b"\x10\x01" * 101, "more than 100 fields"),
        (b"\x12\x65" + b"\x01" * 101, "more than 100 fields"),
    ],
)
def test_damaged_or_ambiguous_messages(data, rule):
    with pytest.raises(WireError, match=rule):
        read(data)


def test_packed_floats_with_a_partial_element():
    data = b"\x3a\x06" + struct.pack("<f", 1.5) + b"\0\0"
    with pytest.raises(WireError, match="packed floats have 6 bytes"):
        read(data, ATTRIBUTE_PROTO)


def test_packed_floats_count_as_fields():
    data = b"\x3a\x90\x01" + bytes(144)
    assert read(data, ATTRIBUTE_PROTO)["floats"] == [0.0] * 36
    with pytest.raises(WireError, match="more than 36 fields"):
        read(data, ATTRIBUTE_PROTO, limit=36)


def test_bytes_are_not_copied():
    data = b"\x22\x03abc"
    assert read(data)["inner"].obj is data
