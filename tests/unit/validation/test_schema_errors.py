"""Everything that the schema says against a state: the same places with jsonschema and without, and what is meant."""

from __future__ import annotations

import builtins
import copy
import functools
import json
import subprocess
import sys

import pytest
from batch_implement.store import serialization
from batch_implement.validation import schema_errors
from batch_implement.validation.schema import load_published
from batches import completed, failed, new_batch, started
from mutating import Patch, mutated

jsonschema = pytest.importorskip("jsonschema")
ODD = (None, True, -1, 1.5, 10**9, "", "x", "2", [], [0, 0], ["x"], {}, {"x": -1}, {"0": 0})
FILE = "validation/schema_errors.py"
MUTATIONS: dict[str, Patch] = {
    "names are not looked at": (FILE, "yield steps, NAME, name\n            yield", "pass\n            yield"),
    "items are not looked into": (FILE, "yield from _own(item, below, tests, (*steps, index))", "pass"),
    "what lacks a field is passed over": (FILE, "if name not in value)\n        for", "if False)\n        for"),
    "a minimum is not looked at": (FILE, '"minimum", ', ""),
    "additional fields are passed over": (FILE, 'part.get("additionalProperties", _ANYTHING)', "_ANYTHING"),
}
PROGRAM = """
import json, sys
sys.modules["jsonschema"] = None
from batch_implement.validation import schema_errors
json.dump([schema_errors.of_state(each) for each in json.load(sys.stdin)], sys.stdout)
"""


def places(value, path=()):
    yield path
    if isinstance(value, (dict, list)):
        for step, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(child, (*path, step))


def broken_states():
    """States with something odd in each place, or with a field of another name there."""
    whole = failed(started(completed(started(new_batch(3)))), permanent=True)
    for number, path in enumerate(list(places(whole))[1:]):
        state = copy.deepcopy(whole)
        inside = state
        for step in path[:-1]:
            inside = inside[step]
        if number % 4 == 3 and isinstance(inside, dict):
            inside[f"{path[-1]}x"] = inside.pop(path[-1])
        else:
            inside[path[-1]] = ODD[number % len(ODD)]
        yield state
    yield from ({**whole, "retry_attempts": odd} for odd in ODD)
    yield from ODD


BROKEN = list(broken_states())


@functools.cache
def reference():
    """What is found with jsonschema, as JSON has it."""
    return [as_json(schema_errors.of_state(state)) for state in BROKEN]


def without_jsonschema(monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "jsonschema":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)


def as_json(found):
    return json.loads(json.dumps(found))


def test_places_and_words_are_the_same_with_jsonschema_and_without(monkeypatch):
    found = reference()
    without_jsonschema(monkeypatch)
    assert [as_json(schema_errors.of_state(state)) for state in BROKEN] == found
    assert sum(map(bool, found)) > 80


def test_the_verdict_is_that_of_the_compiled_schema():
    for state, found in zip(BROKEN, reference()):
        assert bool(found) == bool(serialization.published_schema().check(state))


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_walk_that_overlooks_something_is_noticed(name, tmp_path):
    lib = mutated(MUTATIONS[name], str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(BROKEN), capture_output=True, text=True, check=True, env={"PYTHONPATH": lib}, timeout=300,
    )  # fmt: skip
    assert json.loads(done.stdout) != reference()


def test_the_walk_knows_every_keyword_that_the_schema_of_states_uses():
    def keywords(part):
        for keyword, value in part.items():
            yield keyword
            if keyword in ("properties", "definitions"):
                for below in value.values():
                    yield from keywords(below)
            elif isinstance(value, dict):
                yield from keywords(value)

    known = (
        schema_errors.OF_THE_VALUE | schema_errors.OF_WHAT_IS_IN_IT | {"$ref", "$schema", "$id", "title", "description"}
    )
    published = load_published("batch_state")
    assert set(keywords(published)) <= known | {"definitions"}
    assert all(isinstance(each, dict) for each in _values_of(published, "additionalProperties"))


def _values_of(part, keyword):
    if isinstance(part, dict):
        yield from (value for name, value in part.items() if name == keyword)
        for value in part.values():
            yield from _values_of(value, keyword)


@pytest.mark.parametrize(
    ("damage", "steps", "message"),
    [
        ({"status": "pausd"}, ("status",), "Did you mean `paused`?"),
        ({"status": "Completed"}, ("status",), "Did you mean `completed`?"),
        ({"revision": "3"}, ("revision",), "found '3', expected an integer. Number of this version: 1 when created"),
        ({"batch_id": "a..b"}, ("batch_id",), "found 'a..b'. Name of the batch:"),
        ({"completed_features": [0, -1]}, ("completed_features", 1), "found -1, expected at least 0. Index of a"),
        ({"retry_attempts": {"x": 1}}, ("retry_attempts", "x"), "the name 'x' is not allowed: found 'x'. Index of"),
    ],
)  # fmt: skip
def test_a_problem_says_what_is_there_and_what_should_be(damage, steps, message):
    (found,) = schema_errors.of_state({**new_batch(2), **damage})
    assert found.steps == steps
    assert message in found.message


def test_of_a_field_that_is_missing_the_misspelt_one_is_named():
    state = new_batch(2)
    state["feature_ordr"] = state.pop("feature_order")
    (found,) = schema_errors.of_state(state)
    assert found == ((), "found no 'feature_order', which is required. Is 'feature_ordr', which is there, meant as it?")


def test_of_one_file_at_most_fifty_problems_are_told_in_its_order():
    found = schema_errors.of_state({**new_batch(2), "completed_features": [*range(-60, 0)], "batch_id": 7})
    assert [each.steps for each in found] == [("batch_id",), *(("completed_features", n) for n in range(49))]
