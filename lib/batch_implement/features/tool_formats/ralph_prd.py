"""Read a `prd.json` as Ralph loops have it: `{"userStories": [{"id", "title", "acceptanceCriteria", "passes"}]}`.

Ralph takes the open story of the highest priority, 1 before 2, so that is the order here.
"""

from __future__ import annotations

from ..feature_list import FeatureListError, Listing
from .task_fields import find_bookkeeping, is_task_list, read_tasks
from .task_list import build_listing
from .task_objects import describe_top
from .task_status import normalize_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional

    from ..feature_list import ListOptions
    from ..located_values import Document

LABEL = "Ralph prd.json"
STORIES = ("userstories", "stories")
RANKS = {"critical": 0, "highest": 0, "p0": 0, "high": 1, "p1": 1, "medium": 2, "p2": 2, "low": 3, "p3": 3, "lowest": 4}


def recognize(value: Any) -> bool:
    """Return whether a value is an object with a list of user stories."""
    return isinstance(value, dict) and _find_stories(value) is not None


def _find_stories(value: Dict[str, Any]) -> Optional[str]:
    names = {normalize_word(name): name for name in value if isinstance(value[name], list)}
    return next((names[name] for name in STORIES if name in names), None)


def read(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the stories that do not pass yet, by priority. Raises FeatureListError."""
    field = str(_find_stories(document.value))
    stories = document.value[field]
    if not stories:
        raise FeatureListError(f"{LABEL}: `{field}` is empty. Add a story.", "features-file", name)
    unusable = [index for index, story in enumerate(stories) if not is_task_list([story])]
    if unusable:
        raise FeatureListError(
            f"{LABEL}: this story has no title. Give it one, or remove it.",
            "features-yaml",
            name,
            *document.position((field, unusable[0])),
        )
    tasks = read_tasks(stories, (field,), document)
    ranks = [rank_priority(story.get("priority")) for story in stories]
    order = sorted(range(len(tasks)), key=lambda index: (ranks[index], index))
    notes = []
    if order != list(range(len(tasks))):
        notes.append("In the order of `priority`, the highest (1) first, as Ralph takes them; not in that of the file.")
    note = find_bookkeeping(stories)
    notes += [each for each in (describe_top(document.value, (field,)), note) if each]
    return build_listing([tasks[index] for index in order], name, options, label=LABEL, notes=notes, id_prefix="story-")


def rank_priority(priority: Any) -> float:
    """Return a number for a priority, smaller for a higher one; those without one are last."""
    if isinstance(priority, (int, float)) and not isinstance(priority, bool):
        return float(priority)
    if isinstance(priority, str):
        word = normalize_word(priority)
        if word in RANKS:
            return RANKS[word]
        if word.isdigit():
            return float(word[:9])
    return float("inf")
