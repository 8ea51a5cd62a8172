"""Where in a text of JSON or YAML each value stands, to the column.

    found = positions.read(text, "yaml", "features.yaml")
    found.at(("features", 2, "title"))          Position(line=7, column=3)
    found.repeated                              names that are there twice: steps and Position of each second one

`document` knows lines, and only of what it can read; this is for what is wrong with a file, so it goes as far as it
can and stops quietly where the text is no JSON or YAML any more: `fault` says where, for YAML. A value in an object
stands where its name begins. Lines end in `\\n`; lines and columns count from 1, columns in code points.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import islice
from typing import NamedTuple

from .documents import MAX_DEPTH, MAX_EVENTS, json_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

    Steps = Tuple[Any, ...]


class Position(NamedTuple):
    """A place in a text, from 1."""

    line: int
    column: int


class Positions:
    """The offset of each value by the steps that lead there: names and indices, () for the whole."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.offsets: Dict[Steps, int] = {}
        self.repeated: List[Tuple[Steps, Position]] = []
        self.fault: Optional[Position] = None
        self._breaks = [each.start() for each in re.finditer("\n", text)]

    def at(self, steps: Steps) -> Optional[Position]:
        """Where a value stands; the nearest one around it where it is not there. None when nothing was read."""
        while steps not in self.offsets and steps:
            steps = steps[:-1]
        return self.position(self.offsets[steps]) if steps in self.offsets else None

    def position(self, offset: int) -> Position:
        """The line and column of an offset in the text."""
        above = bisect_right(self._breaks, offset - 1)
        return Position(above + 1, offset - (self._breaks[above - 1] if above else -1))

    def features_on(self, line: int) -> List[Steps]:
        """The steps to each feature of a features file that begins on a line."""
        entries = [steps for steps in self.offsets if steps and isinstance(steps[-1], int)]
        features = [steps for steps in entries if steps[:-1] in ((), ("features",))]
        return [steps for steps in features if self.position(self.offsets[steps]).line == line]


def read(text: str, kind: str, name: str) -> Positions:
    """Return what is known of a text: its kind is `yaml` or `json`, `name` is what messages call it.

    Raises Misuse when there is no PyYAML to read YAML with.
    """
    found = Positions(text)
    for steps, offset in _of_yaml(found, name) if kind == "yaml" else json_values(text):
        if steps in found.offsets:
            found.repeated.append((steps, found.position(offset)))
        else:
            found.offsets[steps] = offset
    return found


def _of_yaml(found: Positions, name: str) -> Iterator[Tuple[Steps, int]]:
    """Yield each value's steps and offset up to the end of the first document, or of what is YAML."""
    from . import yaml_support

    yaml = yaml_support.load(name)
    path: List[Any] = []
    is_name: List[bool] = []  # of each open list False; of each mapping whether a name comes next
    try:
        events = yaml.parse(found.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for event in islice(events, MAX_EVENTS):
            if isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                path.pop()
                is_name.pop()
            elif not isinstance(event, yaml.NodeEvent):
                continue
            elif is_name and is_name[-1]:
                if not isinstance(event, yaml.ScalarEvent):  # a name is text; `document` says so
                    return
                path[-1], is_name[-1] = event.value, False
                yield tuple(path), event.start_mark.index
                continue
            else:
                if not path or isinstance(path[-1], int):
                    yield tuple(path), event.start_mark.index
                if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                    in_list = isinstance(event, yaml.SequenceStartEvent)
                    path.append(0 if in_list else "")
                    is_name.append(not in_list)
                    if len(path) > MAX_DEPTH:
                        return
                    continue
            if not path:
                return
            if isinstance(path[-1], int):
                path[-1] += 1
            else:
                is_name[-1] = True
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        found.fault = mark and Position(mark.line + 1, mark.column + 1)
    except yaml.YAMLError:  # a character that no YAML may hold; `document` names it
        return
