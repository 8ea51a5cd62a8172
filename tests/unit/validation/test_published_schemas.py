"""Every schema in schemas/ is valid draft-07 and says of every property what it is. Adding a file adds its tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch_implement.validation.file_validation import PUBLISHED
from batch_implement.validation.schema import Schema
from jsonschema import Draft7Validator

SCHEMAS = sorted((Path(__file__).resolve().parents[3] / "schemas").glob("*.json"))


@pytest.fixture(params=SCHEMAS, ids=lambda path: path.name)
def schema(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One published schema."""
    published: dict[str, Any] = json.loads(request.param.read_text(encoding="utf-8"))
    return published


def properties(schema: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every property and definition in a schema with its place, at any depth."""
    if isinstance(schema, list):
        for part in schema:
            yield from properties(part, place)
    elif isinstance(schema, dict):
        for keyword, value in schema.items():
            if keyword in ("properties", "definitions"):
                for name, part in value.items():
                    yield f"{place}/{name}", part
                    yield from properties(part, f"{place}/{name}")
            else:
                yield from properties(value, place)


def test_the_schemas_are_those_that_batchctl_prints() -> None:
    assert {f"{name}.schema.json" for name in PUBLISHED} == {path.name for path in SCHEMAS}


def test_a_schema_is_valid_draft_07(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(schema)


def test_a_schema_is_one_that_our_compiler_enforces_whole(schema: dict[str, Any]) -> None:
    compiled = Schema(schema)
    for name in compiled.properties:
        compiled.check_field(name, None)  # a property is compiled at its first check


def test_a_schemas_id_is_a_urn(schema: dict[str, Any]) -> None:
    assert schema["$id"].startswith("urn:batch-implement:schema:")


def test_every_property_is_described(schema: dict[str, Any]) -> None:
    assert schema["description"]
    assert [place for place, part in properties(schema) if not part.get("description", "").strip()] == []
