"""Every change of a batch has events, and the log has the events of every write."""

from __future__ import annotations

import pytest
from batch_implement.core import batch_events, batch_state, lease, review_verdicts, transitions
from batch_implement.report import log_format
from batch_implement.store import audit_log
from batch_implement.store.store import Store
from batches import NOW, completed, new_batch, owner, skipped_reasons, started


def events(old, new):
    return [entry["event"] for entry in batch_events.events_between(old, new)]


def only(old, new):
    [entry] = batch_events.events_between(old, new)
    return entry


@pytest.fixture
def three():
    return new_batch(3)


def test_a_first_version_is_the_batchs_creation_and_who_took_it(three):
    assert events(None, three) == ["created"]
    assert events(None, {**three, "owner": owner("s-1", 7)}) == ["created", "acquired"]


def test_a_write_without_a_change_has_no_event(three):
    assert batch_events.events_between(three, three) == []
    assert batch_events.events_between(three, {**three, "revision": 9, "updated_at": "later"}) == []


def test_a_feature_begins_goes_through_its_phases_and_is_completed(three):
    begun = started(three)
    assert only(three, begun) == {"event": "started", "feature": 1, "attempt": 1, "base": "base"}
    tested = transitions.set_phase(begun, "test")
    assert only(begun, tested) == {"event": "phase", "feature": 1, "phase": "test"}
    done = transitions.complete(tested, NOW, {"commit": "abc", "verify": None})
    event = only(tested, done)
    assert (event["event"], event["feature"], event["commit"]) == ("completed", 1, "abc")


def test_a_failed_attempt_and_a_failed_feature_are_different_events(three):
    begun = started({**three, "policy": {**three["policy"], "max_retries": 1}})
    once = transitions.fail(begun, NOW, "no luck", "feature", snapshot="there")
    event = only(begun, once)
    assert (event["event"], event["why"], event["snapshot"]) == ("attempt ended", "no luck", "there")
    again = {**once, "active": {**begun["active"], "attempt": 2}}
    twice = transitions.fail(batch_state.with_derived_fields(again), NOW, "no luck again", "feature")
    assert events(again, twice) == ["attempt ended", "failed"]


def test_a_snapshot_recorded_later_is_not_a_second_attempt(three):
    once = transitions.fail(started(three), NOW, "no luck", "feature")
    assert batch_events.events_between(once, transitions.record_snapshot(once, 0, "there")) == []


def test_each_feature_that_a_failure_blocks_or_a_retry_frees_has_an_event():
    state = new_batch(3, needs={1: [0], 2: [1]}, max_retries=0)
    begun = started(state)
    over = transitions.fail(begun, NOW, "no", "feature")
    assert skipped_reasons(over) == {1: "blocked by 0", 2: "blocked by 1"}
    events = [(entry["event"], entry.get("feature")) for entry in batch_events.events_between(begun, over)]
    assert events == [("attempt ended", 1), ("failed", 1), ("skipped", 2), ("skipped", 3), ("ended", None)]
    back = transitions.retry(over, [0])
    events = [(entry["event"], entry.get("feature")) for entry in batch_events.events_between(over, back)]
    assert events == [("pending", 1), ("pending", 2), ("pending", 3), ("reopened", None)]


def test_pauses_leases_decisions_compactions_reviews_and_pushes_have_events(three):
    waiting = transitions.pause(three, NOW, "lunch")
    assert only(three, waiting) == {"event": "paused", "reason": "lunch"}
    assert events(waiting, transitions.unpause(waiting)) == ["resumed"]
    held = lease.acquire(three, owner("s-1", 7))
    assert only(three, held) == {"event": "acquired", "session": "s-1", "client": 7}
    other = lease.acquire(held, owner("s-2", 8))
    assert only(held, other) == {"event": "acquired", "session": "s-2", "client": 8, "from_session": "s-1"}
    assert only(held, lease.release(held)) == {"event": "released", "session": "s-1"}
    assert only(three, transitions.decide(three, NOW, "Which?", "This."))["answer"] == "This."
    assert only(three, lease.record_compaction(three, NOW, "main", 99))["tokens"] == 99
    begun = review_verdicts.begin(started(three), NOW, "r-1", "c0ffee", "change")
    assert events(started(three), begun) == []
    ended = review_verdicts.end(begun, "r-1", "VERDICT: good\nmore", "change")
    assert only(begun, ended)["verdict"] == "VERDICT: good"
    assert events(ended, completed(ended, review="VERDICT: good\nmore")) == ["completed"]
    assert events(begun, completed(begun, review="VERDICT: good\nmore")) == ["reviewed", "completed"]
    pushed = transitions.record_git_operation(three, 0, "push", {"success": True, "timestamp": NOW, "branch": "main"})
    assert only(three, pushed) == {
        "event": "published", "feature": 1, "operation": "push", "success": True, "branch": "main",
    }  # fmt: skip
    assert events(three, transitions.add(three, NOW, ["more"])) == ["added"]
    careful = {**three, "policy": {**three["policy"], "unattended": True}}
    assert only(three, careful) == {"event": "policy changed", "unattended": True}


def test_every_write_of_the_store_is_in_the_log(store, batch):
    store.update(started)
    store.update(lambda state: transitions.complete(state, NOW, {"commit": "abcdef", "verify": None}))
    audit_log.record(store.project.private, "denied", tool="Bash", reason="this would\nchange it")
    entries = batch_events.entries_of_batch(audit_log.read_entries(store.project.private))
    assert [entry["event"] for entry in entries] == ["created", "started", "completed", "denied"]
    lines = log_format.format_entries(entries)
    assert [line[21:] for line in lines] == [
        f"             batch {batch['batch_id']} created; features: 3",
        "feature 1    attempt 1 started",
        "feature 1    done; commit abcdef",
        "             Bash denied: this would change it",
    ]
    assert [entry["event"] for entry in batch_events.entries_of_batch(entries, None, 1)] == ["started", "completed"]


def test_the_log_shows_the_last_batch_only(store):
    store.create(new_batch(1, batch_id="batch-old"))
    audit_log.record(store.project.private, "refused", asked="old", message="m")
    store.create(new_batch(1, batch_id="batch-new"), replace=True)
    audit_log.record(store.project.private, "refused", asked="new", message="m")
    audit_log.record(store.project.private, "phase", batch_id="batch-elsewhere", feature=1, phase="test")
    lines = log_format.format_entries(batch_events.entries_of_batch(audit_log.read_entries(store.project.private)))
    assert [line[34:] for line in lines] == ["batch batch-new created; features: 1", "`new` refused: m"]


def test_a_state_file_elsewhere_that_logs_here_does_not_hide_the_projects_own_batch(store):
    store.create(new_batch(1, batch_id="batch-own"))
    audit_log.record(store.project.private, "created", batch_id="batch-elsewhere", features=1)
    audit_log.record(store.project.private, "phase", batch_id="batch-elsewhere", feature=1, phase="test")
    store.update(started)
    lines = log_format.format_entries(
        batch_events.entries_of_batch(audit_log.read_entries(store.project.private), "batch-own")
    )
    assert [line[34:] for line in lines] == ["batch batch-own created; features: 1", "attempt 1 started"]


def test_a_log_that_cannot_be_written_never_fails_the_write(store, batch, monkeypatch):
    monkeypatch.setattr(audit_log, "NAME", "missing/audit.jsonl")
    assert store.update(started)["revision"] == 2
    assert "audit log" in store.notes[0]
    assert Store(store.project).read()["active"]["feature_index"] == 0


def test_a_completed_feature_that_is_taken_back_is_pending_again(three):
    assert only(completed(three), three) == {"event": "pending", "feature": 1}
