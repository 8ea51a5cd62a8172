"""YAML and JSON as plain values, and the line and column of each."""

from __future__ import annotations

import json
import random
import time

import pytest
import yaml
from batch_implement.core.errors import UsageError
from batch_implement.features.data_formats import located_values
from batch_implement.features.feature_list import FeatureListError


def value_of(text, kind="yaml"):
    return located_values.parse(text, "f", kind).value


def made(chance, depth):
    """A random value as JSON knows it, with keys and texts that have signs in them."""
    signs = "ab \"'\\#:,[]{}-?&*!|>%@`\n\té😀"
    text = "".join(chance.choice(signs) for _ in range(chance.randrange(6)))
    if depth == 0 or chance.random() < 0.3:
        return chance.choice([text, text, chance.randrange(-50, 50), True, False, None])
    if chance.random() < 0.5:
        return [made(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {f"{text}{index}": made(chance, depth - 1) for index in range(chance.randrange(4))}


def test_json_read_as_yaml_is_the_same_with_the_same_positions(yaml_parser):
    chance = random.Random(7)
    for _ in range(300):
        text = json.dumps(made(chance, 4), indent=chance.choice([None, 0, 2]), ensure_ascii=False)
        assert located_values.parse(text, "f", "json") == located_values.parse(text, "f", "yaml")


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_each_value_has_the_line_and_column_at_which_it_or_its_name_begins(kind):
    text = '{"a": [1,\n  {"b":\n 2, "c": []}\n],\n"d": {}, "e f/g": ["x\\"]\\\\",\n "y"]}\n'
    assert located_values.parse(text, "f", kind).positions == {
        (): (1, 1), ("a",): (1, 2), ("a", 0): (1, 8), ("a", 1): (2, 3), ("a", 1, "b"): (2, 4), ("a", 1, "c"): (3, 5),
        ("d",): (5, 1), ("e f/g",): (5, 10), ("e f/g", 0): (5, 20), ("e f/g", 1): (6, 2),
    }  # fmt: skip


def test_a_value_without_a_position_has_that_of_what_is_around_it():
    parsed = located_values.parse("- b\n- a:\n    b\n", "f", "yaml")
    assert parsed.position((1, "a", "nowhere", 7)) == (2, 3)
    assert located_values.Document(None, {}).position(("x",)) == (1, 1)


def test_columns_count_code_points_in_nested_yaml(yaml_parser):
    text = (
        "# features\ndefaults:\n  verify: |\n    a: b\n    c\nfeatures:\n- é {[ a\n-   title: b\n"
        "    touches: [x, 'y: z']\n"
    )
    assert located_values.parse(text, "f", "yaml").positions == {
        (): (2, 1), ("defaults",): (2, 1), ("defaults", "verify"): (3, 3), ("features",): (6, 1),
        ("features", 0): (7, 3), ("features", 1): (8, 5), ("features", 1, "title"): (8, 5),
        ("features", 1, "touches"): (9, 5), ("features", 1, "touches", 0): (9, 15),
        ("features", 1, "touches", 1): (9, 18),
    }  # fmt: skip


def test_columns_count_code_points_in_json_with_escapes():
    text = '{\n  "a/b": [1, {"\\u0063": "}\\\\"},\n    []],\n  "é": {"x": null}, "a": "\\"[,", "b":\n  7\n}\n'
    assert located_values.parse(text, "f", "json").positions == {
        (): (1, 1), ("a/b",): (2, 3), ("a/b", 0): (2, 11), ("a/b", 1): (2, 14), ("a/b", 1, "c"): (2, 15),
        ("a/b", 2): (3, 5), ("é",): (4, 3), ("é", "x"): (4, 9), ("a",): (4, 21), ("b",): (4, 34),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ('{"a": 1,\n "a": {"b": 1, "b": 2}}', "json", (2, 2, ("a",))),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "yaml", (4, 3, ("b", "c"))),
    ],
)
def test_a_name_that_is_there_twice_is_refused_at_the_second(text, kind, place):
    with pytest.raises(FeatureListError, match="is there twice") as caught:
        located_values.parse(text, "f", kind)
    assert (caught.value.line, caught.value.column, caught.value.path) == place


@pytest.mark.parametrize("text", ['{"a": 1, "b\\q": 2}', '{"a": 1, b: 2}', '{"a": 1, [', '{"a": 1}]', '{"a": 1,, 2'])
def test_values_are_located_as_far_as_a_text_is_json(text):
    positions, repeated = located_values.locate_json_values(text)
    assert (positions[()], positions["a",], repeated) == ((1, 1), (1, 2), None)
    assert ("b",) not in positions


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None), ("~", None), ("Null", None), ("NULL", None), ("", None), ("true", True), ("false", False),
        ("0", 0), ("-12", -12), ("9" * 18, int("9" * 18)), ("'12'", "12"), ("'null'", "null"), ('"true"', "true"),
        ("''", ""), ("|\n  12\n", "12\n"), (">\n  true\n", "true\n"),
        ("9" * 19, "9" * 19), ("-0x1", "-0x1"), ("01", "01"), ("True", "True"), ("nUll", "nUll"), ("1.0", "1.0"),
        ("1e9", "1e9"), ("12_000", "12_000"), ("1:30", "1:30"), ("2001-12-14T21:59:43Z", "2001-12-14T21:59:43Z"),
        ("<<", "<<"), ("yes", "yes"), ("y", "y"), ("off", "off"),
    ],
)  # fmt: skip
def test_only_null_true_false_and_whole_numbers_are_more_than_text(text, value, yaml_parser):
    (found,) = value_of(f"- {text}")
    assert (found, type(found)) == (value, type(value))


def test_a_key_is_always_text(yaml_parser):
    assert value_of("1: a\ntrue: b\nnull: c\nyes: d\n2001-01-01: e\n'': f\n") == {
        "1": "a", "true": "b", "null": "c", "yes": "d", "2001-01-01": "e", "": "f",
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "- a # b\n", "- a  #\n", "#x\n- a\n#- b\n", "- 'a' #b\n", "- [a, b] #c\n", "- a #\n", "- a ## b\n",
        "- a\n  #b\n", "- {a: 'b#c'} # d\n", "- 'a #b'\n", '- "a, #b"\n', "- |\n  a #b\n", "- a#b\n",
        "- [a#b, 'x #y']\n", "a: #b\n  - c\n",
    ],
)  # fmt: skip
def test_a_comment_that_is_surely_one_and_a_sign_that_is_surely_none_are_accepted(text, yaml_parser):
    assert value_of(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("- a #b\n", 1), ("- a\n- b #1\n", 2), ("- a:\n    b\n    c #d\n", 3), ("a: #b\n", 1),
        ("- [#a\n  ]\n", 1), ("- [a, #b\n  ]\n", 1), ("- ['a',\n 'b', #c\n ]\n", 2), ("- {a: 1, #b\n }\n", 1),
        ("- [a #b\n ]\n", 1), ("- true #1\n", 1), ("- 1 #1\n", 1), ("a #b: c\n", 1),
    ],
)  # fmt: skip
def test_a_sign_that_would_quietly_cut_off_a_text_is_refused(text, line, yaml_parser):
    with pytest.raises(UsageError, match=rf"^f:{line}: '#.*is a comment in YAML and would be lost"):
        value_of(text)


def test_a_pair_of_surrogates_that_escapes_spell_is_refused_and_the_character_is_not(yaml_parser):
    with pytest.raises(UsageError, match="f:1: "):
        value_of('- "\\ud83d\\ude00"')
    assert value_of('- "\\U0001F600 😀"') == ["😀 😀"]
    assert value_of('["\\ud83d\\ude00"]', "json") == ["😀"]


@pytest.mark.parametrize(
    "text",
    ["[" * 300_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000, "- \n" * 1_000_000],
    ids=["brackets", "braces", "dashes", "keys", "items"],
)
def test_what_would_take_long_is_refused_early(text, yaml_parser):
    begun = time.monotonic()
    with pytest.raises(UsageError):
        value_of(text)
    assert time.monotonic() - begun < 10


def test_deep_and_broken_json_is_refused_early():
    for text in ("[" * 300_000, '{"a":' * 300_000, '{"a": 1, "a": ' + "[" * 300_000):
        with pytest.raises(UsageError):
            value_of(text, "json")


def test_values_in_json_are_not_located_deeper_than_is_allowed():
    positions, _ = located_values.locate_json_values('{"a":' * 200 + "1" + "}" * 200)
    assert 60 < max(map(len, positions)) < 70


@pytest.mark.parametrize("text", ['[{]"", 1]', '{"a": [{]"",\n {"b": 1}]}', '{"a": 1]', "[1}"])
def test_a_bracket_of_the_wrong_kind_ends_the_search_for_places(text):
    positions, repeated = located_values.locate_json_values(text)
    assert () in positions and repeated is None
    with pytest.raises(FeatureListError, match=r"list\.json:[12]: "):
        located_values.parse(text, "list.json", "json")
