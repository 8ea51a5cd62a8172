"""Read a `prd.json` as Ralph loops have it: `{"userStories": [{"id", "title", "acceptanceCriteria", "passes"}]}`.

Ralph takes the open story of the highest priority, 1 before 2, so that is the order here.
"""

from __future__ import annotations

import re
from typing import Any

from ..data_formats.located_values import Document
from ..feature_list import Listing, ListOptions
from . import task_objects
from .fields import by_word, to_word

RANKS = {"critical": 0, "highest": 0, "high": 1, "must": 1, "medium": 2, "should": 2, "low": 3, "could": 3, "lowest": 4}
ORDER = "In the order of `priority`, the highest (1) first, as Ralph takes them; not in that of the file."


def recognize(value: Any) -> bool:
    """Return whether a value is an object with a list of user stories."""
    names = by_word(value) if isinstance(value, dict) else {}
    return isinstance(value, dict) and isinstance(value.get(names.get("userstories", names.get("stories", ""))), list)


def read(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the stories that do not pass yet, by priority. Raises FeatureListError."""
    return task_objects.read(document, name, options, "Ralph prd.json", _rank, ORDER)


def _rank(story: Any) -> float:
    """Return a number for the priority of a story, smaller for a higher one; those without one are last."""
    priority = str(story.get("priority"))
    number = re.fullmatch(r"[Pp]?([0-9]{1,9}(?:\.[0-9]{1,9})?)", priority)
    return float(number[1]) if number else RANKS.get(to_word(priority), 9e9)
