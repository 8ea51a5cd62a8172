"""Read the `tasks.json` of Task Master: `{"TAG": {"tasks": [...]}}`, or `{"tasks": [...]}` of its first versions.

`--tag` chooses among tags; without it `master` is read, or the only one. The order is that of the file.
"""

from __future__ import annotations

from ...base.text import clean
from ..feature_list import FeatureListError, Listing
from .task_fields import find_bookkeeping, is_task_list, read_tasks
from .task_list import build_listing
from .task_status import DONE, OPEN, read_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

    from ..feature_list import ListOptions
    from ..located_values import Document

LABEL = "Task Master tasks.json"
DEFAULT_TAG = "master"
SHOWN_TAGS = 20


def recognize(value: Any) -> bool:
    """Return whether a value is what Task Master writes."""
    if not isinstance(value, dict):
        return False
    if isinstance(value.get("tasks"), list):
        tasks = value["tasks"]
        return is_task_list(tasks) and any(_is_task_of_tool(task) for task in tasks)
    tags = list_tags(value)
    others = [name for name in value if name not in tags and name not in ("metadata", "_rawTaggedData", "tag")]
    return bool(tags) and not others


def _is_task_of_tool(task: Dict[str, Any]) -> bool:
    return (
        "testStrategy" in task
        or (isinstance(task.get("subtasks"), list) and "status" in task)
        or (isinstance(task.get("dependencies"), list) and "status" in task)
    )


def list_tags(value: Dict[str, Any]) -> List[str]:
    """Return the names of the tags of a file."""
    return [name for name, tag in value.items() if isinstance(tag, dict) and isinstance(tag.get("tasks"), list)]


def read(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the features of one tag. Raises FeatureListError for an unknown tag, and where it is not clear which."""
    value = document.value
    if isinstance(value.get("tasks"), list):
        if options.tag:
            raise FeatureListError(
                f"{LABEL} without tags: there is no tag {options.tag[:60]!r}. Leave `--tag` out.", "features-file", name
            )
        path: Tuple[Any, ...] = ("tasks",)
        label, notes = LABEL, []
        entries = value["tasks"]
    else:
        tag = _choose_tag(value, name, options.tag)
        path, label, entries = (tag, "tasks"), f"{LABEL}, tag {clean(tag)[:60]}", value[tag]["tasks"]
        others = [other for other in list_tags(value) if other != tag]
        notes = [f"Other tags, not read: {_describe_tags(value, others)}. `--tag NAME` chooses."] if others else []
    unusable = [index for index, entry in enumerate(entries) if not is_task_list([entry])]
    if unusable:
        raise FeatureListError(
            f"{label}: this task has no title. Give it one, or remove it.",
            "features-yaml",
            name,
            *document.position((*path, unusable[0])),
        )
    note = find_bookkeeping(entries)
    return build_listing(
        read_tasks(entries, path, document), name, options, label=label, notes=[*notes, *([note] if note else [])]
    )


def _choose_tag(value: Dict[str, Any], name: str, chosen: str) -> str:
    tags = list_tags(value)
    if chosen:
        fitting = [tag for tag in tags if tag == chosen] or [tag for tag in tags if tag.casefold() == chosen.casefold()]
        if len(fitting) != 1:
            raise FeatureListError(
                f"{LABEL}: unknown tag {clean(chosen)[:60]!r}. The tags are {_describe_tags(value, tags)}.",
                "features-file",
                name,
            )
        return fitting[0]
    if DEFAULT_TAG in tags and (_count_open(value, DEFAULT_TAG) or not any(_count_open(value, tag) for tag in tags)):
        return DEFAULT_TAG
    if len(tags) == 1:
        return tags[0]
    problem = f"the tag {DEFAULT_TAG} has no open task" if DEFAULT_TAG in tags else "several tags"
    raise FeatureListError(
        f"{LABEL}: {problem}. Choose one with `--tag NAME`: {_describe_tags(value, tags)}.", "features-file", name
    )


def _count_open(value: Dict[str, Any], tag: str) -> int:
    states = [read_state(task).state for task in value[tag]["tasks"] if isinstance(task, dict)]
    subtasks = [
        subtask
        for task in value[tag]["tasks"]
        if isinstance(task, dict) and read_state(task).state == DONE and isinstance(task.get("subtasks"), list)
        for subtask in task["subtasks"]
    ]
    return states.count(OPEN) + sum(1 for each in subtasks if isinstance(each, dict) and read_state(each).state == OPEN)


def _describe_tags(value: Dict[str, Any], tags: List[str]) -> str:
    shown = [f"{clean(tag)[:60]} ({_count_open(value, tag)} open of {len(value[tag]['tasks'])})" for tag in tags]
    more = f" and {len(shown) - SHOWN_TAGS} more" if len(shown) > SHOWN_TAGS else ""
    return ", ".join(shown[:SHOWN_TAGS]) + more
