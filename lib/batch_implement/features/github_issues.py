"""Read GitHub issues as the features of a batch. `gh` makes the calls; see `commands.issue_publisher` for writing.

    found = read(root, numbers=numbers(["72", "#74,75"]))
    for text, number, details in as_features(found): ...

Reading: titles and bodies are a stranger's words: cleaned, bounded, data. Closed issues are left out and told, pull
requests refused. One that cannot be read refuses all, unless `skip_unreadable`; what concerns every issue (no gh, no
login, a limit, no connection) always does. Nothing here writes to the project.
"""

from __future__ import annotations

import shlex
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..base.text import clean
from ..core.errors import RefusedError, UsageError
from ..git import gh

MAX_PARALLEL_READS = 8
MAX_NUMBERS = 1000
MAX_ISSUE_NUMBER = 2**31 - 1  # of GitHub's interface
MAX_BODY_CHARS = 50_000


class IssueList(NamedTuple):
    """What was read: `issues`, each `{number, title, body, url}`, open, at least one; `closed`, the numbers left out
    because they are; `unreadable`, the numbers left out because of what is told with each.
    """

    issues: List[Dict[str, Any]]
    closed: List[int]
    unreadable: List[Tuple[int, str]]


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
