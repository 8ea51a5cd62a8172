"""Handle the end of a turn, of a subagent and of a session, and the prompts in between.

A coordinator with features left continues; a worker whose feature is open is sent back once. Never continued: a turn
that ended in an API error or a full window, one with a running subagent, one that the user started with words of their
own and that ends in a question, a batch that is paused, a session that does not own the batch.
"""

from __future__ import annotations

import os

from ..base import timestamps
from ..core import batch_state, failure_classification, lease, prompts
from ..store import audit_log
from . import transcript
from .dispatch import REVIEWER, WORKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ..core.batch_state import State
    from ..store.store import Store
    from .dispatch import HookEvent

MAX_LAST_WORDS = 1000
PLUGIN_COMMANDS = ("batch-implement", "auto-implement", "batchctl")
RESUME_HINT = (
    "The batch waits for your answer, then resumes. `/batch-implement --resume` resumes it now, `/batchctl pause` "
    "holds it."
)


def handle(event: HookEvent) -> Optional[Dict[str, Any]]:
    """Return the output for a Stop, SubagentStop, StopFailure, SessionEnd or UserPromptSubmit; None for nothing."""
    if event.name == "UserPromptSubmit":
        return _handle_prompt(event)
    if not event.owns_batch:
        return None
    if event.name == "SessionEnd":
        event.update_state(lease.release, trusted=True)
        return None
    if event.name == "StopFailure":
        _handle_stop_failure(event)
        return None
    store = event.open_store()
    state = store.read()
    if state is not None and not batch_state.is_live(state) and event.name == "Stop":
        store.update(event.if_still_owner(lease.release))  # from now on hooks/run ends every hook at once
    if state is None or state["status"] != "in_progress":
        return _make_message(store.notes)
    if event.name == "SubagentStop":
        return _handle_subagent_stop(event, store, state)
    return _handle_stop(event, store, state)


def _make_message(lines: List[str]) -> Optional[Dict[str, Any]]:
    return {"systemMessage": "batch-implement: " + " ".join(lines)} if lines else None


def _block(lines: List[str]) -> Dict[str, Any]:
    return {"decision": "block", "reason": "\n".join(lines)}


def _handle_stop(event: HookEvent, store: Store, state: State) -> Optional[Dict[str, Any]]:
    """Continue the coordinator, or pause a batch that makes no progress."""
    prompt_id = event.get_text("prompt_id")
    is_talk = not lease.is_batch_turn(state, prompt_id)
    if is_talk and _has_question(event.get_text("last_assistant_message")):
        return _make_message([*store.notes, RESUME_HINT])
    running = _running_task_types(event)
    if failure_classification.classify(event.get_text("last_assistant_message")) != "feature" or "subagent" in running:
        return _make_message(store.notes)
    tokens = transcript.read_context_tokens(event.get_text("transcript_path"))
    max_continuations = 1 if "shell" in running else lease.MAX_CONTINUATIONS

    def continue_or_pause(current: State) -> Tuple[State, bool]:
        if not event.is_still_owner(current):
            return current, False
        current = lease.record_context_tokens(current, tokens) if tokens else current
        current = lease.resume_after_talk(current, prompt_id) if is_talk else current
        continued = lease.record_continuation(current, max_continuations)
        if continued is not None:
            return continued, True
        if "shell" in running:  # the coordinator may be waiting for the shell: the client wakes it when that ends
            return current, False
        from ..core import transitions  # not loaded for a stop that is continued

        reason = f"it stopped {max_continuations} times in a row without progress"
        last_words = " ".join(event.get_text("last_assistant_message").split())
        if last_words:  # the end: a question is there
            reason += f"; its last words: {last_words[-MAX_LAST_WORDS:]}"
        return lease.release(transitions.pause(current, timestamps.now(), reason)), False

    state, is_continued = store.update_with_result(continue_or_pause)
    if is_continued:
        audit_log.record(event.project.private, "continued", feature=state["current_index"] + 1)
        return _block([*store.notes, _describe_next_step(event, state)])
    if state["status"] != "paused":
        return _make_message(store.notes)
    from ..base.text import clean_output

    paused = f"{prompts.progress_summary(state)}. The batch is paused: {clean_output(state['pause']['reason'])}"
    hint = "Answer what it asks, if anything, then run `/batch-implement --resume`."
    return _make_message([*store.notes, paused if paused.endswith((".", "?", "!")) else f"{paused}.", hint])


def _describe_next_step(event: HookEvent, state: State) -> str:
    """Return the next step of a coordinator that stopped, or of the client of an attempt."""
    if state["active"] and (state.get("attempt_of") or prompts.workflow_mode(state) == "direct"):
        return _describe_open_feature(event, state)
    step = prompts.next_step(state)
    if _has_question(event.get_text("last_assistant_message")):
        return f"Nobody answers: go on without asking. {step}"
    return step


def _describe_open_feature(event: HookEvent, state: State) -> str:
    """Return the next step of whoever stopped and does the open feature."""
    return prompts.open_feature_step(
        state,
        is_verifying=_is_verifying(event.project.private, state),
        has_question=_has_question(event.get_text("last_assistant_message")),
    )


def _has_question(message: str) -> bool:
    """Return whether a message ends in a question, in any script and whatever markup closes it."""
    return message.rstrip(" \t\r\n*_`~\"')]}>\u201d\u2019\u00bb").endswith(("?", "\uff1f", "\u061f", "\u037e"))


def _is_verifying(private: str, state: State) -> bool:
    """Return whether the verify command of the open feature runs, or waits for the process of the attempt."""
    # The names are those of `commands.verify_command`, which is too much to load for every stop.
    folder = f"{private}/logs/verify/{state['batch_id']}"
    prefix = f"{state['active']['feature_index']}-{state['active']['attempt']}-"
    try:
        names = [name for name in os.listdir(folder) if name.startswith(prefix)]
    except OSError:
        return False
    for name in names:
        if os.path.exists(f"{folder}/{name}/result"):
            continue
        from ..commands import verify_command

        if os.path.exists(f"{folder}/{name}/request") or verify_command.is_running(f"{folder}/{name}"):
            return True
    return False


def _running_task_types(event: HookEvent) -> List[str]:
    """Return the types of the background tasks that still run: `subagent`, `shell`."""
    tasks = event.payload.get("background_tasks")
    return [
        str(task.get("type"))
        for task in (tasks if isinstance(tasks, list) else [])
        if isinstance(task, dict) and task.get("status") == "running" and task.get("id") != event.get_text("agent_id")
    ]


def _handle_subagent_stop(event: HookEvent, store: Store, state: State) -> Optional[Dict[str, Any]]:
    """Record how a review ended; send a worker back once if its feature is open."""
    agent, message, active = event.get_text("agent_type"), event.get_text("last_assistant_message"), state["active"]
    if active and agent == REVIEWER:
        from . import reviewer

        return reviewer.handle_stop(event, state)
    if (
        not active
        or agent != WORKER
        or event.payload.get("stop_hook_active")
        or failure_classification.classify(message) != "feature"
    ):
        if agent == WORKER:  # it ends now
            store.update(event.if_still_owner(lease.end_worker_call))
        return None
    audit_log.record(event.project.private, "worker continued", feature=active["feature_index"] + 1)
    reason = _describe_open_feature(event, state)
    if "subagent" in _running_task_types(event):  # its end would wake the coordinator, not this worker (2.1.330)
        reason += (
            " Nothing wakes you when a background agent ends. `batchctl done` waits for a reviewer that runs: start no "
            "second one. What another agent does, do yourself."
        )
    return _block([*store.notes, reason])


def _handle_stop_failure(event: HookEvent) -> None:
    """Pause the batch after a turn of the coordinator that ended in an API error. The attempt is not counted."""
    if event.get_text("agent_id"):
        return
    from ..core import transitions

    message = event.get_text("last_assistant_message") or event.get_text("error")
    now = timestamps.now()
    reason = f"Claude Code reported an error ({failure_classification.classify(message)}): {message[:300]}"
    resume_after = failure_classification.reset_time(message, now)

    def pause(state: State) -> State:
        return transitions.pause(state, now, reason, resume_after) if state["status"] == "in_progress" else state

    event.update_state(pause)


def _handle_prompt(event: HookEvent) -> Optional[Dict[str, Any]]:
    """Record whose turn this is; after a compaction, deliver the reminder if it did not arrive."""
    notes = [*event.open_store(trusted=True).notes]
    if event.owns_batch:
        _record_prompt(event)
        if event.is_reminder_due:
            from . import compaction

            notes += compaction.deliver_reminder_if_missing(event)
    return event.make_context_output(notes)


def _record_prompt(event: HookEvent) -> None:
    """Let the turn of a prompt of the user's own end in a question, until this conversation opens a feature again."""
    prompt = event.get_text("prompt")
    if _is_plugin_command(prompt):
        return
    is_notification = prompt.lstrip().startswith("<task-notification>")

    def record(state: State) -> State:
        if state["status"] != "in_progress":
            return state
        # A notification of the client continues what went on before. In a driven session nobody talks: all is work.
        continues = is_notification and state.get("continuation", {}).get("prompt") is not None
        is_driven = (state["owner"] or {}).get("driven")
        return lease.record_prompt(state, event.get_text("prompt_id") if continues or is_driven else None)

    event.update_state(record, trusted=True)


def _is_plugin_command(prompt: str) -> bool:
    """Return whether a prompt is one of the plugin's slash commands."""
    command = (prompt.split(None, 1) or [""])[0]
    return command.startswith("/") and command[1:].rsplit(":", 1)[-1] in PLUGIN_COMMANDS
