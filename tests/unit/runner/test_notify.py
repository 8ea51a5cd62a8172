"""What a person's own command is told, and that it cannot hurt a run."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time

import pytest
from batch_implement.base import process_identity
from batch_implement.core import run_transitions, transitions
from batch_implement.runner import notify
from batches import NOW, completed, failed, new_batch, owner, then

PRINT = (
    f"{sys.executable} -c 'import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], \"w\"))' variables.json"
)


@pytest.fixture
def state():
    """A run over four features: one completed, one given up, what needs it skipped, one left."""
    made = then(
        new_batch(["add a page", "add `a` $(touch pwned)", "c", "d"], needs={2: [1]}),
        run_transitions.begin,
        NOW,
        owner(),
        branch="batch/batch-1/merged",
        base_commit="c0ffee",
        target="main",
        worktrees="/w",
        jobs=1,
        options={},
        budgets={},
    )
    made = completed(made)
    return failed(made, "it \x1b[31mbroke\x00 \u202e'; touch pwned; '\n" + "x" * 5000, permanent=True)


def read_variables(tmp_path, state, event="end", paths=None):
    assert notify.send(PRINT, event, state, paths or {}, str(tmp_path)) == ""
    return json.loads((tmp_path / "variables.json").read_text())


def test_the_command_is_told_of_the_batch_in_its_environment(tmp_path, state):
    values = read_variables(tmp_path, state, "end", {"html": "/r/report.html", "md": "/r/report.md"})
    assert {name: value for name, value in values.items() if name.startswith("BATCH_") and name != "BATCH_SUMMARY"} == {
        "BATCH_EVENT": "end", "BATCH_ID": "batch-1", "BATCH_STATUS": "in_progress", "BATCH_TOTAL": "4",
        "BATCH_COMPLETED": "1", "BATCH_FAILED": "1", "BATCH_SKIPPED": "1", "BATCH_PENDING": "1", "BATCH_ACTIVE": "0",
        "BATCH_BRANCH": "batch/batch-1/merged", "BATCH_REPORT": "/r/report.html", "BATCH_REPORT_MD": "/r/report.md",
    }  # fmt: skip
    assert values["PATH"] == os.environ["PATH"]
    assert os.listdir(tmp_path) == ["variables.json"]


def test_without_a_report_its_path_is_empty(tmp_path, state):
    assert read_variables(tmp_path, state)["BATCH_REPORT"] == ""


def test_the_summary_is_plain_bounded_text_whose_first_line_says_it(tmp_path, state):
    lines = read_variables(tmp_path, state)["BATCH_SUMMARY"].split("\n")
    assert lines[0] == "Batch batch-1 has ended: 1 of 4 done, 1 failed, 1 skipped."
    assert lines[1] == "Results are on batch/batch-1/merged."
    assert lines[2].startswith("Feature 2, add `a` $(touch pwned): it [31mbroke '; touch pwned; ' xxx")
    assert all(line.isprintable() and len(line) <= notify.MAX_LINE_LENGTH for line in lines)
    many = {**state, "failed_features": state["failed_features"] * 50}
    assert len(notify.event_summary("end", many)) == notify.MAX_SUMMARY_LENGTH


def test_each_event_has_its_own_words(state):
    paused = transitions.pause(state, NOW, "log in again")
    assert "waits for you" in notify.event_summary("pause", paused)
    assert "Reason: log in again" in notify.event_summary("pause", paused)
    two = {**state, "failed_features": [{"feature_index": 3, "error_message": "old"}, *state["failed_features"]]}
    assert "has a failed feature" in notify.event_summary("failure", two)
    assert "old" not in notify.event_summary("failure", two)
    assert "stopped with an error" in notify.event_summary("failure", {**state, "failed_features": []})
    ended = run_transitions.end(state, NOW, "all features processed")
    assert "Reason: all features processed" in notify.event_summary("end", ended)


def test_what_tells_of_a_client_does_not_reach_the_command(tmp_path, state, monkeypatch):
    monkeypatch.setenv("CLAUDECODE", "1")
    monkeypatch.setenv("BATCH_IMPLEMENT_ROOT", "/elsewhere")
    assert not {"CLAUDECODE", "BATCH_IMPLEMENT_ROOT"} & read_variables(tmp_path, state).keys()


def test_a_command_that_fails_is_a_note_with_the_end_of_what_it_said(tmp_path, state):
    note = notify.send("printf '%01000d' 1; printf 'no such \\033[1mroom'; exit 3", "pause", state, {}, str(tmp_path))
    assert note.startswith("The --notify command ended with exit status 3 (pause): 000")
    assert note.endswith("no such [1mroom")
    assert len(note) < 400
    assert notify.send("exit 1", "end", state, {}, str(tmp_path)).endswith("(end): no output")
    assert "could not be started" in notify.send("true", "end", state, {}, str(tmp_path / "gone"))
    assert "could not be started" in notify.send("a\0b", "end", state, {}, str(tmp_path))


def test_a_command_that_does_not_end_is_ended_with_what_it_started(tmp_path, state, monkeypatch):
    monkeypatch.setattr(notify, "TIMEOUT_S", 1)
    note = notify.send("sleep 300 & echo $! > pid; wait", "end", state, {}, str(tmp_path))
    assert "did not end within 1 s (end)" in note
    pid = int((tmp_path / "pid").read_text())
    for _ in range(200):
        if not process_identity.is_running(pid, None):
            return
        time.sleep(0.05)
    raise AssertionError("what the command started lives on")


def test_a_folder_for_temporary_files_that_cannot_be_used_does_not_prevent_the_notification(
    tmp_path, state, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert notify.send(f"echo $BATCH_EVENT > {tmp_path}/seen", "end", state, {}, str(tmp_path)) == ""
    assert (tmp_path / "seen").read_text() == "end\n"
