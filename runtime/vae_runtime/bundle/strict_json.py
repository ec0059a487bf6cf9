"""Strict JSON to and from frozen dataclasses, and the JSON Schema of a dataclass.

The types of the fields are the grammar: `str`, `int`, `float`, `bool`, `None`, `Literal`,
`X | Y`, `tuple[X, ...]`, `tuple[X, Y]`, `dict[str, X]` and dataclasses of those. `Annotated`
adds a description (a string), a `Limit` or a `Pattern`.

Strict means: UTF-8 without a byte order mark, no lone surrogates, no duplicate keys, no unknown
keys, no missing keys, no NaN or Infinity, integers that are integers, no bool for a number, bounded
size and depth.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import types
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

MAX_BYTES = 1 << 20
MAX_DEPTH = 16
MAX_DIGITS = 18

_SURROGATE = re.compile("[\ud800-\udfff]")  # half of a character, left by an escape

D = TypeVar("D")


@dataclasses.dataclass(frozen=True)
class Limit:
    """Lowest and highest value of a number."""

    low: float = -math.inf
    high: float = math.inf


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Regular expression that a whole string matches."""

    regex: str


class StrictJsonError(ValueError):
    """The text is not strict JSON, or not of the shape that the dataclass states."""


def decode(data: bytes) -> Any:
    """Parses strict JSON.

    Raises:
        StrictJsonError: says what rule the text breaks.
    """
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


def parse(cls: type[D], value: Any, where: str = "") -> D:
    """Builds a dataclass from parsed JSON.

    Args:
        cls: a dataclass.
        value: what `decode` returned.
        where: path of the value, for messages.

    Raises:
        StrictJsonError: names the path, what was expected and what was found.
    """
    parsed: D = _parse(cls, value, where)
    return parsed


def encode(value: Any) -> bytes:
    """A dataclass as JSON text, indented, keys in the order of the fields."""
    text = json.dumps(dataclasses.asdict(value), indent=2, allow_nan=False, ensure_ascii=False)
    return text.encode() + b"\n"


def json_schema(cls: type[Any], title: str) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a dataclass."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **_schema(cls),
    }


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise StrictJsonError(f"has the key {_short(repr(key))} twice")
        result[key] = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise StrictJsonError(f"has {name}, which is not JSON")


def _bounded_int(digits: str) -> int:
    count = len(digits.lstrip("-"))
    if count > MAX_DIGITS:
        raise StrictJsonError(f"has an integer of {count} digits")
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
        raise StrictJsonError(f"has the text {_short(ascii(value))}, which is half a character")
    if isinstance(value, dict):
        for key in value:
            _check_tree(key, depth)
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            _check_tree(child, depth + 1)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _fail(where: str, expected: str, value: Any) -> NoReturn:
    found = _short(json.dumps(value))
    raise StrictJsonError(f"{where or 'top level'}: expected {expected}, found {found}")


def _parse(kind: Any, value: Any, where: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        parsed = _parse(args[0], value, where)
        for constraint in args[1:]:
            _check(constraint, value, where)
        return parsed
    if origin is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in args):
            _fail(where, " or ".join(map(json.dumps, args)), value)
        return value
    if origin in (Union, types.UnionType):
        return _parse_union(args, value, where)
    if origin is tuple:
        return _parse_tuple(args, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            _fail(where, "an object", value)
        for key in value:
            _parse(args[0], key, f"key {_short(repr(key))} of {where}")
        return {key: _parse(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(origin or kind):
        return _parse_dataclass(kind, value, where)
    return _parse_scalar(kind, value, where)


def _parse_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind is float and type(value) in (int, float):
        return float(value)
    if type(value) is not kind:
        name = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
        _fail(where, name.get(kind, "null"), value)
    return value


def _parse_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    candidates = [kind for kind in kinds if kind is not type(None)]
    for kind in candidates[:-1]:
        try:
            return _parse(kind, value, where)
        except StrictJsonError:
            continue
    return _parse(candidates[-1], value, where)


def _parse_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        _fail(where, "a list", value)
    kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
    if len(kinds) != len(value):
        _fail(where, f"a list of {len(kinds)}", value)
    return tuple(
        _parse(kind, item, f"{where}[{i}]")
        for i, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _parse_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        _fail(where, "an object", value)
    fields = _field_types(kind)
    if unknown := sorted(set(value) - set(fields)):
        key = _short(repr(unknown[0]))
        raise StrictJsonError(f"{where or 'top level'}: unknown key {key}")
    if missing := [name for name in fields if name not in value]:
        raise StrictJsonError(f"{where or 'top level'}: key {missing[0]!r} is missing")
    prefix = f"{where}." if where else ""
    return kind(**{n: _parse(t, value[n], f"{prefix}{n}") for n, t in fields.items()})


@functools.cache
def _field_types(kind: Any) -> dict[str, Any]:
    """Types of a dataclass's fields, with the parameter of a generic one filled in."""
    origin = get_origin(kind) or kind
    hints = get_type_hints(origin, include_extras=True)
    parameters = next(
        (
            get_args(base)
            for base in getattr(origin, "__orig_bases__", ())
            if get_origin(base) is Generic
        ),
        (),
    )
    bound = dict(zip(parameters, get_args(kind), strict=True))
    return {
        field.name: _substitute(hints[field.name], bound) for field in dataclasses.fields(origin)
    }


def _substitute(kind: Any, bound: dict[Any, Any]) -> Any:
    if get_origin(kind) is Annotated and get_args(kind)[0] in bound:
        inner, *notes = get_args(kind)
        return Annotated[(bound[inner], *notes)]
    return bound.get(kind, kind) if isinstance(kind, TypeVar) else kind


def _check(constraint: Any, value: Any, where: str) -> None:
    if isinstance(constraint, Limit) and not constraint.low <= value <= constraint.high:
        _fail(where, f"a number from {constraint.low:g} to {constraint.high:g}", value)
    if isinstance(constraint, Pattern) and not re.fullmatch(constraint.regex, value):
        _fail(where, f"text that matches {constraint.regex}", value)


def _schema(kind: Any) -> dict[str, Any]:
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        schema = _schema(args[0])
        for note in args[1:]:
            schema |= _schema_of_note(note)
        return schema
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_schema(arg) for arg in args]}
    if origin is tuple:
        if args[-1] is Ellipsis:
            return {"type": "array", "items": _schema(args[0])}
        items = [_schema(arg) for arg in args]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin is dict:
        return {
            "type": "object",
            "propertyNames": _schema(args[0]),
            "additionalProperties": _schema(args[1]),
        }
    if dataclasses.is_dataclass(origin or kind):
        fields = _field_types(kind)
        return {
            "type": "object",
            "properties": {name: _schema(child) for name, child in fields.items()},
            "required": list(fields),
            "additionalProperties": False,
        }
    names = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    return {"type": names[kind]}


def _schema_of_note(note: Any) -> dict[str, Any]:
    if isinstance(note, str):
        return {"description": note}
    if isinstance(note, Pattern):
        return {"pattern": f"^(?:{note.regex})$"}
    bounds = {"minimum": note.low, "maximum": note.high}
    return {key: value for key, value in bounds.items() if math.isfinite(value)}
