"""Write the outcome of one feature to its GitHub issue. `gh` makes the calls.

    results = publish_outcome(project, state, index, ["comment", "close"])

Each comment ends with a marker (see `issue_comments`) and is not written again where a comment of the same login has
it: a call that is repeated after a crash adds nothing. A lock separates calls in one clone; calls in two clones are not
separated. Only reads the state: the caller records the results.
"""

from __future__ import annotations

import os

from ..base import project_paths
from ..core import batch_state
from ..core.errors import BatchError, RefusedError
from ..features import issue_comments
from ..git import gh, git_client
from ..store import lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Sequence

    from ..base.project_paths import Project
    from ..core.batch_state import State

    Result = Dict[str, Any]

LOCK_TIMEOUT_S = 120.0


def publish_outcome(project: Project, state: State, index: int, kinds: Sequence[str]) -> Dict[str, Result]:
    """Write the outcome of feature `index` to its issue: `kinds` are `comment`, `close` or both.

    Returns a result for each: `done`, `url` (of the comment, None if unknown), `why` (None without a reason) and, when
    it is not done, `everywhere`: whether other issues would have the same problem. Never raises for a problem. Only the
    issue of a completed feature is closed, once its commit is on the default branch as far as this clone knows.
    """
    try:
        folder = project_paths.open_folder(project.private_parent, f"{project.private_name}/issues", create=True)
        try:
            with lock.FileLock(folder, f"{project.private}/issues", LOCK_TIMEOUT_S):
                return _publish_locked(project.root, state, index, kinds)
        finally:
            os.close(folder)
    except (BatchError, OSError) as error:
        return {kind: _failure_result(error) for kind in kinds}


def _publish_locked(root: str, state: State, index: int, kinds: Sequence[str]) -> Dict[str, Result]:
    comment = issue_comments.format_outcome(state, index)
    number = state["issue_numbers"][index]
    issue = gh.view_issue(root, number, "state,comments")
    results = {}
    for kind in kinds:
        try:
            if kind == "comment":
                results[kind] = _write_comment(root, number, issue, comment, issue_comments.format_marker(state, index))
            else:
                results[kind] = _close_issue(root, number, issue, state, index)
        except BatchError as error:
            results[kind] = _failure_result(error)
    return results


def _success_result(url: object = None, why: object = None) -> Result:
    return {"done": True, "url": url, "why": why}


def _failure_result(error: BatchError | OSError) -> Result:
    why = error.message if isinstance(error, BatchError) else str(error)
    return {"done": False, "url": None, "why": why, "everywhere": isinstance(error, gh.GhError) and error.is_global}


def _write_comment(root: str, number: int, issue: Dict[str, Any], text: str, marker: str) -> Result:
    comments = issue.get("comments")
    if not isinstance(comments, list) or not all(isinstance(comment, dict) for comment in comments):
        raise gh.GhError("answer", f"gh's answer about issue {number} lacks its comments; none was written.")
    for comment in comments:
        # Others could keep our comment from being written. An old gh does not say whose a comment is.
        is_own = comment.get("viewerDidAuthor", True)
        if is_own and marker in map(str.rstrip, str(comment.get("body")).splitlines()):
            return _success_result(comment.get("url"), "it was there already")
    try:
        return _success_result(gh.add_comment(root, number, text) or None)
    except gh.GhError as error:
        if error.kind not in ("timeout", "server", "offline"):
            raise
        unknown = "Whether the comment was written is not known; the next try looks before it writes."
        raise gh.GhError(error.kind, f"{error.message} {unknown}") from error


def _close_issue(root: str, number: int, issue: Dict[str, Any], state: State, index: int) -> Result:
    if issue.get("state") == "CLOSED":
        return _success_result(why="it was closed already")
    outcome = batch_state.feature_status(state, index)
    if outcome != "done":
        raise RefusedError(
            f"Feature {index + 1} is {outcome}: only the issue of a completed one is closed.", "issue-not-written"
        )
    evidence = state["evidence"].get(batch_state.key(index), {})
    _require_on_default_branch(root, (evidence.get("commits") or [evidence.get("commit")])[-1])
    gh.close_issue(root, number)
    return _success_result()


def _require_on_default_branch(root: str, commit: object) -> None:
    """Raise RefusedError unless the commit is on the default branch of the repository that gh finds here."""
    problem = _find_branch_problem(root, commit)
    if problem:
        raise RefusedError(problem, "issue-not-written")


def _find_branch_problem(root: str, commit: object) -> Optional[str]:
    if not isinstance(commit, str) or not issue_comments.is_commit(commit):
        return "No commit is recorded that could be searched on the default branch. Close the issue by hand."
    repository, short = gh.get_repository(root), commit[:12]
    branches = [f"{remote}/{repository.default_branch}" for remote in repository.remotes]
    if not branches or not repository.default_branch:
        cause = "has no default branch yet" if branches else "is none of the remotes here (`git remote -v`)"
        return f"{repository.url} {cause}, so commit {short} cannot be searched on it. Close the issue by hand."
    known = [name for name in branches if _has_remote_branch(root, name)]
    if not known:
        return f"This clone knows no {branches[0]} yet: `git fetch {repository.remotes[0]}`, then `batchctl issues`."
    if any(git_client.has_commit(root, commit, f"refs/remotes/{name}") for name in known):
        return None
    return (
        f"Commit {short} is not on {known[0]} yet, as far as this clone knows: push or merge it, `git fetch`, then "
        "`batchctl issues`. A squashed or rebased commit has another id: then close the issue by hand."
    )


def _has_remote_branch(root: str, name: str) -> bool:
    answer = git_client.run_git(root, "rev-parse", "-q", "--verify", f"refs/remotes/{name}", check=False)
    return bool(answer.stdout)
