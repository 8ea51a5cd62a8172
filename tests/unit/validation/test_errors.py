"""What the published schemas say against a value: the places that jsonschema finds, in words of our own."""

from __future__ import annotations

import copy

import pytest
from batch_implement.store import serialization
from batch_implement.validation import errors
from batches import completed, failed, new_batch, started

pytest.importorskip("jsonschema")
ODD = (None, True, -1, 1.5, 10**9, "", "x", "2", [], [0, 0], ["x"], {}, {"x": -1}, {"0": 0})


def state_errors(state):
    return errors.find_errors(state, "batch_state", lambda path: (None, None))


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


def test_every_broken_state_has_an_error_and_every_error_names_what_is_broken():
    verdicts = [bool(serialization.published_schema().check(state)) for state in broken_states()]
    assert [bool(state_errors(state)) for state in broken_states()] == verdicts
    assert sum(verdicts) > 80


@pytest.mark.parametrize(
    ("damage", "pointer", "message"),
    [
        ({"status": "pausd"}, "/status", "found 'pausd', expected 'in_progress' or 'paused' or"),
        ({"revision": "3"}, "/revision", "found '3', expected an integer. Number of this version: 1 when created"),
        ({"batch_id": "a..b"}, "/batch_id", "found 'a..b'. Name of the batch:"),
        ({"completed_features": [0, -1]}, "/completed_features/1", "found -1, expected at least 0. Index of a"),
        ({"completed_features": [0, 0]}, "/completed_features", "found 0 twice, expected each item once. "),
        ({"retry_attempts": {"x": 1}}, "/retry_attempts/x", "the name 'x' is not allowed: found 'x'. Index of"),
    ],
)  # fmt: skip
def test_an_error_says_what_was_found_and_what_is_expected(damage, pointer, message):
    (error,) = state_errors({**new_batch(2), **damage})
    assert error.pointer == pointer
    assert message in error.message


def test_each_missing_field_is_an_error():
    state = new_batch(2)
    del state["feature_order"], state["revision"]
    messages = [error.message for error in state_errors(state)]
    assert [message.partition(",")[0] for message in messages] == ["found no 'revision'", "found no 'feature_order'"]


def test_of_one_file_at_most_fifty_errors_are_listed():
    errors = state_errors({**new_batch(2), "completed_features": [*range(-60, 0)], "batch_id": 7})
    assert [error.path for error in errors] == [("batch_id",), *(("completed_features", n) for n in range(49))]


def test_a_path_becomes_an_escaped_pointer():
    assert errors.SchemaError(("a/b~c", 1, ""), "x").pointer == "/a~1b~0c/1/"
    assert errors.SchemaError((), "x").pointer == ""
