"""Resolve the references of tasks to dependencies between the features that they become. Pure.

dependencies = Dependencies(entries, places)
dependencies.of_feature(3)          places of the features that the fourth one needs
dependencies.describe_unmet(7)      what entry 7 needs beyond the features, for its description
"""

from __future__ import annotations

from ...base.text import clean
from .task_status import CANCELLED, DEFERRED, DONE
from .task_tree import ancestors, limit_notes, name_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple

    from .task_tree import Entry


class Dependencies:
    """The dependencies between features, by their places, and what could not be taken (`notes`).

    `entries` are the tasks, `places` has the place of each entry that is a feature. What a task says itself counts
    first; what it has from its subtasks or groups is left out where it closes a cycle.
    """

    def __init__(self, entries: Sequence[Entry], places: Dict[int, int]) -> None:
        self.entries, self.places = entries, places
        self.needs: Dict[int, Dict[int, None]] = {}
        self.unmet: Dict[int, Dict[str, None]] = {}
        self.parts: Dict[int, List[int]] = {}  # the features in each group
        self.by_id: Dict[str, int] = {}
        repeated: Dict[str, None] = {}
        for index, entry in enumerate(entries):
            if entry.task.id and self.by_id.setdefault(entry.task.id.casefold(), index) != index:
                repeated[f"The id `{clean(entry.task.id)}` is there more than once; references mean the first."] = None
        for index in places:
            for group in ancestors(entries, index)[1:]:
                self.parts.setdefault(group, []).append(index)
        derived: List[Tuple[int, int, int]] = []  # source and target, and the entry that says so or -1
        for index, entry in enumerate(entries):
            if entry.task.needs and (entry.feature >= 0 or index in self.parts):
                self._resolve(index, derived)
        for index, parts in self.parts.items():
            if index in places:  # whatever else it is, a task is over when its parts are
                derived += [(index, part, -1) for part in parts]
        for source, target, index in derived:
            if self._reaches(target, source):
                if index < 0:  # where the list says the reverse, that holds
                    continue
                one, other = name_task(entries[index].task), name_task(entries[target].task)
                self._add_unmet(
                    index, f"{one} needs {other} or a part of it, which needs it too; this order is not taken"
                )
            else:
                self.needs.setdefault(source, {})[target] = None
        sentences = dict.fromkeys(f"{sentence}." for each in self.unmet.values() for sentence in each)
        self.notes = limit_notes(list(repeated)) + limit_notes(list(sentences))

    def _resolve(self, index: int, derived: List[Tuple[int, int, int]]) -> None:
        """Add the dependencies that one task has as written, those of steps and groups to `derived`."""
        entry = self.entries[index]
        sources = [entry.feature] if entry.feature >= 0 else self.parts[index]
        for reference in entry.task.needs:
            target = self.by_id.get(reference.casefold())
            if target is None:
                missing = f"`{clean(reference)[:60]}`, which is not in the list"
                self._add_unmet(index, f"{name_task(entry.task)} needs {missing}")
                continue
            other = self.entries[target]
            if other.feature >= 0:
                targets = [other.feature]
            elif target in self.parts and other.reason not in (CANCELLED, DEFERRED):
                targets = self.parts[target]
            elif other.task.state.state == DONE or (other.task.is_group and target not in self.parts):
                continue
            else:
                self._add_unmet(
                    index, f"{name_task(entry.task)} needs {name_task(other.task)}, which is {other.reason}"
                )
                continue
            if target == index:
                self._add_unmet(index, f"{name_task(entry.task)} needs itself")
            elif entry.feature == index and targets == [target]:
                self.needs.setdefault(index, {})[target] = None
            else:  # an order between steps of one feature is none between features
                derived += [(source, each, index) for source in sources for each in targets if each != source]

    def _add_unmet(self, index: int, sentence: str) -> None:
        feature = self.entries[index].feature
        for each in [feature] if feature >= 0 else self.parts[index]:
            self.unmet.setdefault(each, {})[sentence] = None

    def _reaches(self, start: int, goal: int) -> bool:
        seen, waiting = {start}, [start]
        while waiting:
            index = waiting.pop()
            if index == goal:
                return True
            fresh = [other for other in self.needs.get(index, ()) if other not in seen]
            seen.update(fresh)
            waiting += fresh
        return False

    def of_feature(self, index: int) -> List[int]:
        """Return the places of the features that the feature of an entry needs, sorted."""
        return sorted(self.places[other] for other in self.needs.get(index, ()))

    def describe_unmet(self, index: int) -> str:
        """Return what the feature of an entry needs beyond the features of the list, a sentence on each line."""
        return "\n".join(f"{sentence}." for sentence in self.unmet.get(index, ()))
