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
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ...base.text import clean
from ..data_formats.located_values import Document, Position
from ..feature_list import Listing, ListOptions, decode_text
from .fields import CANCELLED, DONE, OPEN, State
from .task_list import Task, build_listing
from .task_reader import TaskReader

FRONT_MATTER = re.compile(r"---[ \t]*\n(.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
# A key and what follows it up to the next key.
FIELD = re.compile(r"^([A-Za-z_][\w-]*)[ \t]*:[ \t]*((?:[^\n]|\n(?=[ \t-]|\n))*)", re.MULTILINE)
SCALAR = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^']|'')*)'|([^,]+?))\s*(?:,|\Z)""")
# What Backlog.md writes around the parts of a task to find them again.
MARKER = re.compile(r"^[ \t]*<!-- (?:SECTION:[A-Z0-9_]+|AC|DOD|COMMENTS?):(?:BEGIN|END) -->[ \t]*\n", re.MULTILINE)
NUMBER = re.compile(r"(?:[A-Za-z][A-Za-z_]*-)?(\d+(?:\.\d+)*)")
CONFIG_STATUSES = re.compile(r"^statuses[ \t]*:[ \t]*\[(.*)\]", re.MULTILINE)


def is_task_text(text: str) -> bool:
    """Return whether a Markdown text is a task of Backlog.md: its front matter has an id, a title and a status."""
    fields = _parse_task(text)
    return all(isinstance(fields.get(name), str) for name in ("id", "title", "status"))


def read_task_text(text: str, name: str, options: ListOptions) -> Listing:
    """Return the feature of one task. Raises FeatureListError if it is not open."""
    reader = TaskReader(Document(None, {(): Position(1, 1)}), name)
    return build_listing([reader.read_task(_parse_task(text), ())], name, options, "Backlog.md task", reader.notes())


def read_folder(
    path: str, name: str, options: ListOptions, read_bytes: Callable[[str, str], bytes]
) -> Optional[Listing]:
    """Return the open tasks of a folder; None if there are no tasks of Backlog.md in it. Raises FeatureListError.

    `read_bytes` reads a file, given its path and what messages call it.
    """
    folders = [path, os.path.join(path, "tasks"), os.path.join(path, "backlog", "tasks")]
    folder = next((each for each in folders if any(map(NUMBER.match, _list_pages(each)))), "")
    reader, base = TaskReader(Document(None, {(): Position(0, 0)}), name), os.path.dirname(os.path.abspath(folder))

    def read_text(parent: str, file_name: str) -> str:
        label = f"{name}/{clean(file_name)}"
        return decode_text(read_bytes(os.path.join(parent, file_name), label), label)

    texts = {page: read_text(folder, page) for page in _list_pages(folder)} if folder else {}
    fields = [_parse_task(text) for text in texts.values() if is_task_text(text)]
    if not fields:
        return None
    ordinals = [each.pop("ordinal", "") for each in fields]
    tasks = [reader.read_task(each, ()) for each in fields]
    config = CONFIG_STATUSES.search(read_text(base, "config.yml")) if os.path.isfile(f"{base}/config.yml") else None
    _set_states(tasks, [status.casefold() for status in _split_list(config[1])] if config else [])
    notes = ["In the order of the board: `ordinal`, then the number of the task."]
    others = [clean(page) for page, text in texts.items() if not is_task_text(text)]
    notes += [f"Not tasks, not read: {', '.join(others[:20])}."] if others else []
    elsewhere = dict.fromkeys(map(_key, _list_pages(f"{base}/archive/tasks")), CANCELLED)
    elsewhere.update(dict.fromkeys(map(_key, _list_pages(f"{base}/completed")), DONE))
    notes += _resolve_ids(tasks, elsewhere)
    places = sorted(range(len(tasks)), key=lambda index: (_number(ordinals[index]), _key(tasks[index].id), index))
    return build_listing(
        [tasks[place] for place in places], name, options, "Backlog.md tasks", [*notes, *reader.notes()]
    )


def _list_pages(folder: str) -> List[str]:
    return sorted(name for name in os.listdir(folder) if name.endswith(".md")) if os.path.isdir(folder) else []


def _key(identifier: str) -> Tuple[int, ...]:
    """Return the numbers in an id or in the name of a file: `BACK-355.02` as (355, 2)."""
    match = NUMBER.match(identifier)
    return tuple(map(int, match[1].split("."))) if match else ()


def _number(text: Any) -> float:
    return float(text) if re.fullmatch(r"-?[0-9]{1,15}(\.[0-9]{1,9})?", str(text)) else 9e15


def _set_states(tasks: Sequence[Task], statuses: Sequence[str]) -> None:
    """Set the state of tasks whose status the configuration has: done if it is the last one."""
    for task in tasks:
        status = task.state.status.casefold()
        if status in statuses:
            is_cancelled = task.state.state == CANCELLED
            state = DONE if status == statuses[-1] else CANCELLED if is_cancelled else OPEN
            task.state = State(state, "" if status == statuses[0] else task.state.status)


def _resolve_ids(tasks: Sequence[Task], elsewhere: Dict[Tuple[int, ...], str]) -> List[str]:
    """Let references mean tasks by their number, as the prefix of all ids may have changed since; return notes."""
    keys = {_key(task.id): task.id for task in tasks}
    notes = []
    for task in tasks:
        task.group = keys.get(_key(task.groups[0]), "") if task.groups else ""
        archived = [need for need in task.needs if elsewhere.get(_key(need)) == CANCELLED and _key(need) not in keys]
        sentences = [f"{task} needs {each}, which is archived." for each in archived]
        task.body = "\n\n".join(filter(None, [task.body, "\n".join(sentences)]))
        notes += sentences if task.state.state == OPEN else []
        task.needs = [
            keys.get(_key(each), each) for each in task.needs if _key(each) in keys or _key(each) not in elsewhere
        ]
    return notes


# -- front matter ------------------------------------------------------------------------------------------------------


def _parse_task(text: str) -> Dict[str, Any]:
    """Return the fields of a task and what is below them as `description`; empty for another text.

    Of YAML only what Backlog.md writes is read: texts, lists and folded texts.
    """
    front = FRONT_MATTER.match(text)
    if front is None:
        return {}
    fields = {name: _parse_value(value.rstrip()) for name, value in FIELD.findall(front[1])}
    unread = FIELD.sub("", front[1]).strip()
    return {**fields, "description": "\n\n".join(filter(None, [unread, MARKER.sub("", text[front.end() :])]))}


def _parse_value(value: str) -> Any:
    first, *below = value.split("\n")
    if re.fullmatch(r"[|>][+-]?", first):
        return ("\n" if first[0] == "|" else " ").join(line.strip() for line in below)
    is_text = below and not first and not below[0].lstrip().startswith("-")  # a text that an editor put on a new line
    if not first and below and not is_text:
        return [part for line in below for part in _split_list(line.strip().removeprefix("-"), whole=True)]
    joined = " ".join(line.strip() for line in (first, *below))
    if joined.startswith("[") and joined.endswith("]"):
        return _split_list(joined[1:-1])
    return next(iter(_split_list(joined, whole=True)), "")


def _split_list(text: str, *, whole: bool = False) -> List[str]:
    """Return the texts between commas without their quotes; `whole` for one text, in which commas are text."""
    if whole and text.strip()[:1] not in ("'", '"'):
        return [re.sub(r"[ \t]+#.*", "", text).strip()] if text.strip() else []
    parts = [(d.replace('\\"', '"').replace("\\\\", "\\"), s.replace("''", "'"), p) for d, s, p in SCALAR.findall(text)]
    return ["".join(part) for part in parts if any(part)]
