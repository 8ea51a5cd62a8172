"""What is read from GitHub's issues for a batch, and what is written to them about it. `gh.py` makes the calls.

    found = read(root, numbers=numbers(["72", "#74,75"]))
    for text, number, details in as_features(found): ...
    publish(root, state, index, comment=True, close=True)

Reading: titles and bodies are a stranger's words: cleaned, bounded, data. Closed issues are left out and told, pull
requests refused. One that cannot be read refuses all, unless `skip_unreadable`; what concerns every issue (no gh, no
login, a limit, no connection) always does. Nothing here writes to the project.

Writing happens only when it is asked for, and once: each comment ends with a line that only a program reads (see
`comments`), and is not written again where a comment of the same login has that line. So a call repeated after a
crash, or after an answer that never came, adds nothing; a feature that failed, was commented, retried and completed
gets a second comment. A lock keeps two calls in one clone apart; calls from two clones are not kept apart. The state is
only read: keeping the result is the caller's.
"""

from __future__ import annotations

import os
import shlex
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..base import project_paths
from ..base.text import clean
from ..core import batch_state
from ..core.errors import BatchError, RefusedError, UsageError
from ..git import gh, git_client
from ..store import lock
from . import issue_comments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.batch_state import State

MAX_PARALLEL_READS = 8
MAX_NUMBERS = 1000
MAX_ISSUE_NUMBER = 2**31 - 1  # of GitHub's interface
MAX_BODY_CHARS = 50_000
LOCK_TIMEOUT_S = 120.0


class IssueList(NamedTuple):
    """What was read: `issues`, each `{number, title, body, url}`, open, at least one; `closed`, the numbers left out
    because they are; `unreadable`, the numbers left out because of what is told with each.
    """

    issues: List[Dict[str, Any]]
    closed: List[int]
    unreadable: List[Tuple[int, str]]


# -- reading ----------------------------------------------------------------------------------------------------------


def parse_numbers(words: Sequence[str]) -> List[int]:
    """The issue numbers that the words name (`72`, `#74`, `72,73`), in their order. Misuse names the word that is none,
    or a number again.
    """
    found: List[int] = []
    for word in words:
        pieces = [piece.strip() for piece in word.split(",")]
        for piece in [piece for piece in pieces if piece] or [word]:
            digits = piece[1:] if piece.startswith("#") else piece
            if not (digits.isascii() and digits.isdecimal()):
                raise UsageError(
                    f"{clean(piece)[:60]!r} is no issue number. Give numbers: 72, #74 or 72,73.", "issues-choice"
                )
            if len(digits) > 10 or not 1 <= int(digits) <= MAX_ISSUE_NUMBER:
                raise UsageError(
                    f"{piece[:60]!r} is no issue number: they go from 1 to {MAX_ISSUE_NUMBER}.", "issues-choice"
                )
            if int(digits) in found:
                raise UsageError(f"Issue {int(digits)} is named twice ({piece!r}). Name each once.", "issues-choice")
            found.append(int(digits))
    if not found:
        raise UsageError("No issue number is given. Give one or more: 72, #74 or 72,73.", "issues-choice")
    if len(found) > MAX_NUMBERS:
        raise UsageError(
            f"{len(found):,} issues are named; one batch takes {MAX_NUMBERS:,} by number. Split the list.",
            "issues-choice",
        )
    return found


def read_issues(
    root: str,
    *,
    numbers: Sequence[int] = (),
    label: Optional[str] = None,
    milestone: Optional[str] = None,
    skip_unreadable: bool = False,
) -> IssueList:
    """Read issues: those of `numbers`, in that order; or the open ones that have the label and are in the milestone, by
    number.

    Refused when one cannot be read (with `skip_unreadable` it is left out and told), and when no open one is found.
    Misuse for both ways at once, or none.
    """
    if bool(numbers) == (label is not None or milestone is not None):
        raise UsageError("Say which issues: either by number, or by label and milestone.", "issues-choice")
    if numbers:
        found = _read_by_number(root, numbers, skip_unreadable)
    else:
        found = _read_by_filter(root, label, milestone, skip_unreadable)
    if not found.issues:
        left = [f"{number} is closed" for number in found.closed] + [why for _, why in found.unreadable]
        raise RefusedError(
            f"No open issue is left to work on: {'; '.join(left)[:2000]}. `gh issue list` shows the open ones.",
            "issues-choice",
        )
    return found


def to_features(found: IssueList) -> List[Tuple[str, int, Dict[str, str]]]:
    """Each issue as the feature it becomes: its text, `Title (#72)`, so that issues of one title differ; its number;
    and its details, `{description, url}`, without a description when the body is blank.
    """
    result = []
    for issue in found.issues:
        details = {"url": issue["url"]}
        if issue["body"].strip():
            details = {"description": issue["body"], **details}
        result.append((f"{issue['title']} (#{issue['number']})", issue["number"], details))
    return result


def _read_by_number(root: str, wanted: Sequence[int], skip_unreadable: bool) -> IssueList:
    pool = ThreadPoolExecutor(max_workers=min(MAX_PARALLEL_READS, len(wanted)))
    try:
        asked = [(number, pool.submit(gh.view_issue, root, number)) for number in wanted]
        return _classify([(number, answer.result) for number, answer in asked], skip_unreadable)
    finally:
        pool.shutdown(cancel_futures=True)


def _read_by_filter(root: str, label: Optional[str], milestone: Optional[str], skip_unreadable: bool) -> IssueList:
    for option, value in (("--label", label), ("--milestone", milestone)):
        if value is not None and (not value.strip() or clean(value) != value):
            raise UsageError(
                f"{option} {clean(value)[:60]!r} is blank or has control characters. Give its name.", "issues-choice"
            )
    listed = gh.list_issues(root, label, milestone)
    if not listed:
        raise _no_match_error(label, milestone)
    if len(listed) >= gh.MAX_ISSUES:
        raise RefusedError(
            f"{gh.MAX_ISSUES:,} open issues match, and there may be more that GitHub does not list. Narrow it down "
            "(label and milestone together), or give numbers.",
            "issues-choice",
        )
    by_number: Dict[int, Dict[str, Any]] = {}
    for entry in listed:
        number = entry.get("number")
        if type(number) is not int:
            raise gh.GhError("answer", "gh listed an issue without a number. Is gh up to date (`gh --version`)?")
        by_number[number] = entry
    return _classify([(number, by_number[number].copy) for number in sorted(by_number)], skip_unreadable)


def _no_match_error(label: Optional[str], milestone: Optional[str]) -> RefusedError:
    named, options, look = [], "", []
    if label is not None:
        named.append(f"the label {label!r}")
        options += f" --label {shlex.quote(label)}"
        look.append("`gh label list` shows the labels")
    if milestone is not None:
        named.append(f"the milestone {milestone!r}")
        options += f" --milestone {shlex.quote(milestone)}"
        look.append("`gh api 'repos/{owner}/{repo}/milestones?state=all' --jq '.[].title'` the milestones")
    look.append(f"`gh issue list --state all{options}` what there is, closed ones too")
    return RefusedError(f"No open issue has {' and '.join(named)}. Look: {', '.join(look)}.", "issues-choice")


def _classify(entries: Sequence[Tuple[int, Callable[[], Any]]], skip_unreadable: bool) -> IssueList:
    """The entries, a number and what gives gh's answer about it, as they are to be told."""
    found = IssueList([], [], [])
    for number, answer in entries:
        try:
            issue, is_open = _check_answer(number, answer())
        except gh.GhError as error:
            if error.is_global:
                raise
            if not skip_unreadable:
                raise gh.GhError(error.kind, f"{error.message} `--skip-unreadable` goes on without it.") from error
            found.unreadable.append((number, error.message))
        else:
            if is_open:
                found.issues.append(issue)
            else:
                found.closed.append(number)
    return found


def _check_answer(number: int, answer: Dict[str, Any]) -> Tuple[Dict[str, Any], bool]:
    """An issue as we keep it, and whether it is open."""
    title, body, url, state = (answer.get(name) for name in ("title", "body", "url", "state"))
    if not (isinstance(title, str) and isinstance(url, str) and isinstance(state, str)) or (
        answer.get("number") != number or not isinstance(body, (str, type(None)))
    ):
        raise gh.GhError(
            "answer", f"gh's answer about issue {number} lacks what was asked for. Is gh up to date (`gh --version`)?"
        )
    url = clean(url).strip()
    if "pull" in url.split("/")[-2:-1]:
        raise gh.GhError(
            "pull_request",
            f"{number} is a pull request, not an issue ({url}). Leave it out, or name the issue it is for.",
        )
    kept = {
        "number": number,
        "title": clean(title).strip() or "untitled",
        "body": _clean_body(body or "", url),
        "url": url,
    }
    return kept, state == "OPEN"


def _clean_body(text: str, url: str) -> str:
    cut = text[:MAX_BODY_CHARS]
    lines = cut.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4).split("\n")
    note = "" if cut == text else f"\n\n[cut after {MAX_BODY_CHARS:,} characters; all of it: {url}]"
    return "\n".join(clean(line) for line in lines).strip("\n") + note


# -- writing ----------------------------------------------------------------------------------------------------------


def publish(root: str, state: State, index: int, *, comment: bool, close: bool) -> Dict[str, Dict[str, Any]]:
    """Write how feature `index` ended to its issue: with `comment` a comment, with `close` the closing of the issue.

    What came of each, under its name: `done`, `url` (of the comment; None when it is not known), `why` (None when
    there is nothing to say) and, when it is not done, `everywhere`: whether other issues would meet the same trouble.
    Only a completed feature's issue is closed, and only when its commit is on the default branch of the code host, as
    far as this clone knows. Trouble is told in the result, never raised. An issue that a person has opened again is
    closed again by another call.
    """
    asked = [name for name, wanted in (("comment", comment), ("close", close)) if wanted]
    if not asked:
        return {}
    project = project_paths.Project(root)
    try:
        folder = project_paths.open_folder(project.private_parent, f"{project.private_name}/issues", create=True)
        try:
            with lock.FileLock(folder, f"{project.private}/issues", LOCK_TIMEOUT_S):
                return _publish_locked(root, state, index, asked)
        finally:
            os.close(folder)
    except (BatchError, OSError) as error:
        return {name: _failure_result(error) for name in asked}


def _publish_locked(root: str, state: State, index: int, asked: Sequence[str]) -> Dict[str, Dict[str, Any]]:
    if not state.get("issue_numbers"):
        raise RefusedError(
            f"The features of batch {state['batch_id']} did not come from issues: there is none to write to.",
            "issue-not-written",
        )
    text = issue_comments.format_outcome(state, index)
    number = state["issue_numbers"][index]
    issue = gh.view_issue(root, number, "state,comments")
    result = {}
    for name in asked:
        try:
            if name == "comment":
                result[name] = _write_comment(root, number, issue, text, issue_comments.format_marker(state, index))
            else:
                result[name] = _close_issue(root, number, issue, state, index)
        except BatchError as error:
            result[name] = _failure_result(error)
    return result


def _failure_result(error: BatchError | OSError) -> Dict[str, Any]:
    why = error.message if isinstance(error, BatchError) else str(error)
    return {"done": False, "url": None, "why": why, "everywhere": isinstance(error, gh.GhError) and error.is_global}


def _write_comment(root: str, number: int, issue: Dict[str, Any], text: str, line: str) -> Dict[str, Any]:
    there = issue.get("comments")
    if not isinstance(there, list) or not all(isinstance(known, dict) for known in there):
        raise gh.GhError("answer", f"gh's answer about issue {number} lacks its comments; none was written.")
    for known in there:
        # Another's comment counts for nothing: it could keep ours from being written. Old gh do not say whose it is.
        if known.get("viewerDidAuthor", True) and line in map(str.rstrip, str(known.get("body")).splitlines()):
            return {"done": True, "url": known.get("url"), "why": "it was there already"}
    try:
        return {"done": True, "url": gh.add_comment(root, number, text) or None, "why": None}
    except gh.GhError as error:
        if error.kind not in ("timeout", "server", "offline"):
            raise
        unknown = "Whether the comment was written is not known; the next try looks before it writes."
        raise gh.GhError(error.kind, f"{error.message} {unknown}") from error


def _close_issue(root: str, number: int, issue: Dict[str, Any], state: State, index: int) -> Dict[str, Any]:
    outcome = batch_state.feature_status(state, index)
    if issue.get("state") == "CLOSED":
        return {"done": True, "url": None, "why": "it was closed already"}
    if outcome != "done":
        raise RefusedError(
            f"Feature {index + 1} is {outcome}: only the issue of a completed one is closed.", "issue-not-written"
        )
    proof = state["evidence"].get(batch_state.key(index), {})
    _require_on_default_branch(root, (proof.get("commits") or [proof.get("commit")])[-1])
    gh.close_issue(root, number)
    return {"done": True, "url": None, "why": None}


def _require_on_default_branch(root: str, commit: object) -> None:
    """Refused unless the commit is on the default branch of the repository that gh finds here."""
    if not isinstance(commit, str) or not issue_comments.is_commit(commit):
        raise RefusedError(
            "No commit is recorded for it that could be looked for on the default branch. Close it by hand.",
            "issue-not-written",
        )
    there = gh.get_repository(root)
    if not there.remotes or not there.default_branch:
        what = "has no default branch yet" if there.remotes else "is none of the remotes here (`git remote -v`)"
        raise RefusedError(
            f"{there.url} {what}, so commit {commit[:12]} cannot be looked for on it. Close it by hand.",
            "issue-not-written",
        )
    named = [f"{remote}/{there.default_branch}" for remote in there.remotes]
    known = [
        name
        for name in named
        if git_client.run_git(root, "rev-parse", "-q", "--verify", f"refs/remotes/{name}", check=False).stdout
    ]
    if not known:
        raise RefusedError(
            f"This clone knows no {named[0]} yet: `git fetch {there.remotes[0]}`, then `batchctl issues`.",
            "issue-not-written",
        )
    if not any(git_client.has_commit(root, commit, f"refs/remotes/{name}") for name in known):
        raise RefusedError(
            f"Commit {commit[:12]} is not on {known[0]} yet, as far as this clone knows: push or merge it, `git "
            "fetch`, then `batchctl issues`. Squashed or rebased there it has another name: then close the issue by "
            "hand.",
            "issue-not-written",
        )
