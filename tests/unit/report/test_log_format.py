"""The audit log as text for a person."""

from __future__ import annotations

from batch_implement.report import log_format
from batches import NOW


def test_each_repair_of_a_migration_has_a_line():
    entry = {"event": "migrated", "at": NOW, "repairs": ["status `x` was read as in_progress", "a\nb"], "kept": None}
    assert [line[34:] for line in log_format.format_entries([entry])] == [
        "older state file migrated",
        "repaired: status `x` was read as in_progress",
        "repaired: a b",
    ]
    assert len(log_format.format_entries([{**entry, "repairs": []}, {**entry, "repairs": None}])) == 2
    assert log_format.format_entries([{**entry, "repairs": "['a', ...[truncated]"}])[1].endswith("['a', ...[truncated]")


def test_an_unknown_event_is_shown():
    [line] = log_format.format_entries([{"event": "quite new", "at": NOW, "text": "what it says"}])
    assert line.endswith("what it says")
    [line] = log_format.format_entries([{"event": "phase"}])
    assert line.endswith("?")


def test_a_field_of_the_message_is_not_repeated():
    begins = {"at": NOW, "event": "run started", "jobs": 2, "branch": "batch/b/merged"}
    (line,) = log_format.format_entries([begins])
    assert line.endswith("`batchctl run` started, 2 in parallel, into batch/b/merged")


def test_a_change_of_the_policy_says_what_is_changed():
    [line] = log_format.format_entries([{"event": "policy changed", "at": NOW, "setup": "npm\nci", "max_retries": 5}])
    assert line.endswith("policy changed: max_retries 5, setup npm ci")
