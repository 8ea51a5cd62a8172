"""Take a list item of Markdown apart: the text with its box, what is nested in it. Pure.

head, box = read_head(item)
join_head(head, box)                the text on one line, without the box
for other in items_below(item): ...
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ...base.text import clean
from ..list_references import read_need_line
from .boxes import read_box

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional, Sequence, Tuple

    from .blocks import Block
    from .boxes import Box

MAX_HTML = 10_000  # the characters of a block in which summaries are looked for
TABLE_RULE = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?$")
_NOTE = re.compile(r"\((?:after|id)[ \t]*:[^()]*\)", re.IGNORECASE)

_FRONT_MATTER_KEY = re.compile(r"[\w.-]+[ \t]*:(?:[ \t]|$)")
_FRONT_MATTER = re.compile(r"(?:[\w.-]+[ \t]*:(?:[ \t].*)?|[ \t]*-[ \t].*|[ \t]+.*|#.*|[ \t]*)$")

_FOLD = re.compile(r"<summary\b|</details>", re.IGNORECASE)
_SUMMARY_END = re.compile("</summary>", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")


class Heading:
    """A heading, or a label above a list, on the lines `line` to `end`."""

    __slots__ = ("end", "level", "line", "text")

    def __init__(self, text: str, level: int, line: int, end: int) -> None:
        self.text, self.level, self.line, self.end = text, level, line, end


class Step(NamedTuple):
    """A box inside of a feature: its text, its state, and why it is taken out of the description."""

    item: Block
    text: str
    state: str
    is_open: bool
    reason: str


def read_summaries(lines: Sequence[str]) -> Iterator[Optional[str]]:
    """Yield the summary of each part that a block of HTML begins to fold, and None where one ends."""
    source = "\n".join(lines)[:MAX_HTML]
    position, is_complete = 0, True
    for match in _FOLD.finditer(source):
        if match.start() < position:
            continue  # in a summary
        if match[0][1] == "/":
            yield None
            continue
        begin = source.find(">", match.end()) if is_complete else -1
        end = _SUMMARY_END.search(source, begin + 1) if begin >= 0 else None
        if end is None:
            is_complete = False  # nor is any further one
        else:
            yield " ".join(clean(_TAG.sub(" ", source[begin + 1 : end.start()])).split())
            position = end.end()


def count_front_matter(lines: Sequence[str]) -> int:
    """Return how many lines at the top of a text are front matter in YAML."""
    if lines[0].rstrip() != "---" or len(lines) < 3 or not _FRONT_MATTER_KEY.match(lines[1]):
        return 0
    for number, line in enumerate(lines[1:200], 2):
        if line.rstrip() in ("---", "..."):
            return number
        if not _FRONT_MATTER.match(line):
            break
    return 0


def read_head(item: Block) -> Tuple[Optional[Block], Optional[Box]]:
    """Return the paragraph that an item begins with, and the box at its start."""
    if not item.children:
        return None, None
    head = item.children[0]
    if head.kind not in ("paragraph", "heading"):
        return None, None
    return head, read_box(head.lines[0])


def items_below(item: Block) -> Iterator[Block]:
    """Yield the items in an item, from the first to the last line; not those in quotes."""
    for child in item.children:
        if child.kind == "item":
            yield child
            yield from items_below(child)


def has_box(item: Block) -> bool:
    """Return whether an item, or one in it, begins with a box."""
    return read_head(item)[1] is not None or any(read_head(other)[1] for other in items_below(item))


def head_end(head: Block) -> int:
    """Return the last line of the text of an item: a table ends it, and a line like `Depends on: 1.2`."""
    if head.kind == "paragraph" and len(head.lines) > 1:
        for place, line in enumerate(head.lines[1:], 1):
            if "|" in line and "|" in head.lines[place - 1] and TABLE_RULE.match(line):
                return head.line + max(place - 2, 0)
            need = read_need_line(line) if ":" in line else None
            if need and need.references is not None:
                return head.line + place - 1
    return head.end


def join_head(head: Block, box: Optional[Box]) -> str:
    """Return the text of an item on one line, without its box."""
    parts = list(head.lines)
    if head.kind == "paragraph" and len(parts) > 1:
        parts = parts[: head_end(head) - head.line + 1]
    if box:
        parts[0] = box.text
    if len(parts) == 1:
        return clean(parts[0]).strip()
    notes = ""
    if ":" in parts[0]:  # a note at the end of the first line is one of the whole text
        end = _find_notes(parts[0])
        parts[0], notes = parts[0][:end], parts[0][end:]
    return " ".join(filter(None, (clean(part).strip() for part in [*parts, notes])))


def _find_notes(line: str) -> int:
    """Return where the notes at the end of a line begin, with the blanks before them; the length if there are none."""
    begin, end = len(line), len(line.rstrip(" \t"))
    while line[end - 1 : end] == ")":
        bracket = line.rfind("(", 0, end)
        if bracket < 0 or not _NOTE.fullmatch(line, bracket, end):
            break
        begin = bracket
        while begin and line[begin - 1] in " \t":
            begin -= 1
        end = begin
    return begin


def dedent(line: str, columns: int) -> str:
    """Return a line without up to `columns` columns of indentation."""
    blanks = len(line) - len(line.lstrip(" \t"))
    if "\t" in line[:blanks]:
        line = line[:blanks].expandtabs(4) + line[blanks:]
        blanks = len(line) - len(line.lstrip(" "))
    return line[min(blanks, columns) :]
