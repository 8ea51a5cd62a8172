"""What a window is told when it begins anew: after a compaction, a resume, or at the start of another session.

A compaction is recorded at PreCompact: from then on that window is owed a reminder. SessionStart gives it; since that
answer was lost in some builds of the client, the next tool call or prompt in that window looks whether it arrived,
and gives it again when it did not.
"""

from __future__ import annotations

import os
import time

from ..base import processes, timestamps
from ..commands.authorization import caller_from_hook
from ..core import batch_state, lease, prompts
from ..store import audit_log
from ..store.store import Store
from . import transcript
from .stop import WORKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ..commands.authorization import Caller
    from ..core.batch_state import State
    from .dispatch import HookEvent

TRANSCRIPT_LAG_S = 3.0  # how long a look at the transcript waits for the client to write it


def handle(event: HookEvent) -> Any:
    """The answer to a SessionStart or PreCompact."""
    if event.name == "PreCompact":
        return _handle_pre_compact(event)
    source = event.get_text("source")
    if source == "compact":
        return _handle_start_after_compaction(event)
    return _handle_session_start(event, source)


def _is_batch_context(event: HookEvent) -> bool:
    """Whether this window belongs to the batch: the coordinator's, or a worker's, of the session that holds it."""
    return event.owns_batch and (not event.get_text("agent_id") or event.get_text("agent_type") == WORKER)


def _handle_pre_compact(event: HookEvent) -> Optional[str]:
    if not _is_batch_context(event):
        return None
    store = Store(event.project, trusted=False)
    context = event.context
    tokens = transcript.read_context_tokens(_find_transcript(event))

    def compacted(current: State) -> State:
        return (
            lease.record_compaction(current, timestamps.now(), context, tokens)
            if batch_state.is_live(current)
            else current
        )

    state = store.update(event.if_still_owner(compacted))
    return (
        prompts.summary_instructions(state, worker=context != lease.MAIN_CONTEXT)
        if batch_state.is_live(state)
        else None
    )


def _handle_start_after_compaction(event: HookEvent) -> Optional[Dict[str, Any]]:
    if not _is_batch_context(event):
        return None
    state = Store(event.project, trusted=False).read()
    if state is None or not batch_state.is_live(state):
        return None
    return event.make_context_output([prompts.reminder(state, worker=event.context != lease.MAIN_CONTEXT)])


def deliver_reminder_if_missing(event: HookEvent) -> List[str]:
    """The reminder for a window that is owed one, unless its transcript shows that it arrived. Either way it is owed
    no longer.
    """
    context = event.context
    arrived = _has_reminder_arrived(event)

    def mark(state: State) -> Tuple[State, bool]:
        if not event.is_still_owner(state):
            return state, False
        marked = lease.mark_reminded(state, context)
        return marked, marked is not state

    state, was_owed = Store(event.project, trusted=False).update_with_result(mark)
    if not was_owed or arrived or not batch_state.is_live(state):
        return []
    audit_log.record(event.project.private, "reminded", context=context, channel=event.name)
    return [prompts.reminder(state, worker=context != lease.MAIN_CONTEXT)]


def _has_reminder_arrived(event: HookEvent) -> bool:
    """Whether the transcript shows the reminder, once it is written as far as the tool call that is looking. One that
    never gets there shows nothing.
    """
    path, call = _find_transcript(event), event.get_text("tool_use_id")
    deadline = time.monotonic() + TRANSCRIPT_LAG_S
    while call and os.path.exists(path) and not transcript.has_tool_call(path, call) and time.monotonic() < deadline:
        time.sleep(0.02)
    return transcript.has_context_since_compaction(path, prompts.REMINDER_MARK)


def _find_transcript(event: HookEvent) -> str:
    """Path of this window's transcript: a worker's lies beside its caller's."""
    path, agent = event.get_text("transcript_path"), event.get_text("agent_id")
    if agent and path.endswith(".jsonl"):
        return f"{path[: -len('.jsonl')]}/subagents/agent-{os.path.basename(agent)}.jsonl"
    return path


def _handle_session_start(event: HookEvent, source: str) -> Optional[Dict[str, Any]]:
    if event.get_text("agent_id"):
        return None
    store = Store(event.project)
    state = store.read()
    if state is None or not batch_state.is_live(state):
        if state is not None and not processes.is_owner_alive(state["owner"]):
            store.update(lambda known: known if processes.is_owner_alive(known["owner"]) else lease.release(known))
        return _make_start_output(event, store, "")
    caller = caller_from_hook(event.session_id, os.environ)
    owner = state["owner"]
    if processes.classify_owner(owner, caller.session_id, caller.pid) == "other":
        return _make_start_output(event, store, "")
    known = owner is not None and owner["session_id"] == caller.session_id and state["status"] == "in_progress"
    if known and source == "startup" and owner.get("driven"):
        _take_lease(store, caller, driven=True)  # its prompt says all that there is to say
        return _make_start_output(event, store, "")
    if source == "resume" and known:
        state = _take_lease(store, caller)
        if processes.classify_owner(state["owner"], caller.session_id, caller.pid) == "other":  # it was faster
            return _make_start_output(event, store, "")
        return _make_start_output(event, store, prompts.reminder(state, worker=False))
    return _make_start_output(
        event,
        store,
        f"[batch-implement] There is an unfinished batch here: {state['batch_id']} ({state['status']}), "
        f"{prompts.progress_summary(state)}. Nobody works on it. A person goes on with `/batch-implement --resume`; do "
        "nothing about it unless they ask.",
        f"Unfinished batch here: {prompts.progress_summary(state)}, {state['status']}. `/batch-implement --resume` "
        "goes on.",
    )


def _take_lease(store: Store, caller: Caller, **more: bool) -> State:
    """The state with the lease for the caller, with `more` in it; as it was when another client has it by now.

    `driven`: `batchctl run` has started the session, and named it in the state before.
    """
    owner_record = caller.new_owner(timestamps.now())

    def take(current: State) -> State:
        free = processes.classify_owner(current["owner"], caller.session_id, caller.pid) != "other"
        return lease.acquire(current, {**owner_record, **more}) if owner_record and free else current

    return store.update(take)


def _make_start_output(event: HookEvent, store: Store, text: str, to_person: str = "") -> Optional[Dict[str, Any]]:
    """A context of what the store has to say and of `text`. The former, a person's edit taken over or put back, is
    said to the person as well, with `to_person`.
    """
    said = " ".join(part for part in (*store.notes, to_person) if part)
    added = event.make_context_output([part for part in (*store.notes, text) if part])
    if added is None:
        return None
    return {**({"systemMessage": f"batch-implement: {said}"} if said else {}), **added}
