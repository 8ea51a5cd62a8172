"""The state's invariants, each with a state that breaks it, and what is derived from a state."""

from __future__ import annotations

import copy

import pytest
from batch_implement.core import batch_policy, batch_state, lease
from batch_implement.store import serialization
from batches import NOW, completed, conditions, failed, given_up, new_batch, started, then


def test_a_first_version_is_valid_and_its_parts_are_its_own():
    features, policy = ["a", "b"], batch_policy.create_policy(verify="make")
    state = batch_state.new_state("b1", features, NOW, policy=policy, untracked=iter(["x"]))
    assert serialization.find_problems({**state, "revision": 1}, None) == []
    features.append("c")
    policy["verify"] = "other"
    assert state["features"] == ["a", "b"]
    assert state["policy"]["verify"] == "make"
    assert state["untracked_at_start"] == ["x"]


def test_a_verify_command_asks_for_its_evidence_unless_the_person_says_what_is_asked_for():
    assert batch_policy.create_policy(verify="make")["evidence"] == ["commit", "verify"]
    assert batch_policy.create_policy(verify="make", evidence=[])["evidence"] == []
    assert batch_policy.create_policy()["evidence"] == ["commit"]


def test_no_policy_shares_its_lists_with_the_default():
    batch_policy.create_policy()["evidence"].append("review")
    batch_policy.create_policy()["budgets"]["cost"] = 1
    assert batch_policy.DEFAULT["evidence"] == ["commit"]
    assert batch_policy.DEFAULT["budgets"] == {}


@pytest.mark.parametrize("name", ["b", "batch-20260131-235959-000001", "A.b_c-1", "x" * 100, "a.b.c", "a-", "."])
def test_a_batch_id_of_letters_digits_dots_and_dashes_is_valid(name):
    assert batch_state.is_valid_batch_id(name)


@pytest.mark.parametrize(
    "name", ["", "-", "-resume", "x" * 101, "..", "a..b", "a/b", "a b", "a\n", "é", "a\x00", "²", None, 1, ["b"]]
)
def test_any_other_batch_id_is_not(name):
    assert not batch_state.is_valid_batch_id(name)


# -- invariants: each with a state that breaks it ----------------------------------------------------------------------


def failure(index):
    return {"feature_index": index, "error_message": "x", "timestamp": NOW}


def omission(index):
    return {"feature_index": index, "reason": "x", "timestamp": NOW}


def opened(index):
    return {"feature_index": index, "attempt": 1, "phase": "plan", "base_commit": None, "started_at": NOW}


WAITING = {"reason": "x", "since": NOW}
BROKEN = [
    ({"batch_id": "a..b"}, "batch_id"),
    ({"batch_id": "../x"}, "batch_id"),
    ({"total_features": 4}, "total_features is 4, but features has 3"),
    ({"features": []}, "features"),
    # each index in 0..total-1
    ({"completed_features": [3]}, "completed_features names feature index 3; the last one is 2"),
    ({"completed_features": [-1]}, "/completed_features/0"),
    ({"failed_features": [failure(3)]}, "failed_features names feature index 3"),
    ({"skipped_features": [omission(3)]}, "skipped_features names feature index 3"),
    ({"active": opened(3)}, "active names feature index 3"),
    ({"retry_attempts": {"3": 1}}, "retry_attempts names feature index 3"),
    ({"retry_attempts": {"-1": 1}}, "/retry_attempts"),
    ({"retry_attempts": {"01": 1}}, "/retry_attempts"),
    ({"retry_allowance": {"3": 1}}, "retry_allowance names feature index 3"),
    ({"attempts": {"3": []}}, "attempts names feature index 3"),
    ({"evidence": {"3": {}}}, "evidence names feature index 3"),
    ({"git_operations": {"3": {}}}, "git_operations names feature index 3"),
    ({"details": {"3": {}}}, "details names feature index 3"),
    ({"timings": {"3": {}}}, "timings names feature index 3"),
    ({"feature_dependencies": {"0": [3]}}, "feature_dependencies names feature index 3"),
    ({"feature_dependencies": {"3": [0]}}, "feature_dependencies names feature index 3"),
    # a feature is in at most one of completed, failed, skipped, active
    ({"completed_features": [0, 0]}, "completed_features"),
    ({"completed_features": [0], "failed_features": [failure(0)]}, "0 is in completed_features and again in failed"),
    ({"completed_features": [0], "skipped_features": [omission(0)]}, "in completed_features and again in skipped"),
    ({"completed_features": [0], "active": opened(0)}, "0 is in completed_features and again in active"),
    ({"failed_features": [failure(0), failure(0)]}, "in failed_features and again in failed_features"),
    ({"failed_features": [failure(0)], "skipped_features": [omission(0)]}, "in failed_features and again in skipped"),
    ({"failed_features": [failure(0)], "active": opened(0)}, "in failed_features and again in active"),
    ({"skipped_features": [omission(0), omission(0)]}, "in skipped_features and again in skipped_features"),
    ({"skipped_features": [omission(0)], "active": opened(0)}, "in skipped_features and again in active"),
    # order is a permutation
    ({"feature_order": [0, 1]}, "feature_order is not a permutation of 0 to 2"),
    ({"feature_order": [0, 1, 3]}, "feature_order is not a permutation of 0 to 2"),
    ({"feature_order": [0, 1, 2, 3]}, "feature_order is not a permutation of 0 to 2"),
    ({"feature_order": [0, 2, 2]}, "feature_order"),
    # dependencies have no cycle
    ({"feature_dependencies": {"1": [1]}}, "feature_dependencies has a cycle: 1 needs 1"),
    ({"feature_dependencies": {"1": [2], "2": [1]}}, "feature_dependencies has a cycle: 1 needs 2 needs 1"),
    # completed only when no feature is left, and what the status says of the rest
    ({"status": "completed"}, "status is completed, but features are left"),
    ({"status": "failed"}, "status is failed, but features are left"),
    (
        {"completed_features": [0, 1], "active": opened(2), "current_index": 2, "status": "completed"},
        "features are left",
    ),
    ({"completed_features": [0, 1, 2], "current_index": 3}, "status is in_progress, but no feature is left"),
    (
        {"completed_features": [0, 1, 2], "current_index": 3, "status": "failed"},
        "status is failed; with 3 completed it is completed",
    ),
    (
        {"failed_features": [failure(0), failure(1), failure(2)], "current_index": 3, "status": "completed"},
        "status is completed; with 0 completed it is failed",
    ),
    ({"status": "paused"}, "status is paused, but pause is empty"),
    ({"pause": WAITING}, "status is in_progress, but pause is set"),
    ({"current_index": 1}, "current_index is 1; the feature that is open or next is 0"),
    ({"active": opened(1)}, "current_index is 0; the feature that is open or next is 1"),
    ({"issue_numbers": [7]}, "issue_numbers has 1 entries for 3 features"),
    ({"status": "running"}, "/status"),
    ({"revision": 0}, "/revision"),
    ({"revision": True}, "/revision"),
]


@pytest.mark.parametrize(("broken", "said"), BROKEN)
def test_a_violated_invariant_has_a_message(broken, said):
    problems = serialization.find_problems({**new_batch(3), **broken}, None)
    assert any(said in text for text in problems), problems


@pytest.mark.parametrize(("broken", "said"), BROKEN)
def test_it_has_a_message_too_when_only_that_field_changed(broken, said):
    before = new_batch(3)
    assert any(said in text for text in serialization.find_problems({**before, **broken}, before))


@pytest.mark.parametrize(
    ("was", "becomes", "said"),
    [
        ({"revision": 7}, {"revision": 6}, "revision fell from 7 to 6"),
        ({"retry_attempts": {"1": 2}}, {"retry_attempts": {"1": 1}}, "retry_attempts of feature index 1 fell from 2"),
        ({"retry_attempts": {"1": 2}}, {"retry_attempts": {}}, "retry_attempts of feature index 1 fell from 2 to 0"),
        ({"retry_allowance": {"0": 1}}, {"retry_allowance": {}}, "retry_allowance of feature index 0 fell from 1 to 0"),
        ({"auto_clear_count": 3}, {"auto_clear_count": 2}, "auto_clear_count fell from 3 to 2"),
    ],
)
def test_a_counter_that_fell_has_a_message(was, becomes, said):
    before = {**new_batch(3), **was}
    assert any(said in text for text in serialization.find_problems({**before, **becomes}, before))
    assert serialization.find_problems({**before, **was}, before) == []


def test_a_missing_counter_has_a_message():
    before = {**new_batch(3), "auto_clear_count": 3}
    after = {name: value for name, value in before.items() if name != "auto_clear_count"}
    assert batch_state.monotonicity_violations(before, after) == ["auto_clear_count fell from 3 to 0"]


def test_another_batch_may_begin_with_lower_counters():
    assert batch_state.monotonicity_violations({**new_batch(3), "revision": 9}, new_batch(3, batch_id="another")) == []


def test_dependencies_that_stayed_are_looked_at_again_only_when_there_are_fewer_features():
    before = new_batch(3, needs={2: [0]})
    cut = {**before, "features": before["features"][:2], "total_features": 2}
    assert "feature_dependencies names feature index 2; the last one is 1" in batch_state.invariant_violations(
        cut, before
    )
    assert batch_state.invariant_violations({**before, "team": "web"}, before) == []


@pytest.mark.parametrize(
    ("needs", "cycle"),
    [
        ({}, []),
        ({"0": [1], "1": [2]}, []),
        ({"3": [1, 2], "1": [0], "2": [0]}, []),
        ({"0": [0]}, [0, 0]),
        ({"0": [1], "1": [2], "2": [1]}, [1, 2, 1]),
        ({"5": [0], "0": [1], "1": [2], "2": [0]}, [0, 1, 2, 0]),
    ],
)
def test_a_cycle_is_found_with_its_path_and_a_diamond_is_not_a_cycle(needs, cycle):
    assert batch_state.find_cycle(needs) == cycle


def test_a_very_long_chain_of_dependencies_works():
    chain = {str(index): [index + 1] for index in range(20_000)}
    assert batch_state.find_cycle(chain) == []
    assert len(batch_state.find_cycle({**chain, "20000": [0]})) == 20_002


# -- what is derived ---------------------------------------------------------------------------------------------------


def test_features_are_done_in_their_order():
    state = new_batch(3, order=[2, 0, 1])
    assert list(batch_state.pending_indices(state)) == [2, 0, 1]
    assert [batch_state.next_runnable(state), state["current_index"]] == [2, 2]


def test_a_feature_waits_for_what_it_needs():
    state = new_batch(3, needs={0: [1], 1: [2]})
    assert batch_state.next_runnable(state) == 2
    state = completed(state)
    assert batch_state.next_runnable(state) == 1


def test_a_retry_waits_for_first_attempts():
    state = failed(new_batch(3))
    assert batch_state.next_runnable(state) == 1


def test_among_those_that_failed_the_one_with_fewest_attempts_is_next():
    state = failed(failed(new_batch(2)))
    assert [batch_state.attempts_used(state, index) for index in (0, 1)] == [1, 1]
    state = failed(state)
    assert batch_state.active_index(state) is None
    assert batch_state.next_runnable(state) == 1


def test_the_open_feature_is_the_current_one_and_none_left_is_the_total():
    state = started(new_batch(2, order=[1, 0]))
    assert state["current_index"] == 1
    state = completed(completed(state))
    assert state["current_index"] == 2


def test_the_counts_add_up_and_name_each_condition():
    state = started(given_up(completed(new_batch(5, needs={4: [1]}))))
    assert conditions(state) == ["done", "failed", "running", "pending", "skipped"]
    assert batch_state.counts(state) == {
        "total": 5, "completed": 1, "failed": 1, "skipped": 1, "pending": 1, "active": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("statuses", "live"), [(("in_progress", "paused"), True), (("completed", "failed"), False)])
def test_a_batch_is_live_until_it_is_over(statuses, live):
    assert all(batch_state.is_live({"status": status}) is live for status in statuses)


def test_hooks_are_needed_until_the_owner_knows_that_the_batch_ended():
    over = completed(new_batch(1))
    owner_record = {"session_id": "s", "pid": 7, "pid_started": None, "host": "h", "since": NOW}
    assert batch_state.needs_hooks(new_batch(1))
    assert batch_state.needs_hooks({**over, "owner": owner_record})
    assert not batch_state.needs_hooks({**over, "owner": {**owner_record, "pid": None}})
    assert not batch_state.needs_hooks(over)


def test_the_feature_that_was_closed_last_is_known_by_its_time():
    state = new_batch(3)
    assert batch_state.last_closed_index(state) is None
    state = then(state, lambda s: {**s, "timings": {"1": {"ended_at": "2026-01-02"}, "0": {"ended_at": "2026-01-01"}}})
    assert batch_state.last_closed_index(state) == 1
    assert (
        batch_state.last_closed_index({**state, "timings": {**state["timings"], "2": {"started_at": "2026-01-03"}}})
        == 1
    )


def test_derived_fields_are_corrected_in_a_copy():
    state = {**new_batch(2), "completed_features": [0], "current_index": 0}
    before = copy.deepcopy(state)
    assert batch_state.with_derived_fields(state)["current_index"] == 1
    assert state == before
    over = {**state, "completed_features": [0, 1], "status": "paused", "pause": WAITING}
    assert (batch_state.with_derived_fields(over)["status"], batch_state.with_derived_fields(over)["pause"]) == (
        "completed",
        None,
    )
    assert batch_state.with_derived_fields({**state, "status": "completed"})["status"] == "in_progress"
    assert batch_state.with_derived_fields({**state, "status": "paused", "pause": WAITING})["status"] == "paused"


def test_each_context_window_that_needs_a_reminder_is_named_once():
    events = [
        {"context": "main", "reminded": False}, {"context": "a1", "reminded": False},
        {"context": "main", "reminded": False}, {"context": "a2", "reminded": True}, {},
    ]  # fmt: skip
    assert batch_state.contexts_to_remind({"auto_clear_events": events}) == ["main", "a1"]
    assert batch_state.contexts_to_remind({}) == []


def test_of_features_completed_within_one_second_the_last_is_the_one_that_was_completed_last():
    state = completed(completed(new_batch(3, order=[0, 2, 1])))
    assert (batch_state.last_closed_index(state), lease.last_worked_index(state)) == (2, 2)
    state = completed(state)
    assert state["completed_features"] == [0, 2, 1]
    assert (batch_state.last_closed_index(state), lease.last_worked_index(state)) == (1, 1)
