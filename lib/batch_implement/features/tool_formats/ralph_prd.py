"""Read a `prd.json` as Ralph loops have it: `{"userStories": [{"id", "title", "acceptanceCriteria", "passes"}]}`.

Ralph takes the open story of the highest priority, 1 before 2, so that is the order here.
"""

from __future__ import annotations

import re

from ..feature_list import FeatureListError
from .fields import by_word, to_word
from .task_list import build_listing
from .task_objects import describe_top
from .task_reader import TaskReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..feature_list import Listing, ListOptions
    from ..located_values import Document

LABEL = "Ralph prd.json"
RANKS = {"critical": 0, "highest": 0, "high": 1, "must": 1, "medium": 2, "should": 2, "low": 3, "could": 3, "lowest": 4}


def recognize(value: Any) -> bool:
    """Return whether a value is an object with a list of user stories."""
    return isinstance(value, dict) and isinstance(value.get(_stories_name(value)), list)


def _stories_name(value: Any) -> str:
    names = by_word(value)
    return names.get("userstories", names.get("stories", ""))


def read(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the stories that do not pass yet, by priority. Raises FeatureListError."""
    field = _stories_name(document.value)
    stories, reader = document.value[field], TaskReader(document, name)
    if not stories:
        raise FeatureListError(f"{LABEL}: `{field}` is empty. Add a story.", "features-file", name)
    tasks = reader.read_tasks(stories, (field,))
    order = sorted(range(len(tasks)), key=lambda index: (_rank(stories[index]), index))
    notes = [*describe_top(document.value, (field,)), *reader.notes()]
    if order != list(range(len(tasks))):
        notes.insert(
            0, "In the order of `priority`, the highest (1) first, as Ralph takes them; not in that of the file."
        )
    return build_listing([tasks[index] for index in order], name, options, LABEL, notes)


def _rank(story: Any) -> float:
    """Return a number for the priority of a story, smaller for a higher one; those without one are last."""
    priority = story.get("priority") if isinstance(story, dict) else None
    number = re.fullmatch(r"[Pp]?([0-9]{1,9}(?:\.[0-9]{1,9})?)", str(priority))
    return float(number[1]) if number else RANKS.get(to_word(str(priority)), 9e9)
