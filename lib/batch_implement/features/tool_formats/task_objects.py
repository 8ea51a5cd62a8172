"""Read lists of objects that say of each entry what is to be done and whether it is: the lists of agent harnesses,
`[{"category", "description", "steps", "passes"}]`, and those of tools without a reader of their own.

The list is the whole file, or in an object under a name like `features` or `tasks`; groups (`phases`, `epics`) may be
around it. An entry has a title or description, and something that a list of ours has not: a status, steps, acceptance
criteria. A list of ours with a property too many is none of these.
"""

from __future__ import annotations

import difflib

from ...base.text import clean
from ..feature_list import FeatureListError, Listing
from .field_text import is_empty
from .task_fields import (
    DESCRIPTIONS,
    IDS,
    NEEDS,
    TITLES,
    find_bookkeeping,
    find_title_name,
    is_bookkeeping,
    read_task,
    read_tasks,
)
from .task_list import build_listing
from .task_status import DONE, FLAGS, OPEN, STATUS_FIELDS, is_status, normalize_word, read_flag
from .task_tree import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Sequence, Tuple

    from ..feature_list import ListOptions
    from ..located_values import Document

    Path = Tuple[Any, ...]

CONTAINERS = (
    "features", "featurelist", "tasks", "tasklist", "todos", "todo", "items", "stories", "userstories", "issues",
    "backlog", "tests", "testcases", "checklist", "requirements", "bugs", "plan", "steps", "tickets", "subtasks",
)  # fmt: skip
GROUPS = (
    "phases", "epics", "milestones", "sections", "categories", "sprints", "modules", "groups", "stages", "iterations",
    "areas", "versions", "releases", "waves", "tracks", "workstreams", "components",
)  # fmt: skip
SINGULARS = ("epic", "phase", "milestone", "section", "category", "sprint", "module", "group", "stage", "area", "track")
# What lists of ours alone have.
OWN = ("verify", "verify_timeout_s", "touches", "workflow_mode", "max_retries")
OWN_FIELDS = ("id", "title", "description", "depends_on", *OWN, "evidence")
# What lists of tools have, beside a status.
SIGNS = (
    "steps", "acceptance", "acceptancecriteria", "criteria", "successcriteria", "priority", "category", "subtasks",
    "labels", "tags", "teststrategy", "userstory", "estimate", "effort", "storypoints", "complexity", "teststeps",
    "validation", "verification",
)  # fmt: skip


def recognize(value: Any) -> bool:
    """Return whether a value is such a list."""
    if isinstance(value, dict) and "defaults" in value:
        return False
    if isinstance(value, dict) and len(value) > 1 and _find_empty_list(value):
        return True
    return _is_foreign([item for _, _, item in _iterate_items(value)])


def read(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the open entries, in the order of the file. Raises FeatureListError."""
    value = document.value
    items = list(_iterate_items(value))
    if not items:
        empty = next(key for key in value if value[key] == [] and normalize_word(key) in CONTAINERS)
        raise FeatureListError(f"`{clean(empty)}` is empty. Add what is to be done.", "features-file", name)
    for path, _, item in items:
        if find_title_name(item) is None:
            raise FeatureListError(
                "this entry has neither a title nor a description. Give it one, or remove it.",
                "features-yaml",
                name,
                *document.position(path),
            )
    tasks = _read_level(value, (), document)
    has_passes = any(normalize_word(key) == "passes" for _, _, item in items for key in item)
    used = [key for key in value if _find_lists({key: value[key]})] if isinstance(value, dict) else []
    is_feature_list = any(normalize_word(key) in ("features", "featurelist") for key in used)
    label = "Feature list of an agent harness" if has_passes else "Feature list" if is_feature_list else "Task list"
    notes = [
        describe_top(value, used) if isinstance(value, dict) else "",
        find_bookkeeping(item for _, _, item in items),
    ]
    return build_listing(tasks, name, options, label=label, notes=list(filter(None, notes)))


def describe_top(value: Dict[str, Any], used: Sequence[str]) -> str:
    """Return a note that names what stands beside the list in an object; empty if there is nothing."""
    left = [name for name, each in value.items() if name not in used and not is_empty(each)]
    shown = []
    for name in left:
        each = value[name]
        is_short = isinstance(each, (str, int, float)) and len(str(each)) <= 60
        shown.append(f"{clean(name)[:40]} ({clean(str(each))})" if is_short else clean(name)[:40])
    return f"Left out at the top of the file: {', '.join(shown)}." if shown else ""


def _find_empty_list(value: Dict[str, Any]) -> bool:
    """Return whether an object has an empty list where its entries belong, and no other list of entries."""
    return any(value[key] == [] and normalize_word(key) in CONTAINERS for key in value) and not _find_lists(value)


def _find_lists(value: Dict[str, Any]) -> List[Tuple[str, bool]]:
    """Return the names in an object under which entries are, each with whether groups are around them."""
    found = []
    for name, each in value.items():
        word = normalize_word(name)
        entries = list(each.values()) if isinstance(each, dict) else each
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, (dict, str)) for entry in entries):
            continue
        if isinstance(each, dict) and not all(isinstance(entry, dict) for entry in entries):
            continue
        objects = [entry for entry in entries if isinstance(entry, dict)]
        if word in GROUPS and objects and any(_find_lists(entry) for entry in objects):
            found.append((name, True))
        elif word in CONTAINERS and objects:
            found.append((name, False))
    return found


def _iterate_items(value: Any) -> Iterator[Tuple[Path, bool, Dict[str, Any]]]:
    """Yield the path of each entry, whether it is in a group, and the entry."""
    if isinstance(value, list):
        is_grouped = _are_groups(value)
        for index, item in enumerate(value):
            if is_grouped:
                yield from (((index, *path), True, each) for path, _, each in _iterate_items(item))
            elif isinstance(item, dict):
                yield (index,), False, item
    elif isinstance(value, dict):
        for name, is_grouped in _find_lists(value):
            pairs = value[name].items() if isinstance(value[name], dict) else enumerate(value[name])
            for step, item in pairs:
                if is_grouped and isinstance(item, dict):
                    yield from (((name, step, *path), True, each) for path, _, each in _iterate_items(item))
                elif isinstance(item, dict):
                    yield (name, step), False, item


def _are_groups(value: List[Any]) -> bool:
    """Return whether a list has groups of entries, which have no state of their own."""
    return bool(value) and all(isinstance(item, dict) and _find_lists(item) and not _has_state(item) for item in value)


def _read_level(value: Any, path: Path, document: Document, section: str = "") -> List[Task]:
    """Return the tasks in a list, or in all lists of an object."""
    if isinstance(value, list):
        if _are_groups(value):
            return [_read_group(item, (*path, index), document) for index, item in enumerate(value)]
        return read_tasks(value, path, document, section)
    tasks: List[Task] = []
    lists = _find_lists(value)
    for name, is_grouped in lists:
        below = value[name]
        title = clean(name) if len(lists) > 1 and not section else section
        if is_grouped:
            pairs: List[Tuple[Any, Any]] = list(below.items() if isinstance(below, dict) else enumerate(below))
            tasks += [
                _read_group(item, (*path, name, step), document) for step, item in pairs if isinstance(item, dict)
            ]
        else:
            tasks += read_tasks(below, (*path, name), document, title)
    return tasks


def _read_group(item: Dict[str, Any], path: Path, document: Document) -> Task:
    """Return a group as a task that is none, with its entries as subtasks."""
    names = [name for name, _ in _find_lists(item)]
    own = {name: each for name, each in item.items() if name not in names}
    own_names = {normalize_word(name): name for name in own}
    titles = [own_names[each] for each in SINGULARS if isinstance(own.get(own_names.get(each, "")), str)]
    title_name = titles[0] if titles else find_title_name(own)
    if title_name is None:
        title_name = "title"
        own[title_name] = f"group {path[-1] + 1}" if isinstance(path[-1], int) else str(path[-1])
    task = read_task(own, title_name, path, document, subtask_names=())
    inner = _read_level({name: item[name] for name in names}, path, document)
    if _has_state(item) and task.state.state != OPEN:
        entries = [each for _, _, each in _iterate_items({name: item[name] for name in names})]
        if not any(map(_has_state, entries)):  # then the group says it for all
            inner = [each._replace(state=task.state) for each in inner]
    state = task.state._replace(state=OPEN) if task.state.state == DONE else task.state
    return task._replace(state=state, subtasks=tuple(inner), is_group=True)


def _has_state(item: Dict[str, Any]) -> bool:
    for name, value in item.items():
        word = normalize_word(name)
        if (word in STATUS_FIELDS and is_status(value)) or (word in FLAGS and read_flag(value) is not None):
            return True
    return False


def _is_foreign(items: List[Dict[str, Any]]) -> bool:
    """Return whether entries are those of a tool, and not of ours with an error."""
    if not items or not any(find_title_name(item) for item in items):
        return False
    fields = {name for item in items for name in item}
    if not fields.isdisjoint(OWN):
        return False
    words = {normalize_word(name) for name in fields}
    if any(map(_has_state, items)):
        return True
    known = {*SIGNS, *TITLES, *DESCRIPTIONS, *NEEDS, *IDS}
    unknown = [name for name in fields if normalize_word(name) not in known and not is_bookkeeping(name)]
    typos = [name for name in unknown if name not in OWN_FIELDS and difflib.get_close_matches(name, OWN_FIELDS, 1)]
    return not typos and not words.isdisjoint(SIGNS)
