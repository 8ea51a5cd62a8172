"""Put verified features onto the batch's branch: build the commit that could become its head, verify it, move the
branch.

    tip = build_tip(repository, folder, head, base, [Work(3, commit), ...])     their work on top of `base`
    runs = verify_tip(repository, folder, head, tip.commit, {"make test": 600}, log=..., stopped=event)
    fast_forward(repository, branch, head, tip.commit)      moves the branch, or raises NotMerged: build again

A commit on top of the base stays as it is; any other is rebased onto it, or put there as one commit if only that keeps
all of the work. Only the worktrees given as `folder` change before `fast_forward`, which moves the branch only from the
head that was built on.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..base import subprocesses
from ..commands import verify_command
from ..core.errors import BatchError, RefusedError
from ..git import git_client, merging, tree_setup, verify_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..git.tree_setup import Setup


class VerifyFailed(RefusedError):
    """The verify command, or the setup command because of what is new, fails on a tip."""


class NotMerged(BatchError):
    """The branch has moved since its tip was built, or the run was stopped: the features wait as before."""


class Work(NamedTuple):
    """What a feature is to be merged with: the commit that was verified; it `may_be_empty` if nothing was to be
    changed.
    """

    feature: int
    commit: str
    may_be_empty: bool = False


class Part(NamedTuple):
    """A feature in a tip: the commit up to which its work goes, and its new commits, oldest first."""

    feature: int
    commit: str
    commits: List[str]


class LeftOut(NamedTuple):
    """A feature that is not in a tip, with the reason; `with_head`: what is merged already is in its way."""

    feature: int
    reason: str
    with_head: bool


class Tip(NamedTuple):
    """A commit on top of `base` with the work of `parts`."""

    base: str
    commit: str
    parts: List[Part]
    left_out: List[LeftOut]


def build_tip(repository: str, folder: str, head: str, base: str, works: Sequence[Work]) -> Tip:
    """Put the commits of features, in their order, onto the commit `base` in the worktree `folder`.

    `head` is the head of the batch's branch, in the history of `base`. Leaves out what conflicts or has become empty.
    """
    parts: List[Part] = []
    left_out: List[LeftOut] = []
    tip, is_prepared = base, False
    for work in works:
        new = work.commit
        if not git_client.has_commit(repository, tip, work.commit):
            if not is_prepared:
                verify_tree.prepare(repository, folder, base)
                is_prepared = True
            tree, reason = _merge_work(folder, tip, work)
            if reason:
                with_head = tip == head or bool(_merge_work(folder, head, work)[1])
                left_out.append(LeftOut(work.feature, reason, with_head))
                continue
            new = merging.transplant(folder, tip, tip, work.commit, tree)
        parts.append(Part(work.feature, new, _commits_between(repository, tip, new)))
        tip = new
    return Tip(base, tip, parts, left_out)


def verify_tip(
    repository: str,
    folder: str,
    head: str,
    commit: str,
    commands: Mapping[str, int],
    *,
    log: str,
    stopped: threading.Event,
    slot: int = 0,
    setup: Optional[Setup] = None,
) -> Dict[str, Dict[str, Any]]:
    """Run each of the verify `commands` on `commit` in the worktree `folder`; their values are their limits in seconds.

    Return each run in the form of evidence. The outputs go to the file `log` and, of further commands, `log.2` and so
    on; `slot` is the `BATCH_SLOT`, and `setup` prepares the worktree. `head` is the head of the batch's branch. Raises
    VerifyFailed, and NotMerged once `stopped` is set.
    """
    runs = {}
    for number, (command, timeout_s) in enumerate(commands.items(), start=1):
        if stopped.is_set():
            break
        _set_up(repository, folder, head, commit, setup)
        variables = verify_command.get_variables((repository, folder), slot)
        path = log if number == 1 else f"{log}.{number}"
        runs[command] = _run_verify(folder, command, timeout_s, path, stopped, variables)
    if stopped.is_set():
        raise NotMerged("The run was stopped while features were verified on the batch's branch.", "run-stopped")
    return runs


def fast_forward(repository: str, branch: str, head: str, commit: str) -> None:
    """Move `branch` from `head` to `commit`. Raise NotMerged if it is not at `head`."""
    arguments = ("-m", "batch: merge", f"refs/heads/{branch}", commit, head)
    moved = git_client.run_git(repository, "update-ref", *arguments, check=False)
    if moved.returncode != 0:
        if git_client.get_branch_tip(repository, branch) == head:
            raise RefusedError(
                f"Moving {branch} in {repository} to {commit[:12]} failed: {moved.stderr.strip()[:300]}. Fix this, "
                "then run `batchctl run --resume`.",
                "run-branch",
            )
        raise NotMerged(f"{branch} is no longer at {head[:12]}.", "run-branch")


def restore_branch(repository: str, branch: str, commit: str) -> None:
    """Create the batch's branch, which is gone, at the commit that it was at."""
    arguments = ("-m", "batch: restore", f"refs/heads/{branch}", commit, "0" * len(commit))
    git_client.run_git(repository, "update-ref", *arguments)


def _merge_work(folder: str, tip: str, work: Work) -> Tuple[str, str]:
    """Return the tree of a commit merged into `tip`, and why it cannot be put there; that is empty if it can."""
    try:
        tree, conflicts = merging.merge_trees(folder, tip, work.commit)
    except merging.UnrelatedHistories as error:
        return "", f"Its commits cannot be put onto {tip[:12]}: {error.message}"
    reason = ""
    if conflicts:
        reason = (
            f"Its commit {work.commit[:12]} conflicts with what was merged meanwhile ({tip[:12]}), in "
            f"{git_client.format_paths(conflicts)}."
        )
    elif tree == git_client.get_tree(folder, tip) and not work.may_be_empty:
        reason = (
            f"Its commit {work.commit[:12]} changes nothing on top of what was merged meanwhile ({tip[:12]}): that has "
            "its work. If nothing is left to do, it ends with `batchctl done --no-change REASON`."
        )
    return tree, reason


def _set_up(repository: str, folder: str, head: str, commit: str, setup: Optional[Setup]) -> None:
    """Make the worktree what `commit` is. Raise VerifyFailed when only what is new since `head` fails the setup."""
    try:
        verify_tree.prepare(repository, folder, commit, setup=setup)
    except tree_setup.SetupStopped as error:
        raise NotMerged(error.message, "run-stopped") from error
    except tree_setup.SetupFailed as error:
        changed = tree_setup.list_changed_inputs(repository, head, commit, setup.command if setup else None)
        if not changed:
            raise
        raise VerifyFailed(
            f"On top of what was merged meanwhile it changes {git_client.format_paths(changed)}, and {error.message}",
            "merge-conflict",
        ) from error


def _commits_between(repository: str, base: str, commit: str) -> List[str]:
    limit = f"--max-count={git_client.MAX_COMMITS}"
    return git_client.run_git(
        repository, "rev-list", "--reverse", "--topo-order", limit, commit, f"^{base}", "--"
    ).stdout.split()


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
        return {}
    if ended == 0:
        return {"command": command, "exit_code": 0, "seconds": round(seconds, 3), "log": log}
    how = f"did not end within {timeout_s} s" if ended is None else f"failed with exit status {ended}"
    raise VerifyFailed(
        f"On top of what was merged meanwhile the verify command `{command[:200]}` {how}, though it passed before. "
        "The end of its output (data):\n"
        f"{verify_command.quote_log_end(log)}",
        "merge-conflict",
    )
