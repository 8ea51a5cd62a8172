"""Compile a published JSON Schema (draft-07) into closures, so that the store enforces what is published.

    state_schema = Schema(load_published("batch_state"))
    for error in state_schema.check(state):
        print(error.pointer, error.message)

Verdicts are those of jsonschema's Draft7Validator: 1.0 is an integer, a boolean is not a number, `enum`, `const` and
`uniqueItems` tell true from 1, `pattern` is an unanchored `re.search`, `format` is an annotation. One difference is
intended: in `[[1], [true], [1]]` jsonschema overlooks the duplicate, because its comparison sorts first.

Compiling refuses keywords that no published schema uses, so that what is published is enforced. It takes for granted
that a schema is valid draft-07, as tests show for the published ones, and that a `$ref` is `#/definitions/NAME`.
"""

from __future__ import annotations

import os

from ..base import project_paths, strict_json
from ..core.errors import StateError
from . import predicates

TYPE_CHECKING = False  # mypy takes this name for true; importing typing costs more than compiling a schema
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .errors import SchemaError
    from .predicates import Failure, Test

MAX_ERRORS = 50
MAX_SCHEMA_BYTES = 1024 * 1024

REF_PREFIX = "#/definitions/"
ROOT_ONLY = frozenset(("$schema", "$id", "definitions"))
FIELD_KEYWORDS = frozenset(("properties", "required", "additionalProperties"))
# The keywords that concern one family of types.
OBJECT_KEYWORDS = FIELD_KEYWORDS | {"propertyNames"}
ARRAY_KEYWORDS = frozenset(("items", "minItems", "maxItems", "uniqueItems"))
STRING_KEYWORDS = frozenset(("minLength", "maxLength", "pattern"))
NUMBER_KEYWORDS = frozenset(("minimum", "maximum"))
SUPPORTED = OBJECT_KEYWORDS | ARRAY_KEYWORDS | STRING_KEYWORDS | NUMBER_KEYWORDS | {
    "$ref", "type", "enum", "const",
    "title", "description", "default", "examples", "$comment", "format",  # annotations
}  # fmt: skip


class Schema:
    """A compiled schema. `properties` are the names of the top-level properties, in the published order.

    Each top-level property is compiled when it is first checked: a write checks three of thirty, and compiling the
    others would cost it more than all its checks. Raises ValueError with the keyword and its place for a keyword that
    is not supported, for a property at its first check.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._compiler = compiler = _Compiler(schema.get("definitions", {}))
        top = {keyword: value for keyword, value in schema.items() if keyword not in ROOT_ONLY}
        self._schemas = top.get("properties", {})
        self.properties = tuple(self._schemas)
        self._tests: dict[str, Test] = {}
        self._additional = compiler.additional(top, "#")
        self._required = top.get("required", [])
        rules_on_the_whole = {keyword: value for keyword, value in top.items() if keyword not in FIELD_KEYWORDS}
        self._whole = compiler.test(rules_on_the_whole, "#")

    def check(self, instance: object) -> list[SchemaError]:
        """Return the errors of the instance, at most 50; empty if it is valid.

        First a broken rule on the whole, then each required property that is missing, then the first error inside each
        property, in the order in which the instance has them.
        """
        if isinstance(instance, dict):
            return self.check_fields(instance, instance)
        return _to_errors([self._whole(instance)])

    def check_fields(self, instance: dict[str, Any], names: Iterable[str]) -> list[SchemaError]:
        """Return the errors of these top-level properties and of the instance as a whole; otherwise as `check`.

        A name that the instance does not have is ignored. Rules on the whole (`required`, `propertyNames`) always
        apply.
        """
        failures = [self._whole(instance)]
        failures += [predicates.missing_property(name) for name in self._required if name not in instance]
        failures += [self._field_failure(name, instance[name]) for name in names if name in instance]
        return _to_errors(failures)

    def check_field(self, name: str, value: object) -> list[SchemaError]:
        """Return the errors of one top-level property alone."""
        return _to_errors([self._field_failure(name, value)])

    def _field_failure(self, name: str, value: object) -> Failure | None:
        if name in self._schemas and name not in self._tests:
            self._tests[name] = self._compiler.test(self._schemas[name], f"#/properties/{name}")
        return predicates.property_failure(self._tests, self._additional, name, value)


def load_published(name: str) -> dict[str, Any]:
    """Return the schema `schemas/NAME.schema.json` of this plugin. Raises StateError if it cannot be used."""
    path = os.path.join(project_paths.plugin_root(), "schemas", name + ".schema.json")
    try:
        with open(path, "rb") as file:
            schema = strict_json.parse(file.read(MAX_SCHEMA_BYTES + 1), max_bytes=MAX_SCHEMA_BYTES)
        if not isinstance(schema, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise StateError(
            f"The published schema {path} cannot be used: {error}. The plugin is probably damaged: install it again.",
            "installation",
        ) from error
    return schema


class _Compiler:
    """Turns schemas into tests; holds the definitions that they may refer to. `place` is where a schema is written."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self.compiled: dict[str, Test] = {}
        for name, schema in definitions.items():
            self.compiled[name] = self.test(schema, f"#/definitions/{name}")

    def test(self, schema: dict[str, Any], place: str) -> Test:
        """Return the test that one schema asks for."""
        for keyword in schema:
            if keyword not in SUPPORTED:
                raise ValueError(f"{place}/{keyword}: this keyword is not supported here")
        if "$ref" in schema:
            return self.reference(schema["$ref"][len(REF_PREFIX) :])
        tests = self.by_type(schema, place)
        if "enum" in schema:
            tests.append(predicates.enum_test(schema["enum"]))
        if "const" in schema:
            tests.append(predicates.enum_test([schema["const"]]))
        return predicates.all_of(tests)

    def reference(self, name: str) -> Test:
        compiled = self.compiled
        if name in compiled:
            return compiled[name]

        def test(value: Any) -> Failure | None:  # of a definition that comes later, or that refers to itself
            return compiled[name](value)

        return test

    def by_type(self, schema: dict[str, Any], place: str) -> list[Test]:
        """Return the tests for `type` and for the keywords that concern one type only.

        If these are of one type that `type` admits, as nearly everywhere, a single closure does both.
        """
        admitted = _type_names(schema)
        has_type = predicates.type_test(admitted) if admitted else predicates.anything
        families: list[tuple[set[str], Callable[[Test], Test]]] = []
        if not OBJECT_KEYWORDS.isdisjoint(schema):
            families.append(({"object"}, lambda otherwise: self.object_test(schema, place, otherwise)))
        if not ARRAY_KEYWORDS.isdisjoint(schema):
            families.append(({"array"}, lambda otherwise: self.array_test(schema, place, otherwise)))
        if not STRING_KEYWORDS.isdisjoint(schema):
            families.append(({"string"}, lambda otherwise: predicates.string_test(schema, otherwise)))
        if not NUMBER_KEYWORDS.isdisjoint(schema):
            families.append(({"integer", "number"}, lambda otherwise: predicates.number_test(schema, otherwise)))
        if len(families) == 1 and not families[0][0].isdisjoint(admitted):
            return [families[0][1](has_type)]
        return [test for test in (has_type,) if admitted] + [build(predicates.anything) for _, build in families]

    def object_test(self, schema: dict[str, Any], place: str, otherwise: Test) -> Test:
        properties = schema.get("properties", {})
        return predicates.object_test(
            required=schema.get("required", []),
            tests={name: self.test(below, f"{place}/properties/{name}") for name, below in properties.items()},
            additional=self.additional(schema, place),
            test_name=self.test(schema["propertyNames"], f"{place}/propertyNames")
            if "propertyNames" in schema
            else None,
            otherwise=otherwise,
        )

    def additional(self, schema: dict[str, Any], place: str) -> Test | None:
        """Return the test of a property that `properties` does not name; None if it is not allowed."""
        below = schema.get("additionalProperties", True)
        if isinstance(below, bool):
            return predicates.anything if below else None
        return self.test(below, f"{place}/additionalProperties")

    def array_test(self, schema: dict[str, Any], place: str, otherwise: Test) -> Test:
        return predicates.array_test(
            test_item=self.test(schema.get("items", {}), f"{place}/items"),
            has_length=predicates.bounds_test(schema, "minItems", "maxItems", "items"),
            unique=schema.get("uniqueItems", False),
            otherwise=otherwise,
        )


def _type_names(schema: dict[str, Any]) -> list[str]:
    names = schema.get("type", [])
    return names if isinstance(names, list) else [names]


def _to_errors(results: Iterable[Failure | None]) -> list[SchemaError]:
    failures = [failure for failure in results if failure is not None]
    if not failures:
        return []
    from .errors import SchemaError  # a valid state does not pay for the import

    return [SchemaError(tuple(reversed(steps)), message) for steps, message in failures[:MAX_ERRORS]]
