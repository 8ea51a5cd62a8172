"""When a turn ends: a coordinator with features left is sent on, a worker with its feature open is sent back once, a
person who spoke is listened to, and a batch that does not move or cannot go on is paused.

Never sent on: a stop after an API error or a full window, one while a subagent still runs, the end of a turn in which
a person said something of their own, a batch that is paused, a session that does not hold the batch.
"""

from __future__ import annotations

from ..base import timestamps
from ..core import batch_state, failure_classification, lease, prompts
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
PLUGIN_COMMANDS = ("batch-implement", "auto-implement", "batchctl")
RESUME_HINT = "The batch waits while you talk. `/batch-implement --resume` goes on with it."


def handle(event: HookEvent) -> Optional[Dict[str, Any]]:
    """The answer to a Stop, SubagentStop, StopFailure, SessionEnd or UserPromptSubmit; None to let things be."""
    if event.name == "UserPromptSubmit":
        return _handle_prompt(event)
    if not event.owns_batch:
        return None
    if event.name == "SessionEnd":
        Store(event.project).update(event.if_still_owner(lease.release))
        return None
    if event.name == "StopFailure":
        _handle_stop_failure(event)
        return None
    store = Store(event.project, trusted=False)
    if not store.is_unmodified():
        store.reconcile()
    state = store.read()
    if state is not None and not batch_state.is_live(state) and event.name == "Stop":
        store.update(event.if_still_owner(lease.release))  # its end was told: nothing is left for the hooks to do
    if state is None or state["status"] != "in_progress":
        return _format_message(store.notes)
    if event.name == "SubagentStop":
        return _handle_subagent_stop(event, store, state)
    return _handle_stop(event, store, state)


def _format_message(notes: List[str]) -> Optional[Dict[str, Any]]:
    return {"systemMessage": "batch-implement: " + " ".join(notes)} if notes else None


def _handle_stop(event: HookEvent, store: Store, state: State) -> Optional[Dict[str, Any]]:
    if not lease.is_batch_turn(state, event.get_text("prompt_id")):
        return _format_message([*store.notes, RESUME_HINT])
    last = event.get_text("last_assistant_message")
    running = _running_task_types(event)
    if failure_classification.classify(last) != "feature" or "subagent" in running:
        return _format_message(store.notes)
    tokens = transcript.read_context_tokens(event.get_text("transcript_path"))
    most = 1 if "shell" in running else lease.MAX_CONTINUATIONS

    def send(current: State) -> Tuple[State, bool]:
        if not event.is_still_owner(current):
            return current, False
        noted = lease.record_context_tokens(current, tokens) if tokens else current
        on = lease.record_continuation(noted, most)
        if on is not None:
            return on, True
        if "shell" in running:  # it may be waiting for that: the client wakes it when it ends
            return noted, False
        from ..core import transitions  # a stop that is continued does without

        reason = f"it stopped {most} times in a row without getting any further"
        return lease.release(transitions.pause(noted, timestamps.now(), reason)), False

    state, is_sent_on = store.update_with_result(send)
    if is_sent_on:
        audit_log.record(event.project.private, "sent on", feature_index=state["current_index"])
        return {"decision": "block", "reason": "\n".join([*store.notes, prompts.next_step(state)])}
    if state["status"] == "paused":
        return _format_message(
            [
                *store.notes,
                f"{prompts.progress_summary(state)}. The batch is paused: {state['pause']['reason']}. Look at what it "
                "said, then `/batch-implement --resume`.",
            ]
        )
    return _format_message(store.notes)


def _running_task_types(event: HookEvent) -> List[str]:
    """The kinds of background tasks that still run."""
    tasks = event.payload.get("background_tasks")
    return [
        str(task.get("type"))
        for task in (tasks if isinstance(tasks, list) else [])
        if isinstance(task, dict) and task.get("status") == "running" and task.get("id") != event.get_text("agent_id")
    ]


def _handle_subagent_stop(event: HookEvent, store: Store, state: State) -> Optional[Dict[str, Any]]:
    kind, last = event.get_text("agent_type"), event.get_text("last_assistant_message")
    if kind == REVIEWER and state["active"] and last:
        from ..core import transitions

        def reviewed(current: State) -> State:
            return transitions.record_review(current, last) if current["active"] else current

        store.update(event.if_still_owner(reviewed))
        return None
    if (
        kind != WORKER
        or not state["active"]
        or event.payload.get("stop_hook_active")
        or failure_classification.classify(last) != "feature"
    ):
        return None
    active = state["active"]
    audit_log.record(event.project.private, "sent back", feature_index=active["feature_index"])
    reason = (
        f"Feature {active['feature_index'] + 1} is still open (phase {active['phase']}). `batchctl done` asks for: "
        f"{prompts.required_evidence(state)}. Finish it and run `batchctl done`, or run `batchctl fail --reason TEXT` "
        "if it cannot be done."
    )
    if "subagent" in _running_task_types(event):  # its end would wake the coordinator, not this worker (2.1.330)
        reason += " Nobody wakes you when a background agent ends: run it again with `run_in_background: false`."
    return {"decision": "block", "reason": "\n".join([*store.notes, reason])}


def _handle_stop_failure(event: HookEvent) -> None:
    """The coordinator's turn ended in an API error: the batch waits, nothing is counted."""
    if event.get_text("agent_id"):
        return
    from ..core import transitions

    words = event.get_text("last_assistant_message") or event.get_text("error")
    now = timestamps.now()
    reason = f"Claude could not go on ({failure_classification.classify(words)}): {words[:300]}"
    resume_after = failure_classification.reset_time(words, now)

    def wait(state: State) -> State:
        return transitions.pause(state, now, reason, resume_after) if state["status"] == "in_progress" else state

    Store(event.project, trusted=False).update(event.if_still_owner(wait))


def _handle_prompt(event: HookEvent) -> Optional[Dict[str, Any]]:
    """A prompt: a person's own words make the batch wait; after a compaction it is the second way for the reminder."""
    store = Store(event.project)
    if not store.is_unmodified():
        store.reconcile()
    notes = [*store.notes]
    if event.owns_batch:
        _record_prompt(event, store)
        if event.sidecar and event.context in event.sidecar.remind:
            from . import compaction

            notes += compaction.deliver_reminder_if_missing(event)
    return event.make_context_output(notes)


def _record_prompt(event: HookEvent, store: Store) -> None:
    """A person's own words end the work in this conversation until it takes a feature up again.

    A notice of the client's goes on with whatever went on before.
    """
    prompt = event.get_text("prompt")
    if _is_plugin_command(prompt):
        return
    notice = prompt.lstrip().startswith("<task-notification>")

    def note(state: State) -> State:
        if state["status"] != "in_progress":
            return state
        goes_on = notice and state.get("continuation", {}).get("prompt") is not None
        driven = (state["owner"] or {}).get("driven")  # nobody is there to talk: whatever is said is work
        return lease.record_prompt(state, event.get_text("prompt_id") if goes_on or driven else None)

    store.update(event.if_still_owner(note))


def _is_plugin_command(prompt: str) -> bool:
    """Whether a prompt is one of our commands."""
    command = (prompt.split(None, 1) or [""])[0]
    return command.startswith("/") and command[1:].rsplit(":", 1)[-1] in PLUGIN_COMMANDS
