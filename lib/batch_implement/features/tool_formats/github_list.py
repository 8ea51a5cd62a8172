"""Read what `gh issue list --json FIELDS` prints, with any fields but the title at will, and the same of GitHub's API.

An issue is called as `--issues` calls it, `Title (#12)`; its id is `issue-12`. Nothing is written to such an issue:
the file may be of another repository.
"""

from __future__ import annotations

from ...base.text import clean
from ..feature_list import FeatureListError, Listing
from .field_text import format_fields, is_empty, join_blocks
from .task_list import build_listing
from .task_status import CANCELLED, DONE, OPEN, TaskState
from .task_tree import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from ..feature_list import ListOptions
    from ..located_values import Document

LABEL = "GitHub issues"
# The fields that `gh issue list --json` knows.
GH_FIELDS = frozenset((
    "assignees", "author", "blockedBy", "blocking", "body", "closed", "closedAt", "closedByPullRequestsReferences",
    "comments", "createdAt", "id", "isPinned", "issueType", "labels", "milestone", "number", "parent", "projectCards",
    "projectItems", "reactionGroups", "state", "stateReason", "subIssues", "subIssuesSummary", "title", "updatedAt",
    "url",
))  # fmt: skip
SIGNS = ("number", "body", "labels", "url", "milestone", "assignees", "author", "stateReason")
USED = ("title", "number", "body", "state", "stateReason", "state_reason", "closed", "url", "html_url", "pull_request")
SHOWN = (
    "labels",
    "milestone",
    "issueType",
    "type",
    "comments",
    "subIssues",
    "parent",
    "blockedBy",
    "blocking",
    "projectItems",
)


def recognize(value: Any) -> bool:
    """Return whether a value is a list of issues of GitHub."""
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return False
    if all("html_url" in item and "number" in item for item in value):  # `gh api repos/OWNER/NAME/issues`
        return True
    fields = {name for item in value for name in item}
    return fields <= GH_FIELDS and not fields.isdisjoint(SIGNS) and not ("id" in fields and "number" not in fields)


def read(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the open issues; oldest first if the list is newest first, as gh prints it. Raises FeatureListError."""
    items: List[Dict[str, Any]] = document.value
    untitled = [
        index for index, item in enumerate(items) if not isinstance(item.get("title"), str) or not item["title"].strip()
    ]
    if untitled:
        raise FeatureListError(
            f"{LABEL}: this issue has no title. Write the list with `gh issue list --json number,title,body,state`.",
            "features-file",
            name,
            *document.position((untitled[0],)),
        )
    tasks = [_read_issue(item, document.position((index,)).line) for index, item in enumerate(items)]
    numbers = [item.get("number") for item in items]
    notes = []
    is_newest_first = len(items) > 1 and all(
        isinstance(first, int) and isinstance(second, int) and first > second
        for first, second in zip(numbers, numbers[1:])
    )
    if is_newest_first:
        tasks.reverse()
        notes.append("Oldest issue first; gh lists the newest first.")
    dropped = dict.fromkeys(
        field
        for item in items
        for field in item
        if field not in USED and field not in SHOWN and not is_empty(item[field])
    )
    if dropped:
        notes.append(f"Fields that are left out: {', '.join(clean(field)[:40] for field in dropped)}.")
    return build_listing(tasks, name, options, label=LABEL, notes=notes)


def _read_issue(item: Dict[str, Any], line: int) -> Task:
    number = item.get("number")
    has_number = isinstance(number, int) and not isinstance(number, bool)
    title = " ".join(clean(item["title"]).split())
    url = item.get("html_url") or item.get("url")
    url = clean(url).strip() if isinstance(url, str) else ""
    body = item.get("body")
    shown = {name: _simplify(item[name]) for name in SHOWN if name in item}
    is_pull_request = "pull_request" in item or "/pull/" in url
    return Task(
        f"issue-{number}" if has_number else "",
        f"{title} (#{number})" if has_number else title,
        line,
        _read_state(item),
        _read_blockers(item),
        join_blocks(
            body if isinstance(body, str) else "",
            format_fields([("URL", url), *shown.items()]),
        ),
        reason="pull request" if is_pull_request else "",
    )


def _read_state(item: Dict[str, Any]) -> TaskState:
    state = str(item.get("state") or "").upper()
    reason = str(item.get("stateReason") or item.get("state_reason") or "").upper()
    if state == "CLOSED" or (not state and item.get("closed") is True):
        return TaskState(CANCELLED if reason in ("NOT_PLANNED", "DUPLICATE") else DONE, "closed")
    return TaskState(OPEN, "")


def _read_blockers(item: Dict[str, Any]) -> Any:
    """Return the ids of the issues that block one, by their numbers."""
    entries = item.get("blockedBy")
    entries = entries.get("nodes") if isinstance(entries, dict) else entries
    numbers = [entry.get("number") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    return tuple(f"issue-{number}" for number in numbers if isinstance(number, int))


def _simplify(value: Any) -> Any:
    """Return what a reader needs of a label, a milestone or a comment: its name, title, or author and text."""
    if isinstance(value, list):
        simple = [_simplify(entry) for entry in value]
        if all(isinstance(entry, str) and "\n" not in entry and len(entry) <= 60 for entry in simple):
            return ", ".join(simple)
        return simple
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("body"), str):
        author = value.get("author") or value.get("user")
        login = author.get("login") if isinstance(author, dict) else author
        return f"{login}: {value['body']}" if isinstance(login, str) else value["body"]
    return next((value[name] for name in ("name", "title", "login") if isinstance(value.get(name), str)), value)
