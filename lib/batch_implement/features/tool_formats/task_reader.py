"""Read tasks of JSON and YAML files by the names that tools give to their fields.

    reader = TaskReader(document, name)
    tasks = reader.read_tasks(document.value["tasks"], ("tasks",))

What has no place of its own goes into the description under its name. Only what a tool keeps for itself (times,
authors) is not taken; a note names these fields.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence, Tuple

from ...base.text import clean
from ..data_formats.located_values import Document
from ..feature_list import FeatureListError
from .fields import by_word, format_fields, is_empty, is_state, join_blocks, read_state, to_word, words
from .task_list import Task

Path = Tuple[Any, ...]

# Names of fields as `to_word` spells them; of several in one task the first counts.
IDS = words("id taskid storyid featureid key ref code identifier externalkey externalid slug number no")
TITLES = words(
    "title name summary subject headline story userstory feature task content text requirement goal behavior "
    "uservisiblebehavior description desc item label"
)
DESCRIPTIONS = ("description", "desc", "body")
NEEDS = words("dependencies dependson depends deps blockedby requires prerequisites needs after")
BLOCKED = ("blocks", "blocking")
PARENTS = ("parentid", "parenttaskid", "parent", "parenttask", "parentstory")
SUBTASKS = words("subtasks children tasks stories userstories features items steps todos")
BOOKKEEPING = frozenset(words(
    "createdat createdby created createddate updatedat updatedby updated updateddate closedat closedby startedat "
    "completedat completeddate completedby lastmodified lastupdated modified modifiedat author user owner reporter "
    "assignee assignees assignedto contenthash sourcerepo compactionlevel originalsize dependencycount dependentcount "
    "commentcount rowid position color issubtask previousstatus activeform verifiedat passedat commit commithash "
    "commitsha attempts iterations sessionid timestamp closereason closedbysession reactiongroups ispinned"
))  # fmt: skip


class TaskReader:
    """Reads the tasks of one document; `dropped` are the fields that were not taken."""

    def __init__(self, document: Document, name: str) -> None:
        self.document, self.name = document, name
        self.dropped: Dict[str, None] = {}

    def read_tasks(self, entries: Any, path: Path, section: str = "") -> List[Task]:
        """Return the tasks of a list of objects and texts, or of an object of objects by their ids."""
        tasks = []
        pairs: List[Tuple[Any, Any]] = list(entries.items() if isinstance(entries, dict) else enumerate(entries))
        for step, item in pairs:
            item = {"title": item} if isinstance(item, str) else item
            task = self.read_task(item, (*path, step))
            task.id = task.id or (str(step) if isinstance(entries, dict) else "")
            task.section = section
            tasks.append(task)
        self._link(tasks)
        return tasks

    def read_task(self, item: Any, path: Path, parent_id: str = "", subtask_names: Sequence[str] = SUBTASKS) -> Task:
        """Return the task of an object. Raises FeatureListError for one without a title."""
        title_name = find_title_name(item) if isinstance(item, dict) else None
        place = self.document.position(path)
        if title_name is None:
            reason = "this entry has neither a title nor a description. Give it one, or remove it."
            raise FeatureListError(reason, "features-yaml", self.name, *place)
        names, text = by_word(item), str(item[title_name]).strip()
        used = {title_name, *(name for word, name in names.items() if is_state(word, item[name]))}
        title, parts = text.split("\n", 1)[0].strip(), [text] if "\n" in text else []
        identifier, id_name = _read_id(item, parent_id)
        needs_name = next(
            (names[each] for each in NEEDS if read_references(item.get(names.get(each, ""))) is not None), ""
        )
        subtask_name = next((names[each] for each in subtask_names if is_task_list(item.get(names.get(each, "")))), "")
        texts = [names[each] for each in DESCRIPTIONS if isinstance(item.get(names.get(each, "")), str)]
        parts += [item[name] for name in texts if name not in used and item[name].strip() != text]
        used.update((id_name, needs_name, subtask_name, *texts))
        rest = {name: value for name, value in item.items() if name not in used and to_word(name) not in PARENTS}
        for name in [name for name in rest if to_word(name) in BOOKKEEPING]:
            if not is_empty(rest.pop(name)):
                self.dropped[clean(name)[:40]] = None
        task = Task(identifier, clean(title), place.line, read_state(item))
        task.body = join_blocks(*parts, format_fields(rest))
        task.needs = read_references(item.get(needs_name)) or []
        task.blocks = [each for name in BLOCKED for each in read_references(item.get(names.get(name, ""))) or ()]
        task.groups = [each for name in PARENTS for each in read_references(item.get(names.get(name, ""))) or ()]
        if subtask_name:
            below = enumerate(item[subtask_name])
            task.subtasks = [self.read_task(each, (*path, subtask_name, step), identifier) for step, each in below]
            # A number names a sibling if there is one.
            siblings = {each.id for each in task.subtasks}
            for each in task.subtasks:
                full = {need: f"{identifier}.{need}" for need in each.needs}
                each.needs = [full[need] if full[need] in siblings else need for need in each.needs]
        return task

    def _link(self, tasks: List[Task]) -> None:
        """Note in tasks what other tasks of the list say of them: who blocks them, whose parts they are."""
        by_id = {task.id: task for task in tasks if task.id}
        for task in tasks:
            for blocked in task.blocks:
                if blocked in by_id and task.id not in by_id[blocked].needs:
                    by_id[blocked].needs.append(task.id)
            task.group = next((group for group in task.groups if group in by_id and group != task.id), "")
            if task.groups and not task.group:
                task.body = join_blocks(f"Part of {task.groups[0]}", task.body)

    def notes(self) -> List[str]:
        """Return a note that names the fields that were not taken, if there are any."""
        return [f"Fields that are left out: {', '.join(self.dropped)}."] if self.dropped else []


def find_title_name(item: Dict[str, Any]) -> Optional[str]:
    """Return the name of the field that is the title of a task; None without one."""
    names = by_word(item)
    titles = [names[name] for name in TITLES if name in names]
    return next((name for name in titles if isinstance(item[name], str) and clean(item[name]).strip()), None)


def is_task_list(value: Any) -> bool:
    """Return whether a value is a list of objects that have a title each, at least one."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and find_title_name(each) for each in value)
    )


def _read_id(item: Dict[str, Any], parent_id: str) -> Tuple[str, str]:
    """Return the id of a task, behind that of its parent if it is a number, and the name of its field."""
    names = by_word(item)
    for name in [names[each] for each in IDS if each in names]:
        written = clean(str(item[name])).strip() if type(item[name]) in (str, int) else ""
        if written:
            return (f"{parent_id}.{written}" if parent_id and written.isdigit() else written), name
    return "", ""


def read_references(value: Any) -> Optional[List[str]]:
    """Return the ids in a value: a list of ids or of objects with one, or ids with commas; None if it is no such."""
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        value = [part for part in str(value).split(",") if part.strip().lower() not in ("none", "n/a", "-")]
    if not isinstance(value, list):
        return None
    ids = [_read_id(each, "")[0] if isinstance(each, dict) else each for each in value]
    if not all(type(each) in (str, int, float) for each in ids):
        return None
    return [clean(str(each)).strip() for each in ids if str(each).strip()]
