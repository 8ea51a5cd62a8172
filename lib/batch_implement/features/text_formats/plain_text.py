"""Read a list of features in plain text: one feature per line, or per bullet, below headings.

Markers (`- `, `* `, `1. `, `[ ] `, a bullet sign) are no part of a text. What is indented below a feature is its
description, headings are its section. Done and cancelled entries, headings, rulers, comments and bare links are left
out. A text whose lines are boxes is a Markdown checklist; one with the dates or priorities of todo.txt is read so. What
cannot be read with certainty is refused: prose, marks with two meanings.
"""

from __future__ import annotations

import re
import shlex
from functools import partial

from ...base.text import clean_block
from .. import file_kinds
from ..feature_list import (
    Feature,
    FeatureListError,
    LeftOut,
    Listing,
    ListOptions,
    check_features,
    check_section,
    decode_text,
    parse_clean_feature,
    split_lines,
)
from ..open_entries import count_open, nothing_open_error, number_open_features
from . import taskpaper, text_layout, text_lines, text_outline, todo_txt
from .text_outline import Entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple

    from .text_layout import Line

MAX_DEPTH = 60  # what is deeper in entries stays in the body of one
DONE_REASONS = ("done", "cancelled")
LETTER_MARK = re.compile(r"(\s*)([xXoO]|OK|Ok) (?=\S)")
X_BEFORE_NOUN = re.compile(r"(?i)\s*x (?:axis|axes|and|or|y|is|=|in|coordinate|position|offset|server|times|\W)")
# A document of another name has bullets that are not work.
LIST_NAME = re.compile(
    r"(?i)to[-_ ]?do|task|road[-_ ]?map|feature|plan|idea|wish|backlog|bugs|issues|milestone|list|later|next|future"
)
DOCUMENT_NAME = re.compile(
    r"(?i)(?:readme|hacking|contributing|install|authors|credits|copying|licen[cs]e|news|maintainers|faq|thanks)\b"
)


def read(data: bytes, name: str, options: ListOptions, *, markup: str = "") -> Listing:
    """Return the features of a text. `markup` is its language (`rst`, `adoc`, `org`, `taskpaper`), empty for none.

    Raises FeatureListError.
    """
    if not data.strip():
        raise FeatureListError("the file is empty. Write one feature per line.", "features-file", name)
    texts = split_lines(decode_text(data, name), name)
    file_kinds.refuse_content(texts, name)
    lines = text_layout.to_lines(texts, name)
    if not markup and is_checklist(lines):
        from ..markdown import checklist

        del texts, lines  # 60 MB of a list of 10 MB
        return checklist.read(data, name, options)
    if not markup and todo_txt.is_todo_txt(lines):
        return todo_txt.read(lines, name)
    notes: List[str] = []
    if not markup:
        lines = _mark_letters(texts, lines, name, notes)
    return _Reader(name, options, markup=markup).read(lines, notes)


read_rst, read_adoc, read_org_text, read_taskpaper = (
    partial(read, markup=markup) for markup in ("rst", "adoc", "org", "taskpaper")
)


def is_checklist(lines: Sequence[Line]) -> bool:
    """Return whether boxes with a list marker, headings with `#` and what is below boxes are all that there is."""
    has_box, is_below = False, False
    for line in lines:
        mark = text_lines.parse_marker(line.text)
        if mark.kind == "box" and mark.sign:
            has_box = is_below = True
        elif text_lines.HASH_HEADING.match(line.text) or mark.kind == "bullet":
            is_below = mark.kind == "bullet"
        elif not (line.column > 0 and is_below):
            return False
    return has_box


def _mark_letters(texts: Sequence[str], lines: List[Line], name: str, notes: List[str]) -> List[Line]:
    """Return the lines with `x` and `o` as boxes where they are marks of entries: beside each other, or `x` alone."""
    marks = [LETTER_MARK.match(line.raw) if line.text[0] in "xXoO" else None for line in lines]
    letters = [mark[2].lower() for mark in marks if mark]
    small = {at for at, mark in enumerate(marks) if mark and mark[2] == "x" and not X_BEFORE_NOUN.match(mark.string)}
    if "o" in letters and "x" in letters and 2 * len(letters) >= len(lines):
        notes.append("`X` before a text is read as done, `O` as open.")
        boxes = {"x": "[x] ", "o": "[ ] "}
    elif letters.count("ok") > 1 and "x" not in letters and "o" not in letters:
        notes.append("`OK` before a text is read as done.")
        boxes = {"ok": "[x] "}
    elif small and all(mark[2] == "x" for mark in marks if mark) and len(small) < len(lines):
        notes.append("`x` before a text is read as done.")
        boxes = {"x": "[x] "}
    else:
        return lines
    changed = list(texts)
    for at, (line, mark) in enumerate(zip(lines, marks)):
        if mark and mark[2].lower() in boxes and ("x" not in boxes or "o" in boxes or at in small):
            changed[line.number - 1] = mark[1] + boxes[mark[2].lower()] + line.raw[mark.end() :]
    return text_layout.to_lines(changed, name)


class _Reader:
    """Makes features of an outline, and says what becomes of every other line."""

    def __init__(self, name: str, options: ListOptions, *, markup: str) -> None:
        self.name, self.options, self.markup = name, options, markup
        self.read_outline = taskpaper.read_outline if markup == "taskpaper" else text_outline.read_outline
        self.without = {heading.strip().rstrip(":").casefold() for heading in options.without}
        self.features: List[Feature] = []
        self.left_out: List[LeftOut] = []
        self.is_open: List[bool] = []
        self.undecided: List[Entry] = []
        self.errors: List[FeatureListError] = []

    def read(self, lines: Sequence[Line], notes: List[str]) -> Listing:
        outline = self.read_outline(lines, self.name, markup=self.markup)
        self.left_out += outline.left_out
        self._refuse_two_bullets(outline.entries)
        self._judge_ends(outline.entries)
        self._refuse_fused_notes(outline.entries)
        prose = self._find_prose(outline.entries)
        for entry in outline.entries:
            if id(entry) in prose:
                self._leave_out_entry(entry, "no check box" if entry.mark.kind else "text")
            else:
                self._take(entry)
        if self.undecided:
            raise self._undecided_error()
        if self.errors:
            raise _combine_errors(self.errors, self.name)
        if not self.options.bullets and _is_document_name(self.name, self.markup):
            self._refuse_bullets(outline.entries)
        if not self.features:
            raise self._nothing_error(outline.entries, len(prose))
        if len(prose) > len(self.features) and len(prose) > 2:
            raise self._prose_error(len(prose))
        self._refuse_essay(outline.entries)
        if not self.markup:
            lines_taken = {feature.line for feature in self.features}
            taken = [entry for entry in outline.entries if entry.line in lines_taken]
            notes += [*text_layout.note_blocks(outline.entries), *text_layout.note_doubts(lines, taken, self.left_out)]
        features = check_features(number_open_features(self.features, self.is_open), self.name)
        notes += self._note_sections(features)
        if outline.maybe_joined:
            numbers = ", ".join(map(str, outline.maybe_joined[:10]))
            notes.append(
                f"Each line is a feature of its own. If one goes on with the line before it (lines {numbers}), "
                "indent it."
            )
        way = "TaskPaper" if self.markup == "taskpaper" else "plain text"
        return Listing(features, {}, f"{way}: {count_open(self.is_open)}", sorted(self.left_out), notes)

    def _take(self, entry: Entry, parents: Tuple[str, ...] = ()) -> None:
        """Make a feature of an entry, or say why it is left out."""
        headings = (*entry.headings, *parents)
        judged = [text_lines.judge_heading(heading) for heading in headings]
        reason = entry.state if entry.state in DONE_REASONS else ""
        if entry.state != "open":
            reason = reason or next((each for each in reversed(judged) if each in DONE_REASONS), "")
        if entry.state in ("dash", "unknown") and not reason:
            if not self.options.dash or entry.state == "unknown":
                self.undecided.append(entry)
                return
            reason = "cancelled" if self.options.dash == "cancelled" else ""
        if not reason and self.without.intersection(heading.casefold() for heading in headings):
            named = next(heading for heading in headings if heading.casefold() in self.without)
            self._leave_out_entry(entry, f"below {named!r}")
            return
        if not reason and text_lines.LINK.match(entry.text) and not entry.body:
            self._leave_out_entry(entry, "link")
            return
        is_group = entry.body and len(parents) < MAX_DEPTH
        children = self._find_open_children(entry, is_done=bool(reason)) if is_group else []
        if reason or children:
            self._leave_out_entry(entry, reason or "parent", children)
            if reason:
                self.is_open.append(False)
            for child in children:
                self._take(child, (*headings, entry.text) if reason else (*parents, entry.text))
            return
        self._add_feature(entry, headings)

    def _find_open_children(self, entry: Entry, *, is_done: bool) -> List[Entry]:
        """Return the entries below one that become features: the open boxes of a done one, with --leaves all."""
        if not is_done and not self.options.leaves:
            return []
        outline = self.read_outline(entry.body, self.name, markup="org")
        children = [each for each in outline.entries if each.mark.kind and each.state not in DONE_REASONS]
        if is_done:
            children = [each for each in children if each.mark.state == "open"]
        for child in children:
            child.headings = (*entry.headings, *child.headings)
        return children

    def _add_feature(self, entry: Entry, headings: Tuple[str, ...]) -> None:
        self.is_open.append(True)
        try:
            feature = parse_clean_feature(entry.text, self.name, entry.line, near_misses=True)
        except FeatureListError as error:
            self.errors.append(error)
            return
        details = dict(feature.details)
        if headings:
            details["section"] = check_section(text_lines.join_headings(headings), self.name, entry.line)
        if entry.body:
            details["description"] = clean_block(text_layout.dedent(entry.body))
        self.features.append(feature._replace(details=details))

    def _leave_out_entry(self, entry: Entry, reason: str, children: Sequence[Entry] = ()) -> None:
        self.left_out += [LeftOut(line.number, line.text, reason) for line in entry.lines]
        kept = {number for child in children for number in range(child.line, child.last_number + 1)}
        self.left_out += [LeftOut(line.number, line.text, reason) for line in entry.body if line.number not in kept]

    def _find_prose(self, entries: Sequence[Entry]) -> Dict[int, Entry]:
        """Return the entries without a marker that are text around a list of marked entries, by their identity."""
        marked = sum(bool(entry.mark.kind) for entry in entries)
        unmarked = [entry for entry in entries if not entry.mark.kind]
        states = {entry.mark.state for entry in entries if entry.mark.kind == "box"}
        boxes = sum(entry.mark.kind == "box" for entry in entries)
        is_all_ticked = states == {"done"} and not self.markup  # then what has no box is open
        if is_all_ticked and boxes == marked:
            return {}
        are_sentences = all(entry.follows_blank and entry.text[-1] in ".!?" for entry in unmarked)
        if not self.markup and marked <= len(unmarked) - (are_sentences and marked > 1):
            return {}
        prose = {}
        if 2 * boxes > marked and not is_all_ticked:  # a checklist: then other bullets are text, as in Markdown
            prose = {id(entry): entry for entry in entries if entry.mark.kind not in ("", "box")}
        prose_end = 0
        for entry in unmarked:
            is_entry = (
                not self.markup and not entry.follows_blank and len(entry.text) <= 120 and entry.text[-1] not in ".:"
            )
            if not is_entry or entry.line == prose_end + 1:  # a paragraph is prose up to its end
                prose[id(entry)] = entry
                prose_end = entry.last_number
        return prose

    # -- what is refused -----------------------------------------------------------------------------------------------

    def _refuse_two_bullets(self, entries: Sequence[Entry]) -> None:
        """Raise FeatureListError where `+` and `-` begin entries of one section: in many lists `+` means done."""
        signs: Dict[Tuple[str, ...], Dict[str, int]] = {}
        for entry in entries:
            if entry.mark.kind == "bullet" and entry.mark.sign in "+-" and not entry.state:
                is_done = any(text_lines.judge_heading(each) in DONE_REASONS for each in entry.headings)
                if not is_done:
                    signs.setdefault(entry.headings, {}).setdefault(entry.mark.sign, entry.line)
        for lines in signs.values():
            if len(lines) == 2:
                raise FeatureListError(
                    f"entries begin with `-` (line {lines['-']}) and with `+` (line {lines['+']}), which could mean "
                    "done. Write `[x]` before what is done, and one sign before all else.",
                    "features-line",
                    self.name,
                    max(lines.values()),
                )

    def _judge_ends(self, entries: Sequence[Entry]) -> None:
        """Take `OK` at the end of several entries for done; raise FeatureListError for `+`, which is less sure."""
        for sign in ("OK", "+"):
            ends = [entry for entry in entries if entry.text.rstrip(".").endswith(f" {sign}")]
            if len(ends) < 2:
                continue
            if sign == "+":
                raise FeatureListError(
                    f"{len(ends)} entries end in `+`, which could mean done. Write `[x]` before what is done, and take "
                    "the sign off the rest.",
                    "features-line",
                    self.name,
                    ends[0].line,
                )
            for entry in ends:
                entry.state = "done"

    def _refuse_fused_notes(self, entries: Sequence[Entry]) -> None:
        """Raise FeatureListError for `(after: N)` in a list whose own numbers are not those of the lines."""
        numbers = [entry.mark.sign.strip("(). -\u2013—") for entry in entries if entry.mark.kind == "number"]
        if numbers == [str(index) for index in range(1, len(numbers) + 1)] and len(numbers) == len(entries):
            return
        for entry in entries if numbers else ():
            if text_lines.has_number_note(entry.text):
                raise FeatureListError(
                    "`(after: N)` counts the entries from 1, and the numbers in this list are others. Number them from "
                    "1, or give the entry that is meant an id, `(id: NAME)`, and name that.",
                    "feature-order",
                    self.name,
                    entry.line,
                )

    def _refuse_bullets(self, entries: Sequence[Entry]) -> None:
        """Raise FeatureListError for bullets of a document whose name does not say that it is a list."""
        if self.features and not any(entry.mark.kind == "box" for entry in entries):
            raise FeatureListError(
                "no check box, only lines, bullets or numbers, and the name is not that of a list. Add `--bullets` to "
                "take the top-level ones, or write each feature as `- [ ] text`.",
                "features-file",
                self.name,
            )

    def _refuse_essay(self, entries: Sequence[Entry]) -> None:
        """Raise FeatureListError for paragraphs of several sentences: that is prose, not a list."""
        unmarked = [entry for entry in entries if not entry.mark.kind]
        long = [entry for entry in unmarked if len(entry.text) > 120 and text_lines.count_sentences(entry.text) > 1]
        if 2 * len(long) > len(entries):
            raise self._prose_error(len(long))

    def _prose_error(self, count: int) -> FeatureListError:
        return FeatureListError(
            f"this looks like prose: {count} paragraphs without a marker. Write `- ` before each feature, or a list "
            "with one feature per line into a file of its own.",
            "features-file",
            self.name,
        )

    def _undecided_error(self) -> FeatureListError:
        reasons = []
        for state, meaning in (
            ("unknown", "a mark in the box that is not known ({}). Write `[x]` for done, `[ ]` for open."),
            (
                "dash",
                "`[-]` or a cross, which could mean in progress or cancelled ({}). Add `--dash open` to take them, or "
                "`--dash cancelled` to leave them out.",
            ),
        ):
            those = [entry for entry in self.undecided if entry.state == state]
            if those:
                entries = "1 entry" if len(those) == 1 else f"{len(those)} entries"
                lines = ", ".join(str(entry.line) for entry in those[:20])
                meaning = meaning.format(f"line{'s' if len(those) > 1 else ''} {lines}")
                reasons.append(f"{entries} with {meaning}")
        return FeatureListError(" ".join(reasons), "features-line", self.name, self.undecided[0].line)

    def _nothing_error(self, entries: Sequence[Entry], prose: int) -> FeatureListError:
        if self.is_open:
            return nothing_open_error(self.name, len(self.is_open))
        reasons = {left.reason for left in self.left_out}
        if prose:
            reason = (
                "no features: there is no bullet, number or check box, only text. Write `- ` before each feature, or "
                "one feature per line into a .txt file."
            )
        elif reasons <= {"comment", "ruler"}:
            reason = (
                "no features: every line is blank or a comment (`#`, `//`, `..`). Write one feature per line, without "
                "that sign."
            )
        elif reasons <= {"link", "comment", "heading", "ruler"} and "link" in reasons:
            reason = "no features: every line is a link. Write what is to be done, one feature per line."
        elif "table" in reasons:
            reason = (
                "no features: this is a table. Write the column that says what is to be done into a .txt file, one "
                "feature per line."
            )
        else:
            reason = "no features: headings only, with nothing below them. Write one feature per line."
        return FeatureListError(reason, "features-file", self.name)

    def _note_sections(self, features: Sequence[Feature]) -> List[str]:
        """Return a note for each heading whose features may be no work: later ones, open boxes below `DONE`."""
        counts: Dict[str, int] = {}
        for feature in features:
            headings = str(feature.details.get("section", "")).split(" > ")
            named = next((heading for heading in headings if text_lines.judge_heading(heading)), None)
            if named is not None:
                counts[named] = counts.get(named, 0) + 1
        return [
            f"{count} {'feature is' if count == 1 else 'features are'} below {heading!r}: "
            f"`--without {shlex.quote(heading)}` leaves {'it' if count == 1 else 'them'} out."
            for heading, count in counts.items()
            if count < len(features) or text_lines.judge_heading(heading) != "later"
        ]


def _combine_errors(found: Sequence[FeatureListError], name: str) -> FeatureListError:
    """Return the first error, with the lines of the others."""
    first, lines = found[0], ", ".join(str(error.line) for error in found[1:20])
    also = f" As wrong: line{'s' if len(found) > 2 else ''} {lines}." if lines else ""
    return FeatureListError(f"{first.reason}{also}", "features-line", name, first.line)


def _is_document_name(name: str, markup: str) -> bool:
    base = name.replace("\\", "/").rpartition("/")[2]
    return not LIST_NAME.search(base) and bool(markup or DOCUMENT_NAME.match(base))
