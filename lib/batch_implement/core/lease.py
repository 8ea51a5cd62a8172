"""Transitions of a batch's lease, compactions and continuations. Pure.

A client owns a batch by a lease (`owner`): its session id, its pid and the start time of that process. The lease ends
with the session, with a pause or with the process; `base.processes` knows which processes are alive. Every function
takes a valid state and returns a new one.
"""

from __future__ import annotations

from . import batch_state

TYPE_CHECKING = False  # importing `typing` costs a hook more than its work
if TYPE_CHECKING:
    from typing import Optional

    from .batch_state import State

MAIN_CONTEXT = "main"  # the coordinator's context window; a worker's has its agent id
MAX_CONTINUATIONS = 3


def acquire(state: State, owner: State, prompt_id: Optional[str] = None) -> State:
    """Make `owner` the owner of the batch, which works on it in the turn of `prompt_id` (None: no turn yet).

    Reminders and continuations of the previous conversation are dropped.
    """
    events = [
        {**event, "reminded": True} if event.get("reminded") is False else event
        for event in state.get("auto_clear_events", ())
    ]
    return {**state, "owner": owner, "continuation": {"prompt": prompt_id}, "auto_clear_events": events}


def release(state: State) -> State:
    """End the lease. The session stays recorded, so that its conversation can resume the batch."""
    owner = state["owner"]
    if owner is None or owner["pid"] is None:
        return state
    return {**state, "owner": {**owner, "pid": None, "pid_started": None}}


def record_compaction(state: State, now: str, context: str, tokens: int) -> State:
    """Record that context window `context` (`main` or an agent id) was compacted at `tokens` and needs a reminder."""
    event = {
        "feature_index": min(state["current_index"], state["total_features"] - 1),
        "context_tokens_before_clear": tokens,
        "timestamp": now,
        "context": context,
        "reminded": False,
    }
    changed = {
        **state,
        "auto_clear_count": state.get("auto_clear_count", 0) + 1,
        "auto_clear_events": [*state.get("auto_clear_events", ()), event][-batch_state.MAX_COMPACTIONS_KEPT :],
    }
    return {**changed, "context_token_estimate": 0} if context == MAIN_CONTEXT else changed


def mark_reminded(state: State, context: str) -> State:
    """Record that context window `context` was reminded. Return the same state if no reminder was due."""
    if context not in batch_state.contexts_to_remind(state):
        return state
    events = [
        {**event, "reminded": True} if event.get("context", MAIN_CONTEXT) == context else event
        for event in state["auto_clear_events"]
    ]
    return {**state, "auto_clear_events": events}


def record_context_tokens(state: State, tokens: int) -> State:
    """Record the size of the coordinator's context window, in tokens."""
    return {**state, "context_token_estimate": tokens}


def record_prompt(state: State, prompt_id: Optional[str]) -> State:
    """Record the prompt whose turn works on the batch (None: the user is talking). Only a stop of that turn continues.

    Return the same state if it is recorded already.
    """
    continuation = state.get("continuation", {})
    if continuation.get("prompt") == prompt_id:
        return state
    return {**state, "continuation": {**continuation, "prompt": prompt_id}}


def resume_after_talk(state: State, prompt_id: str) -> State:
    """Make the turn of `prompt_id`, which the user began, work on the batch; the count of stops begins anew."""
    return {**state, "continuation": {**state.get("continuation", {}), "prompt": prompt_id, "blocks": 0}}


def is_batch_turn(state: State, prompt_id: str) -> bool:
    """Return whether the turn of `prompt_id` works on the batch. Older clients send no id: then it does."""
    return not prompt_id or state.get("continuation", {}).get("prompt") == prompt_id


def get_worker(state: State) -> Optional[str]:
    """Return the agent id of the worker that reports on the open feature: the first that did since `start`; or None."""
    worker: Optional[str] = (state["active"] or {}).get("worker")
    return worker


def bind_worker(state: State, agent: str) -> State:
    """Make `agent` the worker of the open feature, unless it has one."""
    if not state["active"] or get_worker(state):
        return state
    return {**state, "active": {**state["active"], "worker": agent}}


def free_worker(state: State) -> State:
    """Return the state in which the next worker that reports on the open feature is its worker."""
    if not get_worker(state):
        return state
    return {**state, "active": {name: value for name, value in state["active"].items() if name != "worker"}}


def begin_worker_call(state: State, call_id: str, prompt_id: str) -> State:
    """Record the Skill call that starts a worker, in the turn of `prompt_id`."""
    return {**state, "continuation": {**state.get("continuation", {}), "call": {"id": call_id, "prompt": prompt_id}}}


def end_worker_call(state: State, call_id: Optional[str] = None) -> State:
    """Record that the Skill call `call_id` (None: any) has ended. Return the same state if it is not recorded."""
    call = state.get("continuation", {}).get("call")
    if call is None or call_id not in (None, call["id"]):
        return state
    return {**state, "continuation": {name: value for name, value in state["continuation"].items() if name != "call"}}


def has_other_worker_call(state: State, call_id: str, prompt_id: str) -> bool:
    """Return whether a worker that another Skill call of the same turn started is at work.

    One of an earlier turn has ended: after an interruption no hook says so.
    """
    call = state.get("continuation", {}).get("call")
    return bool(call and prompt_id) and call["prompt"] == prompt_id and call["id"] != call_id


def is_worker_at_work(state: State) -> bool:
    """Return whether the coordinator waits for a worker that a Skill call of its present turn started."""
    continuation = state.get("continuation", {})
    call = continuation.get("call")
    return bool(call) and call["prompt"] == (continuation.get("prompt") or "")


def last_worked_index(state: State) -> Optional[int]:
    """Return the index of the feature that was closed, or whose attempt failed, last; or None."""
    ended = [(entries[-1]["timestamp"], int(name)) for name, entries in state.get("attempts", {}).items() if entries]
    closed = batch_state.last_closed_index(state)
    if closed is not None:
        ended.append((state["timings"][batch_state.key(closed)]["ended_at"], closed))
    return max(ended)[1] if ended else None


def progress_fingerprint(state: State) -> str:
    """Return a fingerprint of the progress, which changes when a feature is closed or opened, or a phase begins."""
    active = state["active"]
    done = "/".join(str(len(state[place])) for place in ("completed_features", "failed_features", "skipped_features"))
    return f"{done} {active['feature_index']}.{active['attempt']}.{active['phase']}" if active else f"{done} -"


def record_continuation(state: State, most: int = MAX_CONTINUATIONS) -> Optional[State]:
    """Count one more stop that is continued. Return None after `most` without progress."""
    mark = progress_fingerprint(state)
    continuation = state.get("continuation", {})
    blocks = continuation.get("blocks", 0) if continuation.get("mark") == mark else 0
    if blocks >= most:
        return None
    return {**state, "continuation": {**continuation, "mark": mark, "blocks": blocks + 1}}
