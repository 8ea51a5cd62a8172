"""The library interface's calls, row by row: lib/batch_state_manager.py."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import inspect
import json
import os
import re
import warnings
from pathlib import Path

import batch_state_manager as library
import pytest
from batch_implement.api import state_files as core
from batch_implement.store import atomic_files, audit_log, serialization
from batch_implement.validation import schema
from batch_state_manager import BatchState, BatchStateError, BatchStateManager
from batches import git, state_on_disk

TEXTS = ["Add login", "Add logout", "Add profile"]
FIELDS = [
    "batch_id", "features_file", "total_features", "features", "current_index", "completed_features",
    "failed_features", "context_token_estimate", "auto_clear_count", "auto_clear_events", "created_at", "updated_at",
    "status", "issue_numbers", "source_type", "state_file", "context_tokens_before_clear", "paused_at_feature_index",
    "retry_attempts", "git_operations", "feature_order", "feature_dependencies", "analysis_metadata", "workflow_mode",
    "workflow_reminder",
]  # fmt: skip


@pytest.fixture(autouse=True)
def project(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repository)
    return repository


@pytest.fixture
def file(project: Path) -> Path:
    """The state file of a batch of three features, saved."""
    path = library.get_default_state_file()
    library.save_batch_state(path, library.create_batch_state("features.txt", TEXTS))
    return path


def saved(path: Path | str = ".claude/batch_state.json", texts: list[str] = TEXTS, **fields: object) -> BatchState:
    """A new batch with these fields, saved and loaded again."""
    state = library.create_batch_state(features=list(texts))
    for name, value in fields.items():
        setattr(state, name, value)
    library.save_batch_state(path, state)
    return library.load_batch_state(path)


# -- errors of the disk -----------------------------------------------------------------------------------------------


def test_a_call_that_the_disk_does_not_confirm_says_that_it_was_made_so_that_a_script_does_not_repeat_it(
    file, monkeypatch
):
    folder, sync = os.stat(file.parent).st_ino, atomic_files.sync

    def fail_for_folder(descriptor):
        if os.fstat(descriptor).st_ino == folder:
            raise OSError(errno.EIO, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(atomic_files, "sync", fail_for_folder)
    with pytest.raises(library.BatchStateDurabilityError) as caught:
        library.increment_retry_count(file, 0)
    assert "was written (revision 2), but the disk did not confirm it" in str(caught.value)
    assert isinstance(caught.value, BatchStateError)
    assert library.load_batch_state(file).retry_attempts == {0: 1}


def test_an_error_of_the_disk_that_comes_at_an_unknown_moment_does_not_say_that_nothing_was_changed(file, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(core, "update_state", fail)
    with pytest.raises(BatchStateError, match=r"Disk space is used up: free some and try again\.$"):
        library.increment_retry_count(file, 0)


# -- the dataclass ----------------------------------------------------------------------------------------------------


def test_the_fields_stand_in_their_positional_order_with_fresh_defaults():
    assert [item.name for item in dataclasses.fields(BatchState)][: len(FIELDS)] == FIELDS
    one, other = (BatchState("batch-1", "f.txt", 2, ["a", "b"]) for _ in range(2))
    assert one == other
    assert (one.current_index, one.status, one.source_type, one.issue_numbers) == (0, "in_progress", "file", None)
    assert (one.workflow_mode, one.workflow_reminder) == (
        "auto-implement",
        "Use /auto-implement for each feature. Do NOT implement directly.",
    )
    for name in ("completed_features", "failed_features", "auto_clear_events", "feature_order"):
        assert getattr(one, name) == [] and getattr(one, name) is not getattr(other, name)
    for name in ("retry_attempts", "git_operations", "feature_dependencies", "analysis_metadata"):
        assert getattr(one, name) == {} and getattr(one, name) is not getattr(other, name)


SIGNATURES = {
    "create_batch_state": "features_file_or_features=None, features_or_none=None, issue_numbers=None, "
    "source_type='file', state_file=None, *, features=None, features_file=None, batch_id=None",
    "save_batch_state": "state_file, state",
    "load_batch_state": "state_file",
    "update_batch_progress": "state_file, feature_index, status, context_token_delta=0, error_message=None, "
    "token_delta=None",
    "record_auto_clear_event": "state_file, feature_index, context_tokens_before_clear",
    "should_auto_clear": "state",
    "should_clear_context": "state",
    "estimate_context_tokens": "text",
    "get_clear_notification_message": "batch_id_or_state, feature_index=None, tokens_before_clear=None",
    "pause_batch_for_clear": "state_file, feature_index_or_state, tokens_before_clear",
    "get_next_pending_feature": "state",
    "cleanup_batch_state": "state_file",
    "get_retry_count": "state, feature_index",
    "increment_retry_count": "state_file, feature_index",
    "mark_feature_status": "state_file, feature_index, status, error_message=None, retry_count=None",
    "record_git_operation": "state, feature_index, operation, success, commit_sha=None, branch=None, remote=None, "
    "pr_number=None, pr_url=None, error_message=None, **extra",
    "get_feature_git_status": "state, feature_index",
    "audit_log_security_event": "event_type, details",
    "get_default_state_file": "",
    "BatchStateManager": "state_file=None",
    "BatchStateManager.update_batch_progress": "self, feature_index, status, tokens_consumed=0, error_message=None",
    "path_utils.get_project_root": "use_cache=True",
    "path_utils.get_batch_state_file": "",
    "path_utils.find_project_root": "marker_files=None, start_path=None",
    "path_utils.reset_project_root_cache": "",
    "security_utils.validate_path": "path, purpose, allow_missing=False, test_mode=None",
    "security_utils.audit_log": "event_type, status, context",
    "failure_classifier.sanitize_feature_name": "name",
    "failure_classifier.sanitize_error_message": "text",
    "failure_classifier.extract_error_context": "message, feature_name",
    "failure_classifier.classify_failure": "message",
    "failure_classifier.is_transient_error": "message",
    "failure_classifier.is_permanent_error": "message",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_calls_parameters_and_their_defaults_stay_as_they_are(name):
    call = library
    for step in name.split("."):
        call = getattr(call, step) if hasattr(call, step) else importlib.import_module(step)
    bare = [part.replace(annotation=part.empty) for part in inspect.signature(call).parameters.values()]
    assert str(inspect.Signature(bare)) == f"({SIGNATURES[name]})"


@pytest.mark.parametrize("module", ["batch_state_manager", "path_utils", "security_utils", "failure_classifier"])
def test_a_module_offers_its_calls_and_nothing_else_to_import_star(module):
    names: dict[str, object] = {}
    exec(f"from {module} import *", names)
    promised = {
        name.rpartition(".")[2] for name in SIGNATURES if (name.rpartition(".")[0] or "batch_state_manager") == module
    }
    assert promised <= set(names) and not {"os", "sys", "Any"} & set(names)
    assert module != "batch_state_manager" or isinstance(names["DEFAULT_STATE_FILE"], Path)


def test_to_dict_is_plain_data_of_its_own():
    state = library.create_batch_state("features.txt", TEXTS)
    data = state.to_dict()
    data["features"].append("another")
    data["policy"]["evidence"].append("commit")
    assert state.features == TEXTS and state.policy["evidence"] == []
    assert json.loads(json.dumps(state.to_dict()))["batch_id"] == state.batch_id


def test_dicts_by_index_have_int_keys_in_memory_after_a_reload_too(file):
    state = library.load_batch_state(file)
    state.retry_attempts[1] = 2
    state.feature_dependencies = {2: [0]}
    state = library.record_git_operation(state, 0, "commit", True, commit_sha="c0ffee")
    state.details[1], state.timings[0] = {"title": "x"}, {"started_at": "now"}
    state.issue_updates[2] = {"comment": {"done": True, "outcome": "completed", "timestamp": "now"}}
    library.save_batch_state(file, state)
    library.update_batch_progress(file, 0, "completed")
    loaded = library.load_batch_state(file)
    assert loaded.retry_attempts == {1: 2} and loaded.feature_dependencies == {2: [0]}
    assert loaded.git_operations[0]["commit"]["sha"] == "c0ffee" and loaded.details == {1: {"title": "x"}}
    assert loaded.issue_updates[2]["comment"]["done"] is True
    properties = schema.load_published("batch_state")["properties"]
    by_index = [name for name, of in properties.items() if of.get("propertyNames") == {"$ref": "#/definitions/key"}]
    assert len(by_index) == 9
    for name in by_index:
        assert all(type(key) is int for key in getattr(loaded, name))
    assert all(key.isdigit() for key in state_on_disk(".")["retry_attempts"])


def test_a_state_that_a_script_makes_of_json_has_int_keys_too(file):
    library.increment_retry_count(file, 1)
    read = json.loads(json.dumps(library.load_batch_state(file).to_dict()))
    state = BatchState(**read)
    assert state == library.load_batch_state(file) and library.get_retry_count(state, 1) == 1
    odd = BatchState("b", "", 1, ["a"], retry_attempts={"x": 1, 0: 2}, details=None)
    assert (odd.retry_attempts, odd.details) == ({"x": 1, 0: 2}, None)


# -- create -----------------------------------------------------------------------------------------------------------


def test_both_styles_of_create_give_the_same_batch_and_write_nothing(project):
    states = [
        library.create_batch_state("features.txt", TEXTS),
        library.create_batch_state(features=TEXTS, features_file="features.txt"),
        library.create_batch_state(Path("features.txt"), TEXTS),
        library.create_batch_state("features.txt", features=tuple(TEXTS)),
    ]
    for state in states:
        assert (state.features, state.total_features, state.features_file) == (TEXTS, 3, "features.txt")
        assert state.completed_features == [] and state.revision == 0 and state.created_at.endswith("Z")
    assert library.create_batch_state(TEXTS).features_file == ""
    assert not (project / ".claude").exists()


def test_the_third_to_fifth_argument_are_issue_numbers_source_and_state_file():
    state = library.create_batch_state("", ["a", "b"], [72, 73], "issues", "x/state.json")
    assert (state.issue_numbers, state.source_type, state.state_file) == ([72, 73], "issues", "x/state.json")
    assert saved("none.json", issue_numbers=[]).issue_numbers is None
    assert library.create_batch_state(["a"], issue_numbers=[]).issue_numbers is None
    by_name = library.create_batch_state(features=["a"], issue_numbers=[7], source_type="issues", batch_id="mine.1")
    assert (by_name.issue_numbers, by_name.batch_id) == ([7], "mine.1")


def test_ids_are_unique_and_tell_the_time():
    ids = [library.create_batch_state(["a"]).batch_id for _ in range(500)]
    assert len(set(ids)) == 500
    assert all(re.fullmatch(r"batch-\d{8}-\d{6}-\d{6}", name) for name in ids)


@pytest.mark.parametrize(
    ("arguments", "named", "fragment"),
    [
        ((), {}, "Invalid arguments"),
        (("features.txt",), {}, "Invalid arguments"),
        (("a.txt", "b.txt"), {}, "Invalid arguments"),
        ((5, TEXTS), {}, "Invalid arguments"),
        ((), {"features": "one"}, "Invalid arguments"),
        (("a.txt", TEXTS), {"features_file": "b.txt"}, "Invalid arguments"),
        ((TEXTS, TEXTS), {}, "Ambiguous"),
        ((TEXTS,), {"features": TEXTS}, "Ambiguous"),
        (("features.txt", []), {}, "no features"),
        ((), {"features": []}, "no features"),
        (("../features.txt", TEXTS), {}, "path traversal"),
        (("/tmp/../../etc/passwd", TEXTS), {}, "path traversal"),
        ((TEXTS,), {"batch_id": "../x"}, "Invalid batch_id"),
        ((TEXTS,), {"batch_id": "a/b"}, "path traversal"),
        ((TEXTS,), {"batch_id": "a\\b"}, "Invalid batch_id"),
        ((TEXTS,), {"batch_id": ""}, "Invalid batch_id"),
        ((TEXTS,), {"batch_id": "a..b"}, "Invalid batch_id"),
        ((TEXTS,), {"batch_id": "a b"}, "Invalid batch_id"),
        ((["a", 5],), {}, "Feature 2 is not a text"),
        ((["a", None],), {}, "Feature 2 is not a text"),
        (([" \n"],), {}, "Feature 1 is an empty text"),
        ((["a\ud800"],), {}, "half of a character"),
    ],
)
def test_what_cannot_be_a_batch_is_refused(arguments, named, fragment):
    with pytest.raises(BatchStateError, match=re.escape(fragment)):
        library.create_batch_state(*arguments, **named)


def test_the_message_about_no_arguments_shows_both_styles():
    with pytest.raises(BatchStateError) as caught:
        library.create_batch_state()
    assert "(features_file, features)" in str(caught.value) and "features=..." in str(caught.value)


def test_a_features_whole_text_is_kept_but_for_control_and_bidi_characters(file):
    text = "  Add ../../etc/passwd\tand\n\u202eeverything $(touch x) \U0001f469\u200d\U0001f680 " + "x" * 50_000
    library.cleanup_batch_state(file)
    state = saved(texts=[text])
    assert state.features == [text.replace("\t", " ").replace("\n", " ").replace("\u202e", " ")]


# -- save and load ----------------------------------------------------------------------------------------------------


def test_a_saved_state_is_loaded_again_as_it_was(project):
    state = library.create_batch_state("features.txt", TEXTS)
    library.save_batch_state(project / ".claude" / "batch_state.json", state)
    assert state.revision == 1 and state.updated_at
    assert library.load_batch_state(".claude/batch_state.json") == state
    assert os.stat(project / ".claude" / "batch_state.json").st_mode & 0o777 == 0o600


def test_every_save_makes_the_next_revision_of_the_state_that_was_given(file):
    state = library.load_batch_state(file)
    for revision in (2, 3, 4):
        library.save_batch_state(file, state)
        assert state.revision == revision == state_on_disk(".")["revision"]


def test_a_stale_revision_is_an_error_that_says_so_and_undoes_nothing(file):
    stale = library.load_batch_state(file)
    library.update_batch_progress(file, 0, "completed")
    stale.completed_features = []
    with pytest.raises(BatchStateError, match=r"stale revision 1 .* revision 2"):
        library.save_batch_state(file, stale)
    assert library.load_batch_state(file).completed_features == [0]
    assert stale.revision == 1


def test_a_batch_that_was_removed_since_it_was_loaded_does_not_come_back(file):
    stale = library.load_batch_state(file)
    library.cleanup_batch_state(file)
    with pytest.raises(BatchStateError, match="removed since it was loaded"):
        library.save_batch_state(file, stale)
    assert not file.exists()


def test_another_unfinished_batch_in_the_file_is_an_error_that_names_it(file):
    first = library.load_batch_state(file)
    with pytest.raises(BatchStateError, match=first.batch_id):
        library.save_batch_state(file, library.create_batch_state(["other"]))
    assert library.load_batch_state(file) == first


def test_a_finished_batch_in_the_file_is_archived(file, project):
    first = library.load_batch_state(file)
    for index in range(3):
        library.update_batch_progress(file, index, "completed")
    following = library.create_batch_state(["other"], batch_id=first.batch_id)
    library.save_batch_state(file, following)
    assert library.load_batch_state(file).features == ["other"]
    kept = json.loads((project / ".git/batch-implement/archive" / f"{first.batch_id}.json").read_text())
    assert kept["completed_features"] == [0, 1, 2]


def test_what_is_derived_is_worked_out_anew_at_a_save():
    state = saved(
        current_index=2, completed_features=[0, 0, 2], total_features=9, status="running", created_at="",
        failed_features=[{"feature_index": 2}, {"feature_index": 1}, {"feature_index": 1, "error_message": "last"}],
    )  # fmt: skip
    assert (state.current_index, state.total_features, state.status) == (3, 3, "completed")
    assert state.completed_features == [0, 2]
    assert [(entry["feature_index"], entry["error_message"]) for entry in state.failed_features] == [(1, "last")]
    assert state.created_at and state.failed_features[0]["timestamp"]
    assert {index: proof["asserted"] for index, proof in state.evidence.items()} == {0: True, 2: True}


def test_a_status_that_the_features_do_not_bear_out_is_not_kept():
    assert saved(status="completed").status == "in_progress"


def test_a_paused_state_can_be_saved_and_taken_up_again(file):
    state = library.load_batch_state(file)
    state.status = "paused"
    library.save_batch_state(file, state)
    assert library.load_batch_state(file).pause["reason"] == "paused by a script"
    state.status = "in_progress"
    library.save_batch_state(file, state)
    again = library.load_batch_state(file)
    assert (again.status, again.pause) == ("in_progress", None)


@pytest.mark.parametrize(
    ("field", "value", "fragment"),
    [
        ("completed_features", [7], "feature index 7"),
        ("completed_features", ["x"], "/completed_features"),
        ("features", "one", "/features"),
        ("features", ["a", 5], "/features"),
        ("status", "odd", "/status"),
        ("batch_id", "a b", "batch_id"),
        ("feature_order", [0, 1], "feature_order"),
        ("feature_dependencies", {0: [1], 1: [0]}, "cycle"),
        ("feature_dependencies", {"x": [1]}, "feature_dependencies"),
        ("retry_attempts", {0: -1}, "/retry_attempts"),
        ("issue_numbers", [1], "issue_numbers"),
        ("analysis_metadata", {"when": object()}, "Object of type object"),
        ("analysis_metadata", {"when": float("nan")}, "not JSON compliant"),
        ("features_file", "\ud800", "surrogate"),
        ("revision", "1", "revision"),
    ],
)
def test_a_state_that_is_not_valid_is_not_written_and_the_message_says_what_and_where(file, field, value, fragment):
    state = library.load_batch_state(file)
    before = file.read_bytes()
    setattr(state, field, value)
    with pytest.raises(BatchStateError, match=re.escape(fragment)):
        library.save_batch_state(file, state)
    assert file.read_bytes() == before


def test_counters_never_fall_in_a_save(file):
    library.increment_retry_count(file, 0)
    state = library.load_batch_state(file)
    state.retry_attempts = {}
    with pytest.raises(BatchStateError, match="retry_attempts of feature index 0 fell from 1 to 0"):
        library.save_batch_state(file, state)


def test_unknown_fields_are_kept_through_load_and_save_also_to_another_file(file):
    data = {**state_on_disk("."), "quality_metrics": {"0": 5}}
    file.write_bytes(serialization.serialize(data))
    state = library.load_batch_state(file)
    assert state.unknown_fields == {"quality_metrics": {"0": 5}} and state.to_dict()["quality_metrics"] == {"0": 5}
    library.save_batch_state(file, state)
    library.update_batch_progress(file, 0, "completed")
    assert state_on_disk(".")["quality_metrics"] == {"0": 5}
    library.save_batch_state("copy.json", library.load_batch_state(file))
    assert library.load_batch_state("copy.json").unknown_fields == {"quality_metrics": {"0": 5}}


def test_a_file_that_is_not_there_is_not_found():
    for call in (library.load_batch_state, lambda path: library.increment_retry_count(path, 0)):
        with pytest.raises(BatchStateError, match="not found"):
            call("nothing.json")


@pytest.mark.parametrize("when_saved", [False, True])
@pytest.mark.parametrize(
    ("field", "value", "fragment"),
    [
        ("completed_features", "x", "/completed_features: found 'x', expected an array"),
        ("completed_features", ["x"], "/completed_features/0: found 'x'"),
        ("policy", {}, "/policy"),
        ("current_index", 2, "current_index is 2"),
        ("total_features", 9, "total_features is 9, but features has 3"),
        ("feature_order", [0, 1], "feature_order is not a permutation"),
    ],
)
def test_a_file_with_a_wrong_type_or_a_broken_invariant_is_an_error_that_says_which_and_where(
    project, field, value, fragment, when_saved
):
    path = project / ("state.json" if when_saved else "another.json")
    saved(project / "state.json")
    path.write_bytes(serialization.serialize({**json.loads((project / "state.json").read_text()), field: value}))
    with pytest.raises(BatchStateError, match=re.escape(fragment)) as caught:
        library.load_batch_state(path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("when_saved", [False, True])
@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("{broken", "Corrupted batch state file"),
        ("", "Corrupted batch state file"),
        ("[]", "Corrupted batch state file"),
        ('{"batch_id": "b", "features": ["a"]}', "Missing required fields: ['features_file', 'total_features'"),
    ],
)
def test_a_damaged_file_is_an_error_and_nothing_is_lost(project, content, fragment, when_saved):
    path = project / "state.json"
    if when_saved:
        saved(path)
    path.write_text(content)
    with pytest.raises(BatchStateError, match=re.escape(fragment)):
        library.load_batch_state(path)
    if when_saved:  # what was there is in quarantine, the version in force is back
        assert library.load_batch_state(path).features == TEXTS
        kept = (project / ".git/batch-implement/files").glob("*/quarantine/*.json")
        assert [each.read_text() for each in kept] == [content]
    else:
        assert path.read_text() == content


def test_a_damaged_file_after_a_cleanup_brings_no_old_batch_back(file):
    library.cleanup_batch_state(file)
    file.write_text("{broken")
    for _ in range(2):
        with pytest.raises(BatchStateError, match="Corrupted"):
            library.load_batch_state(file)


def test_a_full_disk_is_told_and_the_old_version_stays(file, monkeypatch):
    before = file.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(BatchStateError, match=r"Failed to save .*Disk space"):
        library.update_batch_progress(file, 0, "completed")
    assert file.read_bytes() == before


def test_a_file_that_may_not_be_read_is_told(file, monkeypatch):
    really = os.open

    def refusing(path, *arguments, **named):
        if path == file.name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return really(path, *arguments, **named)

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(BatchStateError, match="Permission"):
        library.load_batch_state(file)


def test_an_old_file_can_be_read_where_nothing_can_be_written(project, monkeypatch):
    old = {
        "batch_id": "old", "features_file": "f", "total_features": 1, "features": ["a"], "current_index": 0,
        "status": "running",
    }  # fmt: skip
    (project / "old.json").write_text(json.dumps(old))

    def read_only(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "mkdir", read_only)
    assert library.load_batch_state("old.json").status == "in_progress"
    with pytest.raises(BatchStateError, match="Permission"):
        library.update_batch_progress("old.json", 0, "completed")


# -- progress ---------------------------------------------------------------------------------------------------------


def test_completed_moves_on_counts_tokens_and_asserts(file):
    assert library.update_batch_progress(file, 0, "completed", 5000) is None
    library.update_batch_progress(file, 1, "completed", token_delta=700)
    state = library.load_batch_state(file)
    assert (state.current_index, state.completed_features, state.status) == (2, [0, 1], "in_progress")
    assert state.context_token_estimate == 5700
    assert state.evidence[0]["asserted"] is True
    library.update_batch_progress(file, 2, "completed", context_token_delta=1)
    state = library.load_batch_state(file)
    assert (state.current_index, state.status) == (3, "completed")


def test_completed_twice_is_completed_once(file):
    for _ in range(2):
        library.update_batch_progress(file, 0, "completed", 10)
    state = library.load_batch_state(file)
    assert state.completed_features == [0] and state.context_token_estimate == 20


@pytest.mark.parametrize("call", [library.update_batch_progress, library.mark_feature_status])
def test_failed_is_one_entry_a_feature_the_last(file, call):
    call(file, 0, "failed")
    assert library.load_batch_state(file).failed_features[0]["error_message"] == "Unknown error"
    library.update_batch_progress(file, 0, "failed", error_message="It broke \ud800")
    entries = library.load_batch_state(file).failed_features
    assert [(entry["feature_index"], entry["error_message"]) for entry in entries] == [(0, "It broke ?")]
    assert library.load_batch_state(file).current_index == 1


def test_a_batch_with_nothing_completed_and_nothing_left_has_failed(file):
    for index in range(3):
        library.update_batch_progress(file, index, "failed")
    assert library.load_batch_state(file).status == "failed"
    library.update_batch_progress(file, 1, "completed")
    state = library.load_batch_state(file)
    assert state.status == "completed" and [entry["feature_index"] for entry in state.failed_features] == [0, 2]


def test_a_completed_feature_cannot_fail_any_more(file):
    library.update_batch_progress(file, 0, "completed")
    with pytest.raises(BatchStateError, match=r"Feature 1 .*is completed"):
        library.update_batch_progress(file, 0, "failed")
    assert library.load_batch_state(file).failed_features == []


def test_what_needs_a_failed_feature_is_skipped_and_comes_back_when_it_is_completed():
    path = ".claude/batch_state.json"
    saved(texts=[*TEXTS, "Add more"], feature_dependencies={1: [0], 2: [1], 3: []})
    library.update_batch_progress(path, 0, "failed")
    state = library.load_batch_state(path)
    assert {entry["feature_index"]: entry["reason"] for entry in state.skipped_features} == {
        1: "blocked by 0",
        2: "blocked by 1",
    }
    assert state.current_index == 3
    library.mark_feature_status(path, 0, "completed")
    state = library.load_batch_state(path)
    assert (state.skipped_features, state.failed_features, state.current_index) == ([], [], 1)


@pytest.mark.parametrize("call", [library.update_batch_progress, library.mark_feature_status])
@pytest.mark.parametrize("index", [3, -1, 999, "0", 1.0, None, True])
def test_an_index_of_no_feature_is_refused(file, call, index):
    with pytest.raises(BatchStateError, match="Invalid feature index"):
        call(file, index, "completed")


@pytest.mark.parametrize("call", [library.update_batch_progress, library.mark_feature_status])
@pytest.mark.parametrize("status", ["skipped", "", None, "COMPLETED"])
def test_another_status_is_refused(file, call, status):
    with pytest.raises(ValueError, match="Invalid status"):
        call(file, 0, status)


@pytest.mark.parametrize("tokens", ["5", 1.5, None])
def test_tokens_are_a_whole_number(file, tokens):
    with pytest.raises(BatchStateError, match="Invalid tokens"):
        library.update_batch_progress(file, 0, "completed", tokens)


def test_the_estimate_never_falls_below_nothing(file):
    library.update_batch_progress(file, 0, "completed", -50)
    assert library.load_batch_state(file).context_token_estimate == 0


def test_mark_takes_a_completed_feature_out_of_the_failed_and_keeps_a_retry_count(file):
    library.mark_feature_status(file, 0, "failed", "It broke", retry_count=2)
    assert library.load_batch_state(file).failed_features[0]["retry_count"] == 2
    library.mark_feature_status(file, 0, "completed")
    state = library.load_batch_state(file)
    assert (state.failed_features, state.completed_features) == ([], [0])


def test_retries_are_counted_a_feature(file):
    library.increment_retry_count(file, 1)
    library.increment_retry_count(file, 1)
    state = library.load_batch_state(file)
    assert [library.get_retry_count(state, index) for index in range(3)] == [0, 2, 0]
    for index in (3, -1):
        with pytest.raises(BatchStateError, match="Invalid feature index"):
            library.get_retry_count(state, index)
        with pytest.raises(BatchStateError, match="Invalid feature index"):
            library.increment_retry_count(file, index)


# -- the window -------------------------------------------------------------------------------------------------------


def test_a_clear_is_kept_counted_and_empties_the_estimate(file):
    library.update_batch_progress(file, 0, "completed", 160_000)
    library.record_auto_clear_event(file, 1, 160_000)
    state = library.load_batch_state(file)
    event = state.auto_clear_events[0]
    assert (event["feature_index"], event["context_tokens_before_clear"]) == (1, 160_000) and event["timestamp"]
    assert (state.auto_clear_count, state.context_token_estimate) == (1, 0)
    with pytest.raises(BatchStateError, match="Invalid feature index"):
        library.record_auto_clear_event(file, 4, 1)
    with pytest.raises(BatchStateError, match="context_tokens_before_clear"):
        library.record_auto_clear_event(file, 0, -1)


def test_the_threshold_is_reached_at_150000():
    assert library.CONTEXT_THRESHOLD == 150_000
    state = library.create_batch_state(TEXTS)
    for tokens, reached in ((149_999, False), (150_000, True), (150_001, True)):
        state.context_token_estimate = tokens
        assert library.should_auto_clear(state) is reached
        with pytest.warns(DeprecationWarning):
            assert library.should_clear_context(state) is reached


def test_a_token_is_four_characters():
    assert [library.estimate_context_tokens(text) for text in ("", "abc", "abcd", "x" * 1300)] == [0, 0, 1, 325]


def test_the_notification_has_all_a_person_needs_in_under_1000_characters():
    state = library.create_batch_state([f"feature {number}" for number in range(10)], batch_id="b" * 100)
    state.current_index, state.context_token_estimate = 4, 155_000
    with pytest.warns(DeprecationWarning):
        of_a_state = library.get_clear_notification_message(state)
        of_an_id = library.get_clear_notification_message("b" * 100, 4, 155_000)
    assert of_a_state == of_an_id and len(of_a_state) < 1000 and len(of_a_state.splitlines()) > 3
    for part in ("155,000", "4/10", "40%", "/clear", f"/batch-implement --resume {'b' * 100}", "150,000"):
        assert part in of_a_state


@pytest.mark.parametrize("how", ["index", "state"])
def test_a_pause_for_a_clear_is_kept_in_the_file_and_in_a_state_that_was_given(file, how):
    library.update_batch_progress(file, 0, "completed", 155_000)
    kept = library.load_batch_state(file)
    with pytest.warns(DeprecationWarning):
        library.pause_batch_for_clear(file, 1 if how == "index" else kept, tokens_before_clear=155_000)
    loaded = library.load_batch_state(file)
    for state in [loaded] if how == "index" else [loaded, kept]:
        assert (state.status, state.paused_at_feature_index, state.context_tokens_before_clear) == ("paused", 1, 155000)
        assert (state.auto_clear_count, state.auto_clear_events[-1]["feature_index"]) == (1, 1)
        assert state.current_index == 1
        assert not library.should_auto_clear(state)
    if how == "state":
        assert kept.revision == loaded.revision


def test_a_pause_saves_through_the_modules_own_save_looked_up_when_it_is_called(file, monkeypatch):
    calls = []
    monkeypatch.setattr(library, "save_batch_state", lambda *arguments: calls.append(arguments))
    with pytest.warns(DeprecationWarning):
        library.pause_batch_for_clear(file, library.load_batch_state(file), 155_000)
    assert [arguments[0] for arguments in calls] == [file]


def test_a_pause_by_index_goes_on_with_what_came_in_between_and_one_by_state_does_not(file, monkeypatch):
    save, between = library.save_batch_state, [1]

    def slow(path, state):
        if between:
            library.increment_retry_count(path, between.pop())
        save(path, state)

    monkeypatch.setattr(library, "save_batch_state", slow)
    with pytest.warns(DeprecationWarning):
        library.pause_batch_for_clear(file, 0, 155_000)
    state = library.load_batch_state(file)
    assert (state.status, state.retry_attempts, state.auto_clear_count) == ("paused", {1: 1}, 1)
    between.append(2)
    with pytest.warns(DeprecationWarning), pytest.raises(BatchStateError, match="stale"):
        library.pause_batch_for_clear(file, state, 155_000)
    assert state.auto_clear_count == 1


def test_a_batch_that_is_over_is_not_paused(file):
    for index in range(3):
        library.update_batch_progress(file, index, "completed")
    state = library.load_batch_state(file)
    with pytest.warns(DeprecationWarning), pytest.raises(BatchStateError, match="nothing to pause"):
        library.pause_batch_for_clear(file, state, 1)
    assert state.status == "completed"


@pytest.mark.parametrize(
    "call",
    [
        lambda state, file: library.should_clear_context(state),
        lambda state, file: library.get_clear_notification_message(state),
        lambda state, file: library.pause_batch_for_clear(file, state, 1),
    ],
)
def test_a_deprecated_call_warns_with_its_name_and_points_at_its_caller(file, call):
    state = library.load_batch_state(file)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        call(state, file)
    assert [warning.category for warning in seen] == [DeprecationWarning]
    assert seen[0].filename == __file__
    assert re.search(r"^\w+ is deprecated and no longer needed.*automatic compression", str(seen[0].message))
    name = str(seen[0].message).split()[0]
    assert "deprecated" in getattr(library, name).__doc__.lower()


# -- what is next -----------------------------------------------------------------------------------------------------


def test_the_feature_at_the_current_index_is_next_while_it_is_to_do():
    state = library.create_batch_state(TEXTS)
    assert library.get_next_pending_feature(state) == "Add login"
    state.current_index = 2
    assert library.get_next_pending_feature(state) == "Add profile"
    for index in (3, 99):
        state.current_index = index
        assert library.get_next_pending_feature(state) is None


def test_features_are_never_skipped_because_a_later_one_was_done_first(file):
    library.update_batch_progress(file, 2, "completed")
    state = library.load_batch_state(file)
    assert library.get_next_pending_feature(state) == "Add login"
    state.completed_features, state.current_index = [0, 2], 2
    assert library.get_next_pending_feature(state) == "Add logout"
    state.completed_features = [0, 1, 2]
    assert library.get_next_pending_feature(state) is None


@pytest.mark.parametrize(("field", "value"), [("current_index", "0"), ("revision", None)])
def test_a_state_with_a_number_that_is_none_is_told(field, value):
    state = library.create_batch_state(TEXTS)
    setattr(state, field, value)
    with pytest.raises(BatchStateError, match=f"Invalid {field}: .* is not an integer"):
        library.get_next_pending_feature(state)


def test_order_and_dependencies_count():
    state = saved(feature_order=[2, 0, 1])
    assert library.get_next_pending_feature(state) == "Add profile"
    state = library.create_batch_state(TEXTS)
    state.feature_dependencies = {0: [1]}
    assert library.get_next_pending_feature(state) == "Add logout"
    state.failed_features = [{"feature_index": 1}]
    assert library.get_next_pending_feature(state) == "Add profile"


# -- git --------------------------------------------------------------------------------------------------------------


def test_a_git_operation_is_recorded_in_a_new_state():
    before = library.create_batch_state(TEXTS)
    state = library.record_git_operation(before, 0, "commit", True, "c0ffee", "main", files=3)
    state = library.record_git_operation(state, 0, "push", False, remote="origin", error_message="rejected")
    state = library.record_git_operation(state, 1, "pr", True, pr_number=5, pr_url="https://example.invalid/5")
    assert before.git_operations == {} and library.get_feature_git_status(before, 0) is None
    status = library.get_feature_git_status(state, 0)
    assert {name: value for name, value in status["commit"].items() if name != "timestamp"} == {
        "success": True, "sha": "c0ffee", "branch": "main", "files": 3,
    }  # fmt: skip
    assert (status["push"]["success"], status["push"]["error"]) == (False, "rejected") and status["push"]["timestamp"]
    assert state.git_operations[1]["pr"]["number"] == 5
    library.save_batch_state("s.json", state)
    assert library.load_batch_state("s.json").git_operations == state.git_operations


def test_another_operation_or_index_is_a_value_error():
    state = library.create_batch_state(TEXTS)
    with pytest.raises(ValueError, match="Invalid operation"):
        library.record_git_operation(state, 0, "merge", True)
    for index in (3, -1, None):
        with pytest.raises(ValueError, match="Invalid feature_index"):
            library.record_git_operation(state, index, "commit", True)


# -- clean up ---------------------------------------------------------------------------------------------------------


def test_cleanup_removes_the_state_file_and_its_last_version_stays_in_the_archive(file, project):
    library.cleanup_batch_state(file)
    assert not file.exists()
    library.cleanup_batch_state(file)
    assert len(list((project / ".git/batch-implement/archive").glob("batch-*.json"))) == 1
    library.save_batch_state(file, library.create_batch_state(["anew"]))


def test_cleanup_of_what_is_not_there_or_goes_meanwhile_is_fine(file, project, monkeypatch):
    library.cleanup_batch_state("no/such/folder/state.json")
    assert not (project / "no").exists()
    look = core._read_current

    def gone(store):
        state = look(store)
        store.archive("by another process")
        return state

    monkeypatch.setattr(core, "_read_current", gone)
    library.cleanup_batch_state(file)
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "text", "{}", "[]", '{"batch_id": "x"}'])
def test_cleanup_removes_no_other_file(project, content):
    other = project / "other.json"
    other.write_text(content)
    with pytest.raises(BatchStateError, match="not a batch state"):
        library.cleanup_batch_state(other)
    assert other.read_text() == content


def test_cleanup_removes_no_folder(project):
    (project / "folder").mkdir()
    with pytest.raises(BatchStateError):
        library.cleanup_batch_state(project / "folder")
    assert (project / "folder").is_dir()


# -- the manager ------------------------------------------------------------------------------------------------------


def test_the_manager_has_every_call_as_a_method_on_its_file(project):
    manager = BatchStateManager("custom/dir/state.json")
    assert manager.state_file == project / "custom/dir/state.json" and manager.state_file.parent.is_dir()
    state = manager.create_batch_state(TEXTS, "mine")
    assert (state.batch_id, state.state_file, manager.state_file.exists()) == ("mine", str(manager.state_file), False)
    manager.save_batch_state(state)
    manager.save_state(manager.load_state())
    manager.update_batch_progress(0, "completed", 150_000)
    assert manager.should_auto_clear() is True
    manager.record_auto_clear_event(1, 150_000)
    assert manager.should_auto_clear() is False
    manager.mark_feature_status(1, "failed", "It broke", retry_count=1)
    manager.increment_retry_count(2)
    assert manager.get_retry_count(2) == 1 and manager.get_next_pending_feature() == "Add profile"
    assert manager.record_git_operation(0, "commit", True, commit_sha="c0ffee").git_operations[0]
    assert manager.get_feature_git_status(0)["commit"]["sha"] == "c0ffee"
    assert manager.load_batch_state() == library.load_batch_state("custom/dir/state.json")
    manager.cleanup_batch_state()
    assert not manager.state_file.exists()


def test_the_managers_default_is_the_projects_file_and_its_folder_is_made(project):
    assert BatchStateManager().state_file == project / ".claude" / "batch_state.json"
    assert (project / ".claude").is_dir() and git(project, "status", "--porcelain") == ""


def test_the_manager_validates_its_path_and_that_of_a_features_file(project):
    manager = BatchStateManager("mine.json")
    for state in (
        manager.create_batch_state("features.txt", TEXTS),
        manager.create_batch_state(TEXTS, features_file="features.txt"),
        manager.create_batch(TEXTS, "features.txt"),
        manager.create_batch("features.txt", TEXTS),
    ):
        assert (state.features, state.features_file, state.state_file) == (
            TEXTS,
            "features.txt",
            str(project / "mine.json"),
        )
    for path in ("../x.json", "/etc/x.json", ".git/x.json", ""):
        with pytest.raises(ValueError):
            BatchStateManager(path)
    manager = BatchStateManager()
    with pytest.raises(ValueError, match="traversal"):
        manager.create_batch(TEXTS, features_file="../features.txt")
    assert manager.create_batch(TEXTS, features_file="features.txt").features_file == "features.txt"
    assert manager.create_batch(["a"], issue_numbers=[5]).source_type == "issues"
    with_issues = manager.create_batch(["a"], "features.txt", issue_numbers=[5])
    assert (with_issues.features_file, with_issues.source_type) == ("features.txt", "issues")


def test_the_manager_keeps_the_message_of_a_failure(file):
    BatchStateManager(file).update_batch_progress(0, "failed", 10, "no such table")
    state = library.load_batch_state(file)
    assert state.failed_features[0]["error_message"] == "no such table"
    assert state.context_token_estimate == 10


@pytest.mark.parametrize("numbers", [[1], [1, 2, 3, 4]])
def test_a_batch_has_one_issue_number_for_each_feature(project, numbers):
    for create in (library.create_batch_state, BatchStateManager().create_batch):
        with pytest.raises(BatchStateError, match=f"Invalid arguments: {len(numbers)} issue_numbers for 3 features"):
            create(features=TEXTS, issue_numbers=numbers)


def test_a_batch_id_does_not_begin_with_a_dash(project):
    with pytest.raises(BatchStateError, match="Invalid batch_id"):
        library.create_batch_state(features=TEXTS, batch_id="-resume")


def test_a_completed_feature_may_be_given_as_an_object_with_its_index(project):
    assert saved(completed_features=[{"index": 1}, 0]).completed_features == [1, 0]


def test_a_state_has_the_run_of_its_batch(file):
    state = library.load_batch_state(file)
    assert state.run is None and "run" not in state.unknown_fields
    assert BatchState("b", "", 1, ["a"], run={"branch": "x"}).to_dict()["run"] == {"branch": "x"}


# -- what stays behind ------------------------------------------------------------------------------------------------


def test_nothing_that_the_interface_writes_would_be_committed(file, project):
    BatchStateManager("odd [1]*?/s!a.json").save_state(library.create_batch_state(["a"]))
    library.update_batch_progress(file, 0, "completed")
    library.audit_log_security_event("something", {"happened": True})
    git(project, "add", "-A")
    assert git(project, "status", "--porcelain") == ""
    (project / "odd [1]*?" / "s!a.json5").touch()
    assert "s!a.json5" in git(project, "status", "--porcelain", "--untracked-files=all")


def test_every_write_of_a_script_is_told_in_the_audit_log(file, project):
    library.update_batch_progress(file, 0, "completed")
    library.mark_feature_status(file, 1, "failed", "It broke")
    state = library.record_git_operation(library.load_batch_state(file), 0, "push", True, branch="main")
    library.save_batch_state(file, state)
    with pytest.warns(DeprecationWarning):
        library.pause_batch_for_clear(file, state, 155_000)
    library.cleanup_batch_state(file)
    entries = [entry for entry in audit_log.read_entries(str(project / ".git/batch-implement"))]
    assert [entry["event"] for entry in entries] == [
        "created", "completed", "failed", "published", "compacted", "paused", "archived",
    ]  # fmt: skip
    assert {entry["batch_id"] for entry in entries} == {state.batch_id}
    assert entries[1]["asserted"] is True and entries[2]["why"] == "It broke" and entries[3]["branch"] == "main"


def test_a_security_event_is_a_line_of_the_audit_log(project):
    library.audit_log_security_event("odd_path", {"path": "../x"})
    line = json.loads((project / ".git/batch-implement/audit.jsonl").read_text())
    assert (line["event"], line["status"], line["context"]) == ("odd_path", "security", {"path": "../x"})
