"""Refuse the YAML that PyYAML reads in two ways: with libyaml in one, without it in the other.

    refuse_directives(text)                  before the parser begins
    check = DifferenceCheck(yaml, text)
    for event in events:
        check.refuse(event)                  each event, in order
    check.refuse_tabs()                      at the end

Each raises Difference, with the offset of the construct and the remedy. Which of the two parsers a Python has depends
on how its PyYAML was built; a list must not mean something else, or nothing, on another machine.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Tuple

DIRECTIVE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\n)*(%)")
BLOCK_HEADER_WITH_COMMENT = re.compile(r"[|>][-+0-9]*#")
BLOCK_BEGIN = re.compile(r"[|>][-+0-9]*[ \t]*(?:#[^\n]*)?(?:\n\s*)?")
# In brackets libyaml refuses a colon before one of these after a text without quotes.
COLON_IN_BRACKETS = re.compile(r":[,?\[\]{}]")
COMMENT = re.compile(r"(?:^|[ \t])#")


class Difference(Exception):
    """A construct that the two parsers read differently: its offset in the text, what it is and what to write."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(reason)
        self.offset, self.reason = offset, reason


def refuse_directives(text: str) -> None:
    """Raise Difference if a text begins with a directive, `%YAML` or another."""
    directive = DIRECTIVE.match(text)
    if directive:
        raise Difference(
            directive.start(1),
            "a line that begins with `%` is a directive. Remove the `%YAML` line; a text needs quotes.",
        )


class DifferenceCheck:
    """Looks at the events of one parser for what the other would have read differently."""

    def __init__(self, yaml: Any, text: str) -> None:
        self.text = text
        self.has_tabs = "\t" in text
        self.scalar_event = yaml.ScalarEvent
        self.starts = (yaml.SequenceStartEvent, yaml.MappingStartEvent)
        self.ends = (yaml.SequenceEndEvent, yaml.MappingEndEvent)
        self.is_in_brackets: List[bool] = []
        self.tabs_allowed: List[Tuple[int, int]] = []

    def refuse(self, event: Any) -> None:
        """Raise Difference if the event comes from what the two parsers read differently."""
        if isinstance(event, self.scalar_event):
            self._refuse_scalar(event.style, event.start_mark.index, event.end_mark.index)
        elif isinstance(event, self.starts):
            self.is_in_brackets.append(bool(event.flow_style))
        elif isinstance(event, self.ends):
            self.is_in_brackets.pop()

    def _refuse_scalar(self, style: str, start: int, end: int) -> None:
        if style in ("|", ">"):
            if BLOCK_HEADER_WITH_COMMENT.match(self.text, start):
                raise Difference(start, f"a comment directly after `{style}`. Write a blank before the `#`.")
            begin = BLOCK_BEGIN.match(self.text, start)
            if begin and self.has_tabs and "\t" in begin[0].partition("#")[0] + begin[0].partition("\n")[2]:
                raise Difference(
                    start + begin[0].index("\t"),
                    f"a tab before the text of a block (`{style}`). Indent its first line with blanks alone.",
                )
        elif not style and self.is_in_brackets and self.is_in_brackets[-1]:
            question = self.text.find("?", start, end)
            if question >= 0:
                raise Difference(question, "a question mark in brackets. Put the text around it in quotes.")
            colon = COLON_IN_BRACKETS.match(self.text, end)
            if colon or (start == end and COLON_IN_BRACKETS.match(self.text, end - 1)):
                raise Difference(
                    end, "nothing between `:` and what follows it. Write a blank after the colon, or quotes."
                )
        if self.has_tabs and style:
            self.tabs_allowed.append((start, end))

    def refuse_tabs(self) -> None:
        """Raise Difference for a tab outside of quotes, blocks and comments. All events must have been seen."""
        if not self.has_tabs:
            return
        gap_start = 0
        for start, end in [*self.tabs_allowed, (len(self.text), len(self.text))]:
            tab = self.text.find("\t", gap_start, start)
            while tab >= 0:
                line_start = self.text.rfind("\n", gap_start, tab) + 1 or gap_start
                if not COMMENT.search(self.text[line_start:tab]):
                    raise Difference(tab, "a tab outside of quotes. Write blanks instead, or put the text in quotes.")
                line_end = self.text.find("\n", tab, start)
                tab = self.text.find("\t", line_end, start) if line_end >= 0 else -1
            gap_start = end
