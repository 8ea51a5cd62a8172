"""Everything that can happen to the features of a batch, and every refusal with its next step."""

from __future__ import annotations

import pytest
from batch_implement.core import batch_state, transitions
from batch_implement.core.errors import RefusedError
from batches import (
    NOW,
    all_completed,
    completed,
    conditions,
    failed,
    given_up,
    new_batch,
    skipped_reasons,
    started,
    then,
)  # fmt: skip


def paused(state, reason="a person wants to look"):
    return then(state, transitions.pause, NOW, reason)


def skipped(state, index, reason="not wanted"):
    return then(state, transitions.skip, NOW, index, reason)


def retried(state, *indices):
    return then(state, transitions.retry, indices)


def left(state, *, counted):
    return then(state, transitions.record_interruption, NOW, "last words", counted=counted)


def refusal(state, transition, *arguments, **options):
    """Assert that a transition is refused and leaves the state alone; its message."""
    with pytest.raises(RefusedError) as caught:
        then(state, transition, *arguments, **options)
    assert caught.value.exit_code == 1
    return caught.value.message


# -- start -------------------------------------------------------------------------------------------------------------


def test_start_opens_the_next_runnable_feature_at_its_base():
    state = then(new_batch(3, order=[1, 0, 2]), transitions.start, NOW, "abc", "main")
    assert state["active"] == {
        "feature_index": 1, "attempt": 1, "phase": "understand", "base_commit": "abc", "branch": "main",
        "started_at": NOW, "interruptions": 0,
    }  # fmt: skip
    assert state["timings"] == {"1": {"started_at": NOW}}
    assert state["current_index"] == 1


def test_starting_twice_changes_nothing():
    state = started(new_batch(2))
    assert transitions.start(state, "later", "other") is state


def test_the_start_of_a_retry_keeps_when_its_first_attempt_began():
    state = failed(new_batch(1))
    again = then(state, transitions.start, "2027-01-01T00:00:00Z", "base")
    assert again["active"]["attempt"] == 2
    assert again["timings"]["0"]["started_at"] == NOW


def test_a_paused_batch_starts_nothing_and_says_why_and_how_to_resume():
    message = refusal(paused(new_batch(1), "too hot"), transitions.start, NOW, None)
    assert "is paused: too hot" in message
    assert "/batch-implement --resume" in message


def test_a_batch_that_is_over_starts_nothing_and_says_what_to_do():
    message = refusal(completed(new_batch(1)), transitions.start, NOW, None)
    assert "is over (completed)" in message
    assert "Report that and stop" in message


# -- phase, complete ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", batch_state.PHASES)
def test_each_phase_can_be_set(phase):
    assert then(started(new_batch(1)), transitions.set_phase, phase)["active"]["phase"] == phase


def test_an_unknown_phase_is_refused_with_the_ones_there_are():
    message = refusal(started(new_batch(1)), transitions.set_phase, "ponder")
    assert "'ponder'" in message
    assert ", ".join(batch_state.PHASES) in message


@pytest.mark.parametrize(
    ("transition", "arguments"),
    [
        (transitions.set_phase, ("plan",)),
        (transitions.complete, (NOW, {})),
        (transitions.fail, (NOW, "x", "feature")),
        (transitions.require_active, ()),
    ],
)
def test_without_an_open_feature_the_next_step_is_named(transition, arguments):
    assert "/auto-implement" in refusal(new_batch(1), transition, *arguments)
    assert "--resume" in refusal(paused(new_batch(1)), transition, *arguments)
    assert "is over" in refusal(completed(new_batch(1)), transition, *arguments)


def test_without_an_open_feature_the_last_one_is_named_with_how_it_ended():
    assert "the last one closed is feature 1 (done)" in refusal(completed(new_batch(2)), transitions.set_phase, "plan")


def test_a_worker_that_left_without_an_open_feature_is_refused_too():
    assert "/auto-implement" in refusal(new_batch(1), transitions.record_interruption, NOW, "x", counted=True)


def test_a_completed_feature_keeps_its_evidence_its_time_and_its_commit():
    state = completed(new_batch(2), commit="abc", branch="main", commits=["abc"])
    assert state["active"] is None
    assert state["completed_features"] == [0]
    assert state["evidence"]["0"] == {
        "commit": "abc", "verify": None, "branch": "main", "commits": ["abc"], "timestamp": NOW,
    }  # fmt: skip
    assert state["git_operations"]["0"]["commit"] == {
        "success": True, "timestamp": NOW, "sha": "abc", "branch": "main", "commits": ["abc"],
    }  # fmt: skip
    assert state["timings"]["0"]["ended_at"] == NOW
    assert (state["current_index"], state["status"]) == (1, "in_progress")


def test_a_feature_that_needed_no_change_has_no_commit_of_its_own():
    assert completed(new_batch(1), commit="abc", no_change="it is there")["git_operations"] == {}


def test_features_are_completed_in_order_until_the_batch_is():
    state = all_completed(new_batch(4, order=[3, 1, 2, 0]))
    assert state["completed_features"] == [3, 1, 2, 0]
    assert (state["status"], state["current_index"]) == ("completed", 4)


def test_a_feature_can_be_completed_while_the_batch_is_paused():
    state = completed(paused(started(new_batch(2))))
    assert (state["status"], state["completed_features"]) == ("paused", [0])


def test_the_last_one_completed_during_a_pause_ends_the_batch():
    state = completed(paused(started(new_batch(1))))
    assert (state["status"], state["pause"]) == ("completed", None)


# -- fail --------------------------------------------------------------------------------------------------------------


def test_a_failed_attempt_is_counted_and_comes_again_after_the_others():
    state = failed(new_batch(2), "no network", snapshot="ref 1", retry_after="later")
    assert conditions(state) == ["pending", "pending"]
    assert state["retry_attempts"] == {"0": 1}
    (ended,) = state["attempts"]["0"]
    assert (ended["attempt"], ended["error_message"], ended["failure_class"]) == (1, "no network", "feature")
    assert (ended["timestamp"], ended["snapshot"], ended["retry_after"]) == (NOW, "ref 1", "later")
    assert state["current_index"] == 1
    assert "ended_at" not in state["timings"]["0"]


def test_a_feature_fails_when_its_retries_are_used_up():
    state = new_batch(1, max_retries=2)
    for _ in range(2):
        state = failed(state)
        assert conditions(state) == ["pending"]
    state = failed(state, "still broken")
    assert conditions(state) == ["failed"]
    assert state["failed_features"] == [
        {
            "feature_index": 0, "error_message": "still broken", "timestamp": NOW, "retry_count": 3,
            "failure_class": "feature",
        }
    ]  # fmt: skip
    assert state["timings"]["0"]["ended_at"] == NOW


def test_a_permanent_failure_is_not_retried():
    state = failed(new_batch(2), permanent=True, retry_after="later")
    assert conditions(state) == ["failed", "pending"]
    assert state["attempts"]["0"][-1]["retry_after"] is None


def test_a_feature_whose_attempt_just_failed_can_be_given_up_on():
    state = failed(new_batch(3, needs={2: [0]}), "no account", retry_after="later")
    assert transitions.find_failed_attempt(state) == 0
    state = then(state, transitions.give_up, NOW)
    assert conditions(state) == ["failed", "pending", "skipped"]
    assert state["attempts"]["0"][-1]["permanent"] is True
    assert not state["attempts"]["0"][-1].get("retry_after")
    assert state["failed_features"][0]["error_message"] == "no account"
    assert state["retry_attempts"] == {"0": 1}  # no further attempt was made
    assert "No feature is open" in refusal(state, transitions.give_up, NOW)


def test_giving_up_needs_a_failed_attempt_that_is_the_last_thing_that_happened():
    assert transitions.find_failed_attempt(new_batch(2)) is None
    assert transitions.find_failed_attempt(started(failed(new_batch(2)))) is None
    assert transitions.find_failed_attempt(completed(new_batch(2))) is None
    retried = then(given_up(new_batch(2)), transitions.retry, [0])
    assert transitions.find_failed_attempt(retried) is None


def test_giving_up_on_the_only_feature_of_an_attempt_marks_it():
    state = {**new_batch(1, max_retries=0), "attempt_of": {"batch_id": "b", "feature_number": 2}}
    state = then(failed(state), transitions.give_up, NOW)
    assert (state["status"], state["attempts"]["0"][-1]["permanent"]) == ("failed", True)
    assert len(state["failed_features"]) == 1


def test_a_batch_has_a_bound_of_retries_in_all():
    state = failed(failed(new_batch(2, max_retries_total=1)))
    assert conditions(state) == ["pending", "pending"]
    state = failed(state)
    assert state["retry_attempts"] == {"0": 2, "1": 1}
    assert conditions(state) == ["failed", "pending"]


def test_a_batch_in_which_nothing_was_completed_has_failed():
    assert given_up(new_batch(1))["status"] == "failed"
    assert given_up(completed(new_batch(2)))["status"] == "completed"


def test_only_the_last_ten_attempts_are_kept_and_all_are_counted():
    state = new_batch(1, max_retries=99, max_failures_in_a_row=99)
    for _ in range(12):
        state = failed(state)
    assert state["retry_attempts"] == {"0": 12}
    assert [entry["attempt"] for entry in state["attempts"]["0"]] == list(range(3, 13))


def test_too_many_failures_in_a_row_pause_the_batch_and_say_the_last_words():
    state = new_batch(9, max_failures_in_a_row=3)
    state = failed(failed(state))
    assert state["status"] == "in_progress"
    state = failed(state, "disk full")
    assert state["status"] == "paused"
    assert state["pause"]["reason"] == "3 attempts failed in a row; the last error: disk full"
    assert state["failures_in_a_row"] == 0


def test_a_limit_of_one_failure_is_told_in_the_singular():
    state = failed(new_batch(2, max_failures_in_a_row=1), "disk full")
    assert state["pause"]["reason"] == "1 attempt failed in a row; the last error: disk full"


def test_a_retry_starts_the_count_of_failures_in_a_row_again():
    state = failed(failed(given_up(new_batch(5, max_failures_in_a_row=4))))
    assert state["failures_in_a_row"] == 3
    assert retried(state, 0)["failures_in_a_row"] == 0


def test_a_completed_feature_between_them_starts_that_count_again():
    state = failed(completed(failed(failed(new_batch(9, max_failures_in_a_row=3)))))
    assert (state["status"], state["failures_in_a_row"]) == ("in_progress", 1)


def test_failures_that_end_the_batch_do_not_pause_it():
    assert given_up(new_batch(1, max_failures_in_a_row=1))["status"] == "failed"


# -- dependants --------------------------------------------------------------------------------------------------------

CHAIN = {1: [0], 2: [1], 3: [2]}


def test_what_needs_a_failed_feature_is_skipped_all_the_way_down():
    state = given_up(new_batch(5, needs=CHAIN))
    assert conditions(state) == ["failed", "skipped", "skipped", "skipped", "pending"]
    assert skipped_reasons(state) == {1: "blocked by 0", 2: "blocked by 1", 3: "blocked by 2"}


def test_what_needs_a_skipped_feature_is_skipped_too():
    state = skipped(new_batch(5, needs=CHAIN), 1)
    assert skipped_reasons(state) == {1: "not wanted", 2: "blocked by 1", 3: "blocked by 2"}


def test_a_feature_that_will_be_retried_blocks_nothing():
    state = failed(new_batch(2, needs={1: [0]}))
    assert conditions(state) == ["pending", "pending"]
    assert batch_state.next_runnable(state) == 0


def test_a_feature_with_two_needs_is_blocked_once():
    state = given_up(given_up(new_batch(3, needs={2: [0, 1]})))
    assert skipped_reasons(state) == {2: "blocked by 0"}
    assert state["status"] == "failed"


def test_retry_brings_back_what_was_blocked_all_the_way_down():
    state = given_up(new_batch(5, needs=CHAIN))
    state = retried(state, 0)
    assert conditions(state) == ["pending"] * 5
    assert all_completed(state)["completed_features"] == [0, 1, 2, 3, 4]


def test_retry_leaves_what_another_failure_still_blocks():
    state = retried(given_up(given_up(new_batch(3, needs={2: [0, 1]}))), 0)
    assert conditions(state) == ["pending", "failed", "skipped"]
    assert conditions(retried(state, 1)) == ["pending"] * 3


def test_retry_leaves_what_is_blocked_further_down_by_another_failure():
    state = retried(given_up(given_up(new_batch(4, needs={2: [0, 1], 3: [2]}))), 0)
    assert conditions(state) == ["pending", "failed", "skipped", "skipped"]
    assert conditions(retried(state, 1)) == ["pending"] * 4


def test_retry_leaves_it_also_when_the_blocked_one_has_the_higher_index():
    state = given_up(given_up(new_batch(4, needs={3: [0, 1], 2: [3]})))
    assert conditions(retried(state, 0)) == ["pending", "failed", "skipped", "skipped"]


def test_what_a_person_skipped_stays_skipped_when_what_it_needs_comes_back():
    state = given_up(skipped(new_batch(3, needs={1: [0], 2: [1]}), 1))
    state = retried(state, 0)
    assert conditions(state) == ["pending", "skipped", "skipped"]


def test_a_persons_words_are_not_taken_for_our_own_reason():
    state = given_up(skipped(new_batch(3, needs={1: [0]}), 1, "blocked by the lawyers"))
    assert conditions(retried(state, 0)) == ["pending", "skipped", "pending"]


# -- retry -------------------------------------------------------------------------------------------------------------


def test_retry_renews_the_allowance_and_never_the_counter():
    state = new_batch(1, max_retries=1)
    state = failed(failed(state))
    assert conditions(state) == ["failed"]
    state = retried(state, 0)
    assert (state["status"], state["retry_attempts"], state["retry_allowance"]) == ("in_progress", {"0": 2}, {"0": 2})
    state = failed(state)
    assert conditions(state) == ["pending"]
    state = failed(state)
    assert conditions(state) == ["failed"]
    assert state["retry_attempts"] == {"0": 4}


def test_a_skipped_feature_that_was_never_tried_gets_no_attempt_more():
    assert retried(skipped(new_batch(2), 1), 1)["retry_allowance"] == {"1": 0}


def test_retry_brings_back_several_and_each_once():
    state = retried(skipped(given_up(new_batch(3)), 2), 2, 0, 2)
    assert conditions(state) == ["pending"] * 3


def test_a_retried_feature_is_as_good_as_one_that_never_failed():
    state = retried(given_up(new_batch(2)), 0)
    assert batch_state.next_runnable(state) == 0


def test_the_full_stop_of_a_pauses_reason_is_not_doubled():
    waits = then(new_batch(1), transitions.pause, NOW, "the disk is full.")
    assert "is paused: the disk is full. The user" in refusal(waits, transitions.start, NOW, None)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (new_batch(1), "is pending"),
        (started(new_batch(1)), "is running"),
    ],
)
def test_only_a_feature_that_has_ended_can_be_retried(state, said):
    assert f"Feature 1 {said}: only" in refusal(state, transitions.retry, [0])


def test_retrying_what_needs_another_failed_one_names_that_one():
    state = given_up(new_batch(2, needs={1: [0]}))
    message = refusal(state, transitions.retry, [1])
    assert "Feature 2 needs 1" in message
    assert "`batchctl retry 1 2`" in message
    assert conditions(retried(state, 0, 1)) == ["pending", "pending"]


def test_retrying_a_dependant_names_the_blockers_between():
    state = given_up(given_up(new_batch(4, needs={2: [0, 1], 3: [2]})))
    assert "Feature 4 needs 3," in refusal(state, transitions.retry, [0, 3])
    state = given_up(given_up(new_batch(3, needs={2: [0, 1]})))
    assert "`batchctl retry 1 2 3`" in refusal(state, transitions.retry, [2])


@pytest.mark.parametrize("index", [-1, 3, 10**9])
@pytest.mark.parametrize(
    "call",
    [
        lambda state, index: transitions.retry(state, [index]),
        lambda state, index: transitions.skip(state, NOW, index, "x"),
        lambda state, index: transitions.record_git_operation(state, index, "push", {"success": True}),
    ],
)
def test_a_feature_that_is_not_there_is_refused_with_how_many_there_are(call, index):
    message = refusal(new_batch(3), call, index)
    assert f"no feature {index + 1}: the batch has 3" in message
    assert "batchctl status" in message


# -- skip --------------------------------------------------------------------------------------------------------------


def test_skipping_the_open_feature_ends_its_attempt_uncounted():
    state = then(started(new_batch(2)), transitions.skip, NOW, 0, "not now", snapshot="ref 1")
    assert conditions(state) == ["skipped", "pending"]
    assert state["retry_attempts"] == {}
    assert state["attempts"]["0"][0]["snapshot"] == "ref 1"
    assert (state["active"], state["current_index"]) == (None, 1)


def test_skipping_another_feature_leaves_the_open_one_open():
    state = skipped(started(new_batch(2)), 1)
    assert conditions(state) == ["running", "skipped"]


def test_skipping_the_rest_ends_the_batch():
    assert skipped(completed(new_batch(2)), 1)["status"] == "completed"
    assert skipped(new_batch(1), 0)["status"] == "failed"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (completed(new_batch(1)), "is done"),
        (given_up(new_batch(1)), "is failed"),
        (skipped(new_batch(1), 0), "is skipped"),
    ],
)
def test_what_is_settled_cannot_be_skipped(state, said):
    assert f"Feature 1 {said} already" in refusal(state, transitions.skip, NOW, 0, "x")


# -- leave -------------------------------------------------------------------------------------------------------------


def test_an_interrupted_worker_costs_no_attempt_and_its_feature_stays_open():
    state = left(started(new_batch(1)), counted=False)
    assert (state["active"]["interruptions"], state["retry_attempts"]) == (1, {})


def test_a_worker_that_ends_twice_without_a_verdict_has_used_up_its_attempt():
    state = left(started(new_batch(1)), counted=True)
    assert (conditions(state), state["retry_attempts"]) == (["running"], {})
    state = left(state, counted=True)
    assert (conditions(state), state["retry_attempts"]) == (["pending"], {"0": 1})
    entry = state["attempts"]["0"][0]
    assert (entry["failure_class"], "last words" in entry["error_message"]) == ("no_verdict", True)


def test_the_attempt_of_an_older_state_starts_without_interruptions():
    state = started(new_batch(1))
    del state["active"]["interruptions"]
    assert conditions(left(state, counted=True)) == ["running"]


def test_an_attempt_that_is_interrupted_too_often_pauses_the_batch():
    state = started(new_batch(1))
    for _ in range(transitions.INTERRUPTIONS_BEFORE_PAUSE - 1):
        state = left(state, counted=False)
        assert state["status"] == "in_progress"
    state = left(state, counted=False)
    assert (state["status"], conditions(state), state["retry_attempts"]) == ("paused", ["running"], {})
    assert "interrupted 5 times" in state["pause"]["reason"]


def test_a_new_attempt_begins_without_interruptions():
    state = started(failed(left(started(new_batch(1)), counted=False)))
    assert state["active"]["interruptions"] == 0


# -- pause, unpause, add, the rest -------------------------------------------------------------------------------------


def test_a_pause_keeps_the_open_feature_and_its_own_first_reason():
    state = paused(started(completed(new_batch(3))), "first")
    assert state["pause"] == {"reason": "first", "since": NOW, "resume_after": None}
    assert (state["active"]["feature_index"], state["paused_at_feature_index"]) == (1, 1)
    assert transitions.pause(state, NOW, "second") is state


def test_what_is_over_cannot_be_paused_or_gone_on_with_and_says_what_can_be_done():
    over = completed(new_batch(1))
    assert "there is nothing to pause" in refusal(over, transitions.pause, NOW, "x")
    message = refusal(over, transitions.unpause)
    assert "batchctl retry" in message
    assert "batchctl add" in message


def test_going_on_after_a_pause_forgets_its_reason_and_the_failures_in_a_row():
    state = then(paused(failed(new_batch(2))), transitions.unpause)
    assert (state["status"], state["pause"], state["failures_in_a_row"]) == ("in_progress", None, 0)
    assert transitions.unpause(state) is state


def test_added_features_come_last_in_any_order():
    state = then(new_batch(2, order=[1, 0]), transitions.add, NOW, ["x", "y"])
    assert (state["features"][2:], state["total_features"], state["feature_order"]) == (["x", "y"], 4, [1, 0, 2, 3])
    assert then(new_batch(2), transitions.add, NOW, ["x"])["feature_order"] == []


@pytest.mark.parametrize("over", [completed(new_batch(1)), given_up(new_batch(1))])
def test_a_batch_that_was_over_is_in_progress_again_with_more_to_do(over):
    state = then(over, transitions.add, NOW, ["more"])
    assert (state["status"], state["current_index"]) == ("in_progress", 1)


def test_a_paused_batch_stays_paused_with_more_to_do():
    assert then(paused(new_batch(1)), transitions.add, NOW, ["more"])["status"] == "paused"


def test_a_text_that_is_in_the_batch_already_is_not_added():
    message = refusal(new_batch(["Add a  Login"]), transitions.add, NOW, ["new", "add a login"])
    assert "Feature 1 of the batch says the same" in message
    assert "Nothing was added" in message


def test_the_same_text_in_another_section_is_another_feature():
    batch = {**new_batch(["Write tests"]), "details": {"0": {"section": "API"}}}
    longer = then(batch, transitions.add, NOW, ["Write tests"], details={"1": {"section": "Page"}})
    assert longer["features"] == ["Write tests", "Write tests"]
    assert "says the same" in refusal(longer, transitions.add, NOW, ["write tests"], details={"2": {"section": "Page"}})


def test_nothing_is_added_to_a_batch_of_issues():
    of_issues = {**new_batch(2), "issue_numbers": [4, 5]}
    assert "come from issues; others from a list" in refusal(of_issues, transitions.add, NOW, ["x"])
    assert "come from a list; others from issues" in refusal(new_batch(2), transitions.add, NOW, ["x"], issues=[6])


def test_a_decision_is_recorded_with_the_feature_that_was_open():
    state = then(started(completed(new_batch(2))), transitions.decide, NOW, "Which port?", "8080")
    state = then(completed(state), transitions.decide, NOW, "And now?", "Stop")
    assert [(entry["feature_index"], entry["question"], entry["answer"]) for entry in state["decisions"]] == [
        (1, "Which port?", "8080"),
        (None, "And now?", "Stop"),
    ]


def test_operations_of_git_are_kept_beside_each_other():
    done = {"success": True, "timestamp": NOW}
    state = then(new_batch(2), transitions.record_git_operation, 1, "push", done)
    state = then(state, transitions.record_git_operation, 1, "pr", {**done, "number": 7})
    assert state["git_operations"] == {"1": {"push": done, "pr": {**done, "number": 7}}}


def test_the_snapshot_of_an_attempt_can_be_named_afterwards():
    state = then(failed(failed(new_batch(1))), transitions.record_snapshot, 0, "ref 2")
    assert [entry["snapshot"] for entry in state["attempts"]["0"]] == [None, "ref 2"]
