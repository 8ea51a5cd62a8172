"""Pull requests for what a run has merged: one for the batch, or one for each feature. Only where they were asked for.

    record = open_for_batch(project, state, report_markdown)    the batch's branch
    record = open_for_feature(project, state, index)            that feature's commits alone
    words = refused_push(root, remote, commit, branch)          why a push of that branch would fail, or ""

A branch is pushed, never by force and never onto the default branch, and gh opens the pull request. Both go to the
repository that gh finds here, by the remote that stands for it: a fork is not pushed to (`gh repo set-default` says
which repository is meant). A record is what the state keeps as `pr`: `{success, timestamp, number, url, branch, sha,
remote, error}`. Nothing is raised for what goes wrong: `error` says it with what to do, and another call goes on from
there: it finds what is pushed and open already.

A feature's branch has its commits, put onto what they need:

    it needs nothing                    where the batch began         into the default branch
    one feature, which is open          that one's pull request       into that one's branch
    several, or one that is not open    theirs, below its own         into the default branch

Commits that do not fit there stand on something that the list does not say. That is told, and they stay on the batch's
branch alone.
"""

from __future__ import annotations

import os

from ..base import timestamps
from ..base.text import clean_block, one_line
from ..core import prompts
from ..core.batch_state import key
from ..core.errors import BatchError, RefusedError, StateError
from ..features import issue_comments
from ..git import gh, git_client, worktrees
from ..hooks import push_detection
from . import merge_queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from ..base.project_paths import Project
    from ..core.batch_state import State

PUSH_TIMEOUT_S = 600  # a pre-push hook may run the project's tests
MAX_TITLE_LENGTH = 200
MAX_BODY_LENGTH = 60_000
# What git says (in lower case), and what to do; the first that fits counts.
_REMEDIES = (
    (
        ("non-fast-forward", "fetch first", "stale info", "cannot lock ref"),
        "The remote has something else under that name, and nothing is ever forced. If it is not needed there, `git "
        "push {remote} --delete {branch}`, then the same again.",
    ),
    (
        ("hook declined", "protected", "rule violations", "gh006", "gh013", "prohibited"),
        "The remote's own rules refuse it. See what they ask of branches named batch/..., or push by hand.",
    ),
    (
        (
            "authentication failed", "could not read username", "could not read password", "publickey",
            "host key verification", "terminal prompts disabled", "invalid username",
        ),
        "git cannot log in at the remote without being asked. `gh auth setup-git` lets it use gh's login (https); for "
        "ssh, the key has to be in the agent.",
    ),
    (
        ("permission to", "403", "access denied", "not allowed to push"),
        "The login may not push there. `gh auth status` shows which one it is; ask for the right to write.",
    ),
    (
        ("could not resolve host", "connection", "timed out", "network is unreachable"),
        "The remote cannot be reached from here. Check the connection, then the same again.",
    ),
    (
        ("does not appear to be a git repository", "repository not found", "could not read from remote"),
        "`git remote -v` shows where {remote} leads; it is gone, or the login may not see it.",
    ),
)  # fmt: skip


def open_for_batch(project: Project, state: State, report_markdown: str) -> Dict[str, Any]:
    """Push the batch's branch and open its pull request with the report as its text; one that is open gets the new
    text. The record says what came of it.

    It goes into the branch that the person was on, where the remote has that, else into the default branch.
    """
    run, root = state["run"], project.root
    record = _new_record(run["branch"])
    try:
        place = gh.get_repository(root)
        record["remote"] = remote_of(root, place)
        record["sha"] = git_client.get_branch_tip(root, run["branch"])
        if record["sha"] is None:
            raise RefusedError(
                f"The branch {run['branch']} is gone from {root}: there is nothing to open a request for.",
                "pull-request",
            )
        base = place.default_branch
        if run["target"] and run["target"] != base and _remote_head(root, record["remote"], run["target"]):
            base = run["target"]
        done = len(state["completed_features"])
        title = f"{done} of {prompts.pluralize(state['total_features'], 'feature')} of batch {state['batch_id']}"
        return _push_and_open(root, place, record, base, title, report_markdown)
    except (BatchError, OSError) as error:
        return {**record, "error": _error_text(error)}


def open_for_feature(project: Project, state: State, index: int) -> Dict[str, Any]:
    """Push the commits of the merged feature `index` alone and open their pull request. The record says what came of
    it. In the repository a work tree is made for the moment; no branch changes.
    """
    run, root = state["run"], project.root
    record = _new_record(_feature_branch(state, index))
    try:
        if not _feature_commits(state, index):
            raise RefusedError(
                f"Feature {index + 1} has no commit of its own: there is nothing to open a pull request for.",
                "pull-request",
            )
        place = gh.get_repository(root)
        record["remote"] = remote_of(root, place)
        needs = [need for need in state["feature_dependencies"].get(key(index), ()) if _feature_commits(state, need)]
        below = _usable_record(state, needs[0]) if len(needs) == 1 else None
        if below and _remote_head(root, record["remote"], below["branch"]) != below["sha"]:
            below = None  # merged and removed, or somebody went on with it
        base, onto, rest = place.default_branch, run["base_commit"], _dependencies_with_commits(state, index)
        if below:
            base, onto, rest = below["branch"], below["sha"], []
        record["sha"] = _stack_commits(project, state, onto, [*rest, index])
        text = _feature_text(state, index, needs, below)
        return _push_and_open(root, place, record, base, state["features"][index], text)
    except (BatchError, OSError) as error:
        return {**record, "error": _error_text(error)}


def check_push(root: str, remote: str, commit: str, branch: str) -> str:
    """Why `commit` cannot be pushed as `branch`, as far as a dry run can tell: the remote's own hooks are not run.
    Empty when it can.
    """
    try:
        _push_branch(root, remote, commit, branch, "--dry-run")
    except (BatchError, OSError) as error:
        return _error_text(error)
    return ""


def _new_record(branch: str) -> Dict[str, Any]:
    return {
        "success": False, "timestamp": timestamps.now(), "number": None, "url": None, "branch": branch, "sha": None,
        "remote": None, "error": None,
    }  # fmt: skip


def _error_text(error: Exception) -> str:
    return error.message if isinstance(error, BatchError) else f"The system said no: {error}"


def remote_of(root: str, place: gh.Repository) -> str:
    """The remote that branches are pushed to. Refused when there is none, or nothing on the other side yet."""
    if not place.remotes:
        raise RefusedError(
            f"No git remote in {root} stands for {place.url}. Add it: `git remote add origin {place.url}`.",
            "pull-request",
        )
    if not place.default_branch:
        raise RefusedError(
            f"{place.url} has no default branch yet. Push one first; it is never done from here.", "pull-request"
        )
    return place.remotes[0]


def _push_and_open(
    root: str, place: gh.Repository, record: Dict[str, Any], base: str, title: str, text: str
) -> Dict[str, Any]:
    """The record of a pull request that is there after this, newly opened or from before."""
    branch, sha = record["branch"], record["sha"]
    if branch in (place.default_branch, base):
        raise RefusedError(
            f"{branch} is the branch that the pull request would go into; it is never pushed to from here.",
            "pull-request",
        )
    if _remote_head(root, record["remote"], branch) != sha:
        _push_branch(root, record["remote"], sha, branch)
    body = _pull_request_body(text)
    found = gh.find_pull_request(root, branch)
    if found is None:
        try:
            url = gh.create_pull_request(
                root, head=branch, base=base, title=one_line(title, MAX_TITLE_LENGTH), body=body
            )
        except gh.GhError as trouble:
            if trouble.kind != "exists":
                raise
            url = ""
        number = _number_in_url(url)
        found = {"number": number, "url": url} if number else gh.find_pull_request(root, branch)
        found = found or {"number": None, "url": url or None}
        return {**record, "success": True, "number": found["number"], "url": found["url"]}
    record = {**record, "success": True, "number": found["number"], "url": found["url"]}
    try:
        gh.edit_pull_request(root, found["number"], body)
    except gh.GhError as trouble:
        return {**record, "error": f"It is open, but its text could not be brought up to date. {trouble.message}"}
    return record


def _number_in_url(url: str) -> Optional[int]:
    last = url.rpartition("/pull/")[2]
    return int(last) if last.isascii() and last.isdigit() else None


def _pull_request_body(text: str) -> str:
    if len(text) <= MAX_BODY_LENGTH:
        return text
    return f"{text[:MAX_BODY_LENGTH].rpartition(chr(10))[0]}\n\n[cut: `batchctl report` has all of it]\n"


# -- a feature's own branch --------------------------------------------------------------------------------------------


def _feature_branch(state: State, index: int) -> str:
    """The branch that the client worked on which completed the feature."""
    clients = state["run"]["clients"].get(key(index), ())
    done = [client["branch"] for client in clients if client["outcome"] == "completed" and client.get("branch")]
    return done[-1] if done else f"batch/{state['batch_id']}/{index + 1}-feature"


def _feature_commits(state: State, index: int) -> List[str]:
    proof = state["evidence"].get(key(index), {})
    commits: List[str] = [] if proof.get("no_change") else proof.get("commits", [])
    return commits


def _usable_record(state: State, index: int) -> Optional[Dict[str, Any]]:
    """The record of a feature's pull request that can be built on."""
    record = state["git_operations"].get(key(index), {}).get("pr")
    return record if record and record["success"] and record.get("branch") and record.get("sha") else None


def _dependencies_with_commits(state: State, index: int) -> List[int]:
    """What the feature needs, directly or not, and has commits; in the order in which it was completed."""
    found, ahead = set(), [index]
    while ahead:
        for need in state["feature_dependencies"].get(key(ahead.pop()), ()):
            if need not in found:
                found.add(need)
                ahead.append(need)
    return [need for need in state["completed_features"] if need in found and _feature_commits(state, need)]


def _stack_commits(project: Project, state: State, onto: str, indices: List[int]) -> str:
    """The commit that has the commits of these features on top of `onto`. The same ones give the same commit."""
    root = project.root
    folder = os.path.join(state["run"]["worktrees"], "pull-request")
    at = onto
    made = False
    try:
        for index in indices:
            commits = _feature_commits(state, index)
            before = git_client.run_git(root, "rev-parse", "--verify", f"{commits[0]}^").stdout.strip()
            if before == at:
                at = commits[-1]
                continue
            if not made:
                worktrees.add_detached(root, folder, at)
                made = True
            at = _rebase_feature(folder, at, before, commits[-1], index)
        return at
    finally:
        if made:
            worktrees.remove(root, folder)


def _rebase_feature(folder: str, onto: str, before: str, last: str, index: int) -> str:
    done = merge_queue.rebase(folder, onto, before, last, "--committer-date-is-author-date")
    if done.head:
        return done.head
    why = f"it conflicts in {git_client.format_paths(done.files)}" if done.files else f"git said: {done.message[-300:]}"
    raise RefusedError(
        f"The commits of feature {index + 1} do not stand without the others' ({why}): it builds on one that the list "
        "does not say it needs. It is on the batch's branch; open a pull request for that (`batchctl run --resume "
        "--pr`), or one by hand.",
        "pull-request",
    )


def _feature_text(state: State, index: int, needs: List[int], below: Optional[Dict[str, Any]]) -> str:
    description = state.get("details", {}).get(key(index), {}).get("description", "")
    said = clean_block(f"{state['features'][index]}\n{description}")[:4000]
    parts = ["\n".join(f"    {line}" for line in said.split("\n")), issue_comments.format_outcome(state, index).strip()]
    numbers = state.get("issue_numbers")
    if numbers and numbers[index]:
        parts.append(f"For #{numbers[index]}.")
    if below:
        parts.append(f"It builds on #{below['number']}, which is to be merged first.")
    elif needs:
        others = [_usable_record(state, need) for need in needs]
        named = [
            f"#{other['number']}" if other else f"feature {need + 1} of the batch" for need, other in zip(needs, others)
        ]
        parts.append(f"It builds on {', '.join(named)}, and has their commits below its own. Merge those first.")
    return "\n\n".join(parts) + "\n"


# -- git at the remote -------------------------------------------------------------------------------------------------


def _remote_head(root: str, remote: str, branch: str) -> Optional[str]:
    """The commit that the remote's branch is at; None when it has none of that name."""
    result = _run_remote_git(root, "ls-remote", "--", remote, f"refs/heads/{branch}")
    if result.returncode != 0:
        raise _remote_error(f"`git ls-remote {remote}` failed", result.stderr, remote, branch)
    return result.stdout.partition("\t")[0] or None


def _push_branch(root: str, remote: str, commit: str, branch: str, *more: str) -> None:
    result = _run_remote_git(
        root, "push", "--porcelain", "--no-follow-tags", *more, "--", remote, f"{commit}:refs/heads/{branch}"
    )
    if result.returncode != 0:
        output = f"{result.stdout}\n{result.stderr}"
        raise _remote_error(f"{branch} cannot be pushed to {remote}", output, remote, branch)


def _remote_error(what: str, words: str, remote: str, branch: str) -> RefusedError:
    said = push_detection.extract_push_error(words)
    known = (remedy for signs, remedy in _REMEDIES if any(sign in said.lower() for sign in signs))
    remedy = next(known, "Try `git push` by hand to see more.").format(remote=remote, branch=branch)
    return RefusedError(f"{what}. {remedy} git said: {one_line(said)}", "pull-request")


def _run_remote_git(root: str, *arguments: str) -> git_client.GitResult:
    """Run a git command that talks to a remote. Raises RefusedError after PUSH_TIMEOUT_S."""
    try:
        return git_client.run_git(root, *arguments, check=False, timeout_s=PUSH_TIMEOUT_S)
    except StateError as error:
        raise RefusedError(error.message, "pull-request") from error
