"""Lines of a plain text with their columns, and what the look of many lines together tells. Pure.

lines = to_lines(texts, "todo.txt")
find_wrapped_paragraphs(lines, marks)           which lines go on with the one before them
note_unmarked(entries)                          notes for entries that may be none
dedent(lines)                                   a part of the text, as it is
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

from ...base.text import clean
from ..feature_list import MAX_FEATURE_CHARS, FeatureListError
from . import text_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence

    from .text_lines import Mark
    from .text_outline import Entry

TAB_WIDTH = 4


class Line(NamedTuple):
    """A line that is not blank: its number from 1, its column, its text, what is before it, and the line as it is."""

    number: int
    column: int
    text: str
    follows_blank: bool
    raw: str


def to_lines(texts: Sequence[str], name: str) -> List[Line]:
    """Return the lines that are not blank. Raises FeatureListError for one that is too long."""
    lines, is_blank = [], True
    for number, raw in enumerate(texts, start=1):
        if len(raw) > MAX_FEATURE_CHARS and len(raw.strip()) > MAX_FEATURE_CHARS:
            raise FeatureListError(
                f"{len(raw):,} characters; a feature has at most {MAX_FEATURE_CHARS:,}. Are line breaks missing? If "
                "not, put the details into a file and name it in the feature.",
                "features-line",
                name,
                number,
            )
        text = clean(raw).strip()
        if text:
            before = raw[: len(raw) - len(raw.lstrip())] if raw[:1].isspace() else ""
            lines.append(Line(number, len(before.expandtabs(TAB_WIDTH)), text, is_blank, raw))
        is_blank = not text
    return lines


def find_tight_markers(lines: Sequence[Line]) -> str:
    """Return the signs that begin entries without a blank after them (`*make it`) in these lines."""
    counts: Dict[str, int] = Counter()
    for line in lines:
        match = text_lines.TIGHT_MARKER.match(line.text)
        if match:
            counts[match["bullet"]] += 1
    spaced = sum(1 for line in lines if line.text[:2] in ("- ", "* ", "+ "))
    return "".join(
        sign for sign, count in counts.items() if sign in "•●▪·" or ((count + spaced) * 3 >= len(lines) and count)
    )


def numbers_hold_bullets(lines: Sequence[Line], marks: Sequence[Mark]) -> bool:
    """Return whether bullets stand below numbers at the same column, so that they belong to them."""
    column = min((line.column for line in lines), default=0)
    kinds = [mark.kind for line, mark in zip(lines, marks) if line.column == column and mark.kind]
    pairs = sum(first == "number" and second == "bullet" for first, second in zip(kinds, kinds[1:]))
    return bool(kinds) and kinds[0] == "number" and pairs >= 2 and 2 * pairs >= kinds.count("number")


def find_wrapped_paragraphs(lines: Sequence[Line], marks: Sequence[Mark]) -> List[bool]:
    """Return for each line whether it goes on with a paragraph of at least three lines that an editor wrapped.

    An editor breaks a line where the next word would not have fitted; lists of short lines do not look so.
    """
    wrapped = [False] * len(lines)
    begin = 0
    for at in range(1, len(lines) + 1):
        is_next = (
            at < len(lines)
            and lines[at].number == lines[at - 1].number + 1
            and lines[at].column == lines[begin].column
            and not marks[at].kind
            and not lines[at].text.endswith(":")
        )
        if is_next:
            continue
        if at - begin >= 3 and not marks[begin].kind:
            lengths = [len(line.text) for line in lines[begin:at]]
            room = min(
                length + 1 + len(line.text.split(None, 1)[0]) for length, line in zip(lengths, lines[begin + 1 : at])
            )
            if 45 <= max(lengths) <= 120 and room > max(lengths):
                wrapped[begin + 1 : at] = [True] * (at - begin - 1)
        begin = at
    return wrapped


def note_unmarked(entries: Sequence[Entry]) -> List[str]:
    """Return notes for entries without a marker that may be none: the first lines of blocks, and long prose."""
    notes, blocks = [], [entry for entry in entries if entry.follows_blank]
    are_blocks = len(blocks) > 1 and not any(
        entry.mark.kind or entry.headings or (entry.follows_blank and after.follows_blank)
        for entry, after in zip(entries, [*entries[1:], entries[0]])
    )
    if are_blocks:
        notes.append(
            f"Each line is a feature, also the first one below a blank line ({_name_lines(blocks)}). If that is a "
            "heading, end it with `:`."
        )
    prose = [
        entry
        for entry in entries
        if not entry.mark.kind and len(entry.text) > 200 and text_lines.count_sentences(entry.text) > 1
    ]
    if prose:
        notes.append(f"Several sentences, which may be no feature: {_name_lines(prose)}. Begin what is none with `#`.")
    return notes


def _name_lines(entries: Sequence[Entry]) -> str:
    numbers = ", ".join(str(entry.line) for entry in entries[:10])
    return f"line{'s' if len(entries) > 1 else ''} {numbers}" + (", ..." if len(entries) > 10 else "")


def dedent(lines: Sequence[Line]) -> str:
    """Return the lines as they are, without the blanks that all of them begin with; blank lines between them kept."""
    if not lines:
        return ""
    column = min(line.column for line in lines)
    pieces, number = [], lines[0].number
    for line in lines:
        if line.number > number:
            pieces.append("")
        begin = line.raw[: len(line.raw) - len(line.raw.lstrip())].expandtabs(TAB_WIDTH)
        pieces.append(begin[column:] + re.sub(r"\s+\Z", "", line.raw.lstrip()))
        number = line.number + 1
    return "\n".join(pieces)
