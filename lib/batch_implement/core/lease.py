"""Who works on a batch, and what its conversation went through: pure functions from a state to a new one.

A client holds a batch by a *lease* (`owner`): its session id, and its process told from any later one of the same
number. The lease ends when the session ends, with a pause, or with its process. What is alive is asked elsewhere
(`process`); here it comes in as an argument. Everything takes a valid state, leaves it untouched and returns another.
"""

from __future__ import annotations

from . import batch_state

TYPE_CHECKING = False  # `typing` costs a hook more than the work it does
if TYPE_CHECKING:
    from typing import Optional

    from .batch_state import State

MAIN_CONTEXT = "main"  # the coordinator's window; a worker's is named by its agent id
MAX_CONTINUATIONS = 3


def acquire(state: State, owner: State, prompt_id: Optional[str] = None) -> State:
    """The batch under `owner` (fields of the state's `owner`), worked on in the turn of `prompt_id` (None: none yet).

    What the old conversation was waiting for is forgotten.
    """
    events = [
        {**event, "reminded": True} if event.get("reminded") is False else event
        for event in state.get("auto_clear_events", ())
    ]
    return {**state, "owner": owner, "continuation": {"prompt": prompt_id}, "auto_clear_events": events}


def release(state: State) -> State:
    """The batch without a client; which session had it is kept, so that its conversation can take it up again."""
    owner = state["owner"]
    if owner is None or owner["pid"] is None:
        return state
    return {**state, "owner": {**owner, "pid": None, "pid_started": None}}


def record_compaction(state: State, now: str, context: str, tokens: int) -> State:
    """Note that window `context` (`main` or an agent id) is compacted at `tokens`: it is owed a reminder."""
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
    """Note that the reminder was given to window `context`. The same state when none was owed."""
    if context not in batch_state.contexts_to_remind(state):
        return state
    events = [
        {**event, "reminded": True} if event.get("context", MAIN_CONTEXT) == context else event
        for event in state["auto_clear_events"]
    ]
    return {**state, "auto_clear_events": events}


def record_context_tokens(state: State, tokens: int) -> State:
    """Keep the size of the coordinator's window, in tokens."""
    return {**state, "context_token_estimate": tokens}


def record_prompt(state: State, prompt_id: Optional[str]) -> State:
    """Note the prompt whose turn works on the batch, None when a person is talking instead.

    Only the end of that turn is sent on. The same state when that is known.
    """
    known = state.get("continuation", {})
    if known.get("prompt") == prompt_id:
        return state
    return {**state, "continuation": {**known, "prompt": prompt_id}}


def is_batch_turn(state: State, prompt_id: str) -> bool:
    """Whether a turn that ends works on the batch. A client that does not name its prompts is taken to."""
    return not prompt_id or state.get("continuation", {}).get("prompt") == prompt_id


def last_worked_index(state: State) -> Optional[int]:
    """Index of the feature that was closed last, or whose attempt failed last; None when none was."""
    ended = [(entries[-1]["timestamp"], int(name)) for name, entries in state.get("attempts", {}).items() if entries]
    closed = batch_state.last_closed_index(state)
    if closed is not None:
        ended.append((state["timings"][batch_state.key(closed)]["ended_at"], closed))
    return max(ended)[1] if ended else None


def progress_fingerprint(state: State) -> str:
    """A fingerprint of how far the batch is: it changes when a feature is closed or opened, or a phase begins."""
    active = state["active"]
    done = "/".join(str(len(state[place])) for place in ("completed_features", "failed_features", "skipped_features"))
    return f"{done} {active['feature_index']}.{active['attempt']}.{active['phase']}" if active else f"{done} -"


def record_continuation(state: State, most: int = MAX_CONTINUATIONS) -> Optional[State]:
    """The state after one more stop is sent on; None when `most` were and nothing has moved since."""
    mark = progress_fingerprint(state)
    known = state.get("continuation", {})
    blocks = known.get("blocks", 0) if known.get("mark") == mark else 0
    if blocks >= most:
        return None
    return {**state, "continuation": {**known, "mark": mark, "blocks": blocks + 1}}
