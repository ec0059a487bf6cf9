import dataclasses
import json
import subprocess
import sys
import time
from typing import Annotated, Generic, Literal, TypeVar

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_runtime.files import strict_json
from vae_runtime.files.strict_json import StrictJsonError, decode, encode, meta, parse

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Pair(Generic[T]):
    first: Annotated[T, meta("the first")]
    second: T


@dataclasses.dataclass(frozen=True)
class Inner:
    flag: bool
    note: str | None
    size: int = 7


@dataclasses.dataclass(frozen=True)
class Outer:
    word: Annotated[str, meta("a word", pattern="[a-z]+")]
    count: Annotated[int, meta(ge=0, le=9)]
    ratio: float
    kind: Literal["a", "b", 3]
    sizes: tuple[Literal["batch"] | int, ...]
    span: tuple[float, float] | None
    inner: Inner
    pair: Pair[float]
    table: dict[Annotated[str, meta(pattern="k[0-9]")], int]
    pairs: tuple[Pair[int], ...]


GOOD = {
    "word": "abc",
    "count": 3,
    "ratio": 0.5,
    "kind": "b",
    "sizes": ["batch", 2, 3],
    "span": [0, 1.5],
    "inner": {"flag": True, "note": None, "size": 7},
    "pair": {"first": 1, "second": 2.5},
    "table": {"k1": 1, "k2": -2},
    "pairs": [{"first": 1, "second": 2}],
}
VALUE = Outer(
    "abc",
    3,
    0.5,
    "b",
    ("batch", 2, 3),
    (0.0, 1.5),
    Inner(True, None),
    Pair(1.0, 2.5),
    {"k1": 1, "k2": -2},
    (Pair(1, 2),),
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff{}", "is not UTF-8: invalid start byte at byte 0"),
        (b'"\xed\xa0\x80"', "is not UTF-8"),
        (b"\xef\xbb\xbf{}", "starts with a byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "is not UTF-8"),
        (b"", "is not JSON: Expecting value at line 1, column 1"),
        (b"{}\n{}", "is not JSON: Extra data at line 2, column 1"),
        (b'{"a": 1,}', "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b'["\x00"]', "is not JSON: Invalid control character"),
        (b"[01]", "is not JSON"),
        (b"// hello\n{}", "is not JSON"),
        (b'{"a": 1, "b": 2, "a": 1}', "has the key 'a' twice"),
        (b'[{"b": {"a": 1, "a": 2}}]', "has the key 'a' twice"),
        (b'{"a": 1, "\\u0061": 2}', "has the key 'a' twice"),
        (b"[NaN]", "has NaN, which is not JSON"),
        (b"[Infinity]", "has Infinity, which is not JSON"),
        (b"[-Infinity]", "has -Infinity, which is not JSON"),
        (b"[1e400]", "has the number 1e400, which is out of range"),
        (b"[-1e400]", "has the number -1e400, which is out of range"),
        (b"[" + b"9" * 19 + b"]", "has an integer of 19 digits, at most 18 are allowed"),
        (b"[" + b"9" * 5000 + b"]", "has an integer of 5000 digits"),
        (b'["\\ud800"]', "has a lone surrogate"),
        (b'{"\\udc00": 1}', "has a lone surrogate"),
        (b'[["\\ude00\\ud83d"]]', "has a lone surrogate"),
        (b"[" * 17 + b"]" * 17, "nested deeper than 16 levels"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, "nested deeper than 16 levels"),
        (b"[" * 500_000, "nested deeper than 16 levels"),
        (b" " * (1 << 20) + b"1", "has 1048577 bytes, at most 1048576 are allowed"),
    ],
    ids=range(28),
)
def test_decode_refuses(text, message):
    with pytest.raises(StrictJsonError) as caught:
        decode(text)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"[" * 16 + b"]" * 16, json.loads("[" * 16 + "]" * 16)),
        (b" " * ((1 << 20) - 1) + b"1", 1),
        (b"[" + b"9" * 18 + b"]", [10**18 - 1]),
        (b'{"a": {"a": 1}, "b": {"a": 2}}', {"a": {"a": 1}, "b": {"a": 2}}),
        (b'["\\ud83d\\ude00", "\xc3\xa9"]', ["\U0001f600", "é"]),
    ],
    ids=["depth", "bytes", "digits", "same key in two objects", "characters"],
)
def test_decode_accepts_values_at_the_limits(text, value):
    assert decode(text) == value


def test_decode_finds_a_repeated_key_among_very_many_quickly():
    keys = ",".join(f'"{i:x}":1' for i in range(90_000))
    text = f'{{{keys},"z":1,"z":1}}'.encode()
    start = time.perf_counter()
    with pytest.raises(StrictJsonError, match="twice"):
        decode(text)
    assert time.perf_counter() - start < 2


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(1 - 10**18, 10**18 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda child: st.lists(child, max_size=3) | st.dictionaries(st.text(), child, max_size=3),
        max_leaves=8,
    )
)
def test_decode_agrees_with_json_on_strict_values(value):
    assert decode(json.dumps(value).encode()) == value


def test_parse_then_encode_then_decode_is_the_same():
    assert parse(Outer, GOOD) == VALUE
    assert parse(Outer, decode(encode(VALUE))) == VALUE


def test_encode_is_indented_utf8_in_the_order_of_the_fields():
    assert encode(Inner(False, "é")) == (
        '{\n  "flag": false,\n  "note": "é",\n  "size": 7\n}\n'.encode()
    )


def test_encode_refuses_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(Pair(float("nan"), 0.0))


def test_an_integer_is_accepted_as_a_float():
    ratio = parse(Outer, GOOD | {"ratio": 2}).ratio
    assert (type(ratio), ratio) == (float, 2.0)


REFUSED = [
    ("word", 1, "$.word: Expected str, got int"),
    ("word", None, "$.word: Expected str, got null"),
    ("word", "Abc", "$.word: Expected str matching regex '^(?:[a-z]+)"),
    ("word", "abc\n", "$.word: Expected str matching"),
    ("word", "", "$.word: Expected str matching"),
    ("count", 10, "$.count: Expected int <= 9"),
    ("count", -1, "$.count: Expected int >= 0"),
    ("count", True, "$.count: Expected int, got bool"),
    ("count", 3.0, "$.count: Expected int, got float"),
    ("count", "3", "$.count: Expected int, got str"),
    ("ratio", False, "$.ratio: Expected float, got bool"),
    ("ratio", "0.5", "$.ratio: Expected float, got str"),
    ("kind", "c", "$.kind: Invalid enum value 'c'"),
    ("kind", 3.0, "$.kind: Expected int | str, got float"),
    ("sizes", "batch", "$.sizes: Expected array, got str"),
    ("sizes", ["batch", "other"], "$.sizes[1]: Invalid enum value 'other'"),
    ("sizes", [True], "$.sizes[0]: Expected int | str, got bool"),
    ("span", [0], "$.span: Expected array of length 2, got 1"),
    ("span", [0, 1, 2], "$.span: Expected array of length 2, got 3"),
    ("inner", [], "$.inner: Expected object, got array"),
    ("inner", {"flag": 1, "note": None}, "$.inner.flag: Expected bool, got int"),
    ("inner", {"flag": True, "note": 1}, "$.inner.note: Expected str | null, got int"),
    ("inner", {"flag": True}, "$.inner: Object missing required field note"),
    ("inner", {"flag": True, "note": ""}, "$.inner: key 'size' is missing"),
    ("inner", {"flag": True, "note": "", "size": 1, "x": 1}, "$.inner: unknown key 'x'"),
    ("pair", {"first": True, "second": 1}, "$.pair.first: Expected float, got bool"),
    ("pair", {"first": 1, "second": "1"}, "$.pair.second: Expected float, got str"),
    ("table", [], "$.table: Expected object, got array"),
    ("table", {"j1": 1}, "key in $.table: Expected str matching"),
    ("table", {"k1": 1.5}, "$.table[...]: Expected int, got float"),
    ("pairs", [{"first": 1, "second": 2, "x": 3}], "$.pairs[0]: unknown key 'x'"),
]


@pytest.mark.parametrize(("key", "value", "message"), REFUSED, ids=range(len(REFUSED)))
def test_parse_refuses_and_names_the_place(key, value, message):
    with pytest.raises(StrictJsonError) as caught:
        parse(Outer, GOOD | {key: value})
    assert message in str(caught.value)


@pytest.mark.parametrize("key", GOOD)
def test_every_key_is_required(key):
    with pytest.raises(StrictJsonError, match=f"{key}.? is missing|required field {key}"):
        parse(Outer, {name: value for name, value in GOOD.items() if name != key})


@pytest.mark.parametrize("value", [None, 1, "x", [GOOD]])
def test_the_top_level_is_an_object(value):
    with pytest.raises(StrictJsonError, match=r"^\$: Expected object"):
        parse(Outer, value)


def test_messages_stay_short_for_long_values():
    for bad in ({"word": "X" * 9999}, {"x" * 9999: 1}, {"table": {"x" * 9999: 1}}):
        with pytest.raises(StrictJsonError) as caught:
            parse(Outer, GOOD | bad)
        assert len(str(caught.value)) < 200


def test_json_schema_is_as_strict_as_the_parser():
    """An independent validator with this schema refuses what `parse` refuses."""
    schema = strict_json.json_schema(Outer, "the title")
    assert schema["title"] == "the title"
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(GOOD)
    for key, value, _ in REFUSED:
        if value != 3.0:  # an integer in JSON Schema
            assert not validator.is_valid(GOOD | {key: value}), (key, value)
    for key in GOOD:
        assert not validator.is_valid({k: v for k, v in GOOD.items() if k != key})
    word = schema["$defs"]["Outer"]["properties"]["word"]
    assert word["description"] == "a word"


@dataclasses.dataclass(frozen=True)
class Late:
    name: str
    added: Annotated[bool, meta("added later", optional=True)] = strict_json.optional(False)


def test_an_optional_field_is_left_out_if_it_has_its_default():
    for text, value in (
        ({"name": "n"}, Late("n")),
        ({"name": "n", "added": True}, Late("n", True)),
    ):
        assert json.loads(encode(value)) == text
        assert parse(Late, text) == value
        jsonschema.validate(text, strict_json.json_schema(Late, "late"))
    with pytest.raises(StrictJsonError, match="missing required field name"):
        parse(Late, {"added": True})


IN_THREADS = """
import sys, threading
from vae_runtime import Bundle
sys.setswitchinterval(1e-5)
barrier, read = threading.Barrier(8, timeout=30), []
def open_bundle():
    barrier.wait()
    read.append(Bundle(sys.argv[1]).manifest)
threads = [threading.Thread(target=open_bundle) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(read))
"""


def test_several_threads_may_read_the_first_manifest_of_a_process(exported):
    """Without a lock, msgspec 0.22 crashed in about nine of ten such processes."""
    arguments = [sys.executable, "-c", IN_THREADS, exported()]
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "8\n"), result.stderr
