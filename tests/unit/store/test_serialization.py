"""A state as the bytes of its file, and back."""

from __future__ import annotations

import json

import pytest
from batch_implement.core.errors import StateError
from batch_implement.store import serialization
from batches import completed, failed, given_up, new_batch, started

BUSY = failed(started(given_up(completed(new_batch(5, needs={4: [1]})))), 'a\n"b" \\ \u2028 é 😀')


def test_a_state_is_read_back_as_it_was():
    assert serialization.parse(serialization.serialize(BUSY)) == BUSY
    assert serialization.parse_valid_state(serialization.serialize(BUSY)) == (BUSY, [])


def test_it_is_plain_json_with_one_field_a_line():
    text = serialization.serialize(BUSY).decode()
    assert json.loads(text) == BUSY
    lines = text.splitlines()
    assert (lines[0], lines[-1], text[-1]) == ("{", "}", "\n")
    for name in BUSY:
        assert sum(line.startswith(f' "{name}": ') for line in lines) == 1


def test_arrays_of_objects_have_an_element_a_line():
    state = given_up(given_up(new_batch(3)))
    lines = serialization.serialize(state).decode().split("\n")
    at = lines.index(' "failed_features": [')
    assert [json.loads(line.rstrip(","))["feature_index"] for line in lines[at + 1 : at + 3]] == [0, 1]
    assert lines[at + 3] == " ],"


def test_texts_stay_readable_and_line_breaks_in_them_do_not_break_lines():
    text = serialization.serialize({**new_batch(["naïve 😀\nsecond"])}).decode()
    assert "naïve 😀\\nsecond" in text


def test_half_of_a_surrogate_pair_is_replaced_and_never_stops_a_write():
    state = new_batch(["a\udcffb \ud800"])
    assert serialization.parse_valid_state(serialization.serialize(state))[0]["features"] == ["a?b ?"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, {(1, 2): 3}, b"x"])
def test_what_is_not_json_is_refused_and_named_with_its_field(value):
    with pytest.raises(StateError, match=r"The field budget cannot be written as JSON: .*Nothing was changed\."):
        serialization.serialize({**new_batch(1), "budget": [{"a": value}]})


@pytest.mark.parametrize("data", [b"", b"\0\0", b"{", b"[]", b"nul", b'{"a": NaN}', b"\xff\xfe", b'{"a": 1, "a": 2}'])
def test_what_is_damaged_is_corrupted(data):
    with pytest.raises(StateError, match="Corrupted batch state file"):
        serialization.parse_valid_state(data)


def test_what_is_not_a_valid_state_says_where_and_at_most_five_times():
    state = {**new_batch(9), **dict.fromkeys(("active", "pause", "owner", "policy", "features", "decisions"), 7)}
    with pytest.raises(StateError) as caught:
        serialization.parse_valid_state(serialization.serialize(state))
    assert caught.value.message.startswith("It is not a valid state: /")
    assert caught.value.message.count(": found 7, expected") == 5


def test_a_field_that_did_not_change_is_not_looked_at_again():
    broken = {**new_batch(2), "status": "odd"}
    assert serialization.find_problems({**broken, "revision": 2}, None) != []
    assert not any("/status" in text for text in serialization.find_problems({**broken, "revision": 2}, broken))


def test_a_required_field_that_was_taken_out_is_told_although_nothing_changed_it():
    before = new_batch(2)
    after = {name: value for name, value in before.items() if name != "evidence"}
    assert any("evidence" in text for text in serialization.find_problems(after, before))


def test_unknown_fields_stay():
    state = {**new_batch(1), "x": {"y": [1]}}
    assert serialization.parse_valid_state(serialization.serialize(state))[0]["x"] == {"y": [1]}


def test_the_published_schema_is_compiled_once():
    assert serialization.published_schema() is serialization.published_schema()
