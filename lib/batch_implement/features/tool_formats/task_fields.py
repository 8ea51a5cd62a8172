"""Read one task of a JSON or YAML file, by the names that tools give to its fields. Pure.

    task = read_task(item, "title", ("tasks", 3), document)

What has no place in a feature of its own goes into the description under its name. Only what a tool keeps for itself
(times, authors) is not shown; `find_bookkeeping` names these fields.
"""

from __future__ import annotations

from ...base.text import clean
from .field_text import clean_text, format_fields, is_empty, join_blocks
from .task_status import FLAGS, STATUS_FIELDS, is_status, normalize_word, read_flag, read_state
from .task_tree import Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

    from ..located_values import Document

    Path = Tuple[Any, ...]

# Names of fields, spelled as `normalize_word` does; of several in one task the first counts.
IDS = (
    "id",
    "taskid",
    "storyid",
    "featureid",
    "key",
    "ref",
    "code",
    "identifier",
    "externalkey",
    "externalid",
    "slug",
    "number",
    "no",
)
TITLES = ("title", "name", "summary", "subject", "headline", "story", "userstory", "feature", "task", "content", "text",
          "requirement", "goal", "behavior", "uservisiblebehavior", "description", "desc", "item", "label")  # fmt: skip
DESCRIPTIONS = ("description", "desc", "body")
NEEDS = ("dependencies", "dependson", "depends", "deps", "blockedby", "requires", "prerequisites", "needs", "after")
BLOCKED = ("blocks", "blocking")
PARENTS = ("parentid", "parenttaskid", "parent", "parenttask", "parentstory")
SUBTASKS = ("subtasks", "children", "tasks", "stories", "userstories", "features", "items", "steps", "todos")
BOOKKEEPING = frozenset((
    "createdat", "createdby", "created", "createddate", "updatedat", "updatedby", "updated", "updateddate", "closedat",
    "closedby", "startedat", "completedat", "completeddate", "completedby", "lastmodified", "lastupdated", "modified",
    "modifiedat", "author", "owner", "reporter", "assignee", "assignees", "assignedto", "contenthash", "sourcerepo",
    "compactionlevel", "originalsize", "dependencycount", "dependentcount", "commentcount", "rowid", "position",
    "ordinal", "color", "parenttaskid", "parentid", "parenttask", "parent", "issubtask", "previousstatus", "activeform",
    "verifiedat", "passedat", "commit", "commithash", "commitsha", "attempts", "iterations", "sessionid", "timestamp",
    "closereason", "closedbysession", "parentstory",
))  # fmt: skip


def read_task(
    item: Dict[str, Any],
    title_name: str,
    path: Path,
    document: Document,
    *,
    parent_id: str = "",
    section: str = "",
    default_id: str = "",
    subtask_names: Sequence[str] = SUBTASKS,
) -> Task:
    """Return the task of an object whose field `title_name` is its title (see `find_title_name`)."""
    names = {normalize_word(name): name for name in item}
    title = str(item[title_name])
    used = {
        title_name,
        *(names[name] for name in (*STATUS_FIELDS, *FLAGS) if _is_state(name, item.get(names.get(name, "")))),
    }
    identifier, id_name = _read_id(item, names, parent_id)
    used.add(id_name)
    identifier = identifier or default_id
    needs, needs_name = _read_needs(item, names)
    used.add(needs_name)
    subtasks: Tuple[Task, ...] = ()
    for name in subtask_names:
        entries: Any = item.get(names.get(name, ""))
        if is_task_list(entries):
            used.add(names[name])
            subtasks = _read_subtasks(entries, (*path, names[name]), document, identifier)
            break
    text = title.strip()
    parts = []
    if "\n" in text:
        parts.append(text)
        text = next(line for line in text.split("\n") if line.strip()).strip()
    for name in DESCRIPTIONS:
        if name in names and names[name] not in used and isinstance(item[names[name]], str):
            used.add(names[name])
            if clean_text(item[names[name]]) != clean_text(text):
                parts.append(item[names[name]])
    others = [(name, value) for name, value in item.items() if name not in used and not is_bookkeeping(name)]
    return Task(
        identifier,
        " ".join(clean(text).split()) if "\t" in text else clean(text).strip(),
        document.position(path).line,
        read_state(item),
        tuple(needs),
        join_blocks(*parts, format_fields(others)),
        subtasks,
        section,
    )


def read_tasks(entries: Any, path: Path, document: Document, section: str = "") -> List[Task]:
    """Return the tasks of a list of objects and texts, or of an object of objects by their ids."""
    tasks, items = [], []
    pairs: List[Tuple[Any, Any]] = list(entries.items() if isinstance(entries, dict) else enumerate(entries))
    for step, item in pairs:
        default_id = step if isinstance(entries, dict) else ""
        item = {"title": item} if isinstance(item, str) else item
        title_name = find_title_name(item)
        if title_name is not None:
            tasks.append(read_task(item, title_name, (*path, step), document, section=section, default_id=default_id))
            items.append(item)
    return _link_tasks(tasks, items)


def _link_tasks(tasks: List[Task], items: Sequence[Dict[str, Any]]) -> List[Task]:
    """Return the tasks of a list with what others of it say of them: which ones they block, whose part they are."""
    ids = {task.id for task in tasks if task.id}
    blockers: Dict[str, List[str]] = {}
    for task, item in zip(tasks, items):
        names = {normalize_word(name): name for name in item}
        for name in BLOCKED:
            for blocked in read_references(item.get(names.get(name, ""))) or ():
                blockers.setdefault(blocked, []).append(task.id)
    linked = []
    for task, item in zip(tasks, items):
        names = {normalize_word(name): name for name in item}
        references = [
            reference for name in PARENTS for reference in read_references(item.get(names.get(name, ""))) or ()
        ]
        parent = next((reference for reference in references if reference in ids and reference != task.id), "")
        missing = "" if parent or not references else f"Part of {references[0]}"
        needs = (*task.needs, *(each for each in blockers.get(task.id, ()) if each and each not in task.needs))
        linked.append(task._replace(needs=needs, group=parent, body=join_blocks(missing, task.body)))
    return linked


def is_task_list(value: Any) -> bool:
    """Return whether a value is a list of objects that have a title each, at least one."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and find_title_name(item) is not None for item in value)
    )


def find_title_name(item: Dict[str, Any]) -> Optional[str]:
    """Return the name of the field that is the title of a task; None without one."""
    names = {normalize_word(name): name for name in item}
    found = [names[name] for name in TITLES if name in names]
    return next((name for name in found if isinstance(item[name], str) and clean(item[name]).strip()), None)


def find_bookkeeping(items: Iterable[Any], used: Sequence[str] = ()) -> str:
    """Return a note that names the fields of tasks that a tool keeps for itself; empty if there are none but `used`."""
    names: Dict[str, None] = {}
    waiting = [item for item in items if isinstance(item, dict)]
    for item in waiting:
        for name, value in item.items():
            if is_bookkeeping(name) and normalize_word(name) not in (*PARENTS, *used) and not is_empty(value):
                names[name] = None
            if isinstance(value, list) and normalize_word(name) in SUBTASKS:
                waiting += [entry for entry in value if isinstance(entry, dict)]
    return f"Fields that are left out: {', '.join(clean(name)[:40] for name in names)}." if names else ""


def is_bookkeeping(name: str) -> bool:
    """Return whether a field is one that a tool keeps for itself, which no worker needs."""
    return normalize_word(name) in BOOKKEEPING


def _is_state(name: str, value: Any) -> bool:
    return is_status(value) if name in STATUS_FIELDS else read_flag(value) is not None


def _read_id(item: Dict[str, Any], names: Dict[str, str], parent_id: str) -> Tuple[str, str]:
    """Return the id of a task, behind that of its parent if it is a number, and the name of its field."""
    for name in IDS:
        value = item.get(names.get(name, ""))
        if isinstance(value, (str, int)) and not isinstance(value, bool) and str(value).strip():
            written = clean(str(value)).strip()
            is_number = written.isdigit()
            return (f"{parent_id}.{written}" if parent_id and is_number else written), names[name]
    return "", ""


def _read_needs(item: Dict[str, Any], names: Dict[str, str]) -> Tuple[List[str], str]:
    """Return the ids of the tasks that a task needs, and the name of their field."""
    for name in NEEDS:
        if name in names:
            needs = read_references(item[names[name]])
            if needs is not None:
                return needs, names[name]
    return [], ""


def read_references(value: Any) -> Optional[List[str]]:
    """Return the ids in a value: a list of ids or of objects with one, or ids with commas; None if it is no such."""
    if value is None or value == "":
        return []
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        parts = str(value).split(",")
        return [part.strip() for part in parts if part.strip() and part.strip().lower() not in ("none", "n/a", "-")]
    if not isinstance(value, list):
        return None
    references = []
    for entry in value:
        if isinstance(entry, dict):
            entry = next((entry[name] for name in ("id", "task_id", "taskId", "depends_on_id") if name in entry), None)
        if isinstance(entry, bool) or not isinstance(entry, (str, int, float)):
            return None
        if str(entry).strip():
            references.append(clean(str(entry)).strip())
    return references


def _read_subtasks(entries: List[Any], path: Path, document: Document, parent_id: str) -> Tuple[Task, ...]:
    """Return the subtasks of a task. A reference to a number is to a sibling if there is one."""
    subtasks = [
        read_task(item, str(find_title_name(item)), (*path, index), document, parent_id=parent_id)
        for index, item in enumerate(entries)
    ]
    siblings = {task.id for task in subtasks}
    return tuple(
        task._replace(
            needs=tuple(f"{parent_id}.{need}" if f"{parent_id}.{need}" in siblings else need for need in task.needs)
        )
        for task in subtasks
    )
