"""Decide who may run which command.

USER_COMMANDS are the user's: at a terminal or typed as a slash command, never run by the model. WORKER_COMMANDS are for
the owner of the batch. Everybody may run READ_COMMANDS.
"""

from __future__ import annotations

import os

from ..base import process_identity
from ..core.errors import RefusedError
from ..store import sidecar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from .command import CommandContext

USER_COMMANDS = ("create", "run", "add", "skip", "retry", "pause", "resume", "abort", "issues", "clean")
READ_COMMANDS = ("status", "statusline", "next", "brief", "log", "report", "validate", "convert", "schema", "doctor")
WORKER_COMMANDS = ("start", "phase", "done", "fail", "decide")
VERIFY_VARIABLE = "BATCHCTL_VERIFY"  # set below a verify command: the roots whose batches it may not change


class Caller:
    """The process that runs a command.

    `session_id` and `pid` are those of its client, empty and None at a plain terminal. `is_user`: a user typed the
    command, at a terminal or as a slash command; False when the model runs it. `unattended`: nobody can answer
    questions. `prompt_id` is the client's id of the prompt.
    """

    __slots__ = ("is_user", "pid", "prompt_id", "session_id", "unattended")

    def __init__(
        self,
        session_id: str,
        pid: Optional[int],
        *,
        is_user: bool,
        unattended: bool = False,
        prompt_id: Optional[str] = None,
    ) -> None:
        self.session_id = session_id if sidecar.is_storable_session_id(session_id) else ""
        self.pid, self.is_user, self.unattended, self.prompt_id = pid, is_user, unattended, prompt_id

    def new_owner(self, now: str) -> Optional[State]:
        """Return the lease that this caller would take; None at a plain terminal."""
        return process_identity.new_owner(self.session_id, self.pid, now) if self.session_id else None


def caller_from_environment(environ: Mapping[str, str]) -> Caller:
    """Return the caller of `batchctl`: the model when this process runs under a client, else a user."""
    session_id = environ.get("CLAUDE_CODE_SESSION_ID", "")
    in_client = bool(session_id) or environ.get("CLAUDECODE") == "1"
    return Caller(session_id, process_identity.find_client_pid(environ) if in_client else None, is_user=not in_client)


def caller_from_hook(session_id: str, environ: Mapping[str, str], prompt_id: Optional[str] = None) -> Caller:
    """Return the caller of a slash command, which a user typed in a client."""
    unattended = environ.get("CLAUDE_CODE_SESSION_ATTENDED") == "0" or environ.get(
        "CLAUDE_CODE_ENTRYPOINT", ""
    ).startswith("sdk")
    return Caller(
        session_id, process_identity.find_client_pid(environ), is_user=True, unattended=unattended, prompt_id=prompt_id
    )


def refuse_below_verify(command: str, root: str, environ: Mapping[str, str]) -> None:
    """Raise RefusedError when a verify or setup command of this project's batch runs a command that changes a batch."""
    roots = environ.get(VERIFY_VARIABLE, "").split(os.pathsep)
    if command in READ_COMMANDS or os.path.realpath(root) not in (os.path.realpath(path) for path in roots if path):
        return
    raise RefusedError(
        f"`batchctl {command}` was run by the verify command or the setup command of the batch in {root}: nobody's "
        "decision. Take the call out of the command or of what it runs (a Makefile, a test).",
        "user-command",
    )


def require_user(command: str, caller: Caller, state: Optional[State]) -> None:
    """Raise RefusedError when the model runs a command of the user.

    The model is known by its environment, or as a child of the client that owns the batch.
    """
    # The hook of a slash command is a child of that client too.
    if command not in USER_COMMANDS or (caller.is_user and caller.session_id):
        return
    owner = state["owner"] if state else None
    is_child = (
        owner is not None and owner["pid"] is not None and owner["pid"] in process_identity.iter_ancestors(os.getpid())
    )
    if not caller.is_user or is_child:
        is_unattended = bool(state and state["policy"]["unattended"])
        answer = user_only_message(f"batchctl {command}", unattended=is_unattended)
        raise RefusedError(
            f"{answer} (The user types `/batchctl {command}` here, or uses a "
            "terminal that was not started from Claude Code.)",
            "user-command",
        )


def user_only_message(command: str, *, unattended: bool) -> str:
    """Return the message to the model for a command of the user. `unattended`: nobody reads what it says."""
    way_out = "say why with `batchctl fail --reason TEXT`" if unattended else "stop and say why"
    return (
        f"`{command}` is for the user, not for the model. Continue with the open feature; if only this command would "
        f"help, {way_out}."
    )


def require_owned_state(context: CommandContext) -> State:
    """Return the state. Raises RefusedError when the caller does not own the batch."""
    state = context.require_state()
    require_owner(state, context.caller, context.project)
    return state


def require_owner(state: State, caller: Caller, project: Project) -> None:
    """Raise RefusedError unless the caller owns the batch, or is a user at a terminal and it has no owner."""
    relation = process_identity.classify_owner(state["owner"], caller.session_id, caller.pid)
    if relation == "own" or (relation == "free" and not caller.session_id and caller.is_user):
        return
    if relation == "free":
        from ..core import transitions

        transitions.require_in_progress(state)  # a batch that is paused or over says so first
        raise RefusedError(
            f"Batch {state['batch_id']} in {project.root} has no client working on it, and this session has not taken "
            "it over. The user does that with `/batch-implement --resume`.",
            "batch-waiting",
        )
    raise batch_in_use_error(state)


def batch_in_use_error(state: State) -> RefusedError:
    """Return the error for a batch that another living client or a run owns."""
    owner = state["owner"]
    process = f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
    if owner.get("driven") and state.get("run"):
        return RefusedError(
            f"Batch {state['batch_id']} is in use by `batchctl run`: {process}. Wait for it (`batchctl status` shows "
            "how far it is), or type `batchctl pause` in a terminal: it finishes the running features and stops.",
            "batch-live",
        )
    return RefusedError(
        f"Batch {state['batch_id']} is in use by another client: session {owner['session_id']}, {process}. Wait for it "
        "(`batchctl status` shows how far it is), or type `batchctl pause` in a terminal, or close that client, and "
        "then `/batch-implement --resume` here.",
        "batch-live",
    )


def describe_next_step(state: State, caller: Caller) -> str:
    """Return the next step: about the batch for a user, as an instruction for the model."""
    from ..core import lease, prompts
    from ..report import status_report

    if not caller.is_user:
        return prompts.next_step(state, worker=lease.is_worker_at_work(state))
    return status_report.describe_batch(state, at_work=process_identity.is_owner_alive(state["owner"]))
