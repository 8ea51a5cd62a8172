"""A schema whose fields are compiled when they are asked for."""

from __future__ import annotations

import pytest
from batch_implement.validation import schema


def test_a_schema_that_is_compiled_by_field_has_the_same_verdict_and_compiles_only_what_is_asked_for():
    published = schema.load_published("batch_state")
    at_once, later = schema.compile_schema(published), schema.compile_by_field(published)
    assert later.properties == at_once.properties
    for instance in ({}, {"revision": 0, "odd": 1, "features": 7}, {"status": "lost", "active": {}}, [], None):
        assert later.check(instance) == at_once.check(instance)
    broken = {"properties": {"good": {"type": "string"}, "bad": {"type": "colour"}}}
    by_field = schema.compile_by_field(broken)
    assert by_field.check_field("good", "x") == []
    with pytest.raises(ValueError, match="#/properties/bad"):
        by_field.check_field("bad", "x")
