"""Read the lines of a plain text as an outline: entries with what belongs to them, below headings.

    outline = read_outline(lines, "todo.txt", markup="")
    for entry in outline.entries:
        entry.line, entry.mark, entry.text, entry.body, entry.headings
    outline.left_out                    the lines that are in no entry

What is indented below an entry belongs to it: directly below a marked entry it is the rest of its sentence, as it is
below another where it reads so; everything else is the entry's body, as written. `markup` is `rst`, `adoc`
or `org` where a line without a marker is prose, otherwise empty.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..feature_list import MAX_FEATURES, FeatureListError, LeftOut
from . import text_layout, text_lines
from .text_lines import Mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence, Set, Tuple

    from .text_layout import Line

MAX_HEADING_CHARS = 60
MAX_SHOWN_CHARS = 200
MAX_WRAPPED_CHARS = 125
DELIMITERS = ("----", "....", "====", "++++", "____")  # of blocks in AsciiDoc
LOOSE_HEADING = 20  # rank of a heading without a line under or around it, below all that have one


class Heading(NamedTuple):
    """A heading in force: its text, its rank (0 is highest), its column, and whether what is below it is indented."""

    text: str
    rank: int
    column: int
    is_indented: Optional[bool] = None


class Entry:
    """An entry of the outline: its mark, its text in pieces, the lines of its body, the headings above it.

    `state` is that of its mark, or `done` or `cancelled` where its text says so.
    """

    def __init__(self, line: Line, mark: Mark, headings: Tuple[str, ...]) -> None:
        self.line, self.column, self.mark, self.headings = line.number, line.column, mark, headings
        self.follows_blank = line.follows_blank
        self.pieces = [mark.text]
        self.lines = [line]
        self.state = mark.state
        self.body: List[Line] = []
        self.last_number = line.number

    @property
    def text(self) -> str:
        """Return the whole text of the entry on one line."""
        return " ".join(self.pieces)

    def add(self, line: Line, *, to_text: bool) -> None:
        """Add a line to the text of the entry or to its body."""
        if to_text:
            self.pieces.append(line.text)
            self.lines.append(line)
        else:
            self.body.append(line)
        self.last_number = line.number


class Outline(NamedTuple):
    """The entries of a text in order, the lines in none of them, and the line pairs that might be one sentence."""

    entries: List[Entry]
    left_out: List[LeftOut]
    maybe_joined: List[int]


def read_outline(lines: Sequence[Line], name: str, *, markup: str) -> Outline:
    """Return the outline of some lines. Raises FeatureListError for more open entries than a batch takes."""
    return _OutlineReader(lines, name, markup=markup).read()


class _OutlineReader:
    def __init__(self, lines: Sequence[Line], name: str, *, markup: str) -> None:
        self.lines, self.name, self.markup = lines, name, markup
        self.open_count = 0
        self.entries: List[Entry] = []
        self.left_out: List[LeftOut] = []
        self.maybe_joined: List[int] = []
        self.headings: List[Heading] = []
        self.entry: Optional[Entry] = None
        self.groups: Dict[int, bool] = {}
        self.preface_ends = -1  # the number of the first line behind a preface, 0 if there is none, -1 if not known
        self.last_delimiters = {line.text: at for at, line in enumerate(lines) if line.text in DELIMITERS}
        self.never_there: Set[str] = set()  # what would close a block, and is in no line below
        self.tight = text_layout.find_tight_markers(lines)
        marks = (text_lines.parse_marker(line.text, tight=self.tight) for line in lines)
        starred = "done" if markup == "adoc" else "open"  # in AsciiDoc `[*]` is a ticked box, elsewhere it stresses
        self.marks = [mark._replace(state=starred) if mark.state == "star" else mark for mark in marks]
        starts = [mark.text for line, mark in zip(lines, self.marks) if line.follows_blank or mark.kind]
        self.starts_upper = sum(text[:1].islower() for text in starts) * 5 < len(starts)
        self.wrapped = text_layout.find_wrapped_paragraphs(lines, self.marks)
        self.numbers_hold_bullets = text_layout.numbers_hold_bullets(lines, self.marks)
        self.list_column = text_layout.find_list_column(lines, self.marks)
        self.step = 1 if text_layout.nests_by_one(lines, self.marks) else 2
        # An editor that wraps lines leaves none that is much longer than the page is wide.
        self.has_long_lines = any(len(line.text) > MAX_WRAPPED_CHARS for line in lines)
        self.is_marked = 2 * sum(bool(mark.kind) for mark in self.marks) >= len(lines)
        states = {mark.state for mark in self.marks if mark.kind == "box"}
        self.marks_are_done = states == {"done"}  # then what has no mark is open, and no heading
        shouted = sum(text_lines.is_shouted(line.text) for line in lines)
        self.knows_shouting = 0 < 2 * shouted < len(lines)

    def read(self) -> Outline:
        at = 0
        while at < len(self.lines):
            at = self._take(at)
        for entry in self.entries:
            if entry.state != "done":
                entry.state = text_lines.find_done_mark(entry.text) or entry.state
        return Outline(self.entries, sorted(self.left_out), self.maybe_joined)

    def _leave_out(self, line: Line, reason: str) -> None:
        self.left_out.append(LeftOut(line.number, line.text[:MAX_SHOWN_CHARS], reason))

    def _take(self, at: int) -> int:
        """Take the line at an index and all that it decides; return the index of the next one."""
        line, mark = self.lines[at], self.marks[at]
        block_end = self._find_block_end(at)
        if block_end > at:
            return block_end
        entry = self.entry
        if entry and self._belongs_to_entry(entry, line, mark):
            is_next = line.number == entry.last_number + 1
            entry.add(line, to_text=is_next and not mark.kind and not entry.body and self._goes_on(entry, at))
            return at + 1
        for index, heading in enumerate(self.headings):
            if heading.is_indented and line.column <= heading.column:
                del self.headings[index:]
                break
        taken = self._take_heading(at)
        if taken:
            self.entry = None
            return at + taken
        if self._is_table_row(at):
            self._leave_out(line, "table")
            return at + 1
        if text_lines.COMMENT.match(line.text) or not any(map(str.isalnum, line.text)):
            end = text_layout.find_field_end(self.lines, at) if self.markup == "rst" else at + 1
            for each in self.lines[at:end]:
                self._leave_out(each, "comment" if text_lines.COMMENT.match(line.text) else "ruler")
            return end
        if entry and self.entry and self._joins_entry(entry, at):
            entry.add(line, to_text=not entry.body)
            return at + 1
        self._begin_entry(line, mark)
        return at + 1

    def _begin_entry(self, line: Line, mark: Mark) -> None:
        if self.headings and self.headings[-1].is_indented is None:
            top = self.headings[-1]
            self.headings[-1] = top._replace(is_indented=line.column > top.column)
        self.entry = Entry(line, mark, tuple(heading.text for heading in self.headings))
        self.entries.append(self.entry)
        self.open_count += mark.state != "done" and not text_lines.find_done_mark(mark.text)
        if self.open_count > MAX_FEATURES:  # now: the rest could take seconds
            raise FeatureListError(
                f"more than {MAX_FEATURES:,} features, and one batch takes as many. Split the list.",
                "features-file",
                self.name,
            )

    def _find_block_end(self, at: int) -> int:
        """Take a fenced block or a block comment that begins at an index; return the index behind it, or `at`."""
        line = self.lines[at]
        if line.text[0] not in "`~/<=.-+_":
            return at
        fence = text_lines.FENCE.match(line.text)
        closing = fence[1] if fence else text_lines.COMMENT_BLOCKS.get(line.text.split(None, 1)[0], "")
        if self.markup == "adoc" and not closing and line.text in self.last_delimiters:
            is_title = at and self.lines[at - 1].number == line.number - 1 and abs(len(self.lines[at - 1].text) - 4) < 3
            closing = "" if is_title or self.last_delimiters[line.text] == at else line.text
        is_code = bool(fence) or closing == line.text
        if not closing or closing in self.never_there:
            return at
        end = at
        while end < len(self.lines):
            text = self.lines[end].text
            if (end > at or not is_code) and (text.startswith(closing) if is_code else closing in text):
                break
            end += 1
        if end == len(self.lines):  # it never ends: then it is no block
            self.never_there.add(closing)
            return at
        for each in self.lines[at : end + 1]:
            if self.entry and is_code:
                self.entry.add(each, to_text=False)
            else:
                self._leave_out(each, "code" if is_code else "comment")
        return end + 1

    def _belongs_to_entry(self, entry: Entry, line: Line, mark: Mark) -> bool:
        if line.follows_blank and line.column <= entry.column + 1 and text_lines.find_framed_heading(line.text):
            return False
        if line.column > entry.column and not entry.mark.kind and not mark.kind:
            return line.column > entry.column + 1
        if line.column == self.list_column > entry.column and (line.follows_blank or line.column == entry.column + 1):
            return not mark.kind
        if line.column > entry.column and not entry.mark.kind and line.follows_blank and self._is_below_preface(line):
            return False
        if line.column > entry.column:
            is_sibling = mark.kind and mark.kind == entry.mark.kind and mark.sign == entry.mark.sign
            return not (is_sibling and line.column < entry.column + self.step and mark.depth <= entry.mark.depth)
        if line.column < entry.column or not mark.kind or (mark.depth > entry.mark.depth and entry.mark.kind):
            return line.column >= entry.column and bool(mark.kind)
        if mark.kind == "number" and entry.mark.kind in ("bullet", "box") and entry.pieces[-1].endswith(":"):
            return True
        return self.numbers_hold_bullets and entry.mark.kind == "number" and mark.kind == "bullet"

    def _is_below_preface(self, line: Line) -> bool:
        """Return whether a marked line is the first of its column, in a text that has no line further left from here.

        Then the lines above are text before a list that is indented as a whole.
        """
        if self.preface_ends < 0:
            first = next(index for index, mark in enumerate(self.marks) if mark.kind)
            column = self.lines[first].column
            is_whole = all(each.column >= column for each in self.lines[first:])
            self.preface_ends = self.lines[first].number if is_whole else 0
        return line.number == self.preface_ends

    def _goes_on(self, entry: Entry, at: int) -> bool:
        """Return whether an indented line is the rest of the entry's sentence."""
        if entry.mark.kind:
            return not entry.mark.text.endswith(":")
        before = self.lines[at - 1].text
        return text_lines.continues(before, self.lines[at].text, starts_upper=True)

    def _is_table_row(self, at: int) -> bool:
        """Return whether a line is a row of a table: between bars, or with tabs as in the line before or behind it."""
        if text_lines.TABLE_ROW.match(self.lines[at].text):
            return True
        tabs = [len(re.findall(r"\t+", line.raw.strip())) > 1 for line in self.lines[max(0, at - 1) : at + 2]]
        return sum(tabs) > 1 and tabs[min(at, 1)]

    def _joins_entry(self, entry: Entry, at: int) -> bool:
        """Return whether a line without a marker, no deeper than the entry before it, is the rest of its sentence."""
        line = self.lines[at]
        if self.marks[at].kind or line.number != entry.last_number + 1:
            return False
        if self.wrapped[at]:
            return True
        before = self.lines[at - 1].text
        if len(before) <= MAX_WRAPPED_CHARS and text_lines.continues(
            before, line.text, starts_upper=self.starts_upper and not self.has_long_lines
        ):
            return not self.has_long_lines or before[-1] in ",("
        if (
            entry.mark.kind
            and entry.state != "done"  # what has no mark may be open
            and line.text[0].islower()
            and len(before) >= 40
            and (self.is_marked or not self.has_long_lines)
        ):
            return True
        could_be_one = 60 <= len(before) <= 100 and before[-1] not in ".!?)" and not self.has_long_lines
        is_aside = line.text[0] == "(" and line.text[2:3] != ")"  # `(A)` is a priority
        if is_aside or (could_be_one and line.text[0].islower()):
            self.maybe_joined.append(line.number)
        return False

    # -- headings ------------------------------------------------------------------------------------------------------

    def _take_heading(self, at: int) -> int:
        """Put the heading that begins at an index in force; return how many lines it has, 0 if it is none."""
        line, text = self.lines[at], self.lines[at].text
        below = self.lines[at + 1] if at + 1 < len(self.lines) else None
        if text_lines.RULER.match(text) or (text_lines.UNDERLINE.match(text) and len(text) > 1):
            over = below and at + 2 < len(self.lines) and self.lines[at + 2]
            if below and over and over.text == text and below.number == line.number + 1 and len(text) >= 3:
                return self._begin_heading(
                    self.lines[at : at + 3], text_lines.find_decorated_heading(below.text) or below.text, 0
                )
            self._leave_out(line, "ruler")
            if len(text) >= 10 and not self.markup:  # a line across the page ends what was below loose headings
                self.headings = [each for each in self.headings if each.rank < LOOSE_HEADING]
            return 1
        rank = self._find_underline(line, below)
        if rank:
            return self._begin_heading(self.lines[at : at + 2], text, rank)
        stars = text_lines.ORG_HEADLINE.match(line.raw) if self.markup == "org" else None
        if stars:
            return self._begin_heading([line], stars[2], len(stars[1]))
        hashes = text_lines.find_hash_heading(text)
        if hashes and self._is_hash_heading(at, *hashes):
            return self._begin_heading([line], hashes[1], len(hashes[0]))
        decorated = text_lines.find_decorated_heading(text)
        if decorated and not (self.marks[at].kind and self.marks[at].state):
            level = 6 if text[0] != "=" else len(text) - len(text.lstrip("="))
            return self._begin_heading([line], decorated, level)
        if self._is_loose_heading(at):
            return self._begin_heading([line], self.marks[at].text.rstrip(": "), LOOSE_HEADING + line.column)
        return 0

    def _begin_heading(self, lines: Sequence[Line], text: str, rank: int) -> int:
        self.headings = [each for each in self.headings if each.rank < rank]
        self.headings.append(Heading(text.strip().rstrip(":").strip(), rank, lines[0].column))
        for line in lines:
            self._leave_out(line, "heading")
        return len(lines)

    def _find_underline(self, line: Line, below: Optional[Line]) -> int:
        """Return the rank of a heading that is underlined, 0 if it is not."""
        if below is None or below.number != line.number + 1 or not text_lines.UNDERLINE.match(below.text):
            return 0
        if len(below.text) < 3 or below.column > line.column + 1:
            return 0
        fits = abs(len(below.text) - len(line.text)) <= 2 or line.follows_blank
        if not fits or line.text.startswith(("- ", "* ", "+ ", "[")):
            return 0
        return text_lines.UNDERLINE_RANKS.get(below.text[0], 3)

    def _is_hash_heading(self, at: int, hashes: str, text: str) -> bool:
        is_over_entries = at + 1 < len(self.lines) and bool(self.marks[at + 1].kind) and len(text) <= MAX_HEADING_CHARS
        kind = text_lines.parse_marker(text).kind  # with one: an entry that is commented out, or `## 1. Install`
        return (len(hashes) > 1 and kind in ("", "number")) or (is_over_entries and not kind)

    def _is_loose_heading(self, at: int) -> bool:
        """Return whether a line is a heading by its form (`Bugs:`, `BUGS`) or by what follows it."""
        line, mark = self.lines[at], self.marks[at]
        text = line.text
        after = self.lines[at + 1] if at + 1 < len(self.lines) else None
        next_mark = self.marks[at + 1] if after else None
        if mark.kind:
            if after is None or next_mark is None or after.column > line.column or next_mark.kind in ("", "number"):
                return False
            is_over_others = next_mark.sign != mark.sign and next_mark.depth == mark.depth
            return text.endswith(":") and is_over_others and not mark.state
        if text_lines.LINK.match(text) or text_lines.COMMENT.match(text):
            return False
        if text.endswith(":"):
            if text_lines.TWO_SENTENCES.search(text) and after is not None and after.column > line.column:
                return False  # `The list is empty. Steps to reproduce:`
            leads = after is not None and (after.column > line.column or bool(next_mark and next_mark.kind))
            return len(text) <= MAX_HEADING_CHARS or (leads and line.follows_blank)
        if len(text) > MAX_HEADING_CHARS or text[-1] in ".!?,;":
            return False
        if text_lines.judge_heading(text) in ("done", "cancelled") and (
            line.follows_blank or (after and after.column > line.column)
        ):
            return True
        if text_lines.TITLE.match(text) and after is not None and (line.follows_blank or after.column > line.column):
            return True
        if after is None or after.column < line.column:
            return False
        is_box = next_mark is not None and next_mark.kind == "box" and not next_mark.sign
        # Beside entries with a box stand others without one.
        is_beside = is_box and (self.marks_are_done or not self.is_marked)
        is_beside = is_beside or (self.marks_are_done and not line.follows_blank)
        leads = bool(next_mark and next_mark.kind) and not is_beside and after.column < line.column + 2
        if leads and (line.follows_blank or self.is_marked or after.number == line.number + 1):
            return not self._is_in_paragraph(at)
        is_over_lines = line.follows_blank and after.number == line.number + 1
        if is_over_lines and self.knows_shouting and text_lines.is_shouted(text):
            return True
        is_over_heading = after.text.endswith(":") and len(after.text) <= MAX_HEADING_CHARS and len(text.split()) <= 4
        return after.column > line.column and (is_over_heading or self._is_group(at))

    def _is_in_paragraph(self, at: int) -> bool:
        """Return whether a line goes on with the one before it, or is the last of several without a marker."""
        if at == 0 or self.lines[at].follows_blank:
            return False
        before = self.lines[at - 1]
        if text_lines.continues(before.text, self.lines[at].text, starts_upper=self.starts_upper) or self.wrapped[at]:
            return True
        return not self.marks[at - 1].kind and before.column == self.lines[at].column and not self.is_marked

    def _is_group(self, at: int) -> bool:
        """Return whether each line at this column is short, without a marker, and has marked lines below it."""
        column = self.lines[at].column
        if column not in self.groups:
            self.groups[column] = self._is_column_of_groups(column)
        return self.groups[column]

    def _is_column_of_groups(self, column: int) -> bool:
        count = 0
        for index, line in enumerate(self.lines):
            if line.column != column or text_lines.COMMENT.match(line.text):
                continue
            after = self.lines[index + 1] if index + 1 < len(self.lines) else None
            if self.marks[index].kind or after is None or after.column <= column or not self.marks[index + 1].kind:
                return False
            if len(line.text.split()) > 4:
                return False
            count += 1
        return count >= 2
