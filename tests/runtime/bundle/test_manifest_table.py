"""The README's table of manifest fields agrees with the JSON Schema."""

from pathlib import Path

from vae_runtime import manifest_schema

README = Path(__file__).parents[3] / "runtime" / "README.md"


SCHEMA = manifest_schema()


def resolved(schema):
    """Return a schema with its `$ref` replaced by the definition; its other keys are kept."""
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].removeprefix("#/$defs/")
    return SCHEMA["$defs"][name] | {key: schema[key] for key in schema if key != "$ref"}


def kind(schema):
    """Return the type of a schema in a few words."""
    schema = resolved(schema)
    if "anyOf" in schema:
        return " or ".join(kind(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array" and schema["items"]:
        return f"list: {kind(schema['items'])}"
    if schema["type"] == "array":
        return "two numbers"
    return schema["type"]


def rows(schema, path, known):
    """Yield one row per field; objects of the same type are written out once."""
    for name, field in resolved(schema)["properties"].items():
        yield f"| `{path}{name}` | {kind(field)} | {field.get('description', '')} |"
        for child, step in children(field):
            title = resolved(child)["title"]
            if title not in known:
                known.add(title)
                yield from rows(child, f"{path}{name}{step}.", known)


def children(field):
    """Yield the objects inside a field, and the path from the field to each."""
    for option in field.get("anyOf", [field]):
        for step, child in (
            ("", option),
            ("[]", option.get("items")),
            (".*", option.get("additionalProperties")),
        ):
            if isinstance(child, dict) and "properties" in resolved(child):
                yield child, step


def table():
    lines = rows(SCHEMA, "", set())
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *lines])


def test_the_readme_lists_every_field_of_the_manifest():
    assert table() in README.read_text("utf-8")
