"""Write the generated parts of docs/state.md: the fields, from the published schema, and the rules of the migration.

python3 scripts/document_state.py            rewrites what lies between the marks
python3 scripts/document_state.py --check    changes nothing; exits with 1 when it would
"""

from __future__ import annotations

import ast
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import generated
from generated import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "state.md"
SCHEMA = REPOSITORY / "schemas" / "batch_state.schema.json"
MIGRATION = REPOSITORY / "lib" / "batch_implement" / "store" / "migration.py"


def describe_type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return the type of a value in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[-1])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kinds = schema.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    words = []
    for kind in kinds:
        if kind == "array":
            words.append(f"list of {describe_type(schema.get('items', {}), definitions)}")
        elif kind == "object" and "propertyNames" in schema and "additionalProperties" in schema:
            of_index = schema["propertyNames"].get("$ref", "").endswith("/key")
            name = "index" if of_index else describe_type(schema["propertyNames"], definitions)
            words.append(f"{name} to {describe_type(schema['additionalProperties'], definitions)}")
        else:
            words.append({"string": "text", "object": "object"}.get(kind, kind))
    return " or ".join(words)


def field_rows(schema: dict[str, Any], definitions: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield each field of a schema as (name, type, meaning), depth first; `[]` is an element, `{}` a value by index."""
    for name, field in schema.get("properties", {}).items():
        optional = "" if name in schema.get("required", []) else ", may be absent"
        yield f"{prefix}{name}", describe_type(field, definitions) + optional, field.get("description", "")
        inner, path = field, f"{prefix}{name}"
        while "items" in inner or isinstance(inner.get("additionalProperties"), dict):
            is_list = "items" in inner
            inner, path = inner["items" if is_list else "additionalProperties"], path + ("[]" if is_list else "{}")
        yield from field_rows(inner, definitions, f"{path}.")


def fields_table() -> str:
    """Return the table of all fields."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    definitions = schema["definitions"]
    lines = ["| field | type | meaning |", "| --- | --- | --- |"]
    for name, kind, meaning in field_rows(schema, definitions):
        lines.append(f"| `{name}` | {kind} | {generated.table_cell(meaning)} |")
    meanings = "; ".join(f"*{name}*: {entry['description'].rstrip('.')}" for name, entry in definitions.items())
    return "\n".join([*lines, "", f"The types by name: {meanings}."])


def migration_rules() -> str:
    """Return the rules of the migration, from the docstring of its module."""
    manual = ast.get_docstring(ast.parse(MIGRATION.read_text(encoding="utf-8"))) or ""
    table = re.search(r"^( {4}\S.*\n(?:(?: {4,}.*)?\n?)*)", manual, re.MULTILINE)
    assert table, f"no rules in the docstring of {MIGRATION}"
    lines = ["| what | becomes |", "| --- | --- |"]
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(table.group(1)).strip()):
        what, becomes = re.split(r" {2,}", entry, maxsplit=1)
        lines.append(f"| {what} | {' '.join(becomes.split())} |")
    return "\n".join(lines)


def render_document(text: str) -> str:
    """Return the document with its generated parts up to date."""
    return generated.replace_generated(
        DOCUMENT, text, "document_state.py", {"fields": fields_table(), "migration": migration_rules()}
    )


if __name__ == "__main__":
    sys.exit(generated.write_or_check(DOCUMENT, sys.argv[1:], render_document))
