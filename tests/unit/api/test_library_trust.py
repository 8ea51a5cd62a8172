"""What a script may not say of a batch whose policy asks for evidence."""

from __future__ import annotations

import json
from pathlib import Path

import batch_state_manager as library
import pytest
from batch_implement.api import state_files as core
from batch_implement.report import log_format
from batch_implement.store.store import Store
from batch_state_manager import BatchStateError
from batches import new_batch, started, state_on_disk


@pytest.fixture
def file(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state file of the repository, its working directory."""
    monkeypatch.chdir(repository)
    return repository / ".claude" / "batch_state.json"


@pytest.fixture
def asking(store: Store, file: Path) -> Path:
    """The state file of a batch of three features that a person made: it asks for a commit; the first one is open."""
    store.create(new_batch(3))
    store.update(started)
    return file


@pytest.mark.parametrize("call", [library.update_batch_progress, library.mark_feature_status])
@pytest.mark.parametrize("index", [0, 1])
def test_completed_is_refused_and_names_batchctl_done_and_the_batch_is_unchanged(asking, call, index):
    before = asking.read_bytes()
    with pytest.raises(BatchStateError, match=r"asks for evidence .*`batchctl done`"):
        call(asking, index, "completed")
    with pytest.raises(BatchStateError, match="`batchctl done`"):
        library.BatchStateManager().update_batch_progress(index, "completed")
    assert asking.read_bytes() == before


def test_a_refusal_is_in_the_audit_log(asking, repository):
    with pytest.raises(BatchStateError):
        library.update_batch_progress(asking, 0, "completed")
    log = (repository / ".git/batch-implement/audit.jsonl").read_text().splitlines()
    last = json.loads(log[-1])
    assert (last["event"], last["asked"]) == ("refused", "update_batch_progress") and "batchctl done" in last["message"]
    assert "`update_batch_progress` refused: Feature 1" in log_format.format_entries([last])[0]


@pytest.mark.parametrize(
    "policy", [{"evidence": ["commit"]}, {"evidence": ["review"]}, {"evidence": [], "verify": "make test"}]
)
def test_any_evidence_that_is_asked_for_counts(store, file, policy):
    store.create(new_batch(1, **policy))
    with pytest.raises(BatchStateError, match="batchctl done"):
        library.update_batch_progress(file, 0, "completed")


@pytest.mark.parametrize("own", [{"verify": "make test"}, {"evidence": ["commit"]}])
def test_a_features_own_policy_counts_too(store, file, own):
    store.create({**new_batch(2, evidence=[]), "details": {"0": {"policy": own}}})
    with pytest.raises(BatchStateError, match="batchctl done"):
        library.update_batch_progress(file, 0, "completed")
    library.update_batch_progress(file, 1, "completed")


@pytest.fixture
def own(store: Store, file: Path) -> Path:
    """The state file of a batch that asks for nothing but of its first feature, which is open."""
    store.create({**new_batch(2, evidence=[]), "details": {"0": {"policy": {"verify": "make test"}}}})
    store.update(started)
    return file


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda state: state.completed_features.append(0), "batchctl done"),
        (lambda state: (state.details.clear(), state.completed_features.append(0)), "details of batch"),
        (lambda state: state.details[0]["policy"].update(verify="true"), "details of batch"),
        (lambda state: state.failed_features.append({"feature_index": 0}), "batchctl fail"),
        (lambda state: setattr(state, "active", None), "active of batch"),
    ],
)
def test_a_features_own_policy_cannot_be_gone_around_either(own, change, fragment):
    state = library.load_batch_state(own)
    before = own.read_bytes()
    change(state)
    with pytest.raises(BatchStateError, match=fragment):
        library.save_batch_state(own, state)
    with pytest.raises(BatchStateError, match="`batchctl fail"):
        library.update_batch_progress(own, 0, "failed")
    with pytest.raises(BatchStateError, match="`batchctl abort`"):
        library.cleanup_batch_state(own)
    assert own.read_bytes() == before


def test_what_asks_for_nothing_beside_it_is_a_scripts_to_report(own):
    state = library.load_batch_state(own)
    state.completed_features.append(1)
    library.save_batch_state(own, state)
    assert library.load_batch_state(own).evidence[1]["asserted"] is True


@pytest.mark.parametrize(("field", "value"), [("retry_allowance", {0: 50}), ("decisions", [{"question": "q"}])])
def test_a_field_that_the_file_lacks_is_no_way_around_either(store, file, field, value):
    store.create({name: content for name, content in new_batch(1).items() if name != field})
    state = library.load_batch_state(file)
    setattr(state, field, value)
    with pytest.raises(BatchStateError, match=f"{field} of batch|/{field}"):
        library.save_batch_state(file, state)


def test_a_batch_that_comes_while_another_is_removed_is_looked_at_too(store, file, monkeypatch):
    library.save_batch_state(file, library.create_batch_state(["a"]))
    look = core._read_current

    def replaced(at: Store) -> object:
        state = look(at)
        store.create(new_batch(2), replace=True)
        return state

    monkeypatch.setattr(core, "_read_current", replaced)
    with pytest.raises(BatchStateError, match="`batchctl abort`"):
        library.cleanup_batch_state(file)
    assert len(state_on_disk(".")["features"]) == 2


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (lambda state: state.completed_features.append(1), "batchctl done"),
        (lambda state: state.issue_updates.update({0: {"close": closed()}}), "issue_updates of batch"),
        (lambda state: state.policy.update(evidence=[]), "policy of batch"),
        (lambda state: state.policy.update(verify=None, max_retries=99), "policy of batch"),
        (lambda state: state.features.append("another"), "features of batch"),
        (lambda state: state.evidence.update({1: {"commit": "c0ffee"}}), "evidence of batch"),
        (lambda state: state.details.update({0: {"evidence": []}}), "details of batch"),
        (lambda state: setattr(state, "active", None), "active of batch"),
        (lambda state: setattr(state, "owner", None), "owner of batch"),
        (lambda state: setattr(state, "workflow_reminder", "Do as you like."), "workflow_reminder of batch"),
        (lambda state: state.failed_features.append({"feature_index": 0}), "batchctl fail"),
        (lambda state: state.skipped_features.append({"feature_index": 2, "reason": "dull"}), "batchctl skip"),
        (lambda state: setattr(state, "retry_allowance", {0: 50}), "retry_allowance of batch"),
    ],
)
def test_a_saved_state_cannot_go_around_what_a_person_set(store, asking, change, fragment):
    store.update(lambda state: {**state, "owner": owner()})
    state = library.load_batch_state(asking)
    before = asking.read_bytes()
    change(state)
    with pytest.raises(BatchStateError, match=fragment):
        library.save_batch_state(asking, state)
    assert asking.read_bytes() == before


def closed():
    return {"done": True, "outcome": "completed", "timestamp": "2026-01-01T00:00:00Z"}


def owner():
    return {"session_id": "s", "pid": None, "pid_started": None, "host": "h", "since": "2026-01-01T00:00:00Z"}


def test_a_new_batch_that_asks_for_evidence_has_nothing_completed_yet(file):
    state = library.create_batch_state(["a", "b"])
    state.policy["evidence"] = ["commit"]
    state.completed_features = [0]
    with pytest.raises(BatchStateError, match="batchctl done"):
        library.save_batch_state(file, state)
    assert not file.exists()


def test_what_is_no_ones_evidence_can_be_saved(store, asking):
    state = library.load_batch_state(asking)
    state.context_token_estimate, state.analysis_metadata = 5, {"found": ["order"]}
    state.feature_order, state.feature_dependencies = [0, 2, 1], {1: [2]}
    state.failed_features = [{"feature_index": 1, "error_message": "no"}]
    state.unknown_fields["quality"] = 1
    state = library.record_git_operation(state, 0, "push", True)
    library.save_batch_state(asking, state)
    library.increment_retry_count(asking, 0)
    library.record_auto_clear_event(asking, 0, 1000)
    kept = state_on_disk(".")
    assert kept["git_operations"]["0"]["push"]["success"] is True and kept["quality"] == 1
    assert [entry["feature_index"] for entry in kept["failed_features"]] == [1]


def test_a_script_may_pause_such_a_batch_but_only_a_person_goes_on(asking):
    with pytest.warns(DeprecationWarning):
        library.pause_batch_for_clear(asking, 0, 155_000)
    state = library.load_batch_state(asking)
    assert state.status == "paused"
    state.status = "in_progress"
    with pytest.raises(BatchStateError, match="/batch-implement --resume"):
        library.save_batch_state(asking, state)


def test_failing_the_open_feature_names_batchctl_fail_and_another_is_given_up(asking):
    for call in (library.update_batch_progress, library.mark_feature_status):
        with pytest.raises(BatchStateError, match="`batchctl fail"):
            call(asking, 0, "failed")
    library.mark_feature_status(asking, 2, "failed", "cannot be done")
    assert [entry["feature_index"] for entry in state_on_disk(".")["failed_features"]] == [2]


def test_an_unfinished_batch_that_asks_for_evidence_is_not_removed(asking):
    with pytest.raises(BatchStateError, match="`batchctl abort`"):
        library.cleanup_batch_state(asking)
    assert asking.exists()


def test_it_cannot_be_replaced_by_a_batch_of_the_scripts_own(asking):
    before = library.load_batch_state(asking)
    for batch_id in (None, before.batch_id):
        with pytest.raises(BatchStateError, match=before.batch_id):
            library.save_batch_state(asking, library.create_batch_state(["mine"], batch_id=batch_id))
    assert library.load_batch_state(asking) == before


def test_its_private_copies_are_no_state_files(asking, repository):
    for place in (".git/batch-implement/current.json", ".git/config", ".claude/batch-implement/x.json"):
        for call in (library.load_batch_state, library.cleanup_batch_state):
            with pytest.raises(ValueError, match="own files"):
                call(repository / place)


def test_a_batch_that_a_script_made_asks_for_nothing_and_its_evidence_says_asserted(file):
    library.save_batch_state(file, library.create_batch_state(["a", "b"]))
    library.update_batch_progress(file, 0, "completed")
    state = library.load_batch_state(file)
    assert (state.policy["evidence"], state.policy["verify"]) == ([], None)
    state.completed_features.append(1)
    library.save_batch_state(file, state)
    assert {index: proof["asserted"] for index, proof in library.load_batch_state(file).evidence.items()} == {
        0: True,
        1: True,
    }


def test_an_assertion_that_is_taken_back_is_no_evidence(file):
    library.save_batch_state(file, library.create_batch_state(["a", "b"]))
    library.update_batch_progress(file, 0, "completed")
    state = library.load_batch_state(file)
    state.completed_features = []
    library.save_batch_state(file, state)
    again = library.load_batch_state(file)
    assert (again.evidence, again.current_index) == ({}, 0)
