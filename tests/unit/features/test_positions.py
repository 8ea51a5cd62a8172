"""Lines and columns in JSON and YAML."""

from __future__ import annotations

import json
import random

import pytest
from batch_implement.features import documents, positions, yaml_support

JSON = '{\n  "a/b": [1, {"\\u0063": "}\\\\"},\n    []],\n  "é": {"x": null}, "a": "\\"[,", "b":\n  7\n}\n'
YAML = (
    "# features\ndefaults:\n  verify: |\n    a: b\n    c\nfeatures:\n- é {[ a\n-   title: b\n    touches: [x, 'y: z']\n"
)


@pytest.fixture(autouse=True)
def tests_environment(monkeypatch):
    """Lets PyYAML be taken from where the tests have it, which may be inside this repository."""
    monkeypatch.setattr(yaml_support, "forbidden_folders", lambda: [])


def test_each_value_of_json_has_its_line_and_column():
    found = positions.read(JSON, "json", "x")
    assert {steps: tuple(found.at(steps)) for steps in found.offsets} == {
        (): (1, 1), ("a/b",): (2, 3), ("a/b", 0): (2, 11), ("a/b", 1): (2, 14), ("a/b", 1, "c"): (2, 15),
        ("a/b", 2): (3, 5), ("é",): (4, 3), ("é", "x"): (4, 9), ("a",): (4, 21), ("b",): (4, 34),
    }  # fmt: skip


def test_each_value_of_yaml_has_its_line_and_column(yaml_parser):
    found = positions.read(YAML, "yaml", "x")
    assert {steps: tuple(found.at(steps)) for steps in found.offsets} == {
        (): (2, 1), ("defaults",): (2, 1), ("defaults", "verify"): (3, 3), ("features",): (6, 1),
        ("features", 0): (7, 3), ("features", 1): (8, 5), ("features", 1, "title"): (8, 5),
        ("features", 1, "touches"): (9, 5), ("features", 1, "touches", 0): (9, 15),
        ("features", 1, "touches", 1): (9, 18),
    }  # fmt: skip


def test_what_is_not_there_has_the_place_of_what_is_around_it():
    found = positions.read('[\n {"a": 1}]', "json", "x")
    assert found.at((0, "a", "b", 7)) == found.at((0, "a")) == (2, 3)
    assert found.at(("x",)) == (1, 1)
    assert positions.read("", "json", "x").at(()) is None


@pytest.mark.parametrize(
    ("text", "kind"), [('{"a": 1,\n "a": {"b": 1, "b": 2}}', "json"), ("a: 1\na:\n  b: 1\n", "yaml")]
)
def test_a_name_that_is_there_twice_is_told_with_the_place_of_the_second(text, kind):
    found = positions.read(text, kind, "x").repeated
    assert found[0] == (("a",), (2, 2 if kind == "json" else 1))
    assert [steps for steps, _ in found] == [("a",), ("a", "b")][: len(found)]


def test_where_a_text_is_no_yaml_any_more_is_told(yaml_parser):
    found = positions.read("- a\n- b: c: d\n", "yaml", "x")
    assert (found.fault, found.at((0,))) == ((2, 7), (1, 3))


@pytest.mark.parametrize(
    "text", ["- a\n- *b\n", "- &a b\n", "- !x a\n", "? [a]\n: b\n", "- a\n---\n- b\n", "", "#\n", "\0"]
)
def test_what_no_features_file_may_hold_is_passed_over_quietly(text, yaml_parser):
    assert positions.read(text, "yaml", "x").repeated == []


def test_what_is_nested_without_end_ends():
    assert len(positions.read("[" * 100_000, "json", "x").offsets) <= documents.MAX_DEPTH + 1
    assert len(positions.read("- " * 500 + "a", "yaml", "x").offsets) <= documents.MAX_DEPTH + 1


def test_lines_are_those_that_features_are_read_with():
    chance = random.Random(1)  # the same each time

    def value(depth):
        kind = chance.randrange(5 if depth < 4 else 3)
        if kind == 3:
            return [value(depth + 1) for _ in range(chance.randrange(4))]
        if kind == 4:
            return {chance.choice(["a", "b\\", 'c"', "d\n", "[", "é"]) + str(n): value(depth + 1) for n in range(3)}
        return [7, '"\\', "a,]{:\n"][kind]

    for _ in range(100):
        text = json.dumps(value(0), indent=chance.choice([None, 1, 4]), ensure_ascii=chance.choice([True, False]))
        for kind in ("json", "yaml"):
            known = documents.parse(text, "x", kind).lines
            found = positions.read(text, kind, "x")
            assert {steps: found.at(steps).line for steps in found.offsets} == known


@pytest.mark.parametrize(
    "text", ['{"a": 1, "b\\q": 2}', '{"a": 1, b: 2}', '{"a": 1, [', '{"a": 1}]', '{"a": 1,, 2', "]", ",", ":"]
)
def test_what_is_no_json_any_more_ends_it_quietly(text):
    found = positions.read(text, "json", "x")
    assert ("b",) not in found.offsets
    assert found.at(("a",)) == (positions.Position(1, 2) if len(text) > 1 else None)
