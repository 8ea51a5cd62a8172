"""Read the tasks of Backlog.md: a folder `backlog/tasks` with a Markdown file for each task, or one such file.

    listing = read_folder("backlog", "backlog", options, read_bytes)
    if is_task_text(text): listing = read_task_text(text, "task-7.md", options)

The folder may be the one with `config.yml`, of which the statuses are taken: the last one means done. Tasks in its
folder `completed` are done, those in `archive` are not going to be done. The order is that of the board: `ordinal`,
then the number.
"""

from __future__ import annotations

import os
import re

from ...base.text import clean
from ..feature_list import FeatureListError, Listing, decode_text
from . import front_matter
from .field_text import format_fields, join_blocks
from .task_fields import find_bookkeeping, is_bookkeeping, read_references
from .task_list import build_listing
from .task_status import CANCELLED, DONE, OPEN, TaskState, state_of_status
from .task_tree import Task, name_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

    from ..feature_list import ListOptions

    ReadBytes = Callable[[str, str], bytes]

LABEL = "Backlog.md tasks"
MAX_FILES = 20_000
USED = ("id", "title", "status", "dependencies", "parent_task_id", "ordinal")
# What Backlog.md writes around the parts of a task to find them again.
MARKER = re.compile(r"[ \t]*<!-- (?:SECTION:[A-Z0-9_]+|AC|DOD|COMMENTS?):(?:BEGIN|END) -->[ \t]*")
NUMBER = re.compile(r"(?:[A-Za-z][A-Za-z_]*-)?(\d+(?:\.\d+)*)")
CONFIG_STATUSES = re.compile(r"^statuses[ \t]*:[ \t]*\[(.*)\]", re.MULTILINE)


def is_task_text(text: str) -> bool:
    """Return whether a Markdown text is a task of Backlog.md: its front matter has an id, a title and a status."""
    front = front_matter.parse(text) if text.startswith("---") else None
    return front is not None and all(isinstance(front.fields.get(name), str) for name in ("id", "title", "status"))


def read_task_text(text: str, name: str, options: ListOptions) -> Listing:
    """Return the feature of one task. Raises FeatureListError if it is not open."""
    fronts = [front for front in [front_matter.parse(text)] if front is not None]
    tasks = [_to_task(front, (), 1) for front in fronts]
    return build_listing(tasks, name, options, label="Backlog.md task", notes=_field_notes(fronts))


def find_tasks_folder(path: str) -> Optional[str]:
    """Return the folder with the task files of a folder of Backlog.md, or of a project with one; None without one."""
    for folder in (path, os.path.join(path, "tasks"), os.path.join(path, "backlog", "tasks")):
        if any(NUMBER.match(name) and name.endswith(".md") for name in _list_names(folder)):
            return folder
    return None


def read_folder(path: str, name: str, options: ListOptions, read_bytes: ReadBytes) -> Optional[Listing]:
    """Return the open tasks of a folder; None if there are no tasks of Backlog.md in it. Raises FeatureListError.

    `read_bytes` reads a file, given its path and what messages call it.
    """
    folder = find_tasks_folder(path)
    if folder is None:
        return None
    fronts, others = _read_files(folder, name, read_bytes)
    if not fronts:
        return None
    base = os.path.dirname(os.path.abspath(folder))
    statuses = _read_statuses(base, name, read_bytes)
    elsewhere = {
        **dict.fromkeys(_list_ids(os.path.join(base, "archive", "tasks")), CANCELLED),
        **dict.fromkeys(_list_ids(os.path.join(base, "completed")), DONE),
    }
    tasks = [_to_task(front, statuses, 0) for _, front in fronts]
    keys: Dict[str, List[str]] = {}
    for task in tasks:
        keys.setdefault(_number_key(task.id), []).append(task.id)
    notes = ["In the order of the board: `ordinal`, then the number of the task."]
    tasks = [_resolve_ids(task, keys, elsewhere, notes) for task in tasks]
    tasks = [task for _, task in sorted(zip([front for _, front in fronts], tasks), key=lambda pair: _rank(*pair))]
    if others:
        notes.append(f"Not tasks, not read: {', '.join(clean(other)[:60] for other in others[:20])}.")
    return build_listing(
        tasks, name, options, label=LABEL, notes=[*notes, *_field_notes([front for _, front in fronts])]
    )


def _list_names(folder: str) -> List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _read_files(
    folder: str, name: str, read_bytes: ReadBytes
) -> Tuple[List[Tuple[str, front_matter.FrontMatter]], List[str]]:
    """Return the task files of a folder with their front matter, and the names of Markdown files that are no tasks."""
    fronts, others = [], []
    names = [each for each in _list_names(folder) if each.lower().endswith((".md", ".markdown"))]
    if len(names) > MAX_FILES:
        raise FeatureListError(f"more than {MAX_FILES:,} files. Archive old tasks.", "features-file", name)
    for each in names:
        label = f"{name}/{clean(each)}"
        text = decode_text(read_bytes(os.path.join(folder, each), label), label)
        front = front_matter.parse(text) if is_task_text(text) else None
        if front is None:
            others.append(each)
        else:
            fronts.append((each, front))
    return fronts, others


def _read_statuses(base: str, name: str, read_bytes: ReadBytes) -> Sequence[str]:
    """Return the statuses of the folder's configuration, empty without one."""
    for file_name in ("config.yml", "config.yaml"):
        path = os.path.join(base, file_name)
        if os.path.isfile(path):
            text = decode_text(read_bytes(path, f"{name}/{file_name}"), f"{name}/{file_name}")
            match = CONFIG_STATUSES.search(text)
            return [part.strip().strip("\"'") for part in match[1].split(",") if part.strip()] if match else ()
    return ()


def _list_ids(folder: str) -> List[str]:
    """Return the numbers of the tasks whose files are in a folder, by the names of these files."""
    names = [each for each in _list_names(folder) if each.endswith(".md")]
    return [_number_key(each) for each in names if NUMBER.match(each)]


def _number_key(identifier: str) -> str:
    """Return the number in an id without prefix and zeros in front: `BACK-355.02` as `355.2`."""
    match = NUMBER.match(identifier)
    return ".".join(str(int(part)) for part in match[1].split(".")) if match else identifier.casefold()


def _to_task(front: front_matter.FrontMatter, statuses: Sequence[str], line: int) -> Task:
    fields = front.fields
    status = str(fields["status"]).strip()
    state = state_of_status(status)
    spelled = [each.casefold() for each in statuses]
    if status.casefold() in spelled:
        is_last = spelled.index(status.casefold()) == len(spelled) - 1
        state = TaskState(DONE if is_last else CANCELLED if state.state == CANCELLED else OPEN, status)
    others = [(name, value) for name, value in fields.items() if name not in USED and not is_bookkeeping(name)]
    parent = fields.get("parent_task_id") or fields.get("parent")
    body = "\n".join(line for line in front.body.split("\n") if not MARKER.fullmatch(line))
    return Task(
        clean(str(fields["id"])).strip(),
        clean(str(fields["title"])).strip() or "untitled",
        line,
        state,
        tuple(read_references(fields.get("dependencies")) or ()),
        join_blocks(
            format_fields([(name, _join_short(value)) for name, value in others]), body, "\n".join(front.unread)
        ),
        group=parent if isinstance(parent, str) else "",
    )


def _join_short(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, list) and all(len(each) <= 60 for each in value) else value


def _resolve_ids(task: Task, keys: Dict[str, List[str]], elsewhere: Dict[str, str], notes: List[str]) -> Task:
    """Return a task whose references are ids of the folder: the prefix of all ids may have changed since.

    A reference to an archived task goes into the description and the notes.
    """

    def resolve(reference: str) -> str:
        known = keys.get(_number_key(reference), [])
        return known[0] if len(known) == 1 else reference

    needs, archived = [], []
    for reference in task.needs:
        place = None if _number_key(reference) in keys else elsewhere.get(_number_key(reference))
        if place is None:
            needs.append(resolve(reference))
        elif place == CANCELLED:
            archived.append(f"{name_task(task)} needs {clean(reference)[:60]}, which is archived.")
    if task.state.state == OPEN:
        notes += archived
    body = join_blocks(task.body, "\n".join(archived))
    return task._replace(needs=tuple(needs), group=resolve(task.group) if task.group else "", body=body)


def _rank(front: front_matter.FrontMatter, task: Task) -> Tuple[float, List[int], str]:
    try:
        ordinal = float(front.fields.get("ordinal", "inf"))
    except (TypeError, ValueError):
        ordinal = float("inf")
    key = _number_key(task.id)
    return ordinal, [int(part) for part in key.split(".") if part.isdigit()], task.id


def _field_notes(fronts: Sequence[front_matter.FrontMatter]) -> List[str]:
    note = find_bookkeeping([front.fields for front in fronts], used=("ordinal",))
    return [note] if note else []
