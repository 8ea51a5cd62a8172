"""Read what `gh issue list --json FIELDS` prints, with any fields but the title at will, and the same of GitHub's API.

An issue is called as `--issues` calls it, `Title (#12)`; its id is `issue-12`. Nothing is written to such an issue:
the file may be of another repository.
"""

from __future__ import annotations

from typing import Any, Dict

from ..data_formats.located_values import Document
from ..feature_list import FeatureListError, Listing, ListOptions
from .fields import words
from .task_list import build_listing
from .task_reader import TaskReader

LABEL = "GitHub issues"
# The fields that `gh issue list --json` knows.
GH_FIELDS = frozenset(words(
    "assignees author blockedBy blocking body closed closedAt closedByPullRequestsReferences comments createdAt id "
    "isPinned issueType labels milestone number parent projectCards projectItems reactionGroups state stateReason "
    "subIssues subIssuesSummary title updatedAt url"
))  # fmt: skip
SIGNS = ("number", "body", "labels", "url", "milestone", "assignees", "author", "stateReason")


def recognize(value: Any) -> bool:
    """Return whether a value is a list of issues of GitHub."""
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return False
    fields = {name for item in value for name in item}
    is_of_gh = fields <= GH_FIELDS and not fields.isdisjoint(SIGNS) and ("number" in fields or "id" not in fields)
    return is_of_gh or all("html_url" in item and "number" in item for item in value)  # the latter is of the API


def read(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the open issues; oldest first if the list is newest first, as gh prints it. Raises FeatureListError."""
    reader, tasks = TaskReader(document, name), []
    for index, item in enumerate(document.value):
        if not str(item.get("title") or "").strip():
            reason = "this issue has no title. Write the list with `gh issue list --json number,title,body,state`."
            raise FeatureListError(f"{LABEL}: {reason}", "features-file", name, *document.position((index,)))
        task = reader.read_task(_to_fields(item), (index,))
        task.reason = "pull request" if "pull_request" in item or "/pull/" in str(item.get("url")) else ""
        tasks.append(task)
    numbers = [item.get("number") for item in document.value]
    notes = reader.notes()
    if len(tasks) > 1 and all(isinstance(each, int) for each in numbers) and numbers == sorted(numbers, reverse=True):
        tasks.reverse()
        notes.insert(0, "Oldest issue first; gh lists the newest first.")
    return build_listing(tasks, name, options, LABEL, notes)


def _to_fields(item: Dict[str, Any]) -> Dict[str, Any]:
    """Return the fields of an issue under the names that tasks have."""
    number, reason = item.get("number"), str(item.get("stateReason") or item.get("state_reason"))
    is_closed = str(item.get("state")).lower() == "closed" or item.get("closed") is True
    skipped = ("id", "number", "title", "state", "stateReason", "closed", "url")
    wanted = ("body", "labels", "milestone", "user") if "html_url" in item else item  # the API has much more
    fields = {key: _simplify(item[key]) for key in wanted if key in item and key not in skipped}
    fields["title"] = f"{item['title']} (#{number})" if isinstance(number, int) else item["title"]
    fields["id"] = f"issue-{number}" if isinstance(number, int) else ""
    is_cancelled = reason.lower() in ("not_planned", "duplicate")
    fields["status"] = ("cancelled" if is_cancelled else "closed") if is_closed else ""
    fields["URL"] = item.get("html_url") or item.get("url")
    return fields


def _simplify(value: Any) -> Any:
    """Return what a reader needs of a label, a milestone or a comment: its name, title, or author and text."""
    if isinstance(value, list):
        simple = [_simplify(each) for each in value]
        return (
            ", ".join(simple)
            if all(isinstance(each, str) and len(each) < 60 and ": " not in each for each in simple)
            else simple
        )
    if isinstance(value, dict) and isinstance(value.get("body"), str):
        return f"{_simplify(value.get('author'))}: {value['body']}"
    if isinstance(value, dict):
        return next((value[name] for name in ("name", "title", "login") if isinstance(value.get(name), str)), value)
    return value
