"""Compile a published JSON Schema (draft-07) into closures, so that the store enforces what is published.

    state_schema = Schema(load_published("batch_state"))
    for error in state_schema.check(state):
        print(error.pointer, error.message)

Verdicts are those of jsonschema's Draft7Validator: 1.0 is an integer, a boolean is not a number, `enum`, `const` and
`uniqueItems` tell true from 1, `pattern` is an unanchored `re.search`, `format` is an annotation. One difference is
intended: in `[[1], [true], [1]]` jsonschema overlooks the duplicate, because its comparison sorts first.

A Test is `value -> None | Failure`. None means valid, and nothing was built on the way. A Failure is the path to what
is wrong, innermost step first, and a message; each container appends its step as it returns the failure. `otherwise` is
the test for values of another type than the one that a test is about.

Compiling refuses keywords that no published schema uses, so that what is published is enforced. It takes for granted
that a schema is valid draft-07, as tests show for the published ones, and that a `$ref` is `#/definitions/NAME`.
"""

from __future__ import annotations

import os

from ..base import project_paths, strict_json
from ..core.errors import StateError

TYPE_CHECKING = False  # mypy takes this name for true; importing typing costs more than compiling a schema
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Optional

    from .errors import SchemaError

    Failure = tuple[list[object], str]
    Test = Callable[[Any], Optional[Failure]]

MAX_ERRORS = 50
MAX_SCHEMA_BYTES = 1024 * 1024
MAX_SHOWN_CHARS = 60
MAX_SHOWN_BITS = 256

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
# Type -> its name in a message, the Python types that are always of it, and the Python types that may be.
TYPES: dict[str, tuple[str, tuple[type, ...], tuple[type, ...]]] = {
    "object": ("an object", (dict,), (dict,)),
    "array": ("an array", (list,), (list,)),
    "string": ("a string", (str,), (str,)),
    "integer": ("an integer", (int,), (int, float)),
    "number": ("a number", (int, float), (int, float)),
    "boolean": ("true or false", (bool,), ()),
    "null": ("null", (type(None),), ()),
}


class Schema:
    """A compiled schema. `properties` are the names of the top-level properties, in the published order.

    Each top-level property is compiled when it is first checked: a write checks three of thirty, and compiling the
    others would cost it more than all its checks. Raises ValueError with the keyword and its place for a keyword that
    is not supported, for a property at its first check.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._definitions: dict[str, Test] = {}
        for name, below in schema.get("definitions", {}).items():
            self._definitions[name] = self._compile(below, f"#/definitions/{name}")
        top = {keyword: value for keyword, value in schema.items() if keyword not in ROOT_ONLY}
        self._schemas = top.get("properties", {})
        self.properties = tuple(self._schemas)
        self._tests: dict[str, Test] = {}
        self._additional = self._compile_additional(top, "#")
        self._required = top.get("required", [])
        rules_on_the_whole = {keyword: value for keyword, value in top.items() if keyword not in FIELD_KEYWORDS}
        self._whole = self._compile(rules_on_the_whole, "#")

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
        failures += [missing_property(name) for name in self._required if name not in instance]
        failures += [self._field_failure(name, instance[name]) for name in names if name in instance]
        return _to_errors(failures)

    def check_field(self, name: str, value: object) -> list[SchemaError]:
        """Return the errors of one top-level property alone."""
        return _to_errors([self._field_failure(name, value)])

    def _field_failure(self, name: str, value: object) -> Failure | None:
        if name in self._schemas and name not in self._tests:
            self._tests[name] = self._compile(self._schemas[name], f"#/properties/{name}")
        return _property_failure(self._tests, self._additional, name, value)

    def _compile(self, schema: dict[str, Any], place: str) -> Test:
        """Return the test of a schema that is written at `place`."""
        for keyword in schema:
            if keyword not in SUPPORTED:
                raise ValueError(f"{place}/{keyword}: this keyword is not supported here")
        if "$ref" in schema:
            definitions, name = self._definitions, schema["$ref"][len(REF_PREFIX) :]
            # One that comes later, or that refers to itself, is looked up when a value is tested.
            return definitions.get(name) or (lambda value: definitions[name](value))
        names = schema.get("type", [])
        names = names if isinstance(names, list) else [names]
        has_type = _type_test(names) if names else _pass_anything
        families = [
            (kinds, build)
            for kinds, keywords, build in (
                ({"object"}, OBJECT_KEYWORDS, self._object_test),
                ({"array"}, ARRAY_KEYWORDS, self._array_test),
                ({"string"}, STRING_KEYWORDS, _string_test),
                ({"integer", "number"}, NUMBER_KEYWORDS, _number_test),
            )
            if not keywords.isdisjoint(schema)
        ]
        # Nearly everywhere the keywords are of one type that `type` admits: then a single closure does both.
        if len(families) == 1 and not families[0][0].isdisjoint(names):
            tests = [families[0][1](schema, place, has_type)]
        else:
            tests = [has_type, *(build(schema, place, _pass_anything) for _, build in families)]
        if "enum" in schema:
            tests.append(_enum_test(schema["enum"]))
        if "const" in schema:
            tests.append(_enum_test([schema["const"]]))
        return _all_of(tests)

    def _object_test(self, schema: dict[str, Any], place: str, otherwise: Test) -> Test:
        required, properties = schema.get("required", []), schema.get("properties", {})
        tests = {name: self._compile(below, f"{place}/properties/{name}") for name, below in properties.items()}
        additional = self._compile_additional(schema, place)
        test_name = (
            self._compile(schema["propertyNames"], f"{place}/propertyNames") if "propertyNames" in schema else None
        )

        def test(value: Any) -> Failure | None:
            if not isinstance(value, dict):
                return otherwise(value)
            for name in required:
                if name not in value:
                    return missing_property(name)
            if test_name is not None:
                for name in value:
                    failure = test_name(name)
                    if failure is not None:
                        return [], f"the name {format_value(name)} is not allowed: {failure[1]}"
            for name, item in value.items():
                failure = _property_failure(tests, additional, name, item)
                if failure is not None:
                    return failure
            return None

        return test

    def _compile_additional(self, schema: dict[str, Any], place: str) -> Test | None:
        """Return the test of a property that `properties` does not name; None if it is not allowed."""
        below = schema.get("additionalProperties", True)
        if isinstance(below, bool):
            return _pass_anything if below else None
        return self._compile(below, f"{place}/additionalProperties")

    def _array_test(self, schema: dict[str, Any], place: str, otherwise: Test) -> Test:
        test_item = self._compile(schema.get("items", {}), f"{place}/items")
        has_length = _bounds_test(schema, "minItems", "maxItems", "items")
        is_unique = schema.get("uniqueItems", False)

        def test(value: Any) -> Failure | None:
            if not isinstance(value, list):
                return otherwise(value)
            failure = has_length(value)
            if failure is not None:
                return failure
            for index, item in enumerate(value):
                failure = test_item(item)
                if failure is not None:
                    failure[0].append(index)
                    return failure
            return _find_duplicate(value) if is_unique else None

        return test


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


# -- tests -------------------------------------------------------------------------------------------------------------


def _pass_anything(value: object) -> None:
    return None


def _type_test(names: list[str]) -> Test:
    """Return the test of `type`: one of the named types fits; 1.0 is an integer, true is not a number."""
    certain = frozenset(kind for name in names for kind in TYPES[name][1])
    possible = tuple(kind for name in names for kind in TYPES[name][2])
    expected = " or ".join(TYPES[name][0] for name in names)

    def test(value: Any) -> Failure | None:
        if type(value) in certain:
            return None
        fits = isinstance(value, possible) and not isinstance(value, bool)
        if fits and (not isinstance(value, float) or value.is_integer()):  # other floats are in `certain` if they fit
            return None
        return [], f"found {format_value(value)}, expected {expected}"

    return test


def _string_test(schema: dict[str, Any], place: str, otherwise: Test) -> Test:
    """Return the test of `minLength`, `maxLength` (in code points) and `pattern`."""
    has_length = _bounds_test(schema, "minLength", "maxLength", "characters")
    pattern = _Pattern(schema["pattern"]) if "pattern" in schema else None

    def test(value: Any) -> Failure | None:
        if not isinstance(value, str):
            return otherwise(value)
        if pattern is not None and not pattern.search(value):
            return [], f"found {format_value(value)}, expected text that matches {pattern.source}"
        return has_length(value)

    return test


def _number_test(schema: dict[str, Any], place: str, otherwise: Test) -> Test:
    """Return the test of `minimum` and `maximum`."""
    has_bounds = _bounds_test(schema, "minimum", "maximum")

    def test(value: Any) -> Failure | None:
        if type(value) is not int:
            failure = otherwise(value)
            if failure is not None or isinstance(value, bool) or not isinstance(value, (int, float)):
                return failure
        return has_bounds(value)

    return test


def _bounds_test(schema: dict[str, Any], low_keyword: str, high_keyword: str, unit: str = "") -> Test:
    """Return a test of a number, or of the length of a value that is counted in `unit`."""
    low, high = schema.get(low_keyword), schema.get(high_keyword)

    def test(value: Any) -> Failure | None:
        size = len(value) if unit else value
        if low is not None and size < low:
            expected = f"at least {low}"
        elif high is not None and size > high:
            expected = f"at most {high}"
        else:
            return None
        count = f", {size} {unit}" if unit else ""
        return [], f"found {format_value(value)}{count}, expected {expected}"

    return test


def _enum_test(members: list[Any]) -> Test:
    """Return the test of `enum`: the value equals a member."""
    allowed = frozenset(map(_to_hashable, members))
    expected = " or ".join(map(format_value, members))

    def test(value: Any) -> Failure | None:
        return None if _to_hashable(value) in allowed else ([], f"found {format_value(value)}, expected {expected}")

    return test


def _all_of(tests: list[Test]) -> Test:
    """Return a test that returns the first failure of several."""
    tests = [test for test in tests if test is not _pass_anything]
    if len(tests) < 2:
        return tests[0] if tests else _pass_anything

    def test(value: Any) -> Failure | None:
        for each in tests:
            failure = each(value)
            if failure is not None:
                return failure
        return None

    return test


class _Pattern:
    """A regular expression that is compiled, and `re` imported, when its `search` is first used."""

    search: Callable[[str], object]

    def __init__(self, source: str) -> None:
        self.source = source

    def __getattr__(self, name: str) -> Any:
        if name != "search":
            raise AttributeError(name)
        import re  # costs 6 ms that a process without patterns need not spend

        self.search = re.compile(self.source).search
        return self.search


def _property_failure(tests: dict[str, Test], additional: Test | None, name: str, value: object) -> Failure | None:
    """Return the failure of one property of an object, with its name already in the path."""
    test = tests.get(name, additional)
    if test is None:
        return [], f"found the unknown property {format_value(name)}, expected only published ones"
    failure = test(value)
    if failure is not None:
        failure[0].append(name)
    return failure


def missing_property(name: str) -> Failure:
    """Return the failure of an object without a required property."""
    return [], f"found no {format_value(name)}, which is required"


def _find_duplicate(items: list[Any]) -> Failure | None:
    """Return the failure of `uniqueItems` when two items are equal."""
    plain = {*map(type, items)} <= {str, int}
    if len(set(items if plain else map(_to_hashable, items))) == len(items):
        return None
    seen = set()
    for item in items:
        frozen = _to_hashable(item)
        if frozen in seen:
            return [], f"found {format_value(item)} twice, expected each item once"
        seen.add(frozen)
    return None


def _to_hashable(value: Any) -> Any:
    """Return a hashable stand-in: two are equal exactly when JSON Schema calls their values equal (true is not 1)."""
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, list):
        return (list, *map(_to_hashable, value))
    if isinstance(value, dict):
        return dict, frozenset((name, _to_hashable(item)) for name, item in value.items())
    return value


def format_value(value: Any) -> str:
    """Return a value as a message shows it: at most 60 characters, none of them control ones; cheap for huge values."""
    if isinstance(value, list):
        return f"an array of {len(value)} items"
    if isinstance(value, dict):
        return f"an object with {len(value)} properties"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > MAX_SHOWN_BITS:
        return f"an integer of {value.bit_length()} bits"
    text = repr(value[:MAX_SHOWN_CHARS] if isinstance(value, str) else value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


def _to_errors(results: Iterable[Failure | None]) -> list[SchemaError]:
    failures = [failure for failure in results if failure is not None]
    if not failures:
        return []
    from .errors import SchemaError  # a valid state does not pay for the import

    return [SchemaError(tuple(reversed(steps)), message) for steps, message in failures[:MAX_ERRORS]]
