"""Read the `tasks.json` of Task Master: `{"TAG": {"tasks": [...]}}`, or `{"tasks": [...]}` of its first versions.

`--tag` chooses among tags; without it `master` is read, or the only one. The order is that of the file.
"""

from __future__ import annotations

from typing import Any, Dict, List

from ...base.text import clean
from ..data_formats.located_values import Document
from ..feature_list import FeatureListError, Listing, ListOptions
from .fields import OPEN, read_state
from .task_list import build_listing
from .task_reader import TaskReader, is_task_list

LABEL = "Task Master tasks.json"
DEFAULT_TAG = "master"


def recognize(value: Any) -> bool:
    """Return whether a value is what Task Master writes."""
    if not isinstance(value, dict):
        return False
    tasks: Any = value.get("tasks")
    if is_task_list(tasks):
        return any("testStrategy" in task or {"subtasks", "dependencies", "status"} <= set(task) for task in tasks)
    return bool(_list_tags(value)) and set(value) <= {*_list_tags(value), "metadata"}


def _list_tags(value: Dict[str, Any]) -> List[str]:
    return [name for name, tag in value.items() if isinstance(tag, dict) and isinstance(tag.get("tasks"), list)]


def read(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the features of one tag. Raises FeatureListError for an unknown tag, and where it is not clear which."""
    value, reader = document.value, TaskReader(document, name)
    if "tasks" in value:
        if options.tag:
            raise _tag_error(f"the file has no tags, so none is called {options.tag[:60]!r}. Leave `--tag` out.", name)
        return build_listing(reader.read_tasks(value["tasks"], ("tasks",)), name, options, LABEL, reader.notes())
    tag = _choose_tag(value, name, options.tag)
    others = _describe_tags({each: value[each] for each in _list_tags(value) if each != tag})
    tasks = reader.read_tasks(value[tag]["tasks"], (tag, "tasks"))
    notes = [f"Other tags, not read: {others}. `--tag NAME` chooses.", *reader.notes()] if others else reader.notes()
    return build_listing(tasks, name, options, f"{LABEL}, tag {clean(tag)[:60]}", notes)


def _choose_tag(value: Dict[str, Any], name: str, chosen: str) -> str:
    tags = _list_tags(value)
    tag = chosen or (DEFAULT_TAG if DEFAULT_TAG in tags else tags[0])
    is_over = not chosen and len(tags) > 1 and not _count_open(value[tag])
    if tag in tags and (chosen or len(tags) == 1 or (tag == DEFAULT_TAG and not is_over)):
        return tag
    no_choice = f"the tag {DEFAULT_TAG} has no open task" if tag == DEFAULT_TAG else "several tags"
    problem = f"unknown tag {clean(chosen)[:60]!r}" if chosen else no_choice
    raise _tag_error(f"{problem}. Choose one with `--tag NAME`: {_describe_tags(value)}.", name)


def _count_open(tag: Any) -> int:
    return sum(1 for task in tag["tasks"] if isinstance(task, dict) and read_state(task).state == OPEN)


def _describe_tags(value: Dict[str, Any]) -> str:
    """Return the names of tags, each with how many of its tasks are open."""
    tags = _list_tags(value)
    shown = [f"{clean(tag)[:60]} ({_count_open(value[tag])} open of {len(value[tag]['tasks'])})" for tag in tags]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def _tag_error(reason: str, name: str) -> FeatureListError:
    return FeatureListError(f"{LABEL}: {reason}", "features-file", name)
