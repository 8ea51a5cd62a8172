"""What the compiled schema says of values, and what it refuses to compile."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from batch_implement.core.errors import StateError
from batch_implement.validation import schema as schema_module
from batch_implement.validation.errors import SchemaError
from batch_implement.validation.schema import Schema, load_published


def verdicts(schema, instance):
    return [(violation.pointer, violation.message) for violation in Schema(schema).check(instance)]


def is_valid(schema, instance):
    return verdicts(schema, instance) == []


@pytest.mark.parametrize(
    ("schema", "valid", "broken"),
    [
        ({"type": "object"}, [{}], [[], "", None, 1]),
        ({"type": "array"}, [[]], [{}, "", None, (1,)]),
        ({"type": "string"}, [""], [1, None, [], b""]),
        ({"type": "integer"}, [0, -1, 1.0, 10**400], [True, False, 1.5, "1", None, float("inf")]),
        ({"type": "number"}, [0, 1.5, 1.0], [True, "1", None]),
        ({"type": "boolean"}, [True, False], [0, 1, "true", None]),
        ({"type": "null"}, [None], [0, False, "", []]),
        ({"type": ["integer", "null"]}, [1, None, 2.0], [True, 1.5, ""]),
        ({"type": ["integer", "number"]}, [1, 1.5], [True, ""]),
        ({"type": ["integer", "null"], "minimum": 1}, [1, None], [0, True, 0.0, ""]),
        ({"minimum": 1}, [1, 1.0, False, "", None, []], [0, 0.5]),
        ({"maximum": 1}, [1, 1.0, True, "", None, []], [2, 1.5]),
        ({"minLength": 2}, ["ab", 1, []], ["", "a"]),
        ({"maxLength": 1}, ["", "a", "😀", 11], ["ab", "😀😀"]),
        ({"minItems": 1}, [[1], {}, ""], [[]]),
        ({"maxItems": 1}, [[1], {}, "ab"], [[1, 2]]),
        ({"pattern": "b+"}, ["abc", "b", 1], ["", "ac"]),
        ({"pattern": "^[0-9]+$"}, ["12"], ["1a", "-1", ""]),
        ({"enum": [1, "a", None]}, [1, 1.0, "a", None], [True, "1", 0, False, []]),
        ({"enum": [True, [0]]}, [True, [0], [0.0]], [1, [False], []]),
        ({"enum": [{"a": [1]}]}, [{"a": [1]}, {"a": [1.0]}], [{"a": [True]}, {}]),
        ({"const": False}, [False], [0, 0.0, None, ""]),
        ({"const": {"a": 0, "b": 1}}, [{"b": 1, "a": 0}], [{"a": False, "b": 1}, {"a": 0}]),
        (
            {"uniqueItems": True},
            [[], [1, True], [[0, 1], [1, 0]], [1, "1"], [[1], [True]]],
            [[1, 1.0], [{}, {}], [[0], [0]]],
        ),
        ({"uniqueItems": True}, [["a", "b"], [1, 2], "aa"], [["a", "a"], [1, 2, 1], [None, None], [True, True]]),
        ({"uniqueItems": False}, [[1, 1]], []),
        ({"items": {"type": "string", "minLength": 1}}, [[], ["a", "b"], {}], [["a", 1], ["a", ""]]),
        ({"items": {"type": "string", "maxLength": 1}}, [["a", "b"]], [["a", "bc"]]),
        ({"items": {"type": "string", "pattern": "a"}}, [["a", "ba"]], [["a", "b"]]),
        ({"items": {"type": "integer", "minimum": 0}}, [[], [0, 1], [1.0]], [[0, True], [0, -1], [0, 1.5]]),
        ({"items": {"type": "integer", "maximum": 1}}, [[0, 1]], [[0, 2]]),
        ({"items": {"minimum": 0}}, [[0, "a", True]], [["a", -1]]),
        ({"required": ["a"]}, [{"a": None}, [], "a"], [{}, {"b": 1}]),
        ({"properties": {"a": {"type": "string"}}}, [{}, {"a": ""}, {"b": 1}, []], [{"a": 1}]),
        ({"properties": {"a": {}}, "additionalProperties": False}, [{}, {"a": 1}], [{"b": 1}, {"a": 1, "b": 1}]),
        ({"additionalProperties": {"type": "integer", "minimum": 0}}, [{}, {"a": 1}], [{"a": True}, {"a": -1}]),
        ({"propertyNames": {"pattern": "^[0-9]+$"}}, [{}, {"1": 1}, ["a"]], [{"a": 1}, {"1": 1, "b": 1}]),
        ({"propertyNames": {"enum": ["a"]}}, [{"a": 1}], [{"b": 1}]),
        ({"definitions": {"n": {"type": "null"}}, "items": {"$ref": "#/definitions/n"}}, [[None]], [[1]]),
        ({"definitions": {"n": {"type": "null"}}, "$ref": "#/definitions/n"}, [None], [1]),
        ({"type": "string", "format": "date-time", "description": "", "default": 1, "examples": [2]}, ["x"], [1]),
        ({"type": "string", "minItems": 1}, [""], [[1], []]),
        ({"items": {"type": "array", "maxLength": 1}}, [[[]]], [["a"]]),
        ({"items": {"type": "array", "minimum": 1}}, [[[]]], [[1]]),
        ({"type": ["string", "array"], "minLength": 2, "minItems": 1}, ["ab", [1]], ["a", [], 1]),
    ],
)
def test_a_keyword_means_what_draft_07_says(schema, valid, broken):
    assert [value for value in valid if not is_valid(schema, value)] == []
    assert [value for value in broken if is_valid(schema, value)] == []
    below = {"properties": {"x": {key: value for key, value in schema.items() if key != "definitions"}}}
    below["definitions"] = schema.get("definitions", {})
    assert [value for value in valid if not is_valid(below, {"x": value})] == []
    assert [value for value in broken if not verdicts(below, {"x": value})[0][0].startswith("/x")] == []


def test_a_definition_may_refer_to_itself_and_to_one_that_comes_later():
    schema = {
        "definitions": {
            "tree": {"properties": {"left": {"$ref": "#/definitions/tree"}, "name": {"$ref": "#/definitions/name"}}},
            "name": {"type": "string"},
        },
        "$ref": "#/definitions/tree",
    }
    assert is_valid(schema, {"left": {"left": {"name": "a"}}})
    assert verdicts(schema, {"left": {"left": {"name": 1}}})[0][0] == "/left/left/name"


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"patternProperties": {}}, "#/patternProperties"),
        ({"properties": {"a": {"multipleOf": 2}}}, "#/properties/a/multipleOf"),
        ({"items": {"items": {"contains": {}}}}, "#/items/items/contains"),
        ({"items": {"anyOf": [{}]}}, "#/items/anyOf"),
        ({"additionalProperties": {"typo": 1}}, "#/additionalProperties/typo"),
        ({"propertyNames": {"minProperties": 1}}, "#/propertyNames/minProperties"),
        ({"allOf": [{}]}, "#/allOf"),
        ({"definitions": {"unused": {"typo": 1}}}, "#/definitions/unused/typo"),
        ({"properties": {"a": {"definitions": {}}}}, "#/properties/a/definitions"),
    ],
)
def test_a_keyword_that_is_not_supported_is_an_error_that_names_it_and_its_place(schema, place):
    with pytest.raises(ValueError, match="this keyword is not supported here") as caught:
        Schema(schema).check({"a": 1})
    assert str(caught.value).startswith(place + ": ")


@pytest.mark.parametrize(
    ("schema", "instance", "message"),
    [
        ({"type": ["string", "null"]}, 1.5, "found 1.5, expected a string or null"),
        ({"type": "boolean"}, 1, "found 1, expected true or false"),
        ({"minimum": 0}, -1, "found -1, expected at least 0"),
        ({"maximum": 0}, 2, "found 2, expected at most 0"),
        ({"minItems": 2}, [1], "found an array of 1 items, 1 items, expected at least 2"),
        ({"maxLength": 2}, "abc", "found 'abc', 3 characters, expected at most 2"),
        ({"pattern": "^x"}, "abc", "found 'abc', expected text that matches ^x"),
        ({"enum": ["a", None, True]}, "b", "found 'b', expected 'a' or null or true"),
        ({"const": 1}, True, "found true, expected 1"),
        ({"uniqueItems": True}, [3, 4, 3], "found 3 twice, expected each item once"),
        ({"required": ["a"]}, {}, "found no 'a', which is required"),
        ({"additionalProperties": False}, {"b": 1}, "found the unknown property 'b', expected only published ones"),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, "the name 'ab' is not allowed: found 'ab', 2 characters, "),
        ({"type": "null"}, "\x1b[2J\u202e", "found '\\x1b[2J\\u202e', expected null"),
    ],
)
def test_a_message_says_what_was_found_and_what_is_expected(schema, instance, message):
    [(_, output)] = verdicts(schema, instance)
    assert output.startswith(message)
    assert output == message or message.endswith(", ")


def test_a_long_value_is_cut_to_sixty_characters():
    [(_, message)] = verdicts({"type": "null"}, 10**5000)  # more digits than Python writes out
    assert message == "found an integer of 16610 bits, expected null"
    [(_, message)] = verdicts({"type": "null"}, "x" * 1_000_000)
    assert message == "found '" + "x" * 58 + "…, expected null"


def test_a_pointer_leads_to_what_is_wrong_and_is_escaped():
    schema = {"properties": {"a/b~c": {"items": {"additionalProperties": {"required": ["x"]}}}}}
    assert verdicts(schema, {"a/b~c": [{}, {"k": {}}]})[0][0] == "/a~1b~0c/1/k"
    assert Schema({"type": "null"}).check(1) == [SchemaError((), "found 1, expected null")]


def test_each_property_gives_its_first_violation_and_missing_ones_come_first():
    schema = {
        "required": ["x", "y"],
        "properties": {"b": {"items": {"type": "null"}}, "a": {"type": "null"}, "c": {}},
        "additionalProperties": False,
        "propertyNames": {"maxLength": 1},
    }
    errors = verdicts(schema, {"a": 1, "b": [1, 2], "c": 1, "dd": 1})
    assert [pointer for pointer, _ in errors] == ["", "", "", "/a", "/b/0", ""]
    assert [message[:13] for _, message in errors[:3]] == ["the name 'dd'", "found no 'x',", "found no 'y',"]
    assert "unknown property 'dd'" in errors[5][1]


def test_no_more_than_fifty_violations_are_listed():
    assert len(verdicts({"additionalProperties": {"type": "null"}}, {str(i): i for i in range(60)})) == 50


def test_only_the_named_fields_are_checked_and_what_concerns_the_whole():
    schema = Schema(
        {
            "type": "object",
            "required": ["a"],
            "properties": {"a": {"type": "null"}, "b": {"type": "null"}},
            "additionalProperties": {"type": "string"},
            "propertyNames": {"maxLength": 5},
        }
    )
    assert schema.properties == ("a", "b")
    state = {"a": 1, "b": 1, "c": 1}
    assert [v.pointer for v in schema.check(state)] == ["/a", "/b", "/c"]
    assert [v.pointer for v in schema.check_fields(state, ["b", "gone"])] == ["/b"]
    assert [v.pointer for v in schema.check_fields(state, ["c"])] == ["/c"]
    assert schema.check_fields(state, []) == []
    assert [v.message for v in schema.check_fields({}, ["a"])] == ["found no 'a', which is required"]
    assert "'longer'" in schema.check_fields({"a": None, "longer": ""}, [])[0].message


def test_an_unknown_field_is_refused_by_name_where_additional_ones_are_not_allowed():
    schema = Schema({"properties": {"a": {}}, "additionalProperties": False})
    assert schema.check_fields({"a": 1, "b": 1}, ["a"]) == []
    assert [v.pointer for v in schema.check_fields({"a": 1, "b": 1}, ["b"])] == [""]


def test_one_wrong_value_among_many_is_found_by_its_index():
    strings = {"items": {"type": "string", "minLength": 1}}
    integers = {"items": {"type": "integer", "minimum": 0}, "uniqueItems": True}
    keyed = {"propertyNames": {"pattern": "^[0-9]+$"}, "additionalProperties": {"type": "integer", "minimum": 0}}
    assert verdicts(strings, ["a"] * 9_999 + [""])[0][0] == "/9999"
    assert verdicts(integers, [*range(9_999), -1])[0][0] == "/9999"
    assert verdicts(integers, [*range(9_999), 7])[0] == ("", "found 7 twice, expected each item once")
    assert verdicts(keyed, {**{str(i): 0 for i in range(9_999)}, "9999": False})[0][0] == "/9999"
    assert verdicts(keyed, {**{str(i): 0 for i in range(9_999)}, "x": 0})[0][1].startswith("the name 'x' ")


def test_every_published_schema_compiles_and_names_its_properties():
    folder = os.path.join(os.path.dirname(schema_module.__file__), "..", "..", "..", "schemas")
    names = [file[: -len(".schema.json")] for file in os.listdir(folder) if file.endswith(".schema.json")]
    assert "batch_state" in names
    for name in names:
        published = load_published(name)
        assert Schema(published).properties == tuple(published.get("properties", {}))


@pytest.mark.parametrize("content", [None, b"", b"[]", b"{", b'{"a": 1, "a": 1}', b"{}" + b" " * (1024 * 1024)])
def test_a_damaged_published_schema_says_that_the_plugin_is_damaged(tmp_path, monkeypatch, content):
    (tmp_path / "schemas").mkdir()
    (tmp_path / "lib" / "batch_implement").mkdir(parents=True)
    monkeypatch.setattr(schema_module, "__file__", str(tmp_path / "lib" / "batch_implement" / "schema.py"))
    if content is not None:
        (tmp_path / "schemas" / "x.schema.json").write_bytes(content)
    with pytest.raises(StateError, match=r"x\.schema\.json cannot be used: .* install it again"):
        load_published("x")


def test_a_schema_is_found_when_the_module_is_linked_into_another_folder(tmp_path, monkeypatch):
    (tmp_path / "schema.py").symlink_to(schema_module.__file__)
    monkeypatch.setattr(schema_module, "__file__", str(tmp_path / "schema.py"))
    assert load_published("batch_state")["type"] == "object"


def test_neither_typing_nor_a_compiled_pattern_is_paid_for_before_it_is_needed():
    lib = os.path.dirname(os.path.dirname(os.path.dirname(schema_module.__file__)))
    program = (
        f"import sys; sys.path.insert(0, {lib!r})\n"
        "from batch_implement.validation import schema\n"
        "before = 're' in schema.__dict__\n"
        "compiled = schema.Schema({'properties': {'a': {'pattern': '('}}})\n"  # no regular expression
        "print(before, 'typing' in sys.modules, 'dataclasses' in sys.modules, compiled.check({'a': 1}))\n"
    )
    run = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "False False False []\n"


def test_each_property_is_compiled_at_its_first_check():
    by_field = Schema({"properties": {"good": {"type": "string"}, "bad": {"colour": "red"}}})
    assert by_field.check_field("good", "x") == []
    with pytest.raises(ValueError, match="#/properties/bad"):
        by_field.check_field("bad", "x")
