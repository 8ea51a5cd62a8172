"""Read what `bd export` writes: JSON lines, an issue each. Also `bd list --json`, the same as an array.

Each open issue is a feature. An epic is the context of its issues, not a feature. Issues that beads makes for itself
(messages, agents, gates, templates) are left out. The order is that of `bd ready`: priority 0 first, then the oldest,
because the lines of an export are in the order of random ids.
"""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from ...base.text import clean
from ..data_formats.located_values import Document
from ..feature_list import Listing, ListOptions
from .fields import words
from .task_list import Task, build_listing
from .task_reader import TaskReader

INTERNAL_TYPES = words("message molecule gate event agent rig role convoy merge-request slot memory wisp")
INTERNAL_FIELDS = words(
    "dependencies dependents parent _type ephemeral is_template pinned no_history wisp_type mol_type work_type "
    "bonded_from sender delete_reason deleted_at deleted_by original_type source_system compacted_at "
    "compacted_at_commit"
)


def recognize(value: Any) -> bool:
    """Return whether a value is a list of issues of beads."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return False
    issues = [item for item in value if item.get("_type", "issue") == "issue"]
    signs = [item for item in issues if "issue_type" in item or {"priority", "created_at", "status"} <= set(item)]
    return bool(signs) and all(isinstance(item.get(name), str) for item in issues for name in ("id", "title"))


def read(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the open issues. Raises FeatureListError."""
    reader, items = TaskReader(document, name), document.value
    titles = {item.get("id"): str(item.get("title")) for item in items}
    tasks = [_read_issue(item, index, reader, titles) for index, item in enumerate(items)]
    ranks = [(p if isinstance(p, int) else 2, str(i.get("created_at"))) for i in items for p in [i.get("priority")]]
    order = sorted(range(len(items)), key=lambda index: (*ranks[index], index))
    notes = ["In the order of `bd ready`: priority 0 first, then the oldest; not in that of the file.", *reader.notes()]
    return build_listing([tasks[index] for index in order], name, options, "beads issues", notes)


def _read_issue(item: Dict[str, Any], index: int, reader: TaskReader, titles: Dict[Any, str]) -> Task:
    needs, group, links = _read_dependencies(item, titles)
    comments = item.get("comments")
    if isinstance(comments, list) and all(isinstance(each, dict) and "text" in each for each in comments):
        comments = [f"{each.get('author', '')}: {each['text']}" for each in comments]
    kind, priority = item.get("issue_type") or item.get("_type", ""), item.get("priority")
    fields = {key: value for key, value in item.items() if key not in (*INTERNAL_FIELDS, "issue_type", "key")}
    fields.update(title=item.get("title") or item.get("key") or item.get("id"), type=kind, comments=comments, **links)
    fields["priority"] = f"P{priority}" if isinstance(priority, int) else priority
    task = reader.read_task(fields, (index,))
    task.needs, task.group, task.is_group = needs, group, kind in ("epic", "milestone")
    task.state = task.state._replace(doubt="" if item.get("status") == "blocked" else task.state.doubt)
    is_pinned = item.get("pinned") is True or item.get("status") == "pinned"
    special = "template" if item.get("is_template") is True else "pinned" if is_pinned else ""
    task.reason = str(kind) if kind in INTERNAL_TYPES else special
    return task


def _read_dependencies(item: Dict[str, Any], titles: Dict[Any, str]) -> Tuple[List[str], str, Dict[str, str]]:
    """Return the ids that an issue needs, that of its parent (empty without one), and its other links by their kind."""
    needs: List[str] = []
    links: Dict[str, str] = {}
    group = item["parent"] if isinstance(item.get("parent"), str) else ""
    for entry in item.get("dependencies") or ():
        entry = {"id": entry} if isinstance(entry, str) else entry
        kind = str(entry.get("type") or entry.get("dependency_type") or "blocks")
        target = clean(str(entry.get("depends_on_id") or entry.get("id") or ""))
        if kind == "parent-child":
            group = group or target
        elif kind in ("blocks", "waits-for"):
            needs.append(target)
        else:
            shown = f"{target} ({titles[target]})" if target in titles else target
            links[kind] = f"{links[kind]}, {shown}" if kind in links else shown
    return needs, group, links
