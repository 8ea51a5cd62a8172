"""What an unattended run does to a batch: several features under way, their ends, the waits, and what is counted."""

from __future__ import annotations

import json
import sys

import pytest
from batch_implement.base import process_identity
from batch_implement.core import batch_events, batch_state, run_transitions, transitions
from batch_implement.core.errors import RefusedError
from batch_implement.report import log_format, status_report
from batches import NOW, conditions, failed, new_batch, then

LATER = "2026-02-01T01:00:00Z"
OWNER = {"session_id": "run-1", "pid": 4711, "pid_started": "x:1", "host": "here", "since": NOW}


def begun(state, **wishes):
    options = {
        "branch": "batch/batch-1/merged", "base_commit": "b" * 40, "target": "main", "worktrees": "/trees", "jobs": 3,
        "options": {}, "budgets": {}, **wishes,
    }  # fmt: skip
    return then(state, run_transitions.begin, NOW, OWNER, **options)


def dispatched(state, *indices, now=NOW):
    for index in indices:
        state = then(
            state,
            run_transitions.dispatch,
            now,
            index,
            base="b" * 40,
            branch=f"batch/batch-1/{index + 1}",
            place="here",
            worktree=f"/trees/{index + 1}",
            session_id=f"s{index}",
        )
    return state


def client(attempt=1, outcome="completed", **more):
    spent = {"turns": 4, "cost_usd": 0.5, "input_tokens": 10, "output_tokens": 20, "cache_read_tokens": 30,
             "cache_creation_tokens": 40, "seconds": 12.5}  # fmt: skip
    return {"attempt": attempt, "started_at": NOW, "ended_at": NOW, "outcome": outcome, **spent, **more}


def merged(state, index):
    proof = {"commit": "c" * 40, "commits": ["c" * 40], "verify": None}
    state = then(state, run_transitions.await_merge, NOW, index, proof, [])
    merge = {"commit": "d" * 40, "from": "c" * 40, "rebased": True}
    proof = {"commit": "d" * 40, "commits": ["d" * 40], "verify": None}
    state = then(state, run_transitions.prepare_merges, {index: {"evidence": proof, "merge": merge}})
    return then(state, run_transitions.complete_feature, NOW, index)


def failing(state, index, words="it broke", **options):
    return then(state, run_transitions.fail_attempt, NOW, index, words, "feature", **options)


# -- what a client may cost --------------------------------------------------------------------------------------------


def costing(limit, spent=0.0, clients=0):
    state = begun(new_batch(4), budgets={"cost_usd": limit} if limit else {})
    run = state["run"]
    return {**state, "run": {**run, "spent": {**run["spent"], "cost_usd": spent, "clients": clients}}}


@pytest.mark.parametrize(
    ("limit", "spent", "clients", "held_usd", "free", "share"),
    [
        (None, 5.0, 3, 0.0, 4, float("inf")),
        (20.0, 0.0, 0, 0.0, 4, 5.0),
        (20.0, 0.0, 0, 5.0, 3, 5.0),
        (20.0, 2.0, 1, 15.0, 1, 3.0),
        (12.0, 3.0, 1, 0.0, 3, 3.0),  # a client has cost as much as a share
        (10.0, 4.0, 1, 0.0, 3, 6.0),  # the only one so far has cost more
        (20.0, 17.0, 4, 0.0, 4, 3.0),  # a client has cost 4.25: the last that is left is for one
        (20.0, 15.0, 4, 3.0, 1, 0.0),
        (20.0, 15.0, 4, 5.0, 1, 0.0),
        (20.0, 21.0, 4, 0.0, 2, 0.0),
    ],
)
def test_what_a_client_may_cost_is_a_share_that_leaves_the_others_theirs(limit, spent, clients, held_usd, free, share):
    assert run_transitions.client_budget_usd(costing(limit, spent, clients), held_usd, free) == pytest.approx(share)


# -- several at a time -------------------------------------------------------------------------------------------------


def test_running_features_count_as_open_and_cannot_start_again():
    state = dispatched(begun(new_batch(3)), 0, 2)
    assert conditions(state) == ["running", "pending", "running"]
    assert batch_state.counts(state)["active"] == 2
    assert state["current_index"] == 0
    assert [entry["status"] for entry in status_report.feature_entries(state)] == ["running", "pending", "running"]
    with pytest.raises(RefusedError, match="Feature 1 is running: only a pending"):
        run_transitions.dispatch(state, NOW, 0, base="b", branch="x", worktree="", session_id="s", place="here")


def test_a_run_takes_the_batch_unattended_and_keeps_what_earlier_runs_came_to():
    state = dispatched(begun(new_batch(2)), 0)
    state = then(state, run_transitions.record_client, 0, client())
    again = begun(then(state, run_transitions.end, NOW, "a person stopped it"), jobs=1, base_commit="e" * 40)
    assert again["owner"]["driven"] is True
    assert again["policy"]["unattended"] is True
    assert again["run"]["jobs"] == 1
    assert again["run"]["base_commit"] == "b" * 40
    assert again["run"]["spent"]["clients"] == 1
    assert again["run"]["ended_at"] is None


def test_a_merged_feature_is_completed_with_the_commit_that_the_branch_has():
    state = dispatched(begun(new_batch(2)), 0, 1)
    state = then(state, run_transitions.record_client, 1, client(worktree="/trees/2"))
    state = merged(state, 1)
    assert conditions(state) == ["running", "done"]
    assert state["evidence"]["1"]["commit"] == "d" * 40
    assert state["run"]["merges"] == [
        {"feature_index": 1, "timestamp": NOW, "commit": "d" * 40, "from": "c" * 40, "rebased": True}
    ]
    assert state["run"]["clients"]["1"][0]["worktree"] is None
    assert state["active"] is None


def test_the_last_merge_ends_the_batch():
    state = merged(dispatched(begun(new_batch(1)), 0), 0)
    assert state["status"] == "completed"


def test_the_end_of_a_run_releases_the_batch_and_its_running_features():
    state = then(dispatched(begun(new_batch(2)), 0), run_transitions.end, NOW, "stopped twice")
    assert conditions(state) == ["pending", "pending"]
    assert not process_identity.is_owner_alive(state["owner"])
    assert state["owner"]["session_id"] == "run-1"
    assert (state["run"]["ended_at"], state["run"]["ended_why"]) == (NOW, "stopped twice")


def test_a_running_feature_cannot_be_skipped():
    with pytest.raises(RefusedError, match="Feature 2 is running in `batchctl run`"):
        transitions.skip(dispatched(begun(new_batch(2)), 1), NOW, 1, "not wanted")


# -- what may start ----------------------------------------------------------------------------------------------------


def test_a_feature_starts_when_what_it_needs_is_merged_not_when_it_is_only_verified():
    state = dispatched(begun(new_batch(3, needs={1: [0]})), 0)
    assert run_transitions.ready_indices(state, NOW) == [2]
    verified = then(state, run_transitions.await_merge, NOW, 0, {"commit": "c" * 40, "verify": None}, [])
    assert run_transitions.ready_indices(verified, NOW) == [2]
    assert run_transitions.ready_indices(merged(state, 0), NOW) == [1, 2]


def test_every_feature_that_waits_has_its_reason():
    state = dispatched(begun(new_batch(4, needs={1: [0], 2: [0, 1]})), 0)
    assert list(run_transitions.waiting_reasons(state, NOW)) == [(1, "after 1"), (2, "after 1, 2")]


def test_features_that_change_the_same_paths_do_not_run_in_parallel():
    state = new_batch(4)
    state["details"] = {"0": {"touches": ["src/a.py"]}, "1": {"touches": ["src/"]}, "2": {"touches": ["docs/*.md"]}}
    state = begun(state)
    assert run_transitions.ready_indices(state, NOW) == [0, 2, 3]
    state = dispatched(state, 0)
    assert run_transitions.ready_indices(state, NOW) == [2, 3]
    assert list(run_transitions.waiting_reasons(state, NOW)) == [(1, "changes the same paths as 1")]


def test_a_retry_waits_for_its_time_and_comes_after_first_attempts():
    state = failing(dispatched(begun(new_batch(2)), 0), 0, retry_after=LATER)
    assert run_transitions.ready_indices(state, NOW) == [1]
    assert run_transitions.next_start(state, NOW) == LATER
    assert list(run_transitions.waiting_reasons(state, NOW)) == [(0, "again at 01:00 UTC")]
    assert run_transitions.ready_indices(state, LATER) == [1, 0]
    assert run_transitions.next_start(state, LATER) is None


def test_a_feature_retried_by_the_user_does_not_wait():
    state = failing(dispatched(begun(new_batch(1, max_retries=0)), 0), 0, retry_after=LATER)
    state = then(state, transitions.retry, [0])
    assert list(run_transitions.waiting_reasons(state, NOW)) == [] and batch_state.earliest_start(state, 0) is None
    state = failing(dispatched(begun(new_batch(1)), 0), 0, retry_after=LATER)
    assert batch_state.earliest_start(state, 0) == LATER


# -- how attempts end --------------------------------------------------------------------------------------------------


def test_a_failed_attempt_is_counted_and_records_where_its_commits_are():
    state = failing(dispatched(begun(new_batch(1)), 0), 0, snapshot="batch 1")
    assert state["retry_attempts"] == {"0": 1}
    (ended,) = state["attempts"]["0"]
    assert (ended["error_message"], ended["branch"], ended["snapshot"]) == ("it broke", "batch/batch-1/1", "batch 1")
    assert dispatched(state, 0)["run"]["running"]["0"]["attempt"] == 2


def test_an_interrupted_attempt_costs_nothing_and_resumes_as_the_same():
    state = then(dispatched(begun(new_batch(1)), 0), run_transitions.return_to_pending, 0)
    assert state["retry_attempts"] == {}
    assert dispatched(state, 0)["run"]["running"]["0"]["attempt"] == 1


def test_the_same_error_twice_ends_a_features_attempts_whatever_its_numbers():
    state = failing(dispatched(begun(new_batch(2, needs={1: [0]})), 0), 0, "3 of 17 tests fail at 4f2a91bc")
    state = failing(dispatched(state, 0), 0, "4 of 17 tests  fail at 99aabbcc")
    assert conditions(state) == ["failed", "skipped"]


def test_another_error_does_not():
    state = failing(dispatched(begun(new_batch(1)), 0), 0, "FAILED tests/test_parser.py::test_loop in 0.3s")
    state = failing(dispatched(state, 0), 0, "FAILED tests/test_printer.py::test_loop in 0.4s")
    assert conditions(state) == ["pending"]
    state = failing(dispatched(state, 0), 0, "FAILED tests/test_printer.py::test_loop in 0.5s")
    assert conditions(state) == ["failed"]


def test_no_change_twice_ends_a_features_attempts():
    state = failing(dispatched(begun(new_batch(1)), 0), 0, "I do not know how", changed=False)
    assert conditions(state) == ["pending"]
    assert conditions(failing(dispatched(state, 0), 0, "nor now", changed=False)) == ["failed"]
    assert conditions(failing(dispatched(state, 0), 0, "nor now", changed=True)) == ["pending"]


def test_an_attempt_of_which_it_is_unknown_counts_as_one_that_changed_something():
    state = failed(new_batch(1), "the tests fail")
    assert "changed" not in state["attempts"]["0"][0]
    assert conditions(failing(dispatched(begun(state), 0), 0, "I do not know how", changed=False)) == ["pending"]


def test_a_feature_is_sent_back_once_and_that_takes_nothing_from_its_retries():
    state = dispatched(begun(new_batch(2, max_retries=0)), 0)
    state = then(state, run_transitions.send_back, NOW, 0, "conflict in a.py")
    assert conditions(state) == ["pending", "pending"]
    assert state["retry_allowance"] == {"0": 1}, "the attempt that is sent back, and no other"
    assert state["attempts"]["0"][0]["failure_class"] == "merge"
    state = then(dispatched(state, 0), run_transitions.send_back, NOW, 0, "conflict in b.py, of another kind")
    assert conditions(state) == ["failed", "pending"]
    assert state["run"]["sent_back"] == {"0": 2}


def test_five_failures_in_a_row_pause_the_batch():
    state = begun(new_batch(6))
    for index in range(5):
        state = failing(dispatched(state, index), index, f"broke in {'abcde'[index]} way")
    assert state["status"] == "paused"


def test_only_the_clients_that_broke_of_themselves_in_this_attempt_are_crashes():
    state = dispatched(begun(new_batch(1)), 0)
    for kind in ("crash", "limit", "worker_died", "context"):
        state = then(state, run_transitions.record_client, 0, client(outcome="interrupted", failure_class=kind))
        state = dispatched(then(state, run_transitions.return_to_pending, 0), 0)
    assert run_transitions.consecutive_crashes(then(state, run_transitions.return_to_pending, 0), 0) == 3, (
        "a full window is no wait: it could go on for ever"
    )
    state = failing(state, 0)
    assert run_transitions.consecutive_crashes(state, 0) == 0


# -- counters and waits ------------------------------------------------------------------------------------------------


def test_usage_of_clients_adds_up_and_may_not_fall():
    state = dispatched(begun(new_batch(2)), 0, 1)
    state = then(then(state, run_transitions.record_client, 0, client()), run_transitions.record_client, 1, client())
    spent = state["run"]["spent"]
    assert (spent["clients"], spent["turns"], spent["cost_usd"], spent["worked_s"]) == (2, 8, 1.0, 25.0)
    less = {**state, "run": {**state["run"], "spent": {**spent, "cost_usd": 0.0}}}
    assert batch_state.monotonicity_violations(state, less) == ["run.spent.cost_usd fell from 1.0 to 0.0"]
    assert batch_state.monotonicity_violations(state, {**state, "run": None}) != []


def test_a_wait_lasts_until_the_latest_time_and_is_kept_when_it_is_over():
    state = then(begun(new_batch(1)), run_transitions.begin_wait, NOW, LATER, "usage limit", "limit")
    for until in (NOW, LATER):
        assert run_transitions.begin_wait(state, NOW, until, "overloaded", "overload") is state
    state = then(state, run_transitions.end_wait, LATER, 3601)
    assert state["run"]["waiting"] is None
    assert state["run"]["spent"]["waited_s"] == 3601
    assert state["run"]["waits"][0]["reason"] == "usage limit"


def test_a_wait_after_which_the_clock_was_set_back_adds_nothing():
    state = then(begun(new_batch(1)), run_transitions.begin_wait, NOW, LATER, "usage limit", "limit")
    assert then(state, run_transitions.end_wait, NOW, -5.0)["run"]["spent"]["waited_s"] == 0


def test_a_client_whose_time_is_unknown_adds_none():
    record = client()
    del record["seconds"]
    state = then(dispatched(begun(new_batch(1)), 0), run_transitions.record_client, 0, record)
    assert (state["run"]["spent"]["worked_s"], state["run"]["spent"]["turns"]) == (0, 4)


def test_a_run_has_events():
    state = begun(new_batch(2))
    events = batch_events.events_between(new_batch(2), state)
    assert {"run started"} <= {event["event"] for event in events}
    running = dispatched(state, 0)
    assert batch_events.events_between(state, running)[-1]["event"] == "started"
    waits = then(running, run_transitions.begin_wait, NOW, LATER, "usage limit", "limit")
    [event] = batch_events.events_between(running, waits)
    assert log_format.format_entries([{**event, "at": NOW}]) == [
        f"2026-01-31 23:59:59               waiting until {LATER} (limit): usage limit"
    ]
    done = merged(running, 0)
    assert "completed" in {event["event"] for event in batch_events.events_between(running, done)}


def test_a_feature_that_waits_for_its_merge_has_been_verified():
    running = dispatched(begun(new_batch(3)), 0, 1)
    verified = then(running, run_transitions.await_merge, NOW, 1, {"commit": "c" * 40, "verify": None}, [])
    assert list(run_transitions.run_events(running["run"], verified["run"])) == [{"event": "verified", "feature": 2}]


def test_each_client_that_was_interrupted_has_one_event():
    def interrupt(state, index, message):
        record = client(outcome="interrupted", failure_class="crash", message=message)
        return then(state, run_transitions.record_client, index, record)

    def events(old, new):
        return [(event["event"], event["feature"], event["why"]) for event in run_transitions.run_events(old, new)]

    running = dispatched(begun(new_batch(3)), 0, 2)
    first = interrupt(running, 2, "out of memory")
    assert events(running["run"], first["run"]) == [("interrupted", 3, "out of memory")]
    second = interrupt(first, 2, "connection lost")
    assert events(first["run"], second["run"]) == [("interrupted", 3, "connection lost")]
    # The record of another feature's client says nothing new about this one, also when it was read from the file again.
    third = then(second, run_transitions.record_client, 0, client())
    assert events(json.loads(json.dumps(second["run"])), third["run"]) == []
    assert events(third["run"], then(third, run_transitions.record_client, 2, client())["run"]) == []


def test_the_end_of_a_run_has_one_event():
    running = begun(new_batch(1))
    ended = then(running, run_transitions.end, NOW, "stopped")
    assert list(run_transitions.run_events(running["run"], ended["run"])) == [{"event": "run ended", "why": "stopped"}]
    assert list(run_transitions.run_events(ended["run"], ended["run"])) == []
    assert list(run_transitions.run_events(running["run"], running["run"])) == []


def test_a_place_is_written_when_it_changes_and_only_then():
    state = dispatched(begun(new_batch(3)), 0, 2)
    assert run_transitions.update_places(state, {}) is None
    assert run_transitions.update_places(state, {"s0": "here", "other": "node-9"}) is None
    moved = then(state, run_transitions.update_places, {"s2": "node-1"})
    assert {name: entry["place"] for name, entry in moved["run"]["running"].items()} == {"0": "here", "2": "node-1"}


def test_without_running_features_there_is_nothing_to_clear():
    for state in (new_batch(1), begun(new_batch(1))):
        assert run_transitions.clear_running(state) is state
    assert conditions(then(dispatched(begun(new_batch(2)), 1), run_transitions.clear_running)) == ["pending", "pending"]


# -- what it costs -----------------------------------------------------------------------------------------------------


class Counted(int):
    """An index that counts how often it is compared or looked up."""

    looks = 0

    def __eq__(self, other):
        Counted.looks += 1
        return int(self) == other

    def __hash__(self):
        Counted.looks += 1
        return int.__hash__(self)


def operations(state):
    """Calls, Python's own and others, and looks at indices that `runs.ready` takes."""
    calls = 0

    def note(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    Counted.looks, before = 0, sys.getprofile()
    sys.setprofile(note)
    try:
        run_transitions.ready_indices(state, NOW)
    finally:
        sys.setprofile(before)
    return calls + Counted.looks


@pytest.mark.parametrize("named", [lambda n: [], lambda n: [f"src/{n}/*.py"], lambda n: ["src/"]])
def test_finding_what_can_begin_costs_about_four_times_as_much_for_four_times_as_many_features(named):
    costs = []
    for number in (200, 800):
        under_way, done = number // 4, number // 4
        state = begun(new_batch(number, needs={n: [n - done] for n in range(done, number)}))
        state["details"] = {str(n): {"touches": named(n)} for n in range(number)}
        state["run"]["running"] = {str(n): {} for n in range(under_way)}
        state["completed_features"] = [Counted(n) for n in range(under_way, under_way + done)]
        state["feature_order"] = [Counted(n) for n in batch_state.indices_in_order(state)]
        costs.append(operations(state))
    assert costs[1] < 5 * costs[0], costs
