"""Read what `bd export` writes: JSON lines, an issue each. Also `bd list --json`, the same as an array.

Each open issue is a feature. An epic is the context of its issues, not a feature. Issues that beads makes for itself
(messages, agents, gates, templates) are left out. The order is that of `bd ready`: priority 0 first, then the oldest,
because the lines of an export are in the order of random ids.
"""

from __future__ import annotations

from ...base.text import clean
from ..feature_list import FeatureListError, Listing
from .field_text import format_fields, is_empty, join_blocks
from .task_fields import find_bookkeeping, is_bookkeeping
from .task_list import build_listing
from .task_status import OPEN, classify_status, state_of_status
from .task_tree import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

    from ..feature_list import ListOptions
    from ..located_values import Document

LABEL = "beads issues"
GROUP_TYPES = ("epic", "milestone")
WORK_TYPES = ("", "task", "bug", "feature", "chore", "decision", "spike", "story", "enhancement", "docs", "test")
INTERNAL_TYPES = (
    "message", "molecule", "gate", "event", "agent", "rig", "role", "convoy", "merge-request", "slot", "memory", "wisp",
)  # fmt: skip
BLOCKING = ("", "blocks", "waits-for")
PARENT = "parent-child"
SECTIONS = ("design", "acceptance_criteria", "notes", "comments")
# Fields of one process or machine, or of what is left out.
INTERNAL_FIELDS = (
    "id", "title", "description", "status", "dependencies", "dependents", "parent", "_type", "type_", "ephemeral",
    "is_template", "pinned", "no_history", "wisp_type", "mol_type", "work_type", "bonded_from", "sender", "metadata_",
    "delete_reason", "deleted_at", "deleted_by", "original_type", "source_system", "compacted_at",
    "compacted_at_commit",
)  # fmt: skip


def recognize(value: Any) -> bool:
    """Return whether a value is a list of issues of beads."""
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        return False
    issues = [item for item in value if item.get("_type", "issue") == "issue"]
    return (
        bool(issues)
        and all(
            isinstance(item.get("id"), str)
            and isinstance(item.get("title"), str)
            and isinstance(item.get("status", ""), str)
            for item in issues
        )
        and any(
            "issue_type" in item or ("priority" in item and "created_at" in item and "status" in item)
            for item in issues
        )
    )


def read(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the open issues. Raises FeatureListError."""
    items = [(index, item) for index, item in enumerate(document.value)]
    titles = {item["id"]: item["title"] for _, item in items if "title" in item and isinstance(item.get("id"), str)}
    tasks: List[Tuple[Tuple[float, str, int], Task]] = []
    other_types: Dict[str, int] = {}
    for index, item in items:
        task = _read_issue(item, document.position((index,)).line, titles)
        priority = item.get("priority")
        rank = float(priority) if isinstance(priority, (int, float)) else 2.0  # the default of beads
        tasks.append(((rank, str(item.get("created_at", "")), index), task))
        kind = str(item.get("issue_type", ""))
        if not task.reason and not task.is_group and kind not in WORK_TYPES and task.state.state == OPEN:
            other_types[kind] = other_types.get(kind, 0) + 1
    if not any(task.title for _, task in tasks):
        raise FeatureListError(f"{LABEL}: no issue has a title.", "features-file", name)
    notes = ["In the order of `bd ready`: priority 0 first, then the oldest; not in that of the file."]
    notes += [f"The type {clean(kind)[:40]!r} ({count} times) is taken as work." for kind, count in other_types.items()]
    note = find_bookkeeping([item for _, item in items])
    ordered = [task for _, task in sorted(tasks, key=lambda pair: pair[0])]
    return build_listing(
        ordered, name, options, label=LABEL, notes=[*notes, *([note] if note else [])], id_prefix="bd-"
    )


def _read_issue(item: Dict[str, Any], line: int, titles: Dict[str, str]) -> Task:
    status = str(item.get("status", "") or "")
    kind = str(item.get("issue_type", "") or "")
    reason = ""
    if item.get("_type", "issue") != "issue":
        reason = clean(str(item["_type"]))[:40]
    elif kind in INTERNAL_TYPES:
        reason = kind
    elif item.get("is_template") is True:
        reason = "template"
    elif status == "pinned" or item.get("pinned") is True:
        reason = "pinned"
    needs, parent, links = _read_dependencies(item, titles)
    others = [
        (name, value)
        for name, value in item.items()
        if name not in INTERNAL_FIELDS and name not in SECTIONS and not is_bookkeeping(name)
    ]
    fields = [(name, f"P{value}" if name == "priority" and isinstance(value, int) else value) for name, value in others]
    sections = [
        (name, _format_comments(item[name]) if name == "comments" else item[name]) for name in SECTIONS if name in item
    ]
    body = join_blocks(
        str(item.get("description") or ""),
        format_fields(
            [("Type" if name == "issue_type" else name, value) for name, value in fields if not is_empty(value)]
        ),
        "\n".join(links),
        format_fields(sections),
    )
    title = str(item.get("title") or item.get("id") or item.get("key") or "untitled")
    return Task(
        clean(str(item.get("id") or "")).strip(),
        clean(title).strip() or "untitled",
        line,
        state_of_status(status)._replace(is_certain=classify_status(status) is not None),
        tuple(needs),
        body,
        group=parent,
        is_group=kind in GROUP_TYPES,
        reason=reason,
    )


def _read_dependencies(item: Dict[str, Any], titles: Dict[str, str]) -> Tuple[List[str], str, List[str]]:
    """Return the ids that an issue needs, that of its parent (empty without one), and its other links as lines."""
    needs: List[str] = []
    links: List[str] = []
    parent = item["parent"] if isinstance(item.get("parent"), str) else ""
    entries = item.get("dependencies")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, str):
            needs.append(entry)
            continue
        if not isinstance(entry, dict):
            continue
        kind = str(entry.get("type") or entry.get("dependency_type") or "")
        target = entry.get("depends_on_id") or entry.get("id")
        if not isinstance(target, str):
            continue
        if kind == PARENT:
            parent = parent or target
        elif kind in BLOCKING:
            needs.append(target)
        else:
            label = kind.replace("-", " ")
            title = f" ({titles[target]})" if target in titles else ""
            links.append(clean(f"{label[:1].upper()}{label[1:]}: {target}{title}"))
    return needs, parent, links


def _format_comments(comments: Any) -> Any:
    """Return the comments of an issue as paragraphs, each with its author."""
    if not isinstance(comments, list) or not all(isinstance(comment, dict) for comment in comments):
        return comments
    texts = [(comment.get("author"), comment.get("text") or comment.get("body")) for comment in comments]
    return "\n\n".join(f"{f'{author}: ' if isinstance(author, str) else ''}{text}" for author, text in texts if text)
