"""Make a listing of the tasks of any tool: which are features, by which id, after which others. Pure.

    build_listing(tasks, "tasks.json", ListOptions(), "Task Master tasks.json, tag master", notes)

An open task is a feature, its subtasks are steps in its description; open subtasks of a done task are features of their
own. With `leaves` each innermost open subtask is a feature. A group (an epic) is never a feature: what is in it has the
group's title as section, its text as context and its dependencies as its own.

References are ids as the tool writes them. A dependency on a done task is met; one on a task that is missing or not
going to be done is named, in the notes and in the description of the feature.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Dict, List, Optional, Sequence, Set, Tuple

from ...base.text import clean
from ..feature_list import (
    IDENTIFIER,
    Feature,
    FeatureListError,
    LeftOut,
    Listing,
    ListOptions,
    check_features,
    parse_feature,
)
from .fields import CANCELLED, DEFERRED, DONE, OPEN, State, join_blocks

MAX_DESCRIPTION_CHARS = 50_000
SHOWN_NOTES = 20
GROUP, HAS_SUBTASKS = "group", "has subtasks"  # why a task is left out whose parts are features


class Task:
    """A task as a file has it, and what becomes of it.

    `id` is as in the file, that of a subtask is whole (`5.2`); `needs`, `blocks`, `groups` and `group`, of which the
    task is a part, are ids. `body` is Markdown. `reason` says why it is left out, empty for features and steps.
    `feature` is the feature that it is or is a step of, `parent` the task it is in, `parts` are the features in it,
    and `wanted` those that a feature needs.
    """

    def __init__(self, identifier: str, title: str, line: int, state: State) -> None:
        self.id, self.title, self.line, self.state = identifier, title, line, state
        self.body = self.section = self.group = self.reason = ""
        self.needs: List[str] = []
        self.blocks: List[str] = []
        self.groups: List[str] = []
        self.subtasks: List[Task] = []
        self.is_group = self.is_nested = False
        self.parent: Optional[Task] = None
        self.feature: Optional[Task] = None
        self.parts: List[Task] = []
        self.wanted: Dict[Task, None] = {}
        self.unmet: Dict[str, None] = {}

    def __str__(self) -> str:
        """Return the id and the title, on one line."""
        return clean(f"{self.id} {self.title}").strip()

    @property
    def above(self) -> List[Task]:
        """The tasks that this one is in, from the nearest."""
        found: List[Task] = []
        task = self.parent
        while task is not None and task is not self and task not in found:
            found.append(task)
            task = task.parent
        return found

    @property
    def has_open(self) -> bool:
        """Whether the task is open, or done with open subtasks."""
        return self.state.state == OPEN or (self.state.state == DONE and any(each.has_open for each in self.subtasks))


def build_listing(
    tasks: Sequence[Task], name: str, options: ListOptions, label: str, notes: Sequence[str] = ()
) -> Listing:
    """Return the features of tasks, in their order. Raises FeatureListError if none is open.

    `label` is what the list was read as, `notes` are put before those from here.
    """
    every = _flatten(tasks, options.leaves)
    chosen = [task for task in every if task.feature is task]
    if not chosen:
        shown = ", ".join(f"{count} {reason}" for reason, count in Counter(each.reason for each in every).items())
        doubtful = "".join(dict.fromkeys(f" The status {task.state.doubt}." for task in every if task.state.doubt))
        reason = f"{label}: no open tasks{f' ({shown})' if shown else ''}.{doubtful} Reopen or add what is still to do."
        raise FeatureListError(reason, "features-file", name)
    all_notes = [*notes, *_tree_notes(every, options.leaves), *_resolve_needs(every)]
    ids = _make_ids(chosen, all_notes)
    seen: Set[Tuple[str, str, str]] = set()
    places = {task: place for place, task in enumerate(chosen)}
    features = []
    for place, task in enumerate(chosen):
        description = _describe(task)
        if len(description) > MAX_DESCRIPTION_CHARS:
            rest = f"\n\n[cut after {MAX_DESCRIPTION_CHARS:,} characters; all of it is in {name}, line {task.line}]"
            description = description[: MAX_DESCRIPTION_CHARS - len(rest)].rstrip() + rest
            way = " `--leaves` makes each subtask a feature." if task.subtasks and not options.leaves else ""
            all_notes.append(f"{task}: cut after {MAX_DESCRIPTION_CHARS:,} characters.{way}")
        sections = [part for each in reversed([task, *task.above]) for part in (each.section, each.title)][:-1]
        section = " > ".join(clean(part).strip() for part in sections if part.strip())
        text = title = _make_text(task, all_notes)
        number = 2
        while (" ".join(text.split()).casefold(), section, description) in seen:
            text, number = f"{title} ({ids[place] if ids[place] and number == 2 else number})", number + 1
        if text != title:
            all_notes.append(f"A feature that is there more than once: {text[-70:]!r}.")
        seen.add((" ".join(text.split()).casefold(), section, description))
        needed = [ids[other] or str(other + 1) for other in sorted(places[each] for each in task.wanted)]
        details = {
            "title": text,
            "id": ids[place],
            "section": section,
            "description": description,
            "depends_on": needed,
        }
        features.append(Feature(text, task.line, {key: value for key, value in details.items() if value}))
    left_out = [LeftOut(task.line, str(task), task.reason) for task in every if task.reason]
    counted = [task for task in every if not task.is_nested and task.reason not in ("", GROUP, HAS_SUBTASKS)]
    doubts = Counter(task.state.doubt for task in every if task.feature is task or task.reason == DONE)
    all_notes += [f"The status {doubt} ({count})." for doubt, count in doubts.items() if doubt]
    if len(all_notes) > SHOWN_NOTES:
        all_notes[SHOWN_NOTES:] = [f"{len(all_notes) - SHOWN_NOTES} more notes."]
    shown = f"{label}: {len(features)} open of {len(features) + len(counted)}"
    return Listing(check_features(features, name), {}, shown, sorted(left_out, key=lambda each: each.line), all_notes)


def _flatten(tasks: Sequence[Task], leaves: bool) -> List[Task]:
    """Return all tasks and subtasks, each before its subtasks, and decide what becomes of each."""
    every: List[Task] = []

    def add(task: Task, parent: Optional[Task], feature: Optional[Task], reason: str) -> None:
        every.append(task)
        task.parent, task.is_nested = parent, parent is not None and parent.reason != GROUP
        if feature is None:
            state, has_open = task.state.state, any(each.has_open for each in task.subtasks)
            reason = reason or task.reason or (state if state != OPEN else GROUP if task.is_group else "")
            task.reason = reason or (HAS_SUBTASKS if leaves and has_open else "")
        task.feature = feature or (None if task.reason else task)
        for each in task.subtasks:
            is_free = task.reason in ("", GROUP, HAS_SUBTASKS) or (task.reason == DONE and each.has_open)
            why = "done subtask" if task.reason == DONE else f"in a task that is {task.reason}"
            add(each, task, task.feature, "" if is_free else why)

    for task in tasks:
        add(task, None, None, "")
    by_id = {task.id.casefold(): task for task in every if task.id}
    for task in every:
        parent = by_id.get(task.group.casefold()) if task.group and task.parent is None else None
        if parent is not None and parent is not task and task not in parent.above:
            task.parent = parent
    return every


def _describe(task: Task) -> str:
    """Return what a feature says beyond its title, with its subtasks, what it lacks, and what it is a part of."""
    return join_blocks(
        f"Status: {task.state.status}" if task.state.has_begun else "",
        task.body,
        "\n".join(["## Subtasks", "", *_format_steps(task.subtasks)]) if task.subtasks else "",
        "\n".join(f"{sentence}." for sentence in task.unmet),
        *(f"## Part of {each}\n\n{each.body}" for each in task.above if each.body and each.feature is None),
    )


def _format_steps(subtasks: Sequence[Task]) -> List[str]:
    """Return subtasks as boxes, with what is to be known of each below it."""
    lines: List[str] = []
    for task in subtasks:
        state = task.state
        remarks = [state.status] if state.has_begun or state.state in (CANCELLED, DEFERRED) else []
        remarks += [f"after {', '.join(task.needs)}"] if task.needs else []
        mark = {OPEN: "[ ]", DONE: "[x]"}.get(state.state, f"{state.state}:")
        lines.append(f"- {mark} {task}" + (f" ({'; '.join(remarks)})" if remarks else ""))
        # Headings inside of a bullet would look like the end of the list.
        body = ["", *re.sub(r"^## (.*)", r"**\1**", task.body, flags=re.MULTILINE).split("\n"), ""] if task.body else []
        lines += [f"  {line}".rstrip() for line in (*body[:-1], *_format_steps(task.subtasks), *body[-1:])]
    return lines


# -- dependencies ------------------------------------------------------------------------------------------------------


def _resolve_needs(every: Sequence[Task]) -> List[str]:
    """Note in each feature the features that it wants, and what it needs beyond them; return notes on the latter.

    What a task says itself counts first; what it has from its subtasks or groups is left out where it closes a cycle.
    """
    by_id: Dict[str, Task] = {}
    notes: Dict[str, None] = {}
    for task in every:
        if task.id and by_id.setdefault(task.id.casefold(), task) is not task:
            notes[f"The id `{clean(task.id)}` is there more than once; references mean the first."] = None
        for group in task.above if task.feature is task else ():
            group.parts.append(task)
    derived: List[Tuple[Task, Task, Optional[Task]]] = []  # source and target, and the task that says so
    for task in every:
        sources = [task.feature] if task.feature else task.parts
        for reference in task.needs if sources else ():
            other = by_id.get(reference.casefold())
            targets = [] if other is None else [other.feature] if other.feature else other.parts
            if other is None:
                _add_unmet(task, f"{task} needs `{clean(reference)[:60]}`, which is not in the list", notes)
            elif other is task:
                _add_unmet(task, f"{task} needs itself", notes)
            elif not targets and other.state.state != DONE and other.reason != GROUP:
                _add_unmet(task, f"{task} needs {other}, which is {other.reason}", notes)
            elif task.feature is task and targets == [other]:
                task.wanted[other] = None
            else:  # an order between steps of one feature is none between features
                derived += [(source, each, task) for source in sources for each in targets if each is not source]
    # Whatever else it is, a task is over when its parts are; where the list says the reverse, that holds.
    wholes = [(task, part, None) for task in every if task.feature is task for part in task.parts]
    for source, target, saying in [*derived, *wholes]:
        if not _reaches(target, source):
            source.wanted[target] = None
        elif saying is not None:
            why = "or a part of it, which needs it too; this order is not taken"
            _add_unmet(saying, f"{saying} needs {target} {why}", notes)
    return list(notes)


def _add_unmet(task: Task, sentence: str, notes: Dict[str, None]) -> None:
    for each in [task.feature] if task.feature else task.parts:
        each.unmet[sentence] = None
    notes[f"{sentence}."] = None


def _reaches(start: Task, goal: Task) -> bool:
    seen: Set[Task] = {start}
    waiting = [start]
    while waiting and goal not in seen:
        fresh = [each for each in waiting.pop().wanted if each not in seen]
        seen.update(fresh)
        waiting += fresh
    return goal in seen


# -- ids, texts, notes -------------------------------------------------------------------------------------------------


def _make_ids(tasks: Sequence[Task], notes: List[str]) -> List[str]:
    """Return the id of each feature, each different, empty where nothing is written; a note says which ones changed."""
    taken = {task.id.casefold() for task in tasks if IDENTIFIER.fullmatch(task.id)}
    ids = []
    used: Set[str] = set()
    for task in tasks:
        base = candidate = task.id
        if task.id and (not IDENTIFIER.fullmatch(task.id) or task.id.casefold() in used):
            base = re.sub(r"[^A-Za-z0-9._-]+", "-", task.id).strip("-")
            base = candidate = (f"task-{base}" if not base or base.isdigit() else base)[:58]
            number = 2
            while candidate.casefold() in taken:
                candidate, number = f"{base}-{number}", number + 1
        taken.add(candidate.casefold())
        used.add(candidate.casefold())
        ids.append(candidate)
    changed = [f"`{clean(task.id)[:60]}` is `{each}`" for task, each in zip(tasks, ids) if task.id != each]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        notes.append(f"Ids that are written in another way here: {', '.join(changed[:3])}{more}.")
    return ids


def _make_text(task: Task, notes: List[str]) -> str:
    """Return the text of a feature: the title, unless a line of a list with it would say something else."""
    text = clean(task.title).strip()
    try:
        is_plain = parse_feature(text, "", 0).details == {}
    except FeatureListError:
        is_plain = False
    if not is_plain:
        text = text.replace("(", "[").replace(")", "]")
        notes.append(f"{text[:60]!r}: what looks like a note of ours has other brackets here.")
    return text


def _tree_notes(every: Sequence[Task], leaves: bool) -> List[str]:
    steps = [task for task in every if task.feature not in (None, task)]
    way = " `--leaves` makes each open one a feature." if not leaves and any(each.has_open for each in steps) else ""
    notes = [f"Subtasks that are steps of their tasks: {len(steps)}.{way}"] if steps else []
    if any(task.reason == HAS_SUBTASKS for task in every):
        notes.append("Each innermost open subtask is a feature; without `--leaves` each task is one.")
    return notes
