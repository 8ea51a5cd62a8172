"""Tasks and their subtasks: which of them is a feature, which a step of one, and which is left out. Pure.

entries = flatten_tasks(tasks, leaves=False)
[index for index, entry in enumerate(entries) if entry.feature == index]     the features
"""

from __future__ import annotations

from typing import NamedTuple

from ...base.text import clean
from .task_status import CANCELLED, DEFERRED, DONE, OPEN, TaskState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Sequence, Tuple

GROUP, HAS_SUBTASKS = "group", "has subtasks"  # why a task is left out whose parts are features
NAMED_AT_MOST = 20


class Task(NamedTuple):
    """A task as a file has it.

    `id` is written as in the file, empty without one; that of a subtask is whole (`5.2`). `needs` are ids. `body` is
    what is to be known beyond the title, as Markdown. `group` is the id of the task that this one is a part of without
    being written in it. A group is an epic or the like; `reason` says why a task is left out, whatever its state.
    """

    id: str
    title: str
    line: int
    state: TaskState
    needs: Tuple[str, ...] = ()
    body: str = ""
    subtasks: Tuple[Any, ...] = ()
    section: str = ""
    group: str = ""
    is_group: bool = False
    reason: str = ""


class Entry(NamedTuple):
    """A task in the flat list: where it stands in the tree, by indices of the list, -1 for none.

    `parent` is the entry that it is a subtask or a part of. `feature` is the entry whose feature it is or is a step of.
    `reason` is why it is left out; empty for a feature and for a step. `is_nested`: it is written inside of its parent.
    """

    task: Task
    parent: int
    feature: int
    reason: str
    is_nested: bool


def flatten_tasks(tasks: Sequence[Task], leaves: bool) -> List[Entry]:
    """Return all tasks and subtasks, each before its subtasks. Parts of a group refer to it by `group`."""
    entries: List[Entry] = []

    def add(task: Task, parent: int, feature: int, reason: str) -> None:
        index, is_nested = len(entries), parent >= 0 and entries[parent].reason != GROUP
        if feature < 0:
            reason = reason or _reason_to_leave_out(task, leaves)
            feature = -1 if reason else index
        entries.append(Entry(task, parent, feature, reason if feature < 0 else "", is_nested))
        for subtask in task.subtasks:
            if reason in ("", GROUP, HAS_SUBTASKS) or (reason == DONE and has_open(subtask)):
                add(subtask, index, feature, "")
            else:
                add(subtask, index, -1, "done subtask" if reason == DONE else f"in a task that is {reason}")

    for task in tasks:
        add(task, -1, -1, "")
    by_id = {entry.task.id.casefold(): index for index, entry in enumerate(entries) if entry.task.id}
    for index, entry in enumerate(entries):
        if entry.task.group and entry.parent < 0:
            parent = by_id.get(entry.task.group.casefold(), -1)
            if parent != index and index not in ancestors(entries, parent):
                entries[index] = entry._replace(parent=parent)
    return entries


def _reason_to_leave_out(task: Task, leaves: bool) -> str:
    """Return why a task is not a feature, whatever is above it; empty for a feature."""
    state = task.state.state
    if task.reason or state in (CANCELLED, DEFERRED, DONE):
        return task.reason or state
    if task.is_group:
        return GROUP
    return HAS_SUBTASKS if leaves and any(map(has_open, task.subtasks)) else ""


def has_open(task: Task) -> bool:
    """Return whether a task is open, or done with open subtasks."""
    return task.state.state == OPEN or (task.state.state == DONE and any(map(has_open, task.subtasks)))


def ancestors(entries: Sequence[Entry], index: int) -> List[int]:
    """Return an index and those of all tasks above it; empty for -1."""
    found: List[int] = []
    while index >= 0 and index not in found:
        found.append(index)
        index = entries[index].parent
    return found


def section_of(entries: Sequence[Entry], index: int) -> str:
    """Return the section of a task and the titles of the tasks above it, the outermost first."""
    above = [entries[other].task for other in reversed(ancestors(entries, index)[1:])]
    sections = [*([above[0].section] if above else []), *(task.title for task in above)]
    own = entries[index].task.section
    return " > ".join(clean(part).strip() for part in [*sections, *([] if above else [own])] if part.strip())


def name_task(task: Task) -> str:
    """Return the id and the title of a task, on one line."""
    return clean(f"{task.id} {task.title}").strip()


def limit_notes(notes: List[str]) -> List[str]:
    """Return at most 20 notes and how many more there are."""
    more = len(notes) - NAMED_AT_MOST
    return notes if more <= 0 else [*notes[:NAMED_AT_MOST], f"... and {more} more notes of this kind."]
