"""Lines of a plain text with their columns, and what the look of many lines together tells. Pure.

lines = to_lines(texts, "todo.txt")
find_wrapped_paragraphs(lines, marks)           which lines go on with the one before them
note_blocks(entries)                            a note for lines that may be headings
note_doubts(lines, entries, left_out)           notes for what may be no feature, or no part of one
dedent(lines)                                   a part of the text, as it is
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ...base.text import clean
from ..feature_list import MAX_FEATURE_CHARS, FeatureListError
from . import text_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence

    from ..feature_list import LeftOut
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
        match = None if line.text[0].isalnum() else text_lines.TIGHT_MARKER.match(line.text)
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


def nests_by_one(lines: Sequence[Line], marks: Sequence[Mark]) -> bool:
    """Return whether bullets one column deeper than others belong to them: at least two have two such below them."""
    parents = 0
    for at, (line, mark) in enumerate(zip(lines, marks)):
        if not mark.kind:
            continue
        below = zip(lines[at + 1 : at + 3], marks[at + 1 : at + 3])
        deeper = [each for each, sign in below if each.column == line.column + 1 and sign.sign == mark.sign]
        parents += len(deeper) == 2
    return parents >= 2


def find_list_column(lines: Sequence[Line], marks: Sequence[Mark]) -> int:
    """Return the column of a list that has nearly every line of a text, -1 if there is none.

    Then a line further left is text around it, or a slip; what follows it after a blank line is not below it.
    """
    counts = Counter(line.column for line, mark in zip(lines, marks) if mark.kind)
    if sum(counts.values()) < 10:
        return -1
    column, count = counts.most_common(1)[0]
    return column if count > 5 * sum(line.column < column for line in lines) else -1


def find_field_end(lines: Sequence[Line], at: int) -> int:
    """Return the index behind a field of reStructuredText (`:Authors: ...`) and the lines that go on with it."""
    end = at + 1
    while (
        lines[at].text.startswith(":")
        and end < len(lines)
        and lines[end].column > lines[at].column
        and not lines[end].follows_blank
    ):
        end += 1
    return end


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


def note_blocks(entries: Sequence[Entry]) -> List[str]:
    """Return a note where the first lines of blocks may be headings, none of which has a marker."""
    blocks = [entry for entry in entries if entry.follows_blank]
    are_blocks = len(blocks) > 1 and not any(
        entry.mark.kind or entry.headings or (entry.follows_blank and after.follows_blank)
        for entry, after in zip(entries, [*entries[1:], entries[0]])
    )
    note = (
        f"Each line is a feature, also the first one below a blank line ({_name_lines(blocks)}). If that is a "
        "heading, end it with `:`."
    )
    return [note] if are_blocks else []


def note_doubts(lines: Sequence[Line], entries: Sequence[Entry], left_out: Sequence[LeftOut]) -> List[str]:
    """Return notes for entries that may be no features, and for lines that may belong to another entry or to none."""
    notes = []
    unmarked = [entry for entry in entries if not entry.mark.kind]
    prose = [entry for entry in unmarked if len(entry.text) > 200 and text_lines.count_sentences(entry.text) > 1]
    if prose:
        notes.append(f"Several sentences, which may be no feature: {_name_lines(prose)}. Begin what is none with `#`.")
    remarks: List[Entry] = []
    for entry in unmarked:
        goes_on = (
            remarks and entry.line == remarks[-1].last_number + 1 and entry.text[0] in "(abcdefghijklmnopqrstuvwxyz"
        )
        if (goes_on or text_lines.REMARK.match(entry.text)) and entry not in prose:
            remarks.append(entry)
    if remarks:
        notes.append(f"A remark, which may be no feature: {_name_lines(remarks)}. Begin what is none with `#`.")
    shouted = [entry for entry in unmarked if text_lines.is_shouted(entry.text)]
    if 0 < 2 * len(shouted) < len(entries):
        notes.append(f"In capitals, which may be a heading: {_name_lines(shouted)}. End it with `:` if it is one.")
    boxes = [entry for entry in entries if entry.mark.kind == "box"]
    named = {entry.line for entry in (*remarks, *prose, *shouted)}
    beside = [entry for entry in unmarked if entry.line not in named]
    if beside and len(boxes) > len(beside):
        notes.append(f"Without a box beside others, and taken: {_name_lines(beside)}. Begin what is none with `#`.")
    texts = [(left.line, text_lines.parse_marker(left.text)) for left in left_out if left.reason == "text"]
    dropped = [line for line, mark in texts if mark.kind and mark.text]
    if dropped:
        notes.append(f"Bullets in text that is left out: {_name_numbers(dropped)}. Indent them as the others are.")
    marked = [entry for entry in entries if entry.mark.kind == "bullet"]
    columns = Counter(entry.column for entry in marked)
    pairs_of_bullets = [(a, b) for a, b in zip(marked, marked[1:]) if a.headings == b.headings]
    slips = [b.line for a, b in pairs_of_bullets if b.column == a.column + 1 and columns[a.column] > 1]
    if slips:
        notes.append(f"One column deeper than above, yet features: {_name_numbers(slips)}. Indent steps by two.")
    paragraphs = [line.number for entry in entries for line in _find_paragraphs(entry)]
    if paragraphs:
        notes.append(
            f"Indented below a blank line, so in the description of the feature above: {_name_numbers(paragraphs)}. "
            "If that is a feature or a heading, indent it less."
        )
    if not any("\t" in line.raw for line in lines):
        return notes
    taken = {number for entry in entries for number in range(entry.line, entry.last_number + 1)}
    pairs = [(line, after) for line, after in zip(lines, lines[1:]) if after.number in taken]
    mixed = [after.number for line, after in pairs if _depends_on_tab_width(line, after)]
    if mixed:
        notes.append(
            f"Tabs beside blanks, and a tab counts as {TAB_WIDTH} columns: {_name_numbers(mixed)}. If one of them "
            "belongs to the line above, indent it with blanks."
        )
    return notes


def _find_paragraphs(entry: Entry) -> List[Line]:
    """Return the lines in the body of an entry that begin a block of their own and could be entries or headings."""
    if entry.mark.kind:  # then what is indented is below it, but for a heading of other bullets
        pairs = zip(entry.body, entry.body[1:])
        return [
            line
            for line, after in pairs
            if line.follows_blank and line.text.endswith(":") and text_lines.parse_marker(after.text, tight="-*").kind
        ]
    return [line for line in entry.body if line.follows_blank and not text_lines.COMMENT.match(line.text)]


def _depends_on_tab_width(line: Line, after: Line) -> bool:
    """Return whether one line is deeper than another with tabs of 8 columns but not of 4, or the other way round."""
    begins = [each.raw[: len(each.raw) - len(each.raw.lstrip())] for each in (line, after)]
    if sum("\t" in begin for begin in begins) != 1:
        return False
    wide = [len(begin.expandtabs(8)) for begin in begins]
    return (wide[0] < wide[1]) != (line.column < after.column) or (wide[0] > wide[1]) != (line.column > after.column)


def _name_lines(entries: Sequence[Entry]) -> str:
    return _name_numbers([entry.line for entry in entries])


def _name_numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:10]))
    return f"line{'s' if len(numbers) > 1 else ''} {shown}" + (", ..." if len(numbers) > 10 else "")


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
        pieces.append(begin[column:] + line.raw.strip())
        number = line.number + 1
    return "\n".join(pieces)
