"""Read the lines of a TaskPaper file as an outline: tasks, below their projects.

    outline = read_outline(lines, "todo.taskpaper")     as `text_outline.read_outline` returns it

A line that begins with `- ` is a task, one that ends with `:` a project, any other a note. What is indented below a
task belongs to it, as written, up to a project with tasks. A task is done if it has the tag `@done`; so is all below
a project with it.
"""

from __future__ import annotations

import re

from ..feature_list import LeftOut
from . import text_lines
from .text_lines import Mark
from .text_outline import MAX_SHOWN_CHARS, Entry, Outline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence, Tuple

    from .text_layout import Line

TASK = re.compile(r"([-*+])\s+(\S.*)$")
PROJECT = re.compile(r"(\S.*?):((?:\s+@[\w-]+(?:\([^()]*\))?)*)$")
DONE_TAG = re.compile(r"(?:^|\s)@done\b")


def read_outline(lines: Sequence[Line], name: str, *, markup: str = "") -> Outline:
    """Return the outermost tasks of some lines, and the lines that are in none of them."""
    entries: List[Entry] = []
    left_out: List[LeftOut] = []
    projects: List[Tuple[int, str, bool]] = []  # column, name, whether it is done
    entry = None
    for at, line in enumerate(lines):
        if entry is not None and line.column > entry.column and not _has_tasks(lines, at):
            entry.add(line, to_text=False)
            continue
        entry = None
        task, project = TASK.match(line.text), PROJECT.match(line.text)
        column = line.column if project and not task else line.column + 1  # tasks may be as far left as their project
        projects = [each for each in projects if each[0] < column]
        if task:
            is_done = bool(DONE_TAG.search(task[2])) or any(each[2] for each in projects)
            mark = Mark("bullet", task[1], 0, "done" if is_done else "", task[2])
            entry = Entry(line, mark, tuple(each[1] for each in projects))
            entry.state = text_lines.find_done_mark(task[2]) if not is_done else "done"
            entries.append(entry)
        elif project:
            projects.append((line.column, project[1], bool(DONE_TAG.search(project[2])) or project[1] == "Archive"))
            left_out.append(LeftOut(line.number, line.text[:MAX_SHOWN_CHARS], "heading"))
        else:
            left_out.append(LeftOut(line.number, line.text[:MAX_SHOWN_CHARS], "text"))
    return Outline(entries, left_out, [])


def _has_tasks(lines: Sequence[Line], at: int) -> bool:
    """Return whether the line at an index is a project with a task directly below it."""
    below = lines[at + 1] if at + 1 < len(lines) else None
    is_project = PROJECT.match(lines[at].text) and not TASK.match(lines[at].text)
    return bool(is_project and below and below.column > lines[at].column and TASK.match(below.text))
