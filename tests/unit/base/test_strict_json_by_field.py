"""The quick way to read what we wrote, a field a line, has the value of the slow one and its verdict on what is odd."""

from __future__ import annotations

import pytest
from batch_implement.base import strict_json
from batch_implement.store import atomic_files, serialization
from batches import completed, failed, given_up, new_batch, started

STATE = failed(started(given_up(completed(new_batch(["a :b", 'say "x": y', "\u2028 é\n", "d", "e"], needs={4: [1]})))))
GOOD = serialization.serialize(STATE)


def edited(old, new):
    data = GOOD.replace(old, new, 1)
    assert data != GOOD
    return data


ODD = {
    "a name twice at the top": edited(b' "revision": 1,\n', b' "revision": 1,\n "revision": 2,\n'),
    "NaN": edited(b'"revision": 1', b'"revision": NaN'),
    "too large a number": edited(b'"revision": 1', b'"revision": 1e999'),
    "cut in a name": b'{\n "revision',
    "cut": GOOD[:-30] + b"\n}\n",
    "something behind a value": edited(b'"revision": 1', b'"revision": 1 1'),
    "two fields that lend each other a line": b'{\n "a": {"x": 1,\n "b": 2}, "b": 3\n}\n',
    "half of a surrogate pair": b'{\n "a": "\\ud800"\n}\n',
    "a name with an escape": b'{\n "\\u0061": 1,\n "a": 2\n}\n',
}


def read_back(data):
    return serialization.parse_content(data, atomic_files.sha256(data))


def verdict(read, data):
    try:
        return repr(read(data))
    except ValueError as error:
        return str(error)


@pytest.mark.parametrize("data", [GOOD, *ODD.values()], ids=["good", *ODD])
def test_it_says_what_the_other_says(data):
    assert verdict(lambda read: strict_json.parse_by_field(read)[0], data) == verdict(strict_json.parse, data)


@pytest.mark.parametrize("name", sorted(set(ODD) - {"two fields that lend each other a line"}))
def test_what_is_odd_is_refused(name):
    with pytest.raises(ValueError):
        strict_json.parse_by_field(ODD[name])


def test_the_places_are_those_of_the_fields():
    value, text, places = strict_json.parse_by_field(GOOD)
    assert (value, text) == (STATE, GOOD.decode())
    assert {start for start, _ in places.values()} == {text.index(f'\n "{name}": ') + 1 for name in STATE}
    lines = [text[start:end] for start, end in places.values()]
    assert strict_json.parse(("{" + ",".join(lines) + "}").encode()) == STATE
    assert strict_json.parse_by_field(b'{"a": 1}') == ({"a": 1}, '{"a": 1}', {})


def test_what_did_not_change_is_written_as_it_was_read_and_the_rest_anew():
    read = read_back(GOOD)
    changed = {"revision": 9, "status": "paused"}
    assert serialization.serialize({**read.value, **changed}, read) == serialization.serialize({**STATE, **changed})
    assert serialization.serialize(new_batch(2), read) == serialization.serialize(new_batch(2))


@pytest.mark.parametrize("letter", ["e", "é"])
def test_the_line_that_was_read_is_taken_for_what_did_not_change(letter):
    data = GOOD.replace(b'"completed_features": [', b'"completed_features": [ ').replace("é".encode(), letter.encode())
    read = read_back(data)
    assert serialization.serialize({**read.value, "revision": 2}, read) == data.replace(
        b'"revision": 1', b'"revision": 2'
    )


def test_each_value_of_a_content_has_fields_of_its_own():
    read = read_back(GOOD)
    read.value["status"] = "paused"
    assert read.value == STATE
    assert b'"status": "paused"' in serialization.serialize({**read.value, "status": "paused"}, read)
