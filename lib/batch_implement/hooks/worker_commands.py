"""Deny shell commands of a worker: reports on a feature that another has, and `git stash` in a run.

`batchctl done`, `fail` and `phase` are for the open feature's worker: the first agent of that type that uses one of
them after `batchctl start`; another `start` frees the feature for the next worker. Features that the conversation
itself does (`direct`) and clients of `batchctl run` have no worker: there the session counts alone, as in a terminal.

The worktrees of a run share one list of stashes with the user: a worker that pops takes what is another's, and what it
leaves there nobody finds.
"""

from __future__ import annotations

from ..core import lease, prompts
from ..store import sidecar
from ..store.store import Store
from .dispatch import WORKER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from ..core.batch_state import State
    from .dispatch import HookEvent

STASH_DENIAL = (
    "`git stash` is denied in a run: all worktrees share one list of stashes, and the user's are in it. Commit on this "
    "branch instead (`git add FILE`, `git commit`, later `git commit --amend`); `git show HEAD:FILE` prints a file as "
    "it was committed."
)
REPORTING_COMMANDS = frozenset(("done", "fail", "phase"))


def find_denial_reason(event: HookEvent, command: str) -> Optional[str]:
    """Return why a shell command must not report on the open feature, or not use stashes; None if it may or does
    not.
    """
    if not event.owns_batch or event.sidecar is None:
        return None
    from .command_guard import command_policy

    if "stash" in command and (Store(event.project, trusted=False).read() or {}).get("attempt_of"):
        names = command_policy.ProtectedNames(frozenset(), cwd=event.cwd, denies_stash=True)
        stashes = command_policy.check_command(command, names)
        if stashes is not None and stashes.kind == "command":
            return STASH_DENIAL
    if not event.sidecar.open:
        return None
    names = command_policy.ProtectedNames(user_commands=REPORTING_COMMANDS, cwd=event.cwd)
    refusal = command_policy.check_command(command, names)
    if refusal is None or refusal.kind != "command":
        return None
    state = Store(event.project, trusted=False).read()
    if state is None or not state["active"]:
        return None
    reason = _check_reporter(event, state, refusal.what)
    if reason is None and refusal.what == "batchctl done":
        from . import phases

        phases.begin(event, "verify")
    return reason


def _check_reporter(event: HookEvent, state: State, command: str) -> Optional[str]:
    """Return why the context window of this event must not run `command` on the feature that is open in `state`."""
    if prompts.workflow_mode(state) == "direct" or (state["owner"] or {}).get("driven"):
        return None
    number = state["active"]["feature_index"] + 1
    if event.get_text("agent_type") == WORKER and event.is_in_agent and sidecar.is_storable_session_id(event.context):
        state = event.update_state(lambda current: lease.bind_worker(current, event.context))
        if lease.get_worker(state) == event.context or not state["active"]:
            return None
        return (
            f"`{command}`: another worker has feature {number}. Only the worker that first reported on it since "
            "`batchctl start` does so. Stop here and answer what you did."
        )
    if event.is_in_agent:
        return f"`{command}` is for the worker of feature {number}. Answer it what you were asked for, and stop."
    if lease.get_worker(state) is None:
        return None  # no worker has the feature: the conversation may do it
    return (
        f"`{command}` is for the worker of feature {number}. If it has ended, start the next one, which resumes "
        f"the feature. {prompts.SKILL_INSTRUCTION}"
    )
