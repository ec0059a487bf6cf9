"""The README spells the manifest out; this holds its table to the format's own schema."""

from pathlib import Path

from vae_runtime import manifest_schema

README = Path(__file__).parents[3] / "README.md"


SCHEMA = manifest_schema()


def resolved(schema):
    """A schema with its reference followed; what stands beside the reference stays."""
    if "$ref" not in schema:
        return schema
    name = schema["$ref"].removeprefix("#/$defs/")
    return SCHEMA["$defs"][name] | {key: schema[key] for key in schema if key != "$ref"}


def kind(schema):
    """A schema's type in a few words."""
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
    """One row a field; objects of the same shape are spelled out once."""
    for name, field in resolved(schema)["properties"].items():
        yield f"| `{path}{name}` | {kind(field)} | {field.get('description', '')} |"
        for child, step in children(field):
            title = resolved(child)["title"]
            if title not in known:
                known.add(title)
                yield from rows(child, f"{path}{name}{step}.", known)


def children(field):
    """The objects inside a field, and the step that leads to them."""
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


def test_readme_spells_out_every_field_of_the_manifest():
    assert table() in README.read_text("utf-8")
