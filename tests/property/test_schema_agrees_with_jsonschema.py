"""The compiled schema and jsonschema's Draft7Validator never disagree.

Three ways to look for a disagreement: states and features files that fit their published schemas, broken in a few
places; a state and features files that use every field, broken in each place in turn and in every way we can think of;
schemas made up from the supported keywords.
"""

from __future__ import annotations

import copy
import json

import pytest

hypothesis = pytest.importorskip("hypothesis")
jsonschema = pytest.importorskip("jsonschema")

from batch_implement.validation.schema import Schema, load_published  # noqa: E402
from hypothesis import HealthCheck, assume, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

PUBLISHED = load_published("batch_state")
COMPILED = Schema(PUBLISHED)
REFERENCE = jsonschema.Draft7Validator(PUBLISHED)
FEATURES = load_published("features")
DEFINITIONS = {**PUBLISHED["definitions"], **FEATURES["definitions"]}
LARGE = {"run"}  # fields whose every damage takes a minute: `make prove` does them


def thorough(some, many, *strategies):
    """The same property twice: held against `some` examples in `make test`, against `many` in `make prove`."""

    def decorate(holds):
        @pytest.mark.parametrize("examples", [some, pytest.param(many, marks=pytest.mark.prove)])
        def test(examples):
            how = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
            how(given(*strategies)(holds))()

        test.__name__ = holds.__name__
        return test

    return decorate


def pointer(path):
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def assert_agree(compiled, reference, instance):
    """Assert the same verdict, and each violation where the reference has an error. Return whether it is broken."""
    violations = compiled.check(instance)
    errors = list(reference.iter_errors(instance))
    assert bool(violations) == bool(errors), (violations, errors)
    # Where the schema is `false`, which is no keyword's doing, jsonschema gives the path of the parent.
    if all(error.validator for error in errors):
        assert {violation.pointer for violation in violations} <= {pointer(error.absolute_path) for error in errors}
    return bool(errors)


def assert_every_wrong_field_is_reported(state):
    wrong = {error.absolute_path[0] for error in REFERENCE.iter_errors(state) if error.absolute_path}
    assert {violation.pointer.split("/")[1] for violation in COMPILED.check(state) if violation.pointer} == wrong


# -- states ------------------------------------------------------------------------------------------------------------


def values_of(schema):
    """Return a strategy for values that fit a schema of the kind that is published."""
    if "$ref" in schema:
        return values_of(DEFINITIONS[schema["$ref"].rsplit("/", 1)[1]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    names = schema.get("type", [])
    return st.one_of([values_of_type(schema, name) for name in ([names] if isinstance(names, str) else names)])


def values_of_type(schema, name):
    if name == "object":
        return objects_of(schema)
    if name == "array":
        unique = {"unique_by": repr} if schema.get("uniqueItems") else {}
        return st.lists(values_of(schema["items"]), min_size=schema.get("minItems", 0), max_size=4, **unique)
    if name == "string" and "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).filter(
            lambda text: len(text) <= schema.get("maxLength", 99)
        )
    if name == "string":
        return st.text(min_size=schema.get("minLength", 0), max_size=8)
    if name == "integer":
        return st.integers(schema.get("minimum"), schema.get("maximum"))
    if name == "number":
        return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False)
    return {"boolean": st.booleans(), "null": st.none()}[name]


def objects_of(schema):
    required = set(schema.get("required", []))
    fields = {name: values_of(below) for name, below in schema.get("properties", {}).items()}
    fixed = st.fixed_dictionaries(
        {name: values for name, values in fields.items() if name in required},
        optional={name: values for name, values in fields.items() if name not in required},
    )
    if isinstance(schema.get("additionalProperties"), dict):
        more = st.dictionaries(
            values_of(schema.get("propertyNames", {"type": "string"})),
            values_of(schema["additionalProperties"]),
            max_size=3,
        )
        return st.builds(lambda one, other: {**other, **one}, fixed, more)
    return fixed


STATES = values_of(PUBLISHED)
ODD = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    1.5,
    -0.0,
    1e300,
    10**30,
    "",
    "x",
    "1",
    "01",
    "1\n",
    [],
    [0],
    [True],
    [""],
    {},
    {"0": 0},
    {"x": {}},
]


def places(value, path=()):
    """Yield the path of each value in a tree, the tree itself first."""
    yield path
    if isinstance(value, (dict, list)):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(child, (*path, step))


def at(tree, path):
    for step in path:
        tree = tree[step]
    return tree


def damages(value):
    """Yield each (description, replacement) for one value; the replacement is fresh."""
    for odd in ODD:
        yield f"becomes {odd!r}", copy.deepcopy(odd)
    if isinstance(value, bool):
        yield "becomes a number", int(value)
    elif isinstance(value, (int, float)):
        yield "becomes a float", float(min(value, 10**15))
        yield "becomes a fraction", min(value, 10**15) + 0.5
        yield "becomes negative", -value - 1
        yield "becomes text", str(value)
    elif isinstance(value, str):
        yield "grows", value + "x" * 100
        yield "gets a line end", value + "\n"
        yield "gets dots", value + ".."
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield f"loses item {index}", value[:index] + value[index + 1 :]
            yield f"has item {index} twice", [*value, copy.deepcopy(item)]
        for odd in ODD:
            yield f"gets the item {odd!r}", [*value, copy.deepcopy(odd)]
    elif isinstance(value, dict):
        for name in value:
            yield f"loses {name}", {key: item for key, item in value.items() if key != name}
        for name in ("unknown", "-1", "01", "1", "", "a/b~c"):
            for odd in ODD:
                yield f"gets {name!r}: {odd!r}", {**value, name: copy.deepcopy(odd)}


def damaged(state, path, replacement):
    if not path:
        return replacement
    result = copy.deepcopy(state)
    at(result, path[:-1])[path[-1]] = replacement
    return result


@thorough(25, 400, STATES)
def test_a_state_made_from_the_schema_is_valid_for_both(state):
    assert not assert_agree(COMPILED, REFERENCE, state)
    assert COMPILED.check_fields(state, state) == []


@thorough(25, 400, STATES, st.data())
def test_a_state_with_a_few_damages_gets_the_same_verdict(state, data):
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(state))[1:]))
        _, replacement = data.draw(st.sampled_from(list(damages(at(state, path)))))
        state = damaged(state, path, replacement)
        assert_agree(COMPILED, REFERENCE, state)
        assert_every_wrong_field_is_reported(state)


@thorough(25, 400, STATES, st.data())
def test_checking_every_field_alone_finds_what_checking_the_whole_finds(state, data):
    path = data.draw(st.sampled_from(list(places(state))[1:]))
    _, replacement = data.draw(st.sampled_from(list(damages(at(state, path)))))
    state = damaged(state, path, replacement)
    alone = {error for name in state for error in COMPILED.check_fields(state, [name])}
    assert alone == set(COMPILED.check(state))


def full(schema):
    """Return a value that uses every property of a schema, with two entries in every list and map."""
    if "$ref" in schema:
        return full(PUBLISHED["definitions"][schema["$ref"].rsplit("/", 1)[1]])
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    name = schema["type"] if isinstance(schema["type"], str) else schema["type"][0]
    if name == "object":
        value = {name: full(below) for name, below in schema.get("properties", {}).items()}
        if isinstance(schema.get("additionalProperties"), dict):
            names = schema.get("propertyNames", {}).get("enum", ["7", "12"])
            value.update((name, full(schema["additionalProperties"])) for name in names[:2])
        return value
    if name == "array":
        first = full(schema["items"])
        others = [each for each in (first + 1 if isinstance(first, int) else None,) if each is not None]
        return [first, *others] if schema.get("uniqueItems") else [first, copy.deepcopy(first)]
    return {"string": "a", "integer": 1, "number": 1.5, "boolean": True}[name]


def test_a_state_that_uses_every_field_is_valid_for_both():
    assert not assert_agree(COMPILED, REFERENCE, full(PUBLISHED))


@pytest.mark.parametrize(
    "field",
    [pytest.param(name, marks=pytest.mark.prove) if name in LARGE else name for name in PUBLISHED["properties"]],
)
def test_a_field_that_says_everything_gets_the_same_verdict_for_every_damage_in_every_place(field):
    # jsonschema is too slow for the whole state each time: each field is held against its own schema.
    below = PUBLISHED["properties"][field]
    alone = {"definitions": PUBLISHED["definitions"], "required": [field], "properties": {field: below}}
    compiled, reference = Schema(alone), jsonschema.Draft7Validator(alone)
    small = {field: full(below)}
    broken = 0
    for path in places(small):
        for what, replacement in damages(at(small, path)):
            try:
                broken += assert_agree(compiled, reference, damaged(small, path, replacement))
            except AssertionError as error:
                raise AssertionError(f"{pointer(path)} {what}") from error
    assert broken


# -- features files ----------------------------------------------------------------------------------------------------

COMPILED_FEATURES = Schema(FEATURES)
REFERENCE_FEATURES = jsonschema.Draft7Validator(FEATURES)
FEATURES_FILES = values_of(FEATURES)
EVERYTHING_OF_A_FEATURE = {
    "id": "b-1", "title": "b", "description": "c", "depends_on": ["a", 1, "#12"], "touches": ["a/b", "c..d"],
    "verify": "make test", "verify_timeout_s": 1, "evidence": ["commit", "verify", "review"],
    "workflow_mode": "direct", "max_retries": 0, "section": "d",
}  # fmt: skip
EVERYTHING = {
    "defaults": {
        "verify": "make test", "verify_timeout_s": 2, "evidence": ["commit"], "workflow_mode": "auto-implement",
        "setup": "npm ci", "keep": ["/target/", "*.o"],
        "unattended": True, "limits": {"max_retries": 0, "max_retries_total": 7, "max_failures_in_a_row": 1},
    },
    "features": ["a", EVERYTHING_OF_A_FEATURE, {"title": "c", "depends_on": "#7"}, {"title": "d", "depends_on": 4}],
}  # fmt: skip


@thorough(25, 400, FEATURES_FILES)
def test_a_features_file_made_from_the_schema_is_valid_for_both(value):
    assert not assert_agree(COMPILED_FEATURES, REFERENCE_FEATURES, value)


@thorough(25, 400, FEATURES_FILES, st.data())
def test_a_features_file_with_a_few_damages_gets_the_same_verdict(value, data):
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(value))))
        _, replacement = data.draw(st.sampled_from(list(damages(at(value, path)))))
        value = damaged(value, path, replacement)
        assert_agree(COMPILED_FEATURES, REFERENCE_FEATURES, value)


@pytest.mark.some(1)
@pytest.mark.parametrize("value", [EVERYTHING, EVERYTHING["features"]], ids=["object", "list"])
def test_a_features_file_that_says_everything_gets_the_same_verdict_for_every_damage_in_every_place(value):
    assert not assert_agree(COMPILED_FEATURES, REFERENCE_FEATURES, value)
    broken = 0
    for path in places(value):
        for what, replacement in damages(at(value, path)):
            try:
                broken += assert_agree(COMPILED_FEATURES, REFERENCE_FEATURES, damaged(value, path, replacement))
            except AssertionError as error:
                raise AssertionError(f"{pointer(path)} {what}") from error
    assert broken > 1000


def test_what_says_everything_says_everything():
    defaults = FEATURES["properties"]["defaults"]["properties"]
    assert set(EVERYTHING_OF_A_FEATURE) == set(FEATURES["definitions"]["feature"]["properties"])
    assert set(EVERYTHING["defaults"]) == set(defaults)
    assert set(EVERYTHING["defaults"]["limits"]) == set(defaults["limits"]["properties"])


# -- schemas -----------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "0", "10", "a/b", "~"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1.0, -1.5, 0.5]),
    st.sampled_from(["", "a", "ab", "0", "😀"]),
)
JSON = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(NAMES, below, max_size=4)),
    max_leaves=12,
)
SMALL = st.integers(0, 3)
TYPE_NAMES = ["object", "array", "string", "integer", "number", "boolean", "null"]
PLAIN_KEYWORDS = {
    "type": st.sampled_from(TYPE_NAMES) | st.lists(st.sampled_from(TYPE_NAMES), min_size=1, max_size=3, unique=True),
    "enum": st.lists(JSON, min_size=1, max_size=4),
    "const": JSON,
    "minimum": st.sampled_from([-1, 0, 0.5, 1, 2.0]),
    "maximum": st.sampled_from([-1, 0, 0.5, 1, 2.0]),
    "minLength": SMALL,
    "maxLength": SMALL,
    "minItems": SMALL,
    "maxItems": SMALL,
    "uniqueItems": st.booleans(),
    "pattern": st.sampled_from(["a", "^a", "b$", "^[0-9]+$", "^(0|[1-9][0-9]*)$", ""]),
    "required": st.lists(NAMES, max_size=2, unique=True),
    "format": st.just("date-time"),
    "title": st.just("a"),
}


def extended(below):
    """Return a strategy for schemas that may contain the given ones."""
    keywords = {
        **PLAIN_KEYWORDS,
        "properties": st.dictionaries(NAMES, below, max_size=3),
        "additionalProperties": st.booleans() | below,
        "propertyNames": below,
        "items": below,
    }
    some = st.lists(st.sampled_from(sorted(keywords)), max_size=4, unique=True)
    return some.flatmap(lambda names: st.fixed_dictionaries({name: keywords[name] for name in names}))


LEAVES = st.one_of(
    st.sampled_from([{"$ref": "#/definitions/first"}, {"$ref": "#/definitions/second"}]),
    st.lists(st.sampled_from(sorted(PLAIN_KEYWORDS)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: PLAIN_KEYWORDS[name] for name in names})
    ),
)
PLAIN = LEAVES.filter(lambda schema: "$ref" not in schema)
SCHEMAS = st.builds(
    lambda top, first, second: {**top, "definitions": {"first": first, "second": second}},
    st.recursive(LEAVES, extended, max_leaves=8),
    st.one_of(PLAIN, st.just({"$ref": "#/definitions/second"}), st.just({"items": {"$ref": "#/definitions/first"}})),
    PLAIN,
)


def sorts_badly(schema, instance):
    """Tell whether jsonschema's uniqueItems, which sorts, may overlook a duplicate: [[1], [true], [1]]."""
    nested = any(
        isinstance(at(instance, path), list) and path and isinstance(at(instance, path[:-1]), list)
        for path in places(instance)
    )
    return "uniqueItems" in json.dumps(schema) and nested


@thorough(60, 1500, SCHEMAS, st.lists(JSON | st.dictionaries(NAMES, JSON, max_size=4), min_size=1, max_size=8))
def test_any_schema_of_supported_keywords_gives_the_same_verdict(schema, instances):
    compiled, reference = Schema(schema), jsonschema.Draft7Validator(schema)
    for instance in instances:
        assume(not sorts_badly(schema, instance))
        assert_agree(compiled, reference, instance)


def test_where_jsonschema_overlooks_a_duplicate_the_compiled_schema_does_not():
    schema = {"uniqueItems": True}
    assert len(Schema(schema).check([[1], [True], [1]])) == 1
    assert Schema(schema).check([[1], [True]]) == []
