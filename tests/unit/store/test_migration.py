"""Version 0: every file in states_v0/ is a state as scripts wrote it, with what becomes of it.

A file has `about`, `file` (what was written), and either `expected` (fields of the migrated state) and `mended` (a
fragment of each sentence about what was mended), or `refused` (a fragment of the message). Adding a file adds a test.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from batch_implement.core import batch_state
from batch_implement.core.errors import StateError
from batch_implement.store import serialization
from batches import new_batch

CORPUS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in Path(__file__).parent.glob("states_v0/*")}
READABLE = sorted(name for name, case in CORPUS.items() if "refused" not in case)
REFUSED = sorted(name for name, case in CORPUS.items() if "refused" in case)


def as_file(state):
    return json.dumps(state).encode()


@pytest.mark.parametrize("name", READABLE)
def test_an_old_file_becomes_a_valid_state_and_what_was_mended_is_told(name):
    case = CORPUS[name]
    state, mended = serialization.parse_valid_state(as_file(case["file"]))
    assert {field: state[field] for field in case["expected"]} == case["expected"]
    for fragment in case["mended"]:
        assert any(fragment in sentence for sentence in mended), mended
    assert bool(mended) == bool(case["mended"])


@pytest.mark.parametrize("name", READABLE)
def test_what_was_migrated_stays_as_it_is_and_its_source_too(name):
    original = copy.deepcopy(CORPUS[name]["file"])
    state, _ = serialization.migrate_parsed(CORPUS[name]["file"])
    assert CORPUS[name]["file"] == original
    again, mended = serialization.parse_valid_state(serialization.serialize(state))
    assert (again, mended) == (state, [])


@pytest.mark.parametrize("name", READABLE)
def test_an_old_batch_asks_for_no_evidence_and_nothing_of_it_is_open(name):
    state, _ = serialization.migrate_parsed(CORPUS[name]["file"])
    assert state["policy"]["evidence"] == []
    assert state["active"] is None


@pytest.mark.parametrize("name", READABLE)
def test_no_field_of_an_old_file_is_lost(name):
    case = CORPUS[name]
    assert set(case["file"]) <= set(serialization.migrate_parsed(case["file"])[0])


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_state_is_refused_with_the_reason(name):
    with pytest.raises(StateError) as caught:
        serialization.parse_valid_state(as_file(CORPUS[name]["file"]))
    assert CORPUS[name]["refused"] in caught.value.message


@pytest.mark.parametrize("data", [None, [], "x", 1, True])
def test_what_is_no_object_is_corrupted(data):
    with pytest.raises(StateError, match="Corrupted batch state file: a JSON object is expected"):
        serialization.migrate_parsed(data)


def test_a_state_of_this_version_comes_back_as_it_is():
    state = new_batch(2)
    migrated, mended = serialization.migrate_parsed(state)
    assert migrated is state
    assert mended == []


@pytest.mark.parametrize("version", [2, -1, "1", 1.0, None, []])
def test_another_version_is_named(version):
    with pytest.raises(StateError, match=f"reads up to {batch_state.SCHEMA_VERSION}"):
        serialization.migrate_parsed({**new_batch(1), "schema_version": version})


ODD = [
    None,
    True,
    0,
    -1,
    1.5,
    10**30,
    "",
    "0",
    "x",
    "\n",
    [],
    [None],
    [[]],
    [{}],
    [0, 0],
    {},
    {"0": None},
    {"0": {}},
    {"x": 1},
]


@pytest.mark.parametrize("field", sorted(set(new_batch(1)) - {"schema_version"}))
def test_whatever_a_field_holds_the_file_is_read_or_refused(field):
    for odd in ODD:
        file = {**CORPUS["whole"]["file"], field: odd}
        try:
            state, _ = serialization.parse_valid_state(as_file(file))
        except StateError as refusal:
            assert field == "features", f"{odd!r}: {refusal.message}"
        else:
            assert serialization.find_problems(state, None) == []


def test_what_is_left_out_is_quoted_so_that_the_audit_log_has_it():
    file = {**CORPUS["minimal"]["file"], "completed_features": [{"id": "old-17"}], "failed_features": {"a": 1}}
    _, mended = serialization.parse_valid_state(as_file(file))
    assert mended == [
        'completed_features held {"id": "old-17"}, which is not a feature\'s index and was left out',
        'failed_features held {"a": 1}, which is not a list and was left out',
    ]
