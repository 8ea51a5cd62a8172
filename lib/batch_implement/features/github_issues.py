"""Read the issues that become the features of a batch. `gh.py` makes the calls; `commands.issue_publisher` writes.

    issues = read_issues(root, numbers=parse_numbers(["72", "#74,75"]))
    issues.features, issues.closed, issues.unreadable

Titles and bodies are untrusted: they are cleaned and bounded, and are data. Closed issues are left out, pull requests
refused. One issue that cannot be read refuses all, unless `skip_unreadable`; what concerns every issue (no gh, no
login, a limit, no connection) always does.
"""

from __future__ import annotations

import shlex
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..base.text import clean
from ..core.errors import RefusedError, UsageError
from ..git import gh
from .feature_list import Feature

MAX_PARALLEL_READS = 8
MAX_NUMBERS = 1000
MAX_ISSUE_NUMBER = 2**31 - 1  # of GitHub's interface
MAX_BODY_CHARS = 50_000


class IssueList(NamedTuple):
    """The open issues as features, at least one; the numbers of closed ones; the unreadable ones with the reason."""

    features: List[Feature]
    closed: List[int]
    unreadable: List[Tuple[int, str]]


def parse_numbers(words: Sequence[str]) -> List[int]:
    """Return the issue numbers that the words name (`72`, `#74`, `72,73`), in their order.

    Raises UsageError for a word that is not a number, a number named twice, none or too many.
    """
    numbers: List[int] = []
    for word in words:
        pieces = [piece.strip() for piece in word.split(",")]
        for piece in [piece for piece in pieces if piece] or [word]:
            digits = piece[1:] if piece.startswith("#") else piece
            if not (digits.isascii() and digits.isdecimal()):
                raise UsageError(
                    f"{clean(piece)[:60]!r} is not an issue number. Give numbers: 72, #74 or 72,73.", "issues-choice"
                )
            if len(digits) > 10 or not 1 <= int(digits) <= MAX_ISSUE_NUMBER:
                raise UsageError(
                    f"{piece[:60]!r} is not an issue number: they go from 1 to {MAX_ISSUE_NUMBER}.", "issues-choice"
                )
            if int(digits) in numbers:
                raise UsageError(f"Issue {int(digits)} is named twice ({piece!r}). Name each once.", "issues-choice")
            numbers.append(int(digits))
    if not numbers:
        raise UsageError("No issue number is given. Give one or more: 72, #74 or 72,73.", "issues-choice")
    if len(numbers) > MAX_NUMBERS:
        raise UsageError(
            f"{len(numbers):,} issues are named; one batch takes {MAX_NUMBERS:,} by number. Split the list.",
            "issues-choice",
        )
    return numbers


def read_issues(
    root: str,
    *,
    numbers: Sequence[int] = (),
    label: Optional[str] = None,
    milestone: Optional[str] = None,
    skip_unreadable: bool = False,
) -> IssueList:
    """Return the issues of `numbers`, in that order, or the open ones with the label and in the milestone, by number.

    Raises RefusedError if one cannot be read (with `skip_unreadable` it is left out) or no open one is found,
    UsageError for both ways at once or none.
    """
    if bool(numbers) == (label is not None or milestone is not None):
        raise UsageError("Say which issues: either by number, or by label and milestone.", "issues-choice")
    if numbers:
        issues = _read_by_number(root, numbers, skip_unreadable)
    else:
        issues = _read_by_filter(root, label, milestone, skip_unreadable)
    if not issues.features:
        reasons = [f"{number} is closed" for number in issues.closed] + [reason for _, reason in issues.unreadable]
        raise RefusedError(
            f"No open issue is left to work on: {'; '.join(reasons)[:2000]}. `gh issue list` shows the open ones.",
            "issues-choice",
        )
    return issues


def _read_by_number(root: str, numbers: Sequence[int], skip_unreadable: bool) -> IssueList:
    pool = ThreadPoolExecutor(max_workers=min(MAX_PARALLEL_READS, len(numbers)))
    try:
        requests = [(number, pool.submit(gh.view_issue, root, number)) for number in numbers]
        return _classify([(number, request.result) for number, request in requests], skip_unreadable)
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
    conditions, options, ways = [], "", []
    if label is not None:
        conditions.append(f"the label {label!r}")
        options += f" --label {shlex.quote(label)}"
        ways.append("`gh label list` shows the labels")
    if milestone is not None:
        conditions.append(f"the milestone {milestone!r}")
        options += f" --milestone {shlex.quote(milestone)}"
        ways.append("`gh api 'repos/{owner}/{repo}/milestones?state=all' --jq '.[].title'` the milestones")
    ways.append(f"`gh issue list --state all{options}` what there is, closed ones too")
    return RefusedError(f"No open issue has {' and '.join(conditions)}. Look: {', '.join(ways)}.", "issues-choice")


def _classify(entries: Sequence[Tuple[int, Callable[[], Any]]], skip_unreadable: bool) -> IssueList:
    """Sort the entries, each a number and a function that returns gh's answer about it."""
    issues = IssueList([], [], [])
    for number, get_answer in entries:
        try:
            feature, is_open = _parse_answer(number, get_answer())
        except gh.GhError as error:
            if error.is_global:
                raise
            if not skip_unreadable:
                raise gh.GhError(error.kind, f"{error.message} `--skip-unreadable` continues without it.") from error
            issues.unreadable.append((number, error.message))
        else:
            if is_open:
                issues.features.append(feature)
            else:
                issues.closed.append(number)
    return issues


def _parse_answer(number: int, answer: Dict[str, Any]) -> Tuple[Feature, bool]:
    """Return an issue as a feature, and whether it is open. Its text ends in `(#72)`: titles need not differ."""
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
    details = {"url": url}
    description = _clean_body(body or "", url)
    if description.strip():
        details = {"description": description, **details}
    return Feature(f"{clean(title).strip() or 'untitled'} (#{number})", 0, details, number), state == "OPEN"


def _clean_body(text: str, url: str) -> str:
    kept = text[:MAX_BODY_CHARS]
    lines = kept.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4).split("\n")
    note = "" if kept == text else f"\n\n[cut after {MAX_BODY_CHARS:,} characters; all of it: {url}]"
    return "\n".join(clean(line) for line in lines).strip("\n") + note
