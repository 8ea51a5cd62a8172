"""Read lists of objects that say of each entry what is to be done and whether it is: the lists of agent harnesses,
`[{"category", "description", "steps", "passes"}]`, and those of tools without a reader of their own.

The list is the whole file, or in an object under a name like `features` or `tasks`; groups (`phases`, `epics`) may be
around it. An entry has a title or description, and something that a list of ours has not: a status, steps, acceptance
criteria. A list of ours with a property too many is none of these.
"""

from __future__ import annotations

import difflib
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from ...base.text import clean
from ..data_formats.located_values import Document
from ..feature_list import FeatureListError, Listing, ListOptions
from .fields import DONE, OPEN, by_word, is_empty, is_state, to_word, words
from .task_list import Task, build_listing
from .task_reader import BOOKKEEPING, IDS, NEEDS, TITLES, Path, TaskReader, find_title_name

CONTAINERS = words(
    "features featurelist tasks tasklist todos todo items stories userstories issues backlog tests testcases checklist "
    "requirements bugs plan steps tickets subtasks"
)
GROUPS = words(
    "phases epics milestones sections categories sprints modules groups stages iterations areas versions releases "
    "waves tracks workstreams components"
)
SINGULARS = words("epic phase milestone section category sprint module group stage area track")
# What lists of ours alone have, and what those of tools have beside a status.
OWN = ("verify", "verify_timeout_s", "touches", "workflow_mode", "max_retries")
OWN_FIELDS = ("id", "title", "section", "description", "depends_on", "evidence", *OWN)
SIGNS = words(
    "steps acceptance acceptancecriteria criteria successcriteria priority category subtasks labels tags teststrategy "
    "userstory estimate effort storypoints complexity teststeps validation verification"
)


def recognize(value: Any) -> bool:
    """Return whether a value is such a list, also an empty one beside other things."""
    has_defaults = isinstance(value, dict) and "defaults" in value
    items = [] if has_defaults and "features" in value else list(_iterate_items(value))
    if has_defaults and not any(map(_has_state, items)):
        return False
    fields = {name for item in items for name in item}
    spelled = set(map(to_word, fields))
    if not items:
        empty = [name for name in value if value[name] == []] if isinstance(value, dict) and len(value) > 1 else []
        return any(to_word(name) in CONTAINERS for name in empty)
    if not fields.isdisjoint(OWN) or not any(map(find_title_name, items)):
        return False
    if any(map(_has_state, items)):
        return True
    unknown = [name for name in fields if to_word(name) not in {*SIGNS, *TITLES, *NEEDS, *IDS, *BOOKKEEPING}]
    typos = [name for name in unknown if name not in OWN_FIELDS and difflib.get_close_matches(name, OWN_FIELDS, 1)]
    return not typos and not spelled.isdisjoint(SIGNS)


def read(
    document: Document,
    name: str,
    options: ListOptions,
    label: str = "",
    rank: Optional[Callable[[Any], float]] = None,
    order_note: str = "",
) -> Listing:
    """Return the open entries, in the order of the file or by their ranks. Raises FeatureListError.

    `label` is what the list is called, `order_note` is a note for a list that `rank` puts in another order.
    """
    value, reader = document.value, TaskReader(document, name)
    used = [key for key, _, _ in _levels(value)]
    if isinstance(value, dict) and not used:
        empty = next(key for key in value if value[key] == [] and to_word(key) in CONTAINERS)
        raise FeatureListError(f"`{clean(empty)}` is empty. Add what is to be done.", "features-file", name)
    tasks, items = _read_level(value, (), reader), list(_iterate_items(value))
    has_passes = any(to_word(key) == "passes" for item in items for key in item)
    plain = "Feature list" if any(to_word(key) in ("features", "featurelist") for key in used) else "Task list"
    label = label or ("Feature list of an agent harness" if has_passes else plain)
    notes = [*(_describe_top(value, used) if isinstance(value, dict) else ()), *reader.notes()]
    if rank and len(items) == len(tasks):
        ranked = [task for _, _, task in sorted(zip(map(rank, items), range(len(tasks)), tasks))]
        notes = notes if ranked == tasks else [order_note, *notes]
        tasks = ranked
    return build_listing(tasks, name, options, label, notes)


def _describe_top(value: Dict[str, Any], used: Sequence[str]) -> List[str]:
    """Return a note that names what stands beside the list in an object, if there is anything."""
    shown = []
    for key, each in value.items():
        if key not in used and not is_empty(each):
            is_short = isinstance(each, (str, int, float)) and len(str(each)) <= 60
            shown.append(clean(f"{key[:40]} ({each})" if is_short else key[:40]))
    return [f"Left out at the top of the file: {', '.join(shown)}."] if shown else []


def _levels(value: Any) -> List[Tuple[str, List[Tuple[Any, Any]], bool]]:
    """Return the lists of entries in a value: the name (empty for the value itself), the entries by their place, and
    whether these are groups of entries.
    """
    named = value.items() if isinstance(value, dict) else [("", value)]
    levels = []
    for name, each in named:
        is_object, word = isinstance(each, dict), to_word(name)
        pairs = list(each.items()) if is_object else list(enumerate(each)) if isinstance(each, list) else []
        objects = [item for _, item in pairs if isinstance(item, dict)]
        if objects and all(isinstance(item, dict) or (isinstance(item, str) and not is_object) for _, item in pairs):
            below = [_levels(item) for item in objects]
            is_group = word in GROUPS and any(below)
            if not is_group and all(below) and not any(map(_has_state, objects)):
                is_group = not {"subtasks", "steps"} & {to_word(inner) for level in below for inner, _, _ in level}
            if not name or word in CONTAINERS or (is_group and word in GROUPS):
                levels.append((name, pairs, is_group))
    return levels


def _iterate_items(value: Any) -> Iterator[Dict[str, Any]]:
    """Yield each entry, those in groups too."""
    for _, pairs, is_grouped in _levels(value):
        for _, item in pairs:
            if isinstance(item, dict):
                yield from _iterate_items(item) if is_grouped and _levels(item) else [item]


def _read_level(value: Any, path: Path, reader: TaskReader) -> List[Task]:
    """Return the tasks in a list, or in all lists of an object."""
    tasks: List[Task] = []
    levels = _levels(value)
    for name, pairs, is_grouped in levels:
        inner = (*path, name) if name else path
        if is_grouped:
            tasks += [_read_group(item, (*inner, step), reader) for step, item in pairs if isinstance(item, dict)]
        else:
            section = clean(name) if len(levels) > 1 and not path else ""
            tasks += reader.read_tasks(value[name] if name else value, inner, section)
    return tasks


def _read_group(item: Dict[str, Any], path: Path, reader: TaskReader) -> Task:
    """Return a group as a task that is none, with its entries as subtasks."""
    lists, names = [name for name, _, _ in _levels(item)], by_word(item)
    own = {name: each for name, each in item.items() if name not in lists}
    singulars = [names[word] for word in SINGULARS if isinstance(own.get(names.get(word, "")), str)]
    own = {"title": own.pop(singulars[0]), **own} if singulars and "title" not in own else own
    own = own if find_title_name(own) else {"title": f"group {path[-1]}", **own}
    task = reader.read_task(own, path, subtask_names=())
    if not lists:  # an entry beside groups
        return task
    task.subtasks, task.is_group = _read_level({name: item[name] for name in lists}, path, reader), True
    if task.state.state != OPEN and not any(map(_has_state, _iterate_items(item))):  # then the group says it for all
        for each in task.subtasks:
            each.state = task.state
    task.state = task.state._replace(state=OPEN) if task.state.state == DONE else task.state
    return task


def _has_state(item: Dict[str, Any]) -> bool:
    return any(is_state(to_word(name), value) for name, value in item.items())
