"""Make a listing of the tasks of any tool: which are features, by which id, after which others. Pure.

    build_listing(tasks, "tasks.json", ListOptions(), label="Task Master tasks.json, tag master")

An open task is a feature, its subtasks are steps in its description; open subtasks of a done task are features of their
own. With `leaves` each innermost open subtask is a feature. A group (an epic) is never a feature: what is in it has the
group's title as section, its text as context and its dependencies as its own.

References are ids as the tool writes them. A dependency on a done task is met; one on a task that is missing or not
going to be done is named, in the notes and in the description of the feature.
"""

from __future__ import annotations

from ...base.text import clean
from ..feature_list import Feature, FeatureListError, LeftOut, Listing, check_features, parse_feature
from . import task_ids
from .field_text import join_blocks
from .task_dependencies import Dependencies
from .task_status import CANCELLED, DEFERRED, DONE, OPEN
from .task_tree import GROUP, HAS_SUBTASKS, ancestors, flatten_tasks, has_open, limit_notes, name_task, section_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence, Set, Tuple

    from ..feature_list import ListOptions
    from .task_tree import Entry, Task

MAX_DESCRIPTION_CHARS = 50_000


def build_listing(
    tasks: Sequence[Task],
    name: str,
    options: ListOptions,
    *,
    label: str,
    notes: Sequence[str] = (),
    id_prefix: str = "task-",
) -> Listing:
    """Return the features of tasks, in their order. Raises FeatureListError if none is open.

    `label` is what the list was read as, `notes` are put before those from here, `id_prefix` before an id of digits.
    """
    entries = flatten_tasks(tasks, options.leaves)
    indices = [index for index, entry in enumerate(entries) if entry.feature == index]
    if not indices:
        raise _nothing_open_error(entries, name, label)
    needs = Dependencies(entries, {index: place for place, index in enumerate(indices)})
    ids, id_notes = task_ids.make_ids([entries[index].task.id for index in indices], id_prefix)
    texts, text_notes = _make_texts([entries[index].task for index in indices])
    features: List[Feature] = []
    long_notes: List[str] = []
    for place, index in enumerate(indices):
        task = entries[index].task
        description = join_blocks(
            f"Status: {task.state.status}" if task.state.has_begun else "",
            task.body,
            _format_steps(task),
            needs.describe_unmet(index),
            _describe_groups(entries, index),
        )
        if len(description) > MAX_DESCRIPTION_CHARS:
            description = _cut_description(description, name, task.line)
            way = " `--leaves` makes each subtask a feature." if task.subtasks and not options.leaves else ""
            long_notes.append(f"{name_task(task)}: cut after {MAX_DESCRIPTION_CHARS:,} characters.{way}")
        details: Dict[str, Any] = {"title": texts[place]}
        if ids[place]:
            details["id"] = ids[place]
        section = section_of(entries, index)
        if section:
            details["section"] = section
        if description:
            details["description"] = description
        needed = [_reference(ids, other) for other in needs.of_feature(index)]
        if needed:
            details["depends_on"] = needed
        features.append(Feature(texts[place], task.line, details))
    left_out = sorted(
        (LeftOut(entry.task.line, name_task(entry.task), entry.reason) for entry in entries if entry.reason),
        key=lambda entry: entry.line,
    )
    counted = [entry for entry in entries if not entry.is_nested and entry.reason not in ("", GROUP, HAS_SUBTASKS)]
    return Listing(
        check_features(features, name),
        {},
        f"{label}: {len(features)} open of {len(features) + len(counted)}",
        left_out,
        [
            *notes,
            *_tree_notes(entries, options.leaves),
            *id_notes,
            *text_notes,
            *needs.notes,
            *_status_notes(entries),
            *limit_notes(long_notes),
        ],
    )


def _cut_description(text: str, name: str, line: int) -> str:
    """Return what a description can hold of a text, with where the rest is."""
    place = f"line {line} of {name}" if line else name
    note = f"[cut after {MAX_DESCRIPTION_CHARS:,} characters; all of it is in {place}]"
    return f"{text[: MAX_DESCRIPTION_CHARS - len(note) - 2].rstrip()}\n\n{note}"


def _describe_groups(entries: Sequence[Entry], index: int) -> str:
    """Return what is said of the tasks that a feature is a part of and that are no features themselves."""
    above = [entries[other].task for other in ancestors(entries, index)[1:] if entries[other].feature < 0]
    return join_blocks(*(f"## Part of {name_task(task)}\n\n{task.body}" for task in above if task.body))


def _format_steps(task: Task) -> str:
    """Return the subtasks of a feature as boxes, with what is to be known of each below it."""
    lines = _format_boxes(task.subtasks)
    return join_blocks("## Subtasks\n\n" + "\n".join(lines)) if lines else ""


def _format_boxes(subtasks: Sequence[Task]) -> List[str]:
    lines: List[str] = []
    for task in subtasks:
        state = task.state
        remarks = [state.status] if state.has_begun or state.state in (CANCELLED, DEFERRED) else []
        if task.needs:
            remarks.append(f"after {', '.join(task.needs)}")
        remark = f" ({'; '.join(remarks)})" if remarks else ""
        mark = "[ ]" if state.state == OPEN else "[x]" if state.state == DONE else f"{state.state}:"
        lines.append(f"- {mark} {name_task(task)}{remark}")
        inner = task.body.split("\n") if task.body else []
        # Headings inside of a bullet would look like the end of the list.
        inner = [f"**{line.lstrip('#').strip()}**" if line.startswith("## ") else line for line in inner]
        below = _format_boxes(task.subtasks)
        lines += [
            f"  {line}" if line else "" for line in ([""] if inner else []) + inner + below + ([""] if inner else [])
        ]
    return lines


# -- texts -------------------------------------------------------------------------------------------------------------


def _make_texts(tasks: Sequence[Task]) -> Tuple[List[str], List[str]]:
    """Return the text of each feature, each there once, and a note about those that are not the title as written."""
    seen: Set[str] = set()
    texts, notes = [], []
    for task in tasks:
        text = original = clean(task.title).strip()
        if not _is_plain_text(text):
            text = text.replace("(", "[").replace(")", "]")
            notes.append(f"{original[:60]!r} would be read as a note of ours; its brackets are `[` and `]` now.")
        base, number = text, 2
        if _words(text) in seen and task.id:
            base = text = f"{text} ({task.id})"
        while _words(text) in seen:
            text = f"{base} ({number})"
            number += 1
        if base != text or (task.id and text.endswith(f"({task.id})") and not original.endswith(f"({task.id})")):
            notes.append(f"The title {original[:60]!r} is there more than once; one is called {text[-70:]!r} here.")
        seen.add(_words(text))
        texts.append(text)
    return texts, limit_notes(notes)


def _words(text: str) -> str:
    return " ".join(text.split()).casefold()


def _is_plain_text(text: str) -> bool:
    """Return whether a line of a list with this text would be a feature with exactly this text."""
    try:
        return parse_feature(text, "", 0) == Feature(text, 0, {})
    except FeatureListError:
        return False


def _reference(ids: Sequence[str], place: int) -> str:
    return ids[place] or str(place + 1)


# -- notes -------------------------------------------------------------------------------------------------------------


def _tree_notes(entries: Sequence[Entry], leaves: bool) -> List[str]:
    steps = [entry.task for index, entry in enumerate(entries) if 0 <= entry.feature != index]
    notes = []
    if steps:
        way = " `--leaves` makes each open one a feature." if not leaves and any(map(has_open, steps)) else ""
        count = (
            "1 subtask is a step of its task" if len(steps) == 1 else f"{len(steps)} subtasks are steps of their tasks"
        )
        notes.append(f"{count}.{way}")
    if any(entry.reason == HAS_SUBTASKS for entry in entries):
        notes.append("Each innermost open subtask is a feature; without `--leaves` each task is one.")
    wholes = {entry.parent for entry in entries if entry.feature >= 0 and not entry.is_nested}
    number = sum(1 for index in wholes if index >= 0 and entries[index].feature == index)
    if number:
        notes.append("1 task comes after its parts." if number == 1 else f"{number} tasks come after their parts.")
    return notes


def _status_notes(entries: Sequence[Entry]) -> List[str]:
    """Return notes on features that are open by a status which may mean something else, and on contradictions."""
    doubtful: Dict[str, int] = {}
    conflicts: List[str] = []
    for index, entry in enumerate(entries):
        state = entry.task.state
        if entry.feature == index and not state.is_certain:
            doubtful[state.status] = doubtful.get(state.status, 0) + 1
        if state.conflict:
            conflicts.append(f"{name_task(entry.task)} has {clean(state.conflict)[:120]}; the former decides.")
    shown = ", ".join(f"{clean(status)[:60]!r} ({count})" for status, count in list(doubtful.items())[:20])
    return [*([f"Taken as open, by their status: {shown}."] if shown else []), *limit_notes(conflicts)]


def _nothing_open_error(entries: Sequence[Entry], name: str, label: str) -> FeatureListError:
    counts: Dict[str, int] = {}
    for entry in entries:
        if entry.reason:
            counts[entry.reason] = counts.get(entry.reason, 0) + 1
    shown = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    return FeatureListError(
        f"{label}: no open tasks{f' ({shown})' if shown else ''}. Reopen or add what is still to do.",
        "features-file",
        name,
    )
