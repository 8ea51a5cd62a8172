"""The line for Claude Code's status line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from batch_implement.core import run_transitions, transitions
from batch_implement.report import statusline
from batch_implement.store.store import Store
from batches import BATCHCTL, NOW, all_completed, completed, given_up, new_batch, run_program, started, then
from run_states import dispatched, merged, queued, run_state

UNTIL = "2026-02-01T06:00:00Z"


def line(state, at_work=True):
    return statusline.format_statusline(state, at_work=at_work)


def test_it_says_how_far_and_what_is_being_done():
    state = then(started(given_up(completed(new_batch(20)))), transitions.set_phase, "verify")
    assert line(state) == "batch 1/20 done, 1 failed · feature 3: verify"


def test_between_two_features_it_says_which_is_next():
    assert line(completed(new_batch(3))) == "batch 1/3 done · feature 2 is next"


def test_a_batch_that_nobody_works_on_is_said_to_be_so():
    assert (
        line(started(new_batch(3)), at_work=False) == "batch 0/3 done · feature 1: understand · no process works on it"
    )


def test_a_pause_and_its_end_are_said_and_its_reason_is_cut_and_cleaned():
    state = then(new_batch(3), transitions.pause, NOW, "usage\x1b[31m limit\n" + "x" * 100, resume_after=UNTIL)
    shown = line(state, at_work=False)
    assert shown.startswith("batch 0/3 done · paused until 06:00 UTC: usage [31m limit xxx")
    assert shown.endswith("xxx...")
    assert shown.isprintable()
    assert len(shown) < 110


def test_a_batch_that_is_over_is_said_to_be_so():
    assert line(all_completed(new_batch(2)), at_work=False) == "batch 2/2 done · ended"


def test_features_that_skipped_ones_block_are_counted():
    assert line(given_up(new_batch(3, needs={1: [0]}))).startswith("batch 0/3 done, 1 failed, 1 skipped")


def test_a_run_names_what_is_under_way_and_what_it_waits_for():
    state = dispatched(merged(run_state(20), 0), 3)
    assert line(state) == "batch 1/20 done · feature 4: running"
    assert line(queued(state, 3)) == "batch 1/20 done · feature 4: merging"
    for index in range(4, 12):
        state = dispatched(state, index)
    assert line(state) == "batch 1/20 done · features 4, 5, 6, 7, 8, 9 and 3 more"
    state = then(merged(run_state(20), 0), run_transitions.begin_wait, NOW, UNTIL, "usage limit", "usage_limit")
    assert line(state) == "batch 1/20 done · waiting until 06:00 UTC: usage limit"


@pytest.mark.parametrize(
    ("payload", "folder"),
    [
        ({"workspace": {"current_dir": "/a"}, "cwd": "/b"}, "/a"),
        ({"workspace": "?", "cwd": "/b"}, "/b"),
        ({"workspace": {"current_dir": 3}, "cwd": "/b"}, "/b"),
        ({"cwd": "relative"}, ""),
        ({"cwd": "/with\0zero"}, ""),
        ([], ""),
    ],
)
def test_the_folder_is_that_of_the_session(payload, folder):
    assert statusline.session_folder(json.dumps(payload).encode()) == folder


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_names_no_folder(payload):
    assert statusline.session_folder(payload) == ""


def test_the_command_answers_for_the_folder_that_it_is_told(store, batch, tmp_path):
    payload = json.dumps({"workspace": {"current_dir": store.project.root}, "model": {"id": "any"}})
    done = run_program(BATCHCTL, "statusline", cwd=tmp_path, stdin=payload)
    expected = "batch 0/3 done · no process works on it\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, "")
    done = run_program(BATCHCTL, "statusline", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_state_that_cannot_be_read_is_no_error_and_is_not_logged(store, batch):
    private = Path(store.project.private)
    for path in (private / "sidecar", private / "in-force.bi", store.project.second_backup):
        os.unlink(path)
    os.mkdir(private / "sidecar")
    Path(store.project.state).write_text("{", encoding="utf-8")
    before = (private / "audit.jsonl").read_bytes()
    assert statusline.statusline_text(b"", {}, store.project.root) == statusline.UNUSABLE
    assert (private / "audit.jsonl").read_bytes() == before


def test_an_edit_of_the_model_is_not_adopted_because_a_status_line_was_drawn(store, batch):
    state = Path(store.project.state)
    state.write_text(state.read_text(encoding="utf-8").replace("feature 1", "feature X"), encoding="utf-8")
    done = run_program(BATCHCTL, "statusline", cwd=store.project.root)
    assert done.stdout.startswith("batch 0/3 done")
    assert "feature X" not in json.dumps(Store(store.project, trusted=False).read()["features"])
