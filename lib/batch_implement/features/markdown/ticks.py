"""Tick the boxes of features in a Markdown list. Pure.

    text, ticked = tick_boxes(text, [3, 9], ListOptions())

A feature is named by its line, as `checklist` reads it. Its steps, the open boxes in it that are not left out, are
ticked with it: else they would be features of the list that is left. With `leaves` a box is ticked once none of the
boxes in it is open. Nothing but the marks changes: `- [ ] text` becomes `- [x] text`, and so do `[/]`, `[]` and signs.
"""

from __future__ import annotations

import re

from ..feature_list import decode_text, split_lines
from .blocks import parse_blocks
from .boxes import DASH, DONE, OPEN, find_end, read_box
from .items import count_front_matter, items_below, join_head, read_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Set, Tuple

    from ..feature_list import ListOptions
    from .blocks import Block
    from .boxes import Box

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)?")
_MARK = re.compile(r"(\\?\[)(?:[ \t]*|[^\s\[\]\\`]\ufe0f?)(\\?\])")
_TICKED_SIGN = "\u2611"


def tick_boxes(text: str, lines: Iterable[int], options: ListOptions) -> Tuple[str, Set[int]]:
    """Return the text with the boxes of the features on these lines ticked, and the lines of those that are.

    Raises FeatureListError for more lines than a list can have. Bytes that are not UTF-8 may be surrogates.
    """
    ticks = _Ticks(text, options)
    ticked = {line for line in lines if line in ticks.items and ticks.tick_feature(ticks.items[line])}
    if options.leaves:
        ticks.tick_parents()
    return "".join(ticks.raw), ticked


class _Ticks:
    """The lines of a text with their ends, and its items with a box by the line that they begin on."""

    def __init__(self, text: str, options: ListOptions) -> None:
        self.options = options
        self.raw = _LINE.findall(text)
        lines = split_lines(decode_text(text.encode("utf-8", "surrogateescape"), "list"), "list")
        first = count_front_matter(lines)
        document = parse_blocks(lines[first:], first + 1, lenient=True)
        self.all = [item for item in items_below(document) if read_head(item)[1] is not None]
        self.items: Dict[int, Block] = {item.line: item for item in self.all}
        self.done: Set[int] = set()  # lines that are ticked here

    def tick_feature(self, item: Block) -> bool:
        """Tick the box of an item, and its steps if that worked."""
        if not self._tick(item):
            return False
        end_of_left_out = 0
        for step in items_below(item):
            head, box = read_head(step)
            if head is None or box is None or step.line <= end_of_left_out:
                continue
            text = join_head(head, box)
            if self._is_left_out(box, text):
                end_of_left_out = step.end
            elif self._is_open(box) and text and not find_end(text):
                self._tick(step)
        return True

    def tick_parents(self) -> None:
        """Tick the open boxes in which a box was ticked here and none is open."""
        for item in reversed(self.all):
            below: List[Tuple[int, Box]] = []
            for other in items_below(item):
                box = read_head(other)[1]
                if box is not None:
                    below.append((other.line, box))
            is_touched = any(line in self.done for line, _ in below)
            box = read_head(item)[1]
            is_left = any(self._is_open(other) and line not in self.done for line, other in below)
            if is_touched and not is_left and box and self._is_open(box) and item.line not in self.done:
                self._tick(item)

    def _is_open(self, box: Box) -> bool:
        return box.state == OPEN or (box.state == DASH and self.options.dash == "open")

    def _is_left_out(self, box: Box, text: str) -> bool:
        is_cancelled = box.state == DASH and self.options.dash == "cancelled"
        without = {heading.casefold() for heading in self.options.without}
        return is_cancelled or (box.is_optional and not self.options.optional) or text.casefold() in without

    def _tick(self, item: Block) -> bool:
        """Tick the box that the first line of an item's text begins with. Return whether it is one that can be."""
        head, box = read_head(item)
        if head is None or box is None or not self._is_open(box):
            return False
        line = self.raw[head.line - 1]
        at = line.rstrip().rfind(head.lines[0].rstrip())
        if at < 0:
            return False
        match = _MARK.match(line, at)
        ticked = f"{match[1]}x{match[2]}" if match else _TICKED_SIGN
        changed = line[:at] + ticked + line[match.end() if match else at + 1 :]
        again = read_box(changed[at:].rstrip("\r\n"))
        if again is None or again.state != DONE:
            return False
        self.raw[head.line - 1] = changed
        self.done.add(item.line)
        return True
