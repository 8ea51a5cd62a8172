"""Acquire a batch for a run: prepare the batch's branch, take the lease, recover what a dead run left.

    state = acquire_run(store, now, jobs=2, worktrees=folder, options=..., budgets=...)
    state = recover_dead_run(store, now)

The batch's branch starts at the user's HEAD. A later run fast-forwards the branch to HEAD if HEAD is ahead. If the two
have diverged, it refuses: the user's branch and working tree are never touched.
"""

from __future__ import annotations

import contextlib
import os
import uuid

from ..base import process_identity, timestamps
from ..commands import authorization
from ..core import batch_state, run_transitions
from ..core.batch_state import key
from ..core.errors import BatchError, RefusedError
from ..git import git_client, net_change
from ..git.worktrees import (
    end_processes,
    finish_branch,
    get_attempt_branch,
    get_attempt_folder,
    get_batch_branch,
    list_generated_folders,
    list_worktrees,
    remove,
    remove_preflights,
)
from ..store.store import Store
from . import merge_tips

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from ..core.batch_state import State


def acquire_run(
    store: Store,
    now: str,
    *,
    jobs: int,
    worktrees: str,
    options: State,
    budgets: State,
    policy: Optional[State] = None,
) -> State:
    """Make this process the owner of the batch and return its state.

    `jobs` features run in parallel, `worktrees` is the folder of the worktrees of all batches; `options` and `budgets`
    are what the state keeps as `run.options` and `policy.budgets`, `policy` other fields of its policy to set. Raise
    RefusedError if another client or run owns the batch, or HEAD and the batch's branch have diverged.
    """
    state, root = store.require(), store.project.root
    owner = process_identity.new_owner(str(uuid.uuid4()), os.getpid(), now)
    branch = get_batch_branch(state["batch_id"])
    _restore_branch(root, branch, state)
    base = _prepare_batch_branch(root, branch)
    target = git_client.get_branch(root)

    def begin_run(current: State) -> State:
        if process_identity.classify_owner(current["owner"], owner["session_id"], owner["pid"]) == "other":
            raise authorization.batch_in_use_error(current)
        waiting = (current.get("run") or {}).get("waiting")
        if waiting:  # of a dead run; a client that starts too early costs nothing
            waited_s = timestamps.seconds_between(waiting["since"], min(now, waiting["until"]))
            current = run_transitions.end_wait(current, now, waited_s)
        return run_transitions.begin(
            current, now, owner, branch=branch, base_commit=base, target=target,
            worktrees=os.path.join(worktrees, state["batch_id"]), jobs=jobs, options=options, budgets=budgets,
            policy=policy,
        )  # fmt: skip

    return store.update(begin_run)


def diverged_error(branch: str) -> RefusedError:
    """Return the error for a batch's branch that has diverged from HEAD."""
    return RefusedError(
        f"HEAD and {branch}, which has the results so far, have diverged. Merge them: `git merge {branch}`, then run "
        "the command again.",
        "run-branch",
    )


def last_merged_commit(state: State) -> str:
    """Return the commit that the batch's branch was last moved to by a run."""
    merges = state["run"].get("merges")
    return str(merges[-1]["commit"] if merges else state["run"]["base_commit"])


def _restore_branch(root: str, branch: str, state: State) -> None:
    """Create the batch's branch again if it is gone and HEAD does not have the work of all completed features."""
    if not state.get("run") or not state["completed_features"] or git_client.get_branch_tip(root, branch):
        return
    commit = git_client.resolve_commit(root, last_merged_commit(state))
    works = [net_change.list_commits(state["evidence"].get(key(index), {})) for index in state["completed_features"]]
    presences = net_change.find_presence(root, works)
    if commit and any(presence.status != net_change.PRESENT for presence in presences):
        merge_tips.restore_branch(root, branch, commit)


def _prepare_batch_branch(root: str, branch: str) -> str:
    """Create the batch's branch at HEAD, or fast-forward it to HEAD. Return the commit that it is at."""
    head, tip = git_client.get_head(root), git_client.get_branch_tip(root, branch)
    if head is None:
        raise RefusedError(
            f"{root} has no commit yet: a run starts at one. Commit something, then run the command again.",
            "not-a-repository",
        )
    relation = git_client.compare_branch_with_head(root, branch)
    if relation == "diverged":
        raise diverged_error(branch)
    if tip and relation in ("equal", "ahead"):
        return tip
    git_client.run_git(root, "update-ref", "-m", "batch: begin", f"refs/heads/{branch}", head, tip or "0" * len(head))
    return head


def recover_dead_run(store: Store, now: str) -> State:
    """End the processes of a dead run, complete what it had merged, make pending what it was working on, and remove the
    worktrees and branches that it had no time to remove. `store.notes` name what was kept, and what could not be
    removed.
    """
    state, root = store.require(), store.project.root
    run = state["run"]
    for folder in list_generated_folders(run["worktrees"]):
        end_processes(folder)
    merged: List[int] = []
    interrupted: List[int] = []
    for name, entry in sorted(run["running"].items()):
        if entry["worktree"]:
            end_processes(entry["worktree"])
        if entry["step"] == "running":
            interrupted.append(int(name))
        elif entry["prepared"] and git_client.has_commit(root, entry["prepared"]["merge"]["commit"], run["branch"]):
            merged.append(int(name))

    def recover(current: State) -> State:
        for index in interrupted:
            current = run_transitions.return_to_pending(current, index)
        for index in merged:
            current = run_transitions.complete_feature(current, now, index)
        return current

    state = store.update(recover)
    remove_leftovers(store, state)
    return state


def remove_leftovers(store: Store, state: State) -> None:
    """Remove what a driver or git that died left: worktrees of what is over, branches of what is merged."""
    root = store.project.root
    remove_preflights(root, os.path.dirname(state["run"]["worktrees"]))
    for folder in _list_needless_worktrees(root, state):
        try:
            ref = remove(root, folder)
            store.notes += [f"An earlier run left {folder}: what only it had is kept in {ref}."] if ref else []
        except (BatchError, OSError) as error:  # the run does not need it
            store.notes.append(f"An earlier run left {folder}, which could not be removed: {error}")
    for merge in state["run"]["merges"]:
        _finish_merged_branch(root, state, merge)


def _list_needless_worktrees(root: str, state: State) -> List[str]:
    """Return the worktrees in the folder of the batch that no attempt can go on in, and no report names."""
    top = state["run"]["worktrees"]
    needed = set(list_generated_folders(top))
    needed.update(entry["worktree"] for entry in state["run"]["running"].values())
    for index in [*batch_state.pending_indices(state), *batch_state.failed_indices(state)]:
        text, used = state["features"][index], batch_state.attempts_used(state, index)
        is_failed = batch_state.feature_status(state, index) == "failed"
        needed.add(get_attempt_folder(top, index, text, used if is_failed else used + 1))
    kept = {os.path.realpath(folder) for folder in needed if folder}
    below = os.path.join(os.path.realpath(top), "")
    folders = [path for path, _ in list_worktrees(root)[1:] if os.path.realpath(path).startswith(below)]
    return [folder for folder in folders if os.path.realpath(folder) not in kept]


def _finish_merged_branch(root: str, state: State, merge: State) -> None:
    """Delete the branch of a merged attempt that is still at the attempt's commit; for a pull request move it."""
    index, commit = merge["feature_index"], merge["from"]
    keep = state["run"]["options"].get("pr") == "feature"
    if keep and commit == merge["commit"]:
        return
    for attempt in range(1, batch_state.attempts_used(state, index) + 2):
        branch = get_attempt_branch(state["batch_id"], index, state["features"][index], attempt)
        if git_client.get_branch_tip(root, branch) == commit:
            with contextlib.suppress(BatchError):
                finish_branch(root, branch, merge["commit"], keep=keep)
