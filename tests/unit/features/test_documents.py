"""YAML and JSON as plain values, and the line of each."""

from __future__ import annotations

import json
import random
import time

import pytest
import yaml
from batch_implement.core.errors import UsageError
from batch_implement.features import documents


def value_of(text, kind="yaml"):
    return documents.parse(text, "f", kind).value


def made(chance, depth):
    """A random value as JSON knows it, with keys and texts that have signs in them."""
    signs = "ab \"'\\#:,[]{}-?&*!|>%@`\n\té😀"
    text = "".join(chance.choice(signs) for _ in range(chance.randrange(6)))
    if depth == 0 or chance.random() < 0.3:
        return chance.choice([text, text, chance.randrange(-50, 50), True, False, None])
    if chance.random() < 0.5:
        return [made(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {f"{text}{index}": made(chance, depth - 1) for index in range(chance.randrange(4))}


def test_json_read_as_yaml_is_the_same_with_the_same_lines(yaml_parser):
    chance = random.Random(7)
    for _ in range(300):
        text = json.dumps(made(chance, 4), indent=chance.choice([None, 0, 2]), ensure_ascii=False)
        assert documents.parse(text, "f", "json") == documents.parse(text, "f", "yaml")


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_each_value_has_the_line_on_which_it_or_its_name_begins(kind):
    text = '{"a": [1,\n  {"b":\n 2, "c": []}\n],\n"d": {}, "e f/g": ["x\\"]\\\\",\n "y"]}\n'
    assert documents.parse(text, "f", kind).lines == {
        (): 1, ("a",): 1, ("a", 0): 1, ("a", 1): 2, ("a", 1, "b"): 2, ("a", 1, "c"): 3, ("d",): 5, ("e f/g",): 5,
        ("e f/g", 0): 5, ("e f/g", 1): 6,
    }  # fmt: skip


def test_a_value_without_a_line_has_that_of_what_is_around_it():
    parsed = documents.parse("- a:\n    b\n", "f", "yaml")
    assert parsed.line((0, "a", "nowhere", 7)) == 1
    assert documents.Document(None, {}).line(("x",)) == 1


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
    with pytest.raises(UsageError, match=rf"^f, line {line}: '#.*is a comment to YAML and would be lost"):
        value_of(text)


def test_a_pair_of_surrogates_that_escapes_spell_is_refused_and_the_character_is_not(yaml_parser):
    with pytest.raises(UsageError, match="f, line 1: "):
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


def test_lines_in_json_are_not_looked_for_deeper_than_is_allowed():
    lines = documents._lines_of_json('{"a":' * 200 + "1" + "}" * 200, "f")
    assert 60 < max(map(len, lines)) < 70
