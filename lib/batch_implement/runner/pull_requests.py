"""Open pull requests for the results of a run: one for the batch, or one for each feature.

    record = open_for_batch(project, state, report_markdown)    for the batch's branch
    record = open_for_feature(project, state, index)            for the commits of one feature
    push_branch(root, remote, commit, branch, "--dry-run")      raises what a push of that branch would raise

The branch is pushed, never by force and never to the default branch, then gh opens the pull request. Both use the
repository that gh selects and its remote, never a fork (`gh repo set-default` selects another). A record is what the
state keeps as `pr`: `{success, timestamp, number, url, branch, sha, remote, error}`. Errors are not raised: `error` has
the message and the fix. Another call reuses what is pushed and open already.

The branch of a feature has its commits on top of those of its dependencies:

    feature depends on                  its commits are put onto      pull request into
    nothing                             the batch's base commit       the default branch
    one feature with an open request    the branch of that request    that branch
    anything else                       the dependencies' commits     the default branch

Commits that conflict there depend on another feature that the list does not name; that is an error.
"""

from __future__ import annotations

import contextlib
import os

from ..base import timestamps
from ..base.text import clean_block, one_line
from ..core import prompts
from ..core.batch_state import key
from ..core.errors import BatchError, RefusedError
from ..features import issue_comments
from ..git import gh, git_client, merging, remotes, verify_tree, worktrees
from ..hooks import push_detection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State

PUSH_TIMEOUT_S = 600  # a pre-push hook may run the project's tests
MAX_TITLE_LENGTH = 200
MAX_BODY_LENGTH = 60_000
# Parts of git's message (in lower case), and the fix; the first match counts.
_REMEDIES = (
    (
        ("non-fast-forward", "fetch first", "stale info", "cannot lock ref"),
        "The remote has other commits on that branch, and nothing is pushed by force. If they are not needed: `git "
        "push {remote} --delete {branch}`, then run the command again.",
    ),
    (
        ("hook declined", "protected", "rule violations", "gh006", "gh013", "prohibited"),
        "The remote's rules refuse it. Check its rules for branches named batch/..., or push by hand.",
    ),
    (
        (
            "authentication failed", "could not read username", "could not read password", "publickey",
            "host key verification", "terminal prompts disabled", "invalid username",
        ),
        "git cannot log in without a prompt. `gh auth setup-git` lets it use gh's login (https); for ssh, add the key "
        "to the agent: `ssh-add`.",
    ),
    (
        ("permission to", "403", "access denied", "not allowed to push"),
        "The login has no permission to push. `gh auth status` shows the login; ask for write access.",
    ),
    (
        ("could not resolve host", "connection", "timed out", "network is unreachable"),
        "The remote cannot be reached. Check the connection, then run the command again.",
    ),
    (
        ("does not appear to be a git repository", "repository not found", "could not read from remote"),
        "The repository does not exist, or the login cannot see it. `git remote -v` shows the URL of {remote}.",
    ),
)  # fmt: skip


def open_for_batch(project: Project, state: State, report_markdown: str) -> Dict[str, Any]:
    """Push the batch's branch and open its pull request, or update an open one, with the report as its text.

    Its base is the user's branch if the remote has it, else the default branch. Return the record.
    """
    run, root = state["run"], project.root
    record = _new_record(run["branch"])
    try:
        repository = gh.get_repository(root)
        record["remote"] = require_remote(root, repository)
        record["sha"] = git_client.get_branch_tip(root, run["branch"])
        if record["sha"] is None:
            raise RefusedError(
                f"The branch {run['branch']} is gone from {root}: there is nothing to open a pull request for.",
                "pull-request",
            )
        base = repository.default_branch
        if run["target"] and run["target"] != base and _remote_head(root, record["remote"], run["target"]):
            base = run["target"]
        done = len(state["completed_features"])
        title = f"{done} of {prompts.pluralize(state['total_features'], 'feature')} of batch {state['batch_id']}"
        return _push_and_open(root, repository, record, base, title, report_markdown)
    except (BatchError, OSError) as error:
        return {**record, "error": _error_text(error)}


def open_for_feature(project: Project, state: State, index: int) -> Dict[str, Any]:
    """Push the commits of the merged feature `index` and open their pull request. Return the record.

    Uses a temporary worktree; no local branch changes.
    """
    run, root = state["run"], project.root
    record = _new_record(_feature_branch(state, index))
    try:
        if not _feature_commits(state, index):
            raise RefusedError(
                f"Feature {index + 1} has no commit of its own: there is nothing to open a pull request for.",
                "pull-request",
            )
        repository = gh.get_repository(root)
        record["remote"] = require_remote(root, repository)
        needs = [need for need in state["feature_dependencies"].get(key(index), ()) if _feature_commits(state, need)]
        below = _usable_record(state, needs[0]) if len(needs) == 1 else None
        if below and _remote_head(root, record["remote"], below["branch"]) != below["sha"]:
            below = None  # merged and removed, or changed by somebody
        base, onto, rest = repository.default_branch, run["base_commit"], _dependencies_with_commits(state, index)
        if below:
            base, onto, rest = below["branch"], below["sha"], []
        record["sha"] = _stack_commits(project, state, onto, [*rest, index])
        text = _feature_text(state, index, needs, below)
        return _push_and_open(root, repository, record, base, state["features"][index], text)
    except (BatchError, OSError) as error:
        return {**record, "error": _error_text(error)}


def _new_record(branch: str) -> Dict[str, Any]:
    return {
        "success": False, "timestamp": timestamps.now(), "number": None, "url": None, "branch": branch, "sha": None,
        "remote": None, "error": None,
    }  # fmt: skip


def _error_text(error: Exception) -> str:
    return error.message if isinstance(error, BatchError) else f"I/O error: {error}"


def require_remote(root: str, repository: gh.Repository) -> str:
    """Return the remote that branches are pushed to. Raise RefusedError without one, or if it has no branch yet."""
    if not repository.remotes:
        raise RefusedError(
            f"No git remote in {root} stands for {repository.url}. Add it: `git remote add origin {repository.url}`.",
            "pull-request",
        )
    if not repository.default_branch:
        raise RefusedError(f"{repository.url} has no default branch yet. Push one first: `git push`.", "pull-request")
    return repository.remotes[0]


def _push_and_open(
    root: str, repository: gh.Repository, record: Dict[str, Any], base: str, title: str, text: str
) -> Dict[str, Any]:
    """Push the branch and open its pull request, or update an open one. Return the record."""
    branch, sha = record["branch"], record["sha"]
    if branch in (repository.default_branch, base):
        raise RefusedError(
            f"{branch} is the base branch of the pull request: the run never pushes to it.",
            "pull-request",
        )
    if _remote_head(root, record["remote"], branch) != sha:
        push_branch(root, record["remote"], sha, branch)
    if len(text) > MAX_BODY_LENGTH:
        text = f"{text[:MAX_BODY_LENGTH].rpartition(chr(10))[0]}\n\n[shortened; `batchctl report` has all of it]\n"
    pull_request = gh.find_pull_request(root, branch)
    if pull_request is None:
        title = one_line(title, MAX_TITLE_LENGTH)
        try:
            url = gh.create_pull_request(root, head=branch, base=base, title=title, body=text)
        except gh.GhError as error:
            # opened by somebody since the look above
            pull_request = gh.find_pull_request(root, branch) if error.kind == "exists" else None
            if pull_request is None:
                raise
        else:
            last = url.rpartition("/pull/")[2]
            number = int(last) if last.isascii() and last.isdigit() else None
            return {**record, "success": True, "number": number, "url": url or None}
    record = {**record, "success": True, "number": pull_request["number"], "url": pull_request["url"]}
    try:
        gh.edit_pull_request(root, pull_request["number"], text)
    except gh.GhError as error:
        return {**record, "error": f"It is open, but updating its text failed. {error.message}"}
    return record


# -- a feature's own branch --------------------------------------------------------------------------------------------


def _feature_branch(state: State, index: int) -> str:
    """Return the branch of the client that completed the feature."""
    clients = state["run"]["clients"].get(key(index), ())
    done = [client["branch"] for client in clients if client["outcome"] == "completed" and client.get("branch")]
    return done[-1] if done else f"batch/{state['batch_id']}/{index + 1}-feature"


def _feature_commits(state: State, index: int) -> List[str]:
    evidence = state["evidence"].get(key(index), {})
    commits: List[str] = [] if evidence.get("no_change") else evidence.get("commits", [])
    return commits


def _usable_record(state: State, index: int) -> Optional[Dict[str, Any]]:
    """Return the record of a feature's pull request if another can be based on it, else None."""
    record = state["git_operations"].get(key(index), {}).get("pr")
    return record if record and record["success"] and record.get("branch") and record.get("sha") else None


def _dependencies_with_commits(state: State, index: int) -> List[int]:
    """Return the direct and indirect dependencies that have commits, in the order of completion."""
    dependencies, to_visit = set(), [index]
    while to_visit:
        for need in state["feature_dependencies"].get(key(to_visit.pop()), ()):
            if need not in dependencies:
                dependencies.add(need)
                to_visit.append(need)
    return [need for need in state["completed_features"] if need in dependencies and _feature_commits(state, need)]


def _stack_commits(project: Project, state: State, onto: str, indices: List[int]) -> str:
    """Return a commit with the commits of these features on top of `onto`; for the same input the same commit."""
    root = project.root
    folder = os.path.join(state["run"]["worktrees"], "pull-request")
    at, has_worktree = onto, False
    try:
        for index in indices:
            commits = _feature_commits(state, index)
            before = git_client.run_git(root, "rev-parse", "--verify", f"{commits[0]}^").stdout.strip()
            if before == at:
                at = commits[-1]
                continue
            if not has_worktree:
                verify_tree.prepare(root, folder, at)
                has_worktree = True
            merged = merging.merge_trees(folder, at, commits[-1], before)
            if merged.conflicts:
                raise RefusedError(
                    f"The commits of feature {index + 1} do not apply without those of other features (conflict in "
                    f"{git_client.format_paths(merged.conflicts)}): it depends on one that the list does not name. "
                    "Open a pull request for the whole batch instead: `batchctl run --resume --pr`.",
                    "pull-request",
                )
            at = merging.transplant(folder, at, before, commits[-1], merged.tree, by_author_date=True)
        return at
    finally:
        if has_worktree:
            worktrees.remove_generated(root, folder)


def _feature_text(state: State, index: int, needs: List[int], below: Optional[Dict[str, Any]]) -> str:
    description = state.get("details", {}).get(key(index), {}).get("description", "")
    text = clean_block(f"{state['features'][index]}\n{description}")[:4000]
    parts = ["\n".join(f"    {line}" for line in text.split("\n")), issue_comments.format_outcome(state, index).strip()]
    numbers = state.get("issue_numbers")
    if numbers and numbers[index]:
        parts.append(f"For #{numbers[index]}.")
    if below:
        parts.append(f"It builds on #{below['number']}: merge that first.")
    elif needs:
        others = [_usable_record(state, need) for need in needs]
        names = [
            f"#{other['number']}" if other else f"feature {need + 1} of the batch" for need, other in zip(needs, others)
        ]
        parts.append(f"It builds on {', '.join(names)} and contains their commits. Merge those first.")
    return "\n\n".join(parts) + "\n"


# -- git at the remote -------------------------------------------------------------------------------------------------


def _remote_head(root: str, remote: str, branch: str) -> Optional[str]:
    """Return the commit that the remote's branch is at; None if it does not exist."""
    with _explain_remote_error(f"`git ls-remote {remote}` failed", remote, branch):
        return remotes.list_remote_branches(root, remote, [branch], timeout_s=PUSH_TIMEOUT_S).get(branch)


def push_branch(root: str, remote: str, commit: str, branch: str, *options: str) -> None:
    """Push `commit` to the branch of the remote. Raise RefusedError with git's cause and the remedy."""
    with _explain_remote_error(f"Pushing {branch} to {remote} failed", remote, branch):
        remotes.push_branches(root, remote, {branch: commit}, *options, timeout_s=PUSH_TIMEOUT_S)


@contextlib.contextmanager
def _explain_remote_error(problem: str, remote: str, branch: str) -> Iterator[None]:
    """Raise RefusedError with git's cause and the remedy in place of a RemoteError."""
    try:
        yield
    except remotes.RemoteError as error:
        cause = push_detection.extract_push_error(error.output)
        remedies = (remedy for signs, remedy in _REMEDIES if any(sign in cause.lower() for sign in signs))
        remedy = next(remedies, "Run `git push` by hand to see more.").format(remote=remote, branch=branch)
        raise RefusedError(f"{problem}. {remedy} git said: {one_line(cause)}", "pull-request") from error
