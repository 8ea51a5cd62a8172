"""Before and after a tool call: what must not be done is denied, what was done to the state all the same is undone,
what was published is recorded.

Denied before: writing the state or our private files, by Write, Edit or Bash; a person's verb of batchctl; a question
to a person who is not there; an edit by an unattended coordinator while no feature is open. Undone after: any other
change of the state in a tool call of the session that holds the batch.
"""

from __future__ import annotations

import os

from ..base import project_paths, timestamps
from ..commands.authorization import USER_COMMANDS, user_only_message
from ..core import batch_state, failure_classification, lease, prompts, transitions
from ..core.errors import RefusedError
from ..store import audit_log, sidecar
from ..store.store import Store
from . import fast_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ..core.batch_state import State
    from .dispatch import HookEvent

WORKER_SKILLS = ("auto-implement", "batch-implement:auto-implement")
BATCHCTL_HINT = (
    "The batch's state is written by batchctl alone. To change it: `batchctl phase`, `batchctl done`, `batchctl fail` "
    "or `batchctl decide`; to look at it: `batchctl status`."
)


def handle(event: HookEvent) -> Optional[Dict[str, Any]]:
    """The answer to a PreToolUse, PostToolUse or PostToolUseFailure; None to let things be."""
    notes, said = _reconcile_state(event), ""
    if event.name == "PreToolUse" and event.tool == "Skill":
        return _approve_worker_skill(event) or event.make_context_output(notes)
    if event.name == "PreToolUse":
        reason = _find_denial_reason(event)
        if reason is not None:
            audit_log.record(event.project.private, "denied", tool=event.tool, reason=reason, session=event.session_id)
            decision = {"permissionDecision": "deny", "permissionDecisionReason": "\n".join([reason, *notes])}
            return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **decision}}
    elif event.owns_batch:
        if event.tool == "Skill":
            ended, said = _handle_worker_end(event)
            notes += ended
        elif event.tool == "Bash" and fast_path.may_publish(event.raw):
            _record_pushes(event)
        if event.sidecar and event.context in event.sidecar.remind:
            from . import compaction

            notes += compaction.deliver_reminder_if_missing(event)
    added = event.make_context_output(notes)
    return {"systemMessage": said, **added} if said and added else added


def _reconcile_state(event: HookEvent) -> List[str]:
    """Undo what was done to the state, in the session that holds it; what to say of it."""
    store = Store(event.project, trusted=False)
    if event.sidecar is None and os.path.lexists(f"{event.project.private}/sidecar"):
        store.reconcile()
        event.sidecar = sidecar.read_sidecar(event.project.private)
    if not event.owns_batch:
        return []
    if not store.is_unmodified():
        store.reconcile()
    return [f"{note} {BATCHCTL_HINT}" for note in store.notes]


# -- before -----------------------------------------------------------------------------------------------------------


def _find_denial_reason(event: HookEvent) -> Optional[str]:
    given = event.get_object("tool_input")
    if event.tool == "Bash":
        return _check_command(event, given.get("command"))
    if event.tool == "AskUserQuestion":
        if event.owns_batch and event.sidecar and event.sidecar.unattended:
            return (
                "Nobody is there to answer. Take the sensible default, record it with `batchctl decide QUESTION "
                "ANSWER`, and go on; the person reads it in the report."
            )
        return None
    target = given.get("file_path") or given.get("notebook_path")
    if isinstance(target, str) and _is_batch_file(event, target):
        return f"{target} belongs to the batch. {BATCHCTL_HINT}"
    owned = event.sidecar if event.owns_batch else None
    if owned and owned.unattended and not owned.open and owned.live:
        state = Store(event.project, trusted=False).read()
        if state is not None and state["status"] == "in_progress":
            return f"No feature is open, so nothing is to be edited now. {prompts.feature_instruction(state)}"
    return None


def _approve_worker_skill(event: HookEvent) -> Optional[Dict[str, Any]]:
    """Approve the call that does the next feature, in the session that holds a batch in progress.

    Its turn works on the batch: that is noted. The person approved it with `/batch-implement`, but the client forgets
    that with the turn: after a task's notice it would ask, or refuse.
    """
    given = event.get_object("tool_input")
    if (
        not event.owns_batch
        or given.get("skill") not in WORKER_SKILLS
        or given.get("args")
        or event.get_text("agent_id")
    ):
        return None
    store = Store(event.project, trusted=False)
    state = store.read()
    if state is None or state["status"] != "in_progress":
        return None
    prompt_id = event.get_text("prompt_id")
    if not lease.is_batch_turn(state, prompt_id):
        store.update(event.if_still_owner(lambda current: lease.record_prompt(current, prompt_id)))
    decision = {"permissionDecision": "allow", "permissionDecisionReason": "The batch that this session holds goes on."}
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **decision}}


def _check_command(event: HookEvent, command: object) -> Optional[str]:
    from .command_guard import command_policy

    if not isinstance(command, str):
        return None
    names = command_policy.ProtectedNames(
        user_commands=frozenset(USER_COMMANDS),
        private=(
            f".claude/{event.project.temp_name}",
            ".claude/batch-implement/",
            ".git/batch-implement/",
            event.project.private + "/",
        ),
        roots=(event.project.root, os.path.realpath(event.project.root)),
        cwd=event.cwd,
    )
    refusal = command_policy.check_command(command, names)
    if refusal is None:
        return None
    if refusal.kind == "command":
        return user_only_message(refusal.what)
    return f"{refusal.what}: this would change the batch's own files. {BATCHCTL_HINT}"


def _is_batch_file(event: HookEvent, target: str) -> bool:
    """Whether `target`, however it is spelled or linked, is the state file or one of our private files."""
    project = event.project
    path = os.path.join(event.cwd, os.path.expanduser(target))
    if not _is_valid_path(path):
        return False
    folder = os.path.realpath(f"{project.root}/{project_paths.STATE_FOLDER}")
    private = os.path.realpath(project.private)
    for candidate in (os.path.normpath(path), os.path.realpath(path)):
        home, name = os.path.split(candidate)
        if name.startswith(project_paths.STATE_NAME) and os.path.realpath(home) == folder:
            return True
        if candidate == private or candidate.startswith(private + os.sep):
            return True
    try:
        return os.path.samefile(path, project.state)
    except OSError:
        return False


def _is_valid_path(path: str) -> bool:
    """Whether the system takes a path: not with a zero byte, or half of a surrogate pair that no byte stands for."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


# -- after ------------------------------------------------------------------------------------------------------------


def _handle_worker_end(event: HookEvent) -> Tuple[List[str], str]:
    """When the coordinator's worker is back: what became of its feature and what is next, in one line for the model,
    and the first of it for the person's screen.
    """
    skill, response = event.get_object("tool_input").get("skill"), event.get_object("tool_response")
    if skill not in WORKER_SKILLS or event.get_text("agent_id") or response.get("background"):
        return [], ""
    words = str(response.get("result") or event.get_text("error"))[:2000]

    def settle(state: State) -> State:
        if state["status"] != "in_progress":
            return state
        if event.name == "PostToolUseFailure":
            return _record_failed_start(state, words)
        if not state["active"]:
            return state
        kind = failure_classification.classify(words)
        if kind in failure_classification.NEEDS_USER:
            return transitions.pause(state, timestamps.now(), f"the worker could not go on ({kind}): {words[:200]}")
        if failure_classification.TREATMENT[kind] == "fail":
            return transitions.fail(state, timestamps.now(), words, kind, permanent=True)
        return transitions.record_interruption(
            state, timestamps.now(), words, counted=kind not in failure_classification.UNCOUNTED
        )

    store = Store(event.project, trusted=False)
    try:
        before = store.require()
        state = store.update(event.if_still_owner(settle))
    except RefusedError as refusal:
        return [refusal.message], refusal.message
    if (
        before["active"]
        and not state["active"]
        and batch_state.feature_status(state, before["active"]["feature_index"]) != "done"
    ):
        _stash_leftovers(event, before)
    ended = _describe_outcome(before, state)
    said = f"{ended} {prompts.progress_summary(state)}.".strip()
    return [*store.notes, f"{ended} {prompts.next_step(state)}".strip()], said


def _record_failed_start(state: State, words: str) -> State:
    """A worker that could not even start is tried again, but not for ever: it counts like a stop without progress."""
    tried = lease.record_continuation(state)
    if tried is not None:
        return tried
    return transitions.pause(state, timestamps.now(), f"the worker could not be started: {words[:300]}")


def _stash_leftovers(event: HookEvent, before: State) -> None:
    """The attempt was ended for the worker: its leftovers must not end up in another feature's commit."""
    from ..commands import feature_commands

    name = feature_commands.stash_leftovers(event.project, before)
    if name:
        index = before["active"]["feature_index"]
        Store(event.project, trusted=False).update(lambda state: transitions.record_stash(state, index, name))


def _describe_outcome(before: State, state: State) -> str:
    """How the feature that was worked on ended."""
    active = before["active"]
    if active is None:
        last = lease.last_worked_index(state)
        if last is None:
            return ""
        condition, used = batch_state.feature_status(state, last), batch_state.attempts_used(state, last)
        if condition == "pending":
            return f"Feature {last + 1} failed (attempt {used}) and is tried again later."
        return f"Feature {last + 1} is {condition}."
    index = active["feature_index"]
    if state["active"]:
        return (
            f"The worker left feature {index + 1} open, without `batchctl done` or `batchctl fail`; what it did is "
            "kept."
        )
    return (
        f"The worker left feature {index + 1} without a verdict; it is {batch_state.feature_status(state, index)} now."
    )


def _record_pushes(event: HookEvent) -> None:
    """Note a `git push` or `gh pr create` for the feature that is open, else for the last one that was closed."""
    from . import push_detection

    command = event.get_object("tool_input").get("command")
    if not isinstance(command, str):
        return
    output = event.get_object("tool_response")
    text = f"{output.get('stdout') or ''}\n{output.get('stderr') or ''}" if output else event.get_text("error")
    try:
        found = push_detection.detect_operations(command, text, succeeded=event.name == "PostToolUse")
    except RecursionError:
        return  # no command that a person or model means is nested as deeply
    if not found:
        return

    def note(state: State) -> State:
        index = batch_state.active_index(state)
        index = batch_state.last_closed_index(state) if index is None else index
        for operation, record in found.items() if index is not None else ():
            state = transitions.record_git_operation(
                state, index or 0, operation, {**record, "timestamp": timestamps.now()}
            )
        return state

    Store(event.project, trusted=False).update(event.if_still_owner(note))
