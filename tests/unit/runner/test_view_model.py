"""What there is to see of a batch: made from its state and the work trees that it names, and of nothing else."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.core import run_transitions, transitions
from batch_implement.runner.display import view_model, wording
from batch_implement.store.store import Store
from batches import completed, git, new_batch, started, then
from batches import given_up as failed_for_good
from run_states import BEGAN, NOW, client_ended, dispatched, given_up, merged, queued, run_state

UNTIL = "2026-02-01T06:00:00Z"
HOSTILE = "a\x1b[2Jb\nc\u202ed \x07e"


@pytest.fixture
def worktree(repository: Path) -> Path:
    """A work tree with a batch of one whose feature is open."""
    path = repository.parent / "worktrees" / "1-feature"
    git(repository, "worktree", "add", "-q", str(path), "-b", "batch/batch-1/1")
    Store(Project(str(path))).create(then(started(new_batch(1)), transitions.set_phase, "verify"))
    return path


def progress(worktree: Path, content: object) -> Path:
    """What the client of that work tree says of itself."""
    folder = Path(Project(str(worktree)).private) / "logs" / "run"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "progress.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def row_of(worktree: Path, **options) -> view_model.RunningFeature:
    (row,) = view_model.View(dispatched(run_state(), 0, worktree=str(worktree), **options), NOW).rows
    return row


def test_a_batch_that_a_client_does_shows_its_open_feature():
    seen = view_model.View(
        then(started(completed(new_batch(3))), transitions.set_phase, "plan"), "2026-02-01T00:01:00Z"
    )
    (row,) = seen.rows
    assert (row.number, row.text, row.attempt, row.step, row.phase, row.seconds) == (
        2, "feature 2", 1, "running", "plan", 61,
    )  # fmt: skip
    assert (row.turns, row.cost_usd, row.tool) == (None, None, None)
    assert (seen.spent, seen.limits, seen.ended, seen.at_work) == ({}, {}, "", False)


def test_each_feature_that_is_under_way_has_a_row_by_number():
    state = dispatched(dispatched(dispatched(run_state(), 3), 0, at="2026-02-01T00:30:00Z"), 1)
    seen = view_model.View(queued(state, 3), NOW)
    assert [(row.number, row.step, row.seconds) for row in seen.rows] == [
        (1, "running", 1800), (2, "running", 3600), (4, "merging", 3600),
    ]  # fmt: skip
    assert (seen.seconds, seen.at_work) == (3600, True)


def test_how_far_a_client_is_stands_in_its_work_tree(worktree):
    progress(worktree, {"turns": 34, "cost_usd": 1.5, "tool": "Bash", "phase": "other", "session_id": "session-0"})
    row = row_of(worktree)
    assert (row.turns, row.cost_usd, row.tool) == (34, 1.5, "Bash")
    assert row.phase == "verify"  # what the state of the batch of one says


def test_of_another_machine_nothing_is_read(worktree):
    progress(worktree, {"turns": 34, "session_id": "session-0"})
    row = row_of(worktree, place="elsewhere")
    assert (row.turns, row.phase) == (None, None)


def test_what_an_earlier_client_of_the_same_work_tree_said_is_not_counted_again(worktree):
    progress(worktree, {"turns": 34, "cost_usd": 9, "session_id": "another"})
    assert row_of(worktree).turns is None


def progress_text(**fields: object) -> str:
    """What the client of the session that is under way says."""
    return json.dumps({"session_id": "session-0", **fields})


UNBELIEVABLE = [
    "", "{", "[]", "[" * 50_000, '{"session_id": 5, "turns": 1}', progress_text(turns=math.nan, cost_usd=math.inf),
    progress_text(turns=-1, cost_usd=-1, tool=4), progress_text(turns=True), progress_text(turns="34", cost_usd=None),
    progress_text(cost_usd=1e300), progress_text(turns=1) + " " * 70_000,
]  # fmt: skip


def test_what_cannot_be_believed_is_left_out(worktree):
    for text in UNBELIEVABLE:
        progress(worktree, text)
        row = row_of(worktree)
        assert (row.turns, row.cost_usd, row.tool, row.phase) == (None, None, None, "verify"), text[:80]


@pytest.mark.parametrize("other", ["a link", "a FIFO", "a folder"])
def test_what_is_no_file_is_neither_followed_nor_waited_for(worktree, other):
    file = progress(worktree, {"turns": 34, "session_id": "session-0"})
    moved = file.rename(file.with_name("elsewhere.json"))
    if other == "a link":
        file.symlink_to(moved)
    elif other == "a FIFO":
        os.mkfifo(file)
    else:
        file.mkdir()
    assert row_of(worktree).turns is None


def test_a_work_tree_that_is_gone_leaves_the_row(tmp_path):
    assert row_of(tmp_path / "gone").phase is None


def test_what_is_spent_has_what_is_under_way_and_nothing_twice(worktree):
    progress(worktree, {"turns": 34, "cost_usd": 1.5, "session_id": "session-0"})
    state = dispatched(merged(run_state(budgets={"cost_usd": 10.0}), 1), 0, worktree=str(worktree))
    seen = view_model.View(state, NOW)
    assert (seen.spent["turns"], seen.spent["cost_usd"]) == (44, 2.0)
    assert seen.limits == {"cost": (2.0, 10.0)}
    seen = view_model.View(queued(state, 0), NOW)  # its client has ended and is counted
    assert (seen.spent["turns"], seen.spent["cost_usd"]) == (20, 1.0)


def test_limits_are_those_that_were_set_with_what_is_used():
    state = then(
        run_state(budgets={"time_s": 7200, "wait_s": 600}),
        run_transitions.begin_wait,
        BEGAN,
        UNTIL,
        "usage limit",
        "usage_limit",
    )
    seen = view_model.View(state, "2026-02-01T00:05:00Z")
    assert seen.limits == {"time": (300, 7200), "waiting": (300, 600)}
    assert seen.waiting == view_model.Wait("usage limit", UNTIL)


def test_what_waits_is_listed_in_order_with_the_reason():
    state = run_state(["a", "b", "c", "d"], needs={2: [0]}, order=[3, 0, 1, 2])
    state = dispatched(state, 3)
    assert view_model.View(state, NOW).pending == [
        view_model.OtherFeature(1, "a", "pending", ""),
        view_model.OtherFeature(2, "b", "pending", ""),
        view_model.OtherFeature(3, "c", "pending", "after 1"),
    ]


def test_the_features_that_were_closed_last_are_there_the_last_one_first():
    state = run_state(9, needs={8: [7]})
    for minute, index in enumerate([4, 2, 0, 1]):
        state = merged(state, index, f"2026-02-01T00:0{minute}:00Z")
    state = merged(state, 3, "2026-02-01T00:04:00Z", no_change="it is there")
    state = given_up(state, 7, HOSTILE, "2026-02-01T00:05:00Z")
    last = view_model.View(state, NOW).last
    assert [entry.number for entry in last] == [8, 4, 2, 1, 3]
    outcomes = {entry.number: (entry.status, entry.why) for entry in last}
    assert outcomes[2] == ("done", "c0ffee")
    assert outcomes[4] == ("done", "no change needed")
    assert outcomes[8] == ("failed", "a [2Jb c d e")


def test_texts_are_on_one_line_without_control_characters():
    state = then(dispatched(run_state([HOSTILE, "b"]), 0), run_transitions.begin_wait, NOW, UNTIL, HOSTILE, "network")
    seen = view_model.View(then(state, transitions.pause, NOW, HOSTILE), NOW)
    shown = "a [2Jb c d e"
    assert (seen.rows[0].text, seen.waiting.reason, seen.pause.reason) == (shown, shown, shown)


def test_a_run_whose_driver_is_dead_is_nobodys():
    dead = 2**22 + 1  # no process has this number
    seen = view_model.View(dispatched(run_state(pid=dead), 0), NOW)
    assert not seen.at_work
    assert wording.describe_blockers(seen) == [
        ("stopped", "No process works on the batch. Resume it with `batchctl run --resume`.")
    ]


def test_a_run_that_has_ended_grows_no_older():
    state = then(merged(run_state(1), 0), run_transitions.end, NOW, "all features processed")
    seen = view_model.View(state, UNTIL)
    assert (seen.seconds, seen.ended) == (3600, "all features processed")


# -- in words ----------------------------------------------------------------------------------------------------------


def test_one_line_says_it_all():
    state = dispatched(given_up(merged(run_state(6, needs={5: [4]}, budgets={"cost_usd": 5.0}), 0), 1), 2)
    state = then(state, run_transitions.begin_wait, NOW, UNTIL, "usage limit reached", "usage_limit")
    assert wording.format_heartbeat(view_model.View(state, NOW)) == (
        "1 of 6 done, 1 failed, 1 running; feature 3 (running, 1 h); not yet: feature 6 after 5; "
        "Waiting until 06:00 UTC (in 5 h): usage limit reached; Used: $1.00 of $5.00, 20 turns"
    )


def test_a_wait_names_the_day_when_it_is_not_today_and_says_when_it_is_past():
    state = then(run_state(), run_transitions.begin_wait, BEGAN, "2026-02-02T01:00:00Z", "limit", "usage_limit")
    assert (
        wording.describe_blockers(view_model.View(state, NOW))[0][1]
        == "Waiting until 2026-02-02 01:00 UTC (in 24 h): limit"
    )
    assert "(now)" in wording.describe_blockers(view_model.View(state, "2026-02-02T01:00:01Z"))[0][1]


def test_a_second_attempt_is_said():
    state = client_ended(dispatched(run_state(1), 0), 0, outcome="failed")
    state = dispatched(then(state, run_transitions.fail_attempt, BEGAN, 0, "it broke", "feature"), 0)
    assert wording.describe_running(view_model.View(state, NOW).rows[0]) == "feature 1 (attempt 2, running, 1 h)"


def test_a_client_that_is_gone_is_said_in_the_words_of_status():
    seen = view_model.View(failed_for_good(started(new_batch(2))), NOW)
    (blocker,) = wording.describe_blockers(seen)
    assert blocker[1].startswith("No process works on the batch. Resume it with `/batch-implement --resume`")
