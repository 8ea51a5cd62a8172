"""Merge verified commits into the batch's branch, one feature at a time.

    prepared = prepare_merge(repository, folder, branch, commit, verify=..., timeout_s=..., log=..., stopped=event)
    fast_forward(repository, branch, prepared)      moves the branch, or raises NotMerged: prepare again

A commit on top of the branch's head is merged as it is: it was verified as such. Any other is rebased onto the head in
the queue's own worktree (`folder`), or put there as one commit if only that keeps all of the work, and verified again.
CannotMerge says why this failed, for the next attempt. Only that worktree changes before `fast_forward`, which moves
the branch only from the head that was prepared for.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..base import subprocesses
from ..commands import verify_command
from ..core.errors import BatchError, RefusedError
from ..git import git_client, merging, tree_setup, verify_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..git.tree_setup import Setup


class CannotMerge(RefusedError):
    """The commit conflicts with the branch, or its verify command fails there."""


class NotMerged(BatchError):
    """The branch has moved since the merge was prepared, or the run was stopped: the commit waits as before."""


class PreparedMerge(NamedTuple):
    """A `commit` that can become the branch's head in place of `head`. `commits` are the new ones, oldest first;
    `verify` is the run of the verify command in the form of evidence, None if it was not run again.
    """

    head: str
    commit: str
    commits: List[str]
    verify: Optional[Dict[str, Any]]


def prepare_merge(
    repository: str,
    folder: str,
    branch: str,
    commit: str,
    *,
    verify: Optional[str],
    timeout_s: int,
    log: str,
    stopped: threading.Event,
    slot: int = 0,
    setup: Optional[Setup] = None,
    delay_s: float = 0.0,
    may_be_empty: bool = True,
) -> PreparedMerge:
    """Put `commit` onto the head of `branch` in the worktree `folder`, and verify it there if it changed.

    The output of the command `verify`, if any, goes to the file `log`; `slot` is its `BATCH_SLOT`, and `setup` is what
    prepares the worktree for it. Begins after `delay_s` seconds. `may_be_empty`: the feature may change nothing on top
    of the branch. Raises CannotMerge, and NotMerged once `stopped` is set.
    """
    if stopped.wait(delay_s):
        raise NotMerged("The run was stopped before a merge was tried again.", "run-stopped")
    head = _require_head(repository, branch)
    if git_client.has_commit(repository, head, commit):
        return PreparedMerge(head, commit, _commits_between(repository, head, commit), None)
    verify_tree.prepare(repository, folder, head)
    new = _put_onto_head(folder, head, commit)
    if new == head and not may_be_empty:
        raise CannotMerge(
            f"Its commit {commit[:12]} changes nothing on top of what was merged meanwhile ({head[:12]}): that has its "
            "work. If nothing is left to do, it ends with `batchctl done --no-change REASON`.",
            "nothing-to-commit",
        )
    commits = _commits_between(repository, head, new)
    if verify is None or not commits:
        return PreparedMerge(head, new, commits, None)
    _set_up(repository, folder, head, new, setup)
    variables = verify_command.get_variables((repository, folder), slot)
    return PreparedMerge(head, new, commits, _run_verify(folder, verify, timeout_s, log, stopped, variables))


def _set_up(repository: str, folder: str, head: str, new: str, setup: Optional[Setup]) -> None:
    """Make the worktree what `new` is. Raise CannotMerge when only what `new` changes fails the setup command."""
    try:
        verify_tree.prepare(repository, folder, new, setup=setup)
    except tree_setup.SetupStopped as error:
        raise NotMerged(error.message, "run-stopped") from error
    except tree_setup.SetupFailed as error:
        changed = tree_setup.list_changed_inputs(repository, head, new, setup.command if setup else None)
        if not changed:
            raise
        raise CannotMerge(
            f"On top of what was merged meanwhile it changes {git_client.format_paths(changed)}, and {error.message}",
            "merge-conflict",
        ) from error


def fast_forward(repository: str, branch: str, prepared: PreparedMerge) -> None:
    """Move `branch` to the prepared commit. Raise NotMerged if the branch has moved since."""
    arguments = ("-m", "batch: merge a feature", f"refs/heads/{branch}", prepared.commit, prepared.head)
    moved = git_client.run_git(repository, "update-ref", *arguments, check=False)
    if moved.returncode != 0:
        if _require_head(repository, branch) == prepared.head:
            raise RefusedError(
                f"Moving {branch} in {repository} to {prepared.commit[:12]} failed: {moved.stderr.strip()[:300]}. Fix "
                "this, then run `batchctl run --resume`.",
                "run-branch",
            )
        raise NotMerged(f"{branch} is no longer at {prepared.head[:12]}.", "run-branch")


def records_of_merge(
    evidence: Dict[str, Any], branch: str, prepared: PreparedMerge
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Return the evidence of a merged feature, and its entry of `run.merges`, from the evidence of its worker."""
    is_rebased = prepared.commit != evidence["commit"]
    merge = {
        "commit": prepared.commit, "from": evidence["commit"], "rebased": is_rebased,
        "verify_seconds": prepared.verify["seconds"] if prepared.verify else None,
    }  # fmt: skip
    evidence = {**evidence, "commit": prepared.commit, "branch": branch}
    if is_rebased:
        evidence["commits"] = prepared.commits
    if prepared.verify:
        evidence["verify"] = prepared.verify
    return evidence, merge


def _require_head(repository: str, branch: str) -> str:
    head = git_client.get_branch_tip(repository, branch)
    if head is None:
        raise RefusedError(
            f"The batch's branch {branch} is gone from {repository}. If it was removed by mistake, find its commit "
            f"with `git reflog`, then run `git branch {branch} COMMIT` and `batchctl run --resume`.",
            "run-branch",
        )
    return head


def _commits_between(repository: str, base: str, commit: str) -> List[str]:
    limit = f"--max-count={git_client.MAX_COMMITS}"
    return git_client.run_git(
        repository, "rev-list", "--reverse", "--topo-order", limit, commit, f"^{base}", "--"
    ).stdout.split()


def _put_onto_head(folder: str, head: str, commit: str) -> str:
    """Return a commit on top of `head` with the work of `commit`. CannotMerge names the files in conflict."""
    try:
        merged = merging.merge_trees(folder, head, commit)
    except merging.UnrelatedHistories as error:
        raise CannotMerge(f"Its commits cannot be put onto {head[:12]}: {error.message}", "merge-conflict") from error
    if merged.conflicts:
        raise CannotMerge(
            f"Its commit {commit[:12]} conflicts with what was merged meanwhile ({head[:12]}), in "
            f"{git_client.format_paths(merged.conflicts)}.",
            "merge-conflict",
        )
    return merging.transplant(folder, head, head, commit, merged.tree)


def _run_verify(
    folder: str, command: str, timeout_s: int, log: str, stopped: threading.Event, variables: Dict[str, str]
) -> Dict[str, Any]:
    began = time.monotonic()
    os.makedirs(os.path.dirname(log), mode=0o700, exist_ok=True)
    with open(log, "wb") as output:
        ended = subprocesses.run_in_worktree(
            command, folder, timeout_s, output=output, stop=stopped, variables=variables
        ).returncode
    seconds = time.monotonic() - began
    if ended is None and stopped.is_set():
        raise NotMerged("The run was stopped while a feature was verified on the batch's branch.", "run-stopped")
    if ended == 0:
        return {"command": command, "exit_code": 0, "seconds": round(seconds, 3), "log": log}
    how = f"did not end within {timeout_s} s" if ended is None else f"failed with exit status {ended}"
    raise CannotMerge(
        f"On top of what was merged meanwhile the verify command `{command[:200]}` {how}, though it passed before. "
        "The end of its output (data):\n"
        f"{verify_command.quote_log_end(log)}",
        "merge-conflict",
    )
