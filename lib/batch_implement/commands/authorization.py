"""Who calls: a client's session, or a person at a terminal of their own; and what each may do."""

from __future__ import annotations

import os

from ..base import processes
from ..core.errors import RefusedError
from ..store import sidecar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State

USER_COMMANDS = frozenset(("create", "add", "skip", "retry", "pause", "resume", "abort", "issues", "run"))


class Caller:
    """The process that asks. `session_id` and `pid` are the client's, empty and None at a plain terminal. `is_user`: a
    person typed it, either at a terminal or as a slash command; False for what the model runs through its Bash
    tool. `prompt_id` is the client's id of what they typed.
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

    @property
    def has_session(self) -> bool:
        """Whether there is a client's session behind it."""
        return bool(self.session_id)

    def new_owner(self, now: str) -> Optional[State]:
        """The lease this caller would take; None at a plain terminal."""
        return processes.new_owner(self.session_id, self.pid, now) if self.session_id else None


def caller_from_environment(environ: Mapping[str, str]) -> Caller:
    """The caller of `batchctl`: the model when this runs under a client, else a person."""
    session_id = environ.get("CLAUDE_CODE_SESSION_ID", "")
    inside = bool(session_id) or environ.get("CLAUDECODE") == "1"
    return Caller(session_id, processes.find_client_pid(environ) if inside else None, is_user=not inside)


def caller_from_hook(session_id: str, environ: Mapping[str, str], prompt_id: Optional[str] = None) -> Caller:
    """The caller of a slash command, which a person typed in a client."""
    alone = environ.get("CLAUDE_CODE_SESSION_ATTENDED") == "0" or environ.get("CLAUDE_CODE_ENTRYPOINT", "").startswith(
        "sdk"
    )
    return Caller(session_id, processes.find_client_pid(environ), is_user=True, unattended=alone, prompt_id=prompt_id)


def require_user(verb: str, caller: Caller, state: Optional[State]) -> None:
    """Refused when `verb` is a person's and the model runs it: by its environment, or as a child of the client that
    holds the batch.
    """
    if verb not in USER_COMMANDS or (caller.is_user and caller.has_session):  # a slash command's hook is a child too
        return
    owner = state["owner"] if state else None
    beneath = owner is not None and owner["pid"] is not None and owner["pid"] in processes.iter_ancestors(os.getpid())
    if not caller.is_user or beneath:
        raise RefusedError(
            f"{user_only_message(f'batchctl {verb}')} (A person types `/batchctl {verb}` here, or uses a terminal that "
            "was not started from Claude Code.)",
            "persons-verb",
        )


def user_only_message(command: str) -> str:
    """What the model is told of a command that is the person's."""
    return (
        f"`{command}` is for the person, not for the model. Go on with the feature that is open; if only this would "
        "help, stop and say why."
    )


def require_owner(state: State, caller: Caller, project: Project) -> None:
    """Refused when this caller is not the one that works on the batch."""
    owner = state["owner"]
    relation = processes.classify_owner(owner, caller.session_id, caller.pid)
    if relation == "own" or (relation == "free" and not caller.has_session and caller.is_user):
        return
    if relation == "free":
        from ..core import transitions  # what only reads does without

        transitions.require_in_progress(state)  # a pause or the end says more than that nobody works on it
        raise RefusedError(
            f"Batch {state['batch_id']} in {project.root} has no client working on it, and this session has not taken "
            "it over. A person does that with `/batch-implement --resume`.",
            "batch-waiting",
        )
    raise batch_in_use_error(state)


def batch_in_use_error(state: State) -> RefusedError:
    """The error for a batch that another living client, or `batchctl run`, has: which, and the ways on."""
    owner = state["owner"]
    at = f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
    if owner.get("driven") and state.get("run"):
        return RefusedError(
            f"Batch {state['batch_id']} is being worked on by `batchctl run`: {at}. Let it work; look with `batchctl "
            "status`; or `batchctl pause` in a terminal: what is under way ends, then it lets go.",
            "batch-live",
        )
    return RefusedError(
        f"Batch {state['batch_id']} is being worked on by another client: session {owner['session_id']}, {at}. "
        f"{IN_USE_NEXT_STEPS}",
        "batch-live",
    )


def describe_next_step(state: State, caller: Caller) -> str:
    """What is next: for a person in words about the batch, for the model as the step to do."""
    from ..core import prompts
    from ..report import status_report

    if not caller.is_user:
        return prompts.next_step(state)
    return status_report.describe_batch(state, at_work=processes.is_owner_alive(state["owner"]))


IN_USE_NEXT_STEPS = (
    "Let it work; look with `batchctl status`; or end its hold with `batchctl pause` in a terminal (or by closing "
    "that client) and then `/batch-implement --resume` here."
)
