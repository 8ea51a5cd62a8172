"""Read the `tasks.json` of Task Master: `{"TAG": {"tasks": [...]}}`, or `{"tasks": [...]}` of its first versions.

`--tag` chooses among tags; without it `master` is read, or the only one. The order is that of the file.
"""

from __future__ import annotations

from typing import Any, Dict, List

from ...base.text import clean
from ..feature_list import FeatureListError, Listing, ListOptions
from ..located_values import Document
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
    tags = _list_tags(value)
    if is_task_list(tasks):
        return any("testStrategy" in task or {"subtasks", "dependencies", "status"} <= set(task) for task in tasks)
    return bool(tags) and all(name in tags or name == "metadata" for name in value)


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
    if chosen:
        fitting = [tag for tag in tags if tag.casefold() == chosen.casefold()]
        if chosen not in tags and len(fitting) != 1:
            raise _tag_error(f"unknown tag {clean(chosen)[:60]!r}. The tags are {_describe_tags(value)}.", name)
        return chosen if chosen in tags else fitting[0]
    if len(tags) == 1 or (
        DEFAULT_TAG in tags and (_has_open(value[DEFAULT_TAG]) or not any(_has_open(value[tag]) for tag in tags))
    ):
        return DEFAULT_TAG if DEFAULT_TAG in tags else tags[0]
    problem = f"the tag {DEFAULT_TAG} has no open task" if DEFAULT_TAG in tags else "several tags"
    raise _tag_error(f"{problem}. Choose one with `--tag NAME`: {_describe_tags(value)}.", name)


def _has_open(tag: Any) -> bool:
    """Return whether a task or subtask of a tag is open."""
    tasks = tag.get("tasks", ())
    below = [each for task in tasks if isinstance(task, dict) for each in task.get("subtasks") or ()]
    return OPEN in _states([*tasks, *below])


def _states(tasks: List[Any]) -> List[str]:
    return [read_state(task).state for task in tasks if isinstance(task, dict)]


def _describe_tags(value: Dict[str, Any]) -> str:
    """Return the names of tags, each with how many of its tasks are open."""
    tags = _list_tags(value)
    shown = [
        f"{clean(tag)[:60]} ({_states(value[tag]['tasks']).count(OPEN)} open of {len(value[tag]['tasks'])})"
        for tag in tags
    ]
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")


def _tag_error(reason: str, name: str) -> FeatureListError:
    return FeatureListError(f"{LABEL}: {reason}", "features-file", name)
