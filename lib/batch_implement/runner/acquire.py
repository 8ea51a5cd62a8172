"""How a run takes a batch: its branch is made, its lease begun, and what a dead run left is adopted.

    state = begin(project, terms, now)

The batch's branch begins at the person's HEAD. A later run needs the two to be on one line: whichever is behind is
brought up (the branch), or refused (the person's, whose work tree is never touched).
"""

from __future__ import annotations

import os
import uuid
from typing import NamedTuple

from ..base import processes, timestamps
from ..base.project_paths import Project
from ..commands import authorization
from ..core import run_transitions
from ..core.batch_state import key
from ..core.errors import RefusedError
from ..git import git_client, worktrees
from ..store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.batch_state import State


class RunRequest(NamedTuple):
    """On what terms a run takes a batch: features side by side, the folder that holds the work trees of all batches,
    what the state keeps as `run.options`, and the limits (`policy.budgets`).
    """

    jobs: int
    worktrees: str
    options: State
    budgets: State


def acquire_run(project: Project, terms: RunRequest, now: str) -> State:
    """Take the batch for a run of this process: its branch is there, what a dead run left under way is pending again
    or waits to be merged. Refused while another client or run has it, and when the person's branch and the batch's
    have parted.
    """
    store = Store(project)
    state = store.require()
    owner = processes.new_owner(str(uuid.uuid4()), os.getpid(), now)
    branch = worktrees.get_batch_branch(state["batch_id"])
    top = os.path.join(terms.worktrees, state["batch_id"])
    base = _prepare_batch_branch(project.root, branch)
    target = git_client.get_branch(project.root)

    def take(current: State) -> State:
        if processes.classify_owner(current["owner"], owner["session_id"], owner["pid"]) == "other":
            raise authorization.batch_in_use_error(current)
        waited = (current.get("run") or {}).get("waiting")
        if waited:  # a dead run was at it; a client that begins too early costs nothing
            current = run_transitions.end_wait(
                current, now, timestamps.seconds_between(waited["since"], min(now, waited["until"]))
            )
        return run_transitions.begin(
            current, now, owner, branch=branch, base_commit=base, target=target, worktrees=top, jobs=terms.jobs,
            options=terms.options, budgets=terms.budgets,
        )  # fmt: skip

    store.update(take)
    return _recover_dead_run(project, store, now)


def _prepare_batch_branch(root: str, branch: str) -> str:
    """Make the batch's branch at HEAD, or bring it up to HEAD; the commit it is at."""
    head = git_client.get_head(root)
    if head is None:
        raise RefusedError(
            f"There is no commit in {root} to begin on. Commit something, then start again.", "not-a-repository"
        )
    known = git_client.get_branch_tip(root, branch)
    if known and git_client.has_commit(root, head, known):
        return known
    if known and not git_client.has_commit(root, known, head):
        raise RefusedError(
            f"{branch}, which has what was done so far ({known[:12]}), and HEAD ({head[:12]}) have parted. Bring them "
            f"together (`git merge {branch}`), then start again.",
            "run-branch",
        )
    git_client.run_git(root, "update-ref", "-m", "batch: begin", f"refs/heads/{branch}", head, known or "0" * len(head))
    return head


def _recover_dead_run(project: Project, store: Store, now: str) -> State:
    """What a dead run left: its clients are ended, what it had merged is completed, what it worked on is pending."""
    state = store.require()
    root, run = project.root, state["run"]
    worktrees.end_processes(merge_worktree(state))
    merged, left = [], []
    for name, entry in sorted(run["running"].items()):
        if entry["worktree"]:
            worktrees.end_processes(entry["worktree"])
        if entry["step"] == "running":
            left.append(int(name))
        elif git_client.has_commit(root, entry["commit"], run["branch"]):
            merged.append((int(name), entry))

    def settle(current: State) -> State:
        for index in left:
            current = run_transitions.return_to_pending(current, index)
        for index, entry in merged:
            made = entry["evidence"]["commit"]
            merge = {"commit": entry["commit"], "from": made, "rebased": made != entry["commit"]}
            proof = {**entry["evidence"], "commit": entry["commit"], "branch": run["branch"]}
            current = run_transitions.complete_feature(current, now, index, proof, merge)
        return current

    state = store.update(settle)
    for index in state["completed_features"]:
        text, clients = state["features"][index], run["clients"].get(key(index), ())
        for attempt in {client["attempt"] for client in clients}:
            worktrees.remove(root, worktrees.get_attempt_folder(run["worktrees"], index, text, attempt))
    return state


def merge_worktree(state: State) -> str:
    """The merge queue's own work tree."""
    return os.path.join(state["run"]["worktrees"], "merged")
