"""Tell a context window about its batch: after a compaction, on resume, and when another session starts.

PreCompact records the compaction; from then on that window is owed a reminder. SessionStart delivers it. Some builds of
the client lost that output, so the next tool call or prompt checks the transcript and delivers it again if it is
missing.
"""

from __future__ import annotations

import os
import time

from ..base import timestamps
from ..core import batch_state, lease, prompts
from ..store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ..commands.authorization import Caller
    from ..core.batch_state import State
    from .dispatch import HookEvent

TRANSCRIPT_LAG_S = 3.0  # the longest wait for the client to write the transcript


def handle(event: HookEvent) -> Any:
    """Return the output for a SessionStart or PreCompact; None for nothing."""
    if event.name == "PreCompact":
        return _handle_pre_compact(event)
    if event.get_text("source") == "compact":
        return _handle_start_after_compaction(event)
    return _handle_session_start(event)


def _handle_pre_compact(event: HookEvent) -> Optional[str]:
    """Record the compaction and return instructions for the summariser."""
    if not event.is_batch_context:
        return None
    from . import transcript

    tokens = transcript.read_context_tokens(_find_transcript(event))

    def record(state: State) -> State:
        is_live = batch_state.is_live(state)
        return lease.record_compaction(state, timestamps.now(), event.context, tokens) if is_live else state

    state = event.update_state(record)
    return prompts.summary_instructions(state, worker=event.is_in_agent) if batch_state.is_live(state) else None


def _handle_start_after_compaction(event: HookEvent) -> Optional[Dict[str, Any]]:
    """Deliver the reminder to the new window."""
    if not event.is_batch_context:
        return None
    state = Store(event.project, trusted=False).read()
    if state is None or not batch_state.is_live(state):
        return None
    return event.make_context_output([prompts.reminder(state, worker=event.is_in_agent)])


def deliver_reminder_if_missing(event: HookEvent) -> List[str]:
    """Return the reminder for a window that is owed one, unless its transcript contains it; mark it as delivered."""
    has_arrived = _has_reminder_arrived(event)

    def mark(state: State) -> Tuple[State, bool]:
        if not event.is_still_owner(state):
            return state, False
        marked = lease.mark_reminded(state, event.context)
        return marked, marked is not state

    state, was_due = Store(event.project, trusted=False).update_with_result(mark)
    if not was_due or has_arrived or not batch_state.is_live(state):
        return []
    from ..store import audit_log

    audit_log.record(event.project.private, "reminded", context=event.context, channel=event.name)
    return [prompts.reminder(state, worker=event.is_in_agent)]


def _has_reminder_arrived(event: HookEvent) -> bool:
    """Return whether the transcript, once it contains the present tool call, shows the reminder."""
    from . import transcript

    path, call = _find_transcript(event), event.get_text("tool_use_id")
    deadline = time.monotonic() + TRANSCRIPT_LAG_S
    while call and os.path.exists(path) and not transcript.has_tool_call(path, call) and time.monotonic() < deadline:
        time.sleep(0.02)
    return transcript.has_context_since_compaction(path, prompts.REMINDER_MARK)


def _find_transcript(event: HookEvent) -> str:
    """Return the path of this window's transcript; a worker's is in a folder beside its caller's."""
    path, agent = event.get_text("transcript_path"), event.get_text("agent_id")
    if agent and path.endswith(".jsonl"):
        return f"{path[: -len('.jsonl')]}/subagents/agent-{os.path.basename(agent)}.jsonl"
    return path


def _handle_session_start(event: HookEvent) -> Optional[Dict[str, Any]]:
    """Take the lease back where this session had it; else tell the model and the user of an unfinished batch."""
    if event.is_in_agent:
        return None
    from ..base import process_identity
    from ..commands import authorization

    store = Store(event.project)
    state = store.read()
    if state is None or not batch_state.is_live(state):
        if state is not None and not process_identity.is_owner_alive(state["owner"]):
            store.update(
                lambda state: state if process_identity.is_owner_alive(state["owner"]) else lease.release(state)
            )
        return _make_start_output(event, store)
    caller = authorization.caller_from_hook(event.session_id, os.environ)
    owner, source = state["owner"], event.get_text("source")
    if process_identity.classify_owner(owner, caller.session_id, caller.pid) == "other":
        return _make_start_output(event, store)
    was_owner = owner is not None and owner["session_id"] == caller.session_id and state["status"] == "in_progress"
    if was_owner and source == "startup" and owner.get("driven"):
        _take_lease(store, caller, driven=True)  # `batchctl run` started this session; its prompt says everything
        return _make_start_output(event, store)
    if was_owner and source == "resume":
        state = _take_lease(store, caller)
        if process_identity.classify_owner(state["owner"], caller.session_id, caller.pid) == "other":  # it was faster
            return _make_start_output(event, store)
        return _make_start_output(event, store, prompts.reminder(state, worker=False))
    progress = prompts.progress_summary(state)
    return _make_start_output(
        event,
        store,
        f"[batch-implement] This project has an unfinished batch: {state['batch_id']} ({state['status']}), {progress}. "
        "No client is working on it. The user can resume it with `/batch-implement --resume`; do nothing about it "
        "unless they ask.",
        f"Unfinished batch: {progress}, {state['status']}. Resume it with `/batch-implement --resume`.",
    )


def _take_lease(store: Store, caller: Caller, **extra: bool) -> State:
    """Give the caller the lease, with `extra` in the owner's record, unless another client has it by now."""
    from ..base import process_identity

    owner = caller.new_owner(timestamps.now())

    def take(state: State) -> State:
        is_free = process_identity.classify_owner(state["owner"], caller.session_id, caller.pid) != "other"
        return lease.acquire(state, {**owner, **extra}) if owner and is_free else state

    return store.update(take)


def _make_start_output(event: HookEvent, store: Store, text: str = "", message: str = "") -> Optional[Dict[str, Any]]:
    """Return `text` and the store's notes for the model, `message` and the notes for the user."""
    output = event.make_context_output([line for line in (*store.notes, text) if line])
    shown = " ".join(line for line in (*store.notes, message) if line)
    return {"systemMessage": f"batch-implement: {shown}", **output} if output and shown else output
