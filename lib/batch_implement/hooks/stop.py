"""When a turn ends: a coordinator with features left is sent on, a worker with its feature open is sent back once, a
person who spoke is listened to, and a batch that does not move or cannot go on is paused.

Never sent on: a stop after an API error or a full window, one while a subagent still runs, the end of a turn in which
a person said something of their own, a batch that is paused, a session that does not hold the batch.
"""

from __future__ import annotations

from ..base import timestamps
from ..core import batch_state, failure_classification, lease, prompts, transitions
from ..store import audit_log
from ..store.store import Store
from . import transcript

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ..core.batch_state import State
    from .dispatch import HookEvent

WORKER = "batch-implement:worker"
REVIEWER = "batch-implement:reviewer"
COMMANDS = ("batch-implement", "auto-implement", "batchctl")
HOW_TO_GO_ON = "The batch waits while you talk. `/batch-implement --resume` goes on with it."


def answer(occasion: HookEvent) -> Optional[Dict[str, Any]]:
    """The answer to a Stop, SubagentStop, StopFailure, SessionEnd or UserPromptSubmit; None to let things be."""
    if occasion.event == "UserPromptSubmit":
        return _prompt(occasion)
    if not occasion.own:
        return None
    if occasion.event == "SessionEnd":
        Store(occasion.project).update(occasion.while_ours(lease.end_lease))
        return None
    if occasion.event == "StopFailure":
        _broken_off(occasion)
        return None
    store = Store(occasion.project, by_model=True)
    if not store.untouched():
        store.settle()
    state = store.read()
    if state is not None and not batch_state.is_live(state) and occasion.event == "Stop":
        store.update(occasion.while_ours(lease.end_lease))  # its end was told: nothing is left for the hooks to do
    if state is None or state["status"] != "in_progress":
        return _message(store.notes)
    if occasion.event == "SubagentStop":
        return _agent_stopped(occasion, store, state)
    return _stopped(occasion, store, state)


def _message(notes: List[str]) -> Optional[Dict[str, Any]]:
    return {"systemMessage": "batch-implement: " + " ".join(notes)} if notes else None


def _stopped(occasion: HookEvent, store: Store, state: State) -> Optional[Dict[str, Any]]:
    if not lease.is_at_work(state, occasion.text("prompt_id")):
        return _message([*store.notes, HOW_TO_GO_ON])
    last = occasion.text("last_assistant_message")
    running = _running(occasion)
    if failure_classification.classify(last) != "feature" or "subagent" in running:
        return _message(store.notes)
    tokens = transcript.window(occasion.text("transcript_path"))
    most = 1 if "shell" in running else lease.STOPS_BEFORE_PAUSE

    def send(current: State) -> Tuple[State, bool]:
        if not occasion.is_still_owner(current):
            return current, False
        noted = lease.note_window(current, tokens) if tokens else current
        on = lease.record_continuation(noted, most)
        if on is not None:
            return on, True
        if "shell" in running:  # it may be waiting for that: the client wakes it when it ends
            return noted, False
        reason = f"it stopped {most} times in a row without getting any further"
        return lease.end_lease(transitions.pause(noted, timestamps.now(), reason)), False

    state, is_sent_on = store.update_with_result(send)
    if is_sent_on:
        audit_log.record(occasion.project.private, "sent on", feature_index=state["current_index"])
        return {"decision": "block", "reason": "\n".join([*store.notes, prompts.next_step(state)])}
    if state["status"] == "paused":
        return _message(
            [
                *store.notes,
                f"{prompts.progress(state)}. The batch is paused: {state['pause']['reason']}. Look at what it said, "
                "then `/batch-implement --resume`.",
            ]
        )
    return _message(store.notes)


def _running(occasion: HookEvent) -> List[str]:
    """The kinds of background tasks that still run."""
    tasks = occasion.payload.get("background_tasks")
    return [
        str(task.get("type"))
        for task in (tasks if isinstance(tasks, list) else [])
        if isinstance(task, dict) and task.get("status") == "running" and task.get("id") != occasion.text("agent_id")
    ]


def _agent_stopped(occasion: HookEvent, store: Store, state: State) -> Optional[Dict[str, Any]]:
    kind, last = occasion.text("agent_type"), occasion.text("last_assistant_message")
    if kind == REVIEWER and state["active"] and last:

        def reviewed(current: State) -> State:
            return transitions.record_review(current, last) if current["active"] else current

        store.update(occasion.while_ours(reviewed))
        return None
    if (
        kind != WORKER
        or not state["active"]
        or occasion.payload.get("stop_hook_active")
        or failure_classification.classify(last) != "feature"
    ):
        return None
    active = state["active"]
    audit_log.record(occasion.project.private, "sent back", feature_index=active["feature_index"])
    reason = (
        f"Feature {active['feature_index'] + 1} is still open (phase {active['phase']}). `batchctl done` asks for: "
        f"{prompts.required(state)}. Finish it and run `batchctl done`, or run `batchctl fail --reason TEXT` if it "
        "cannot be done."
    )
    if "subagent" in _running(occasion):  # its end would wake the coordinator, not this worker (2.1.330)
        reason += " Nobody wakes you when a background agent ends: run it again with `run_in_background: false`."
    return {"decision": "block", "reason": "\n".join([*store.notes, reason])}


def _broken_off(occasion: HookEvent) -> None:
    """The coordinator's turn ended in an API error: the batch waits, nothing is counted."""
    if occasion.text("agent_id"):
        return
    words = occasion.text("last_assistant_message") or occasion.text("error")
    now = timestamps.now()
    reason = f"Claude could not go on ({failure_classification.classify(words)}): {words[:300]}"
    resume_after = failure_classification.reset_time(words, now)

    def wait(state: State) -> State:
        return transitions.pause(state, now, reason, resume_after) if state["status"] == "in_progress" else state

    Store(occasion.project, by_model=True).update(occasion.while_ours(wait))


def _prompt(occasion: HookEvent) -> Optional[Dict[str, Any]]:
    """A prompt: a person's own words make the batch wait; after a compaction it is the second way for the reminder."""
    store = Store(occasion.project)
    if not store.untouched():
        store.settle()
    notes = [*store.notes]
    if occasion.own:
        _note_who_prompted(occasion, store)
        if occasion.sealed and occasion.context in occasion.sealed.remind:
            from . import compaction

            notes += compaction.deliver_reminder_if_missing(occasion)
    return occasion.adding(notes)


def _note_who_prompted(occasion: HookEvent, store: Store) -> None:
    """A person's own words end the work in this conversation until it takes a feature up again.

    A notice of the client's goes on with whatever went on before.
    """
    prompt = occasion.text("prompt")
    if _prompt_is_ours(prompt):
        return
    notice = prompt.lstrip().startswith("<task-notification>")

    def note(state: State) -> State:
        if state["status"] != "in_progress":
            return state
        goes_on = notice and state.get("continuation", {}).get("prompt") is not None
        driven = (state["owner"] or {}).get("driven")  # nobody is there to talk: whatever is said is work
        return lease.at_work(state, occasion.text("prompt_id") if goes_on or driven else None)

    store.update(occasion.while_ours(note))


def _prompt_is_ours(prompt: str) -> bool:
    """Whether a prompt is one of our commands."""
    command = (prompt.split(None, 1) or [""])[0]
    return command.startswith("/") and command[1:].rsplit(":", 1)[-1] in COMMANDS
