"""State files of older scripts through the library interface: each file of states_v0/ (see test_migration.py)."""

from __future__ import annotations

import json
from pathlib import Path

import batch_state_manager as library
import pytest
from batch_implement.store import audit_log, serialization
from batch_state_manager import BatchStateError
from batches import state_on_disk

STATES = Path(__file__).parents[1] / "store" / "states_v0"
CORPUS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in STATES.iterdir()}
READABLE = sorted(name for name, case in CORPUS.items() if "refused" not in case)
REFUSED = sorted(set(CORPUS).difference(READABLE))


@pytest.fixture
def file(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an old state file belongs in the repository, which is the working directory."""
    monkeypatch.chdir(repository)
    (repository / ".claude").mkdir()
    return repository / ".claude" / "batch_state.json"


def test_the_corpus_has_at_least_25_files_that_load():
    assert len(READABLE) >= 25 and REFUSED


@pytest.mark.parametrize("name", READABLE)
def test_an_old_file_loads_and_goes_on(file, name):
    case = CORPUS[name]
    written = json.dumps(case["file"])
    file.write_text(written)
    state = library.load_batch_state(file)
    on_disk = state_on_disk(".")
    expected = {field: value for field, value in case["expected"].items() if field != "revision"}  # taken over: + 1
    assert {field: on_disk[field] for field in expected} == expected
    assert serialization.find_problems(on_disk, None) == []
    assert (state.policy["evidence"], state.policy["verify"], state.revision) == ([], None, on_disk["revision"])

    private = file.parents[1] / ".git" / "batch-implement"
    messages = [text for entry in audit_log.read_entries(str(private)) for text in entry.get("repairs", ())]
    for fragment in case["mended"]:
        assert any(fragment in text for text in messages)
    kept = [path.read_text() for path in private.glob("archive/*.as-it-was.json")]
    assert kept == ([written] if case["mended"] else [])

    library.save_batch_state(file, state)
    following = library.get_next_pending_feature(state)
    if following is not None:
        library.update_batch_progress(file, state.current_index, "completed")
        assert state.features[library.load_batch_state(file).completed_features[-1]] == following


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_state_is_refused_and_left_alone(file, name):
    written = json.dumps(CORPUS[name]["file"])
    file.write_text(written)
    for call in (library.load_batch_state, library.cleanup_batch_state):
        with pytest.raises(BatchStateError) as caught:
            call(file)
        assert CORPUS[name]["refused"] in str(caught.value)
    assert file.read_text() == written
    assert list(file.parent.iterdir()) == [file]


def test_a_feature_that_waits_for_a_failed_one_does_not_wait_for_ever(file):
    old = {
        "batch_id": "old", "features_file": "f", "total_features": 3, "features": ["a", "b", "c"], "current_index": 1,
        "status": "in_progress", "failed_features": [{"feature_index": 0, "error_message": "no"}],
        "feature_dependencies": {"1": [0], "2": [1]},
    }  # fmt: skip
    file.write_text(json.dumps(old))
    state = library.load_batch_state(file)
    assert [(entry["feature_index"], entry["reason"]) for entry in state.skipped_features] == [
        (1, "blocked by 0"),
        (2, "blocked by 1"),
    ]
    assert (state.status, library.get_next_pending_feature(state)) == ("failed", None)
