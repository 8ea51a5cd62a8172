"""The merge queue: what a worker verified goes onto the batch's branch, one feature at a time.

    ready = merging.prepare(repository, folder, branch, commit, verify=..., timeout_s=..., log=..., stopped=event)
    merging.forward(repository, branch, ready)                  the branch moves, or Moved: prepare again

A commit that was made on the branch's head goes there as it is: that very commit was verified. Any other is rebased
onto the head, in a work tree of the queue's own (`folder`), and verified again. What cannot be rebased, or does not
verify there, is CannotMerge; its message says why, for the next attempt. Nothing but that work tree is touched before
`forward`, which moves the branch only from the head that was prepared for.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from ..base import subprocesses
from ..commands import verify_runner
from ..core.errors import BatchError, RefusedError
from ..git import git_client, worktrees

# Nobody is there to answer, no hook of the repository is to run, and no option of its owner changes what a rebase is.
_NONINTERACTIVE = ("-c", "core.hooksPath=/dev/null", "-c", "core.editor=true", "-c", "sequence.editor=true",
          "-c", "rebase.autoSquash=false", "-c", "rebase.updateRefs=false", "-c", "rerere.enabled=false")  # fmt: skip


class CannotMerge(RefusedError):
    """The commit does not fit onto the branch as it is now."""


class HeadMoved(RefusedError):
    """The branch has another head than the one that was prepared for."""


class MergeStopped(BatchError):
    """The run was stopped while the verify command ran."""


class PreparedMerge(NamedTuple):
    """`commit` may become the branch's head in place of `head`. `commits` are what it brings, oldest first; `verify` is
    the run of the verify command on it as evidence has it, None when it was not run (again).
    """

    head: str
    commit: str
    commits: List[str]
    rebased: bool
    verify: Optional[Dict[str, Any]]


class RebaseResult(NamedTuple):
    """What a rebase came to: the new `head`; or None, and the commit that it stopped `at` (empty when git does not
    say), the `files` in conflict there, and git's words.
    """

    head: Optional[str]
    at: str
    files: List[str]
    words: str


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
) -> PreparedMerge:
    """Bring `commit` onto the head of `branch`, in the work tree `folder`, and verify it there when it changed.

    `verify` is the person's command, None for none; its output goes to the file `log`. Raises CannotMerge, and Stopped
    once `stopped` is set.
    """
    head = _require_head(repository, branch)
    if git_client.has_commit(repository, head, commit):
        return PreparedMerge(head, commit, _commits_between(repository, head, commit), rebased=False, verify=None)
    worktrees.add_detached(repository, folder, head)
    new = _rebase_onto_head(folder, head, commit)
    commits = _commits_between(repository, head, new)
    if verify is None or not commits:
        return PreparedMerge(head, new, commits, rebased=True, verify=None)
    return PreparedMerge(head, new, commits, rebased=True, verify=_run_verify(folder, verify, timeout_s, log, stopped))


def fast_forward(repository: str, branch: str, ready: PreparedMerge) -> None:
    """Make the prepared commit the head of `branch`. Moved when that has another head by now."""
    moved = git_client.run_git(
        repository, "update-ref", "-m", "batch: merge a feature", f"refs/heads/{branch}", ready.commit, ready.head,
        check=False,
    )  # fmt: skip
    if moved.returncode != 0:
        if _require_head(repository, branch) == ready.head:
            raise RefusedError(
                f"{branch} in {repository} cannot be moved to {ready.commit[:12]}: {moved.stderr.strip()[:300]} Mend "
                "what git says; `batchctl run --resume` then merges it.",
                "run-branch",
            )
        raise HeadMoved(f"{branch} is not at {ready.head[:12]} any more: somebody else moved it.", "run-branch")


def records_of_merge(
    evidence: Dict[str, Any], branch: str, prepared: PreparedMerge
) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """Return the evidence of a merged feature, and its entry of `run.merges`, from the evidence of its worker."""
    merge = {
        "commit": prepared.commit, "from": evidence["commit"], "rebased": prepared.rebased,
        "verify_seconds": prepared.verify["seconds"] if prepared.verify else None,
    }  # fmt: skip
    evidence = {**evidence, "commit": prepared.commit, "branch": branch}
    if prepared.rebased:
        evidence["commits"] = prepared.commits
    if prepared.verify:
        evidence["verify"] = prepared.verify
    return evidence, merge


def _require_head(repository: str, branch: str) -> str:
    head = git_client.get_branch_tip(repository, branch)
    if head is None:
        raise RefusedError(
            f"The batch's branch {branch} is gone from {repository}. If it was removed by mistake, `git reflog` knows "
            f"its commit: `git branch {branch} COMMIT`, then `batchctl run --resume`.",
            "run-branch",
        )
    return head


def _commits_between(repository: str, base: str, commit: str) -> List[str]:
    limit = f"--max-count={git_client.MAX_COMMITS}"
    return git_client.run_git(
        repository, "rev-list", "--reverse", "--topo-order", limit, commit, f"^{base}", "--"
    ).stdout.split()


def rebase(folder: str, onto: str, after: str, last: str, *options: str) -> RebaseResult:
    """Put the commits behind `after` up to `last` onto `onto`, in the work tree `folder`. What does not fit is taken
    back there, and told.
    """
    answer = git_client.run_git(
        folder,
        *_NONINTERACTIVE,
        "rebase",
        "--quiet",
        "--no-autostash",
        "--no-fork-point",
        "--empty=drop",
        *options,
        "--onto",
        onto,
        after,
        last,
        check=False,
    )
    if answer.returncode == 0:
        return RebaseResult(git_client.get_head(folder), "", [], "")
    files = git_client.run_git(folder, "diff", "--name-only", "--diff-filter=U", "-z", check=False).stdout.split("\0")[
        :-1
    ]
    at = git_client.run_git(folder, "rev-parse", "--verify", "--quiet", "REBASE_HEAD", check=False).stdout.strip()
    git_client.run_git(folder, "rebase", "--abort", check=False)
    return RebaseResult(None, at, files, answer.stderr.strip())


def _rebase_onto_head(folder: str, head: str, commit: str) -> str:
    """The commit as it is on top of `head`. CannotMerge names the files in conflict."""
    done = rebase(folder, head, head, commit)
    if done.head:
        return done.head
    if not done.files:
        raise CannotMerge(
            f"Its commits cannot be put onto {head[:12]}: `git rebase` said: {done.words[-500:]}", "merge-conflict"
        )
    raise CannotMerge(
        f"Its commit {done.at[:12] or commit[:12]} conflicts with what was merged meanwhile ({head[:12]}), in "
        f"{git_client.format_paths(done.files)}. This attempt begins on that: do the feature again on top of it.",
        "merge-conflict",
    )


def _run_verify(folder: str, command: str, timeout_s: int, log: str, stopped: threading.Event) -> Dict[str, Any]:
    began = time.monotonic()
    os.makedirs(os.path.dirname(log), mode=0o700, exist_ok=True)
    with open(log, "wb") as output:
        ended = subprocesses.run_in_worktree(command, folder, timeout_s, output=output, stop=stopped).returncode
    seconds = time.monotonic() - began
    if ended is None and stopped.is_set():
        raise MergeStopped("The run was stopped while a feature was verified on the batch's branch.", "run-stopped")
    if ended == 0:
        return {"command": command, "exit_code": 0, "seconds": round(seconds, 3), "log": log}
    how = f"did not end within {timeout_s} s" if ended is None else f"failed with exit status {ended}"
    raise CannotMerge(
        f"On top of what was merged meanwhile the verify command `{command[:200]}` {how}, though it passed before. "
        "This attempt begins on that: see what does not fit. The end of its output (data):\n"
        f"{verify_runner.quote_log_end(log)}",
        "merge-conflict",
    )
