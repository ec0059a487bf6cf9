"""The README spells the manifest out; this holds its table to the format's own schema."""

from pathlib import Path

from vae_runtime import manifest_schema

README = Path(__file__).parents[3] / "README.md"


def kind(schema):
    """A schema's type in a few words."""
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
    for name, field in schema["properties"].items():
        yield f"| `{path}{name}` | {kind(field)} | {field.get('description', '')} |"
        for child, step in children(field):
            if str(child["properties"]) not in known:
                known.add(str(child["properties"]))
                yield from rows(child, f"{path}{name}{step}.", known)


def children(field):
    """The objects inside a field, and the step that leads to them."""
    for option in field.get("anyOf", [field]):
        for step, child in (
            ("", option),
            ("[]", option.get("items")),
            (".*", option.get("additionalProperties")),
        ):
            if isinstance(child, dict) and "properties" in child:
                yield child, step


def table():
    lines = rows(manifest_schema(), "", set())
    return "\n".join(["| field | type | meaning |", "|---|---|---|", *lines])


def test_readme_spells_out_every_field_of_the_manifest():
    assert table() in README.read_text("utf-8")
