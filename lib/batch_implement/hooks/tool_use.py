"""Handle tool calls: deny what must not happen, undo changes of the state, record what was published.

Denied before the call: writing the state or the plugin's private files by Write, Edit or Bash; a batchctl command
reserved for the user; a question in an unattended run; an edit by an unattended coordinator without an open feature.
Undone after the call: any other change of the state in the session that owns the batch.
"""

from __future__ import annotations

import os

from ..base import project_paths, timestamps
from ..core import batch_state, failure_classification, lease, prompts
from ..core.errors import RefusedError, StateError
from ..store import audit_log
from ..store.store import Store
from . import fast_path
from .dispatch import REVIEWER, WORKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional

    from ..core.batch_state import State
    from .dispatch import HookEvent

MAX_ID_CHARS = 200
WORKER_SKILLS = ("auto-implement", "batch-implement:auto-implement")
BATCHCTL_HINT = (
    "Only batchctl writes the batch's state. Change it with `batchctl phase`, `batchctl done`, `batchctl fail` or "
    "`batchctl decide`; read it with `batchctl status`."
)
WALK_HINT = (
    "Leave .git out: `git grep -lz WORD | xargs -0 sed -i ...`, `find . -not -path '*/.git/*' -type f ...`; to remove, "
    "`find . -mindepth 1 -maxdepth 1 -not -name .git ...`."
)


def handle(event: HookEvent) -> Optional[Dict[str, Any]]:
    """Return the output for a PreToolUse, PostToolUse or PostToolUseFailure; None for nothing."""
    notes = _reconcile_state(event)
    if event.name == "PreToolUse":
        return _handle_pre_tool_use(event, notes)
    if not event.owns_batch:
        return event.make_context_output(notes)
    message = ""
    if event.tool == "Skill" and _is_worker_end(event):
        notes, message = _handle_worker_end(event, notes)
    elif event.tool == "Bash":
        if fast_path.may_publish(event.raw):
            _record_pushes(event)
        if event.sidecar is not None and fast_path.may_begin_phase(event.raw, event.sidecar.phase):
            _record_phase(event)
    if event.is_reminder_due:
        from . import compaction

        notes += compaction.deliver_reminder_if_missing(event)
    output = event.make_context_output(notes)
    return {"systemMessage": message, **output} if message and output else output


def _reconcile_state(event: HookEvent) -> List[str]:
    """Undo changes of the state that batchctl did not make: by the session that owns the batch at any time, by another
    during a call that can write. Return notes of it.
    """
    if not event.owns_batch and (event.sidecar is None or event.tool not in fast_path.WRITING_TOOLS):
        notes = event.notes
    elif not event.owns_batch and event.name == "PreToolUse":
        notes = event.notes
        _adopt_earlier_edit(event)
    else:
        notes = event.open_store().notes
    return [f"{note} {BATCHCTL_HINT}" for note in notes]


def _adopt_earlier_edit(event: HookEvent) -> None:
    """Take an edit for a person's that was there before a tool call of a session that does not own the batch, unless
    the owner lives: what is changed afterwards is this call's doing.
    """
    from ..base import process_identity

    owner_pid = event.sidecar.owner_pid if event.sidecar else None
    if not (owner_pid and process_identity.is_running(owner_pid, None)):
        try:
            event.open_store(trusted=True)
        except StateError:
            pass  # whoever runs batchctl is told what is wrong with it


# -- before the call --------------------------------------------------------------------------------------------------


def _handle_pre_tool_use(event: HookEvent, notes: List[str]) -> Optional[Dict[str, Any]]:
    """Approve the call of the worker's skill, deny what must not happen, leave the rest to Claude Code."""
    reason = None
    if event.tool == "Skill":
        is_approved, reason = _check_worker_skill(event)
        if is_approved:
            return _make_decision("allow", "This session owns the batch in progress.")
    else:
        reason = _find_denial_reason(event)
    if reason is None:
        if event.tool == "Write":
            from . import phases

            phases.begin(event, "implement")
        return event.make_context_output(notes)
    index = event.sidecar.open_index if event.sidecar else None
    number = {} if index is None or not event.owns_batch else {"feature": index + 1}
    audit_log.record(
        event.project.private, "denied", tool=event.tool, reason=reason, session=event.session_id, **number
    )
    if event.tool == "Bash":  # a model takes the commands before the denied one for done
        reason = f"Nothing of this command line ran. {reason}"
    return _make_decision("deny", "\n".join([reason, *notes]))


def _make_decision(decision: str, reason: str) -> Dict[str, Any]:
    fields = {"permissionDecision": decision, "permissionDecisionReason": reason}
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", **fields}}


def _find_denial_reason(event: HookEvent) -> Optional[str]:
    """Return why a Bash, AskUserQuestion or file call must not run; None if it may."""
    arguments = event.get_object("tool_input")
    if event.tool == "Bash":
        return _check_command(event, arguments.get("command"))
    if event.tool == "Agent":
        return _check_agent(event, arguments.get("subagent_type"))
    owned = event.sidecar if event.owns_batch else None
    is_unattended = owned is not None and owned.unattended
    if event.tool == "AskUserQuestion":
        return (
            "Nobody is there to answer. Choose the sensible default, record it with `batchctl decide QUESTION ANSWER` "
            "and continue; the user reads it in the report."
            if is_unattended
            else None
        )
    target = arguments.get("file_path") or arguments.get("notebook_path")
    if isinstance(target, str) and _is_batch_file(event, target):
        return f"{target} belongs to the batch. {BATCHCTL_HINT}"
    if owned is not None and is_unattended and not owned.open and owned.live:
        state = Store(event.project, trusted=False).read()
        if state is not None and state["status"] == "in_progress":
            step = prompts.WORKER_END if event.is_in_agent else prompts.feature_instruction(state)
            return f"No feature is open, so no file may be edited now. {step}"
    if owned is not None and owned.open and isinstance(target, str):
        _record_written_file(event, target)
    return None


def _record_written_file(event: HookEvent, target: str) -> None:
    """Remember a file that Write or Edit is about to change, for `batchctl done`."""
    from ..store import written_files

    path = os.path.join(event.cwd, os.path.expanduser(target))
    if _is_valid_path(path):
        written_files.record(event.project.private, path)


def _check_worker_skill(event: HookEvent) -> tuple[bool, Optional[str]]:
    """Return whether to allow a Skill call without asking (the one that does the next feature, by the owner), and why
    to deny it: a worker is at work.

    Also record that its turn works on the batch, and the call.
    """
    # The user approved it with `/batch-implement`, but the client forgets that with the turn: after the notification of
    # a task it would ask, or refuse.
    arguments = event.get_object("tool_input")
    if (
        not event.owns_batch
        or event.is_in_agent
        or arguments.get("skill") not in WORKER_SKILLS
        or arguments.get("args")
    ):
        return False, None
    state = Store(event.project, trusted=False).read()
    if state is None or state["status"] != "in_progress":
        return False, None
    prompt_id, call_id = event.get_text("prompt_id"), event.get_text("tool_use_id")[:MAX_ID_CHARS]

    def record(current: State) -> tuple[State, bool]:
        if not event.is_still_owner(current):
            return current, False
        if call_id and lease.has_other_worker_call(current, call_id, prompt_id):
            return current, True
        if not lease.is_batch_turn(current, prompt_id):
            current = lease.record_prompt(current, prompt_id)
        return (lease.begin_worker_call(current, call_id, prompt_id) if call_id else current), False

    _, is_second = Store(event.project, trusted=False).update_with_result(record)
    if is_second:
        return False, "A worker is at work on the open feature. Wait for its end; then do what its result says."
    return True, None


def _check_agent(event: HookEvent, agent: object) -> Optional[str]:
    """Return why an agent must not be started; None if it may."""
    if agent == REVIEWER and event.owns_batch:
        from . import reviewer

        return reviewer.find_denial_reason(event)
    if agent == WORKER and event.owns_batch and event.sidecar is not None and event.sidecar.live:
        is_worker = event.is_in_agent and event.get_text("agent_type") == WORKER
        step = "Do the open feature yourself." if is_worker else prompts.SKILL_INSTRUCTION
        return f"A worker is started by `/auto-implement` alone, which gives it its feature. {step}"
    return None


def _check_command(event: HookEvent, command: object) -> Optional[str]:
    """Return why a shell command must not run; None if it may."""
    from ..commands.authorization import USER_COMMANDS, user_only_message
    from .command_guard import command_policy

    if not isinstance(command, str):
        return None
    project = event.project
    names = command_policy.ProtectedNames(
        user_commands=frozenset(USER_COMMANDS),
        private=(
            f".claude/{project.temp_name}",
            ".claude/batch-implement/",
            ".git/batch-implement/",
            project.private + "/",
            project.second_backup,
        ),
        roots=(project.root, os.path.realpath(project.root)),
        cwd=event.cwd,
    )
    refusal = command_policy.check_command(command, names)
    if refusal is None:
        from . import worker_commands

        return worker_commands.find_denial_reason(event, command)
    if refusal.kind == "command":
        return user_only_message(refusal.what, unattended=event.sidecar is not None and event.sidecar.unattended)
    if refusal.enters_git:
        return f"{refusal.what}: this would corrupt the index and the batch's own files. {WALK_HINT}"
    return f"{refusal.what}: this would change the batch's own files. {BATCHCTL_HINT}"


def _is_batch_file(event: HookEvent, target: str) -> bool:
    """Return whether `target`, however spelled or linked, is the state file or one of the plugin's private files."""
    project = event.project
    path = os.path.join(event.cwd, os.path.expanduser(target))
    if not _is_valid_path(path):
        return False
    folder = os.path.realpath(f"{project.root}/{project_paths.STATE_FOLDER}")
    private, second_backup = os.path.realpath(project.private), os.path.realpath(project.second_backup)
    for candidate in (os.path.normpath(path), os.path.realpath(path)):
        parent, name = os.path.split(candidate)
        if name.startswith(project_paths.STATE_NAME) and os.path.realpath(parent) == folder:
            return True
        if candidate in (private, second_backup) or candidate.startswith(private + os.sep):
            return True
    try:
        return os.path.samefile(path, project.state)
    except OSError:
        return False


def _is_valid_path(path: str) -> bool:
    """Return whether the system accepts a path: without NUL and without a lone surrogate."""
    try:
        return b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        return False


# -- after the call ---------------------------------------------------------------------------------------------------


def _is_worker_end(event: HookEvent) -> bool:
    """Return whether a Skill call of the coordinator's has ended that did a feature in the foreground."""
    skill, response = event.get_object("tool_input").get("skill"), event.get_object("tool_response")
    return skill in WORKER_SKILLS and not event.is_in_agent and not response.get("background")


def _handle_worker_end(event: HookEvent, notes: List[str]) -> tuple[List[str], str]:
    """Record how a worker ended. Return the notes with the next step for the model, and a message for the user."""
    result = str(event.get_object("tool_response").get("result") or event.get_text("error"))[:2000]
    call_id = event.get_text("tool_use_id")[:MAX_ID_CHARS]
    store = Store(event.project, trusted=False)

    def record(state: State) -> State:
        return lease.end_worker_call(_record_worker_end(event, state, result), call_id)

    try:
        before = store.require()
        if before["active"] and not record(before)["active"]:
            state = _close_attempt(event, store, before, record)
        else:
            state = store.update(event.if_still_owner(record))
    except RefusedError as refusal:
        return [*notes, refusal.message], refusal.message
    outcome = _describe_outcome(before, state)
    notes = [*notes, *store.notes, f"{outcome} {prompts.next_step(state)}".strip()]
    return notes, f"{outcome} {prompts.progress_summary(state)}.".strip()


def _record_worker_end(event: HookEvent, state: State, result: str) -> State:
    """Return the state after a worker that ended with `result`: paused, failed, interrupted or unchanged."""
    from ..core import transitions

    now = timestamps.now()
    if state["status"] != "in_progress":
        return state
    if event.name == "PostToolUseFailure":  # tried again, but not for ever: counts as a stop without progress
        continued = lease.record_continuation(state)
        failed = f"the worker could not be started: {result[:300]}"
        return transitions.pause(state, now, failed) if continued is None else continued
    if not state["active"]:
        return state
    kind = failure_classification.classify(result)
    if kind in failure_classification.NEEDS_USER:
        return transitions.pause(state, now, f"the worker stopped ({kind}): {result[:200]}")
    if failure_classification.TREATMENT[kind] == "fail":
        return transitions.fail(state, now, result, kind, permanent=True)
    return transitions.record_interruption(state, now, result, counted=kind not in failure_classification.UNCOUNTED)


def _close_attempt(event: HookEvent, store: Store, before: State, record: Callable[[State], State]) -> State:
    """Write `record`, which ends the attempt that is open in `before`. Keep what the attempt left uncommitted: it must
    not get into another feature's commit.
    """
    from ..commands import attempt_leftovers
    from ..core import transitions

    index = before["active"]["feature_index"]

    def close(current: State, snapshot: Optional[str]) -> State:
        changed = event.if_still_owner(record)(current)
        if not snapshot or changed["active"] or not current["active"]:
            return changed
        return transitions.record_snapshot(changed, index, snapshot)

    return attempt_leftovers.close_attempt(store, before, close)[0]


def _describe_outcome(before: State, state: State) -> str:
    """Return a sentence on how the worker's feature ended; empty if none was worked on."""
    active = before["active"]
    if state["active"] and active:
        return (
            "The worker exited without reporting done or failed. "
            f"Feature {active['feature_index'] + 1} is still open and its work is kept."
        )
    index = active["feature_index"] if active else lease.last_worked_index(state)
    if index is None:
        return ""
    status = batch_state.feature_status(state, index)
    if active:
        return f"The worker exited without reporting done or failed. Feature {index + 1} is {status} now."
    if status == "pending":
        return f"Feature {index + 1} failed (attempt {batch_state.attempts_used(state, index)}) and will be retried."
    return f"Feature {index + 1} is {status}."


def _record_phase(event: HookEvent) -> None:
    """Record the phase that a shell command shows."""
    from . import phases

    command = event.get_object("tool_input").get("command")
    phase = phases.infer_from_command(command, has_succeeded=event.name == "PostToolUse")
    if phase is not None:
        phases.begin(event, phase)


def _record_pushes(event: HookEvent) -> None:
    """Record a `git push` or `gh pr create` for the open feature, else for the last one that was closed."""
    from ..core import transitions
    from . import push_detection

    command = event.get_object("tool_input").get("command")
    if not isinstance(command, str):
        return
    response = event.get_object("tool_response")
    output = f"{response.get('stdout') or ''}\n{response.get('stderr') or ''}" if response else event.get_text("error")
    operations = push_detection.detect_operations(command, output, succeeded=event.name == "PostToolUse")
    if not operations:
        return

    def record(state: State) -> State:
        index = batch_state.active_index(state)
        index = batch_state.last_closed_index(state) if index is None else index
        for name, fields in operations.items() if index is not None else ():
            state = transitions.record_git_operation(state, index or 0, name, {**fields, "timestamp": timestamps.now()})
        return state

    event.update_state(record)
