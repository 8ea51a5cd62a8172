"""Leases, compactions and stops: what a batch remembers of the conversation that works on it."""

from __future__ import annotations

import pytest
from batch_implement.core import batch_state, lease, transitions
from batches import NOW, completed, failed, given_up, new_batch, owner, started, then


def compacted(state, context="main", tokens=150_000):
    return then(state, lease.record_compaction, NOW, context, tokens)


def test_a_lease_makes_the_batch_forget_what_the_old_conversation_was_waiting_for():
    state = compacted(lease.record_prompt(lease.record_continuation(new_batch(2)), "prompt-1"))
    taken = then(state, lease.acquire, owner("session-2"), "prompt-2")
    assert taken["owner"]["session_id"] == "session-2"
    assert taken["continuation"] == {"prompt": "prompt-2"}
    assert batch_state.contexts_to_remind(state) == ["main"]
    assert batch_state.contexts_to_remind(taken) == []
    assert taken["auto_clear_count"] == 1


def test_the_end_of_a_lease_keeps_the_session_so_that_its_conversation_can_come_back():
    state = new_batch(2, owner=owner("session-1"))
    ended = then(state, lease.release)
    assert ended["owner"] == {**state["owner"], "pid": None, "pid_started": None}
    assert lease.release(ended) is ended
    assert lease.release(new_batch(2))["owner"] is None


def test_a_compaction_is_recorded_with_the_feature_and_the_size_of_the_window():
    state = compacted(compacted(started(completed(new_batch(3))), tokens=7), "agent-1", 9)
    assert state["auto_clear_count"] == 2
    recorded = ("feature_index", "context_tokens_before_clear", "context")
    events = [tuple(event[name] for name in recorded) for event in state["auto_clear_events"]]
    assert events == [(1, 7, "main"), (1, 9, "agent-1")]
    assert batch_state.contexts_to_remind(state) == ["main", "agent-1"]


def test_only_the_coordinators_own_compaction_empties_its_window():
    state = then(new_batch(2), lease.record_context_tokens, 5000)
    assert compacted(state, "agent-1")["context_token_estimate"] == 5000
    assert compacted(state, "main")["context_token_estimate"] == 0


def test_the_last_hundred_compactions_are_kept_and_all_are_counted():
    state = new_batch(1)
    for number in range(batch_state.MAX_COMPACTIONS_KEPT + 5):
        state = lease.record_compaction(state, NOW, "main", number)
    assert state["auto_clear_count"] == batch_state.MAX_COMPACTIONS_KEPT + 5
    assert [event["context_tokens_before_clear"] for event in state["auto_clear_events"]] == list(
        range(5, batch_state.MAX_COMPACTIONS_KEPT + 5)
    )


def test_a_compaction_of_a_batch_that_is_over_is_put_to_its_last_feature():
    assert compacted(completed(new_batch(1)))["auto_clear_events"][0]["feature_index"] == 0


def test_a_reminder_that_was_given_is_owed_no_longer_in_that_window_alone():
    state = compacted(compacted(new_batch(2), "main"), "agent-1")
    state = then(state, lease.mark_reminded, "main")
    assert batch_state.contexts_to_remind(state) == ["agent-1"]
    assert lease.mark_reminded(state, "main") is state


def test_the_turn_that_works_on_the_batch_is_known_by_its_prompt():
    state = then(new_batch(2), lease.record_prompt, "prompt-1")
    assert lease.is_batch_turn(state, "prompt-1")
    assert not lease.is_batch_turn(state, "prompt-2")
    assert lease.record_prompt(state, "prompt-1") is state


def test_while_a_person_talks_no_turn_works_on_the_batch():
    state = then(lease.record_prompt(new_batch(2), "prompt-1"), lease.record_prompt, None)
    assert not lease.is_batch_turn(state, "prompt-1")


def test_a_client_that_does_not_name_its_prompts_is_taken_to_work_on_the_batch():
    assert lease.is_batch_turn(lease.record_prompt(new_batch(2), "prompt-1"), "")


def test_noting_the_prompt_forgets_nothing_else():
    state = then(lease.record_continuation(new_batch(2)), lease.record_prompt, "prompt-1")
    assert state["continuation"]["blocks"] == 1


@pytest.mark.parametrize(
    "progress",
    [
        started,
        completed,
        given_up,
        lambda state: then(state, transitions.skip, NOW, 0, "no"),
        lambda state: then(started(state), transitions.set_phase, "verify"),
    ],
)
def test_the_mark_of_progress_changes_with_everything_that_is_progress(progress):
    state = new_batch(3)
    assert lease.progress_fingerprint(progress(state)) != lease.progress_fingerprint(state)


def test_another_attempt_at_the_same_feature_is_progress():
    once = started(new_batch(1))
    assert lease.progress_fingerprint(started(failed(once))) != lease.progress_fingerprint(once)


def test_what_is_no_progress_leaves_the_mark_as_it_is():
    state = started(new_batch(2))
    noted = (lease.record_prompt(state, "p"), compacted(state), lease.record_context_tokens(state, 5))
    for same in (*noted, {**state, "revision": 9}):
        assert lease.progress_fingerprint(same) == lease.progress_fingerprint(state)


def test_three_stops_are_sent_on_and_the_fourth_is_not():
    state = new_batch(2)
    for blocks in (1, 2, 3):
        state = then(state, lease.record_continuation)
        assert state["continuation"]["blocks"] == blocks
    assert lease.record_continuation(state) is None


def test_progress_starts_the_count_again():
    state = new_batch(2)
    for _ in range(3):
        state = lease.record_continuation(state)
    assert lease.record_continuation(completed(state))["continuation"]["blocks"] == 1


def test_fewer_stops_can_be_allowed():
    state = lease.record_continuation(new_batch(2), 1)
    assert lease.record_continuation(state, 1) is None
