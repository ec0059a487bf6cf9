"""Conversion between strict JSON and frozen dataclasses.

msgspec checks types, limits and patterns, and writes the JSON Schema. It accepts three things that
a manifest must not have: repeated keys, unknown keys, and missing keys that have a default. This
module refuses them. It also limits size and depth before it converts anything, and refuses byte
order marks, NaN, very long integers and lone surrogates.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Any, NoReturn, TypeVar

import msgspec

from vae_runtime.forking import ForkAware

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_DIGITS = 18

_END_OF_TEXT = r"(?![\s\S])"
_SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character, written as an escape

_OPTIONAL = "optional"

_CONVERTING = ForkAware(last=True)
"""Its lock is held while msgspec converts: on first use it prepares a class, and crashes if another
thread, or a child of a fork, uses the class before that is complete."""

D = TypeVar("D")
T = TypeVar("T")


class StrictJsonError(ValueError):
    """The text is not strict JSON, or does not fit the dataclass."""


def meta(
    description: str | None = None,
    *,
    ge: float | None = None,
    le: float | None = None,
    pattern: str | None = None,
    optional: bool = False,
) -> msgspec.Meta:
    """Describe and constrain a field, inside `Annotated`; `pattern` must match the whole string.

    `optional` belongs to a field whose default is `strict_json.optional(...)`.
    """
    if pattern is not None:  # `$` alone would allow a line break at the end
        pattern = f"^(?:{pattern}){_END_OF_TEXT}"
    limits: Any = {"ge": ge, "le": le, "pattern": pattern}  # no overload takes all three
    extra = {"$comment": _OPTIONAL} if optional else None
    return msgspec.Meta(description=description, extra_json_schema=extra, **limits)


def optional(default: T) -> T:
    """Return a dataclass field that is left out of the JSON text if it has its default."""
    field: T = dataclasses.field(default=default, metadata={_OPTIONAL: True})
    return field


def decode(data: bytes) -> Any:
    """Parse strict JSON. Raises `StrictJsonError`, which names the rule that the text breaks."""
    if len(data) > MAX_BYTES:
        raise StrictJsonError(f"has {len(data)} bytes, at most {MAX_BYTES} are allowed")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise StrictJsonError(f"is not UTF-8: {error.reason} at byte {error.start}") from None
    if text.startswith("\ufeff"):
        raise StrictJsonError("starts with a byte order mark")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_no_constant,
            parse_int=_bounded_int,
            parse_float=_finite_float,
        )
    except json.JSONDecodeError as error:
        raise StrictJsonError(
            f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise StrictJsonError(f"is nested deeper than {MAX_DEPTH} levels") from None
    _check_tree(value, 1)
    return value


def parse(cls: type[D], value: Any) -> D:
    """Build a dataclass from the result of `decode`.

    Raises `StrictJsonError`, which says where, what was expected and what was found.
    """
    try:
        with _CONVERTING.lock:
            parsed = msgspec.convert(value, cls)
    except msgspec.ValidationError as error:
        text = str(error).replace("`", "").replace(_END_OF_TEXT.replace("\\", r"\\"), "")
        reason, _, place = text.partition(" - at ")
        raise StrictJsonError(f"{place or '$'}: {_shortened(reason, 120)}") from None
    _check_keys(value, parsed, "$")
    return parsed


def encode(value: Any) -> bytes:
    """Return a dataclass as JSON text: indented, keys in the order of the fields."""
    tree = _without_defaults(value, dataclasses.asdict(value))
    text = json.dumps(tree, indent=2, allow_nan=False, ensure_ascii=False)
    return text.encode() + b"\n"


def json_schema(cls: type[Any], title: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a dataclass.

    It requires all keys, except those that are `optional`, and allows no others.
    """
    schema = json.loads(json.dumps(msgspec.json.schema(cls)))  # tuples become lists
    for component in schema["$defs"].values():
        properties = component["properties"]
        component["required"] = [
            name for name in properties if properties[name].get("$comment") != _OPTIONAL
        ]
        component["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


def _left_out(value: Any) -> list[str]:
    """Return the optional fields of a dataclass that have their default."""
    return [
        field.name
        for field in dataclasses.fields(value)
        if _OPTIONAL in field.metadata and getattr(value, field.name) == field.default
    ]


def _without_defaults(value: Any, tree: Any) -> Any:
    """Remove the optional fields that have their default from `asdict(value)`."""
    if isinstance(value, tuple):
        return [_without_defaults(*pair) for pair in zip(value, tree, strict=True)]
    if isinstance(value, dict):
        return {key: _without_defaults(own, tree[key]) for key, own in value.items()}
    if not dataclasses.is_dataclass(value):
        return tree
    left_out = _left_out(value)
    return {
        name: _without_defaults(getattr(value, name), child)
        for name, child in tree.items()
        if name not in left_out
    }


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise StrictJsonError(f"has the key {_shortened(repr(key))} twice")
        result[key] = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise StrictJsonError(f"has {name}, which is not JSON")


def _bounded_int(digits: str) -> int:
    count = len(digits.lstrip("-"))
    if count > MAX_DIGITS:
        raise StrictJsonError(f"has an integer of {count} digits, at most {MAX_DIGITS} are allowed")
    return int(digits)


def _finite_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise StrictJsonError(f"has the number {text[:20]}, which is out of range")
    return number


def _check_tree(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise StrictJsonError(f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, str) and _SURROGATE.search(value):
        raise StrictJsonError(f"has a lone surrogate in the text {_shortened(ascii(value))}")
    if isinstance(value, dict):
        for key in value:
            _check_tree(key, depth)
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            _check_tree(child, depth + 1)


def _check_keys(value: Any, parsed: Any, place: str) -> None:
    """Refuse keys that the conversion to `parsed` ignored, or filled in from a default."""
    if dataclasses.is_dataclass(parsed):
        names = [field.name for field in dataclasses.fields(parsed)]
        for key in value:
            if key not in names:
                raise StrictJsonError(f"{place}: unknown key {_shortened(repr(key))}")
        for name in names:
            if name not in value:
                if name in _left_out(parsed):
                    continue
                raise StrictJsonError(f"{place}: key {name!r} is missing")
            _check_keys(value[name], getattr(parsed, name), f"{place}.{name}")
    elif isinstance(parsed, dict):
        for key, child in parsed.items():
            _check_keys(value[key], child, f"{place}.{key}")
    elif isinstance(parsed, tuple):
        for i, child in enumerate(parsed):
            _check_keys(value[i], child, f"{place}[{i}]")


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."
