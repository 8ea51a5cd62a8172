"""Read a list of features in Markdown: the open check boxes, with what belongs to them.

    listing = read(data, "TODO.md", ListOptions())
    listing.features, listing.left_out, listing.notes

A feature's text is the first paragraph of its item, what is nested in the item its `description`, the headings above it
its `section`. The outermost open box is the feature and the boxes in it are its steps; with `leaves` each innermost one
is. Of a ticked box the open boxes in it are features. Every line is in a feature or in `left_out`, with the reason.
What could mean two things is refused, all lines of one kind at once. See `blocks` for the structure,
`boxes` for marks, `list_references` for what an item needs.
"""

from __future__ import annotations

import gc
import re

from ...base.text import clean, clean_block
from ..feature_list import (
    Feature,
    FeatureListError,
    LeftOut,
    Listing,
    ListOptions,
    check_features,
    check_section,
    decode_text,
    parse_feature,
    split_lines,
)
from . import messages
from .blocks import FENCED, Block, parse_blocks
from .boxes import DASH, DONE, OPEN, STRESSED_MARKS, UNCLEAR, UNKNOWN, find_end, is_like_box
from .items import (
    TABLE_RULE,
    Heading,
    Step,
    count_front_matter,
    dedent,
    has_box,
    head_end,
    items_below,
    join_head,
    read_head,
    read_summaries,
)
from .needs import BoxNames, BoxRecord, name_form, resolve_needs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Sequence, Tuple

    from .boxes import Box

USED = ""  # the reason of a line that is in a feature
_REMOVED = ("cancelled", "optional", "--without")  # of the steps in a feature
MAX_LABEL = 120
MAX_FOLDS = 60  # the innermost ones; most of more were never closed
_LABEL = re.compile(r"(?:\*\*|__)[^*]+(?:\*\*|__)\s*:?|[^|]*\S\s*:(?:\*\*|__)?")


def read(data: bytes, name: str, options: ListOptions) -> Listing:
    """Return the features of a Markdown text. Raises FeatureListError."""
    if not data.strip():
        raise FeatureListError("the file is empty. Write each feature as `- [ ] text`.", "features-file", name)
    lines = split_lines(decode_text(data, name), name)
    was_enabled = gc.isenabled()
    gc.disable()  # nothing here is a cycle, and of 200,000 lines the collector takes half the time
    try:
        return _Reader(lines, name, options).read()
    finally:
        if was_enabled:
            gc.enable()


class _Reader:
    """One reading: what is known of each line, the features, and what is to be told to the user."""

    def __init__(self, lines: Sequence[str], name: str, options: ListOptions) -> None:
        self.lines, self.name, self.options = lines, name, options
        self.reasons: List[Optional[str]] = [None] * (len(lines) + 1)
        self.features: List[Feature] = []
        self.names = BoxNames(name)
        self.report = messages.Report(name, lines, options)
        self.note_errors: List[FeatureListError] = []
        self.places: Dict[str, str] = {}

    def read(self) -> Listing:
        first = count_front_matter(self.lines)
        self._mark(1, first, "front matter")
        self._read_document(parse_blocks(self.lines[first:], first + 1, lenient=True))
        self.report.raise_problems()
        if self.note_errors:
            raise messages.join_errors(self.note_errors)
        if not self.features:
            raise self.report.explain_no_features(self.features)
        check_features(self.features, self.name)
        self.report.form = name_form(self.names.by_name, self.lines)
        resolved = resolve_needs(self.features, self.names, self.report)
        return Listing(
            self.features,
            {},
            self.report.describe_format(len(self.features)),
            self._list_left_out(),
            self.report.list_notes(self.features),
            resolved,
        )

    # -- lines --------------------------------------------------------------------------------------------------------

    def _mark(self, first: int, last: int, reason: str) -> None:
        self.reasons[first : last + 1] = [reason] * (last + 1 - first)

    def _list_left_out(self) -> List[LeftOut]:
        reasons, lines = self.reasons, self.lines
        return [
            LeftOut(number, line.strip()[:300], reasons[number] or "text")
            for number, line in enumerate(lines, 1)
            if reasons[number] != USED and line and not line.isspace()
        ]

    def _source(self, first: int, last: int) -> Iterator[Tuple[int, str]]:
        for number in range(first, last + 1):
            yield number, self.lines[number - 1]

    # -- blocks -------------------------------------------------------------------------------------------------------

    def _read_document(self, document: Block) -> None:
        headings: List[Heading] = []
        label: Optional[Heading] = None
        is_below_item = False
        summaries: List[Optional[Heading]] = []  # of the parts that are open, None for one without a text
        folds: List[Heading] = []
        blocks = document.children
        for place, block in enumerate(blocks):
            kind = block.kind
            if kind == "item":
                is_below_item = True
                section = [*headings, *folds[-MAX_FOLDS:], *([label] if label else ())]
                self._read_item(block, section, ())
                continue
            label = None
            is_below_item = is_below_item and kind != "heading"
            if kind == "heading":
                text = clean(block.lines[0]).strip()
                summaries, folds = [], []
                headings = [heading for heading in headings if heading.level < block.level]
                headings.append(Heading(text, block.level, block.line, block.end))
                self._mark(block.line, block.end, "heading")
                self.report.add_heading(text, block.line)
            elif kind == "paragraph":
                followed = place + 1 < len(blocks) and blocks[place + 1].kind == "item"
                followed = followed and (self.options.bullets or has_box(blocks[place + 1]))
                label = self._read_paragraph(block) if followed else None
                if label is None:
                    self._leave_text(block)
            else:
                self._leave_block(block)
                if kind == "html":
                    for summary in read_summaries(self.lines[block.line - 1 : block.end]):
                        if summary is not None:
                            summaries.append(Heading(summary, 7, block.line, block.end) if summary else None)
                            folds += summaries[-1:] if summary else ()  # type: ignore[arg-type]
                        elif summaries and summaries.pop():
                            folds.pop()
            if is_below_item and kind in ("paragraph", "code") and label is None:
                self.report.add_loose_lines(block.end + 1 - block.line)

    def _read_paragraph(self, block: Block) -> Optional[Heading]:
        """Return the label of the list that follows, if the last line of a paragraph is one."""
        text = clean(block.lines[-1]).strip()
        if len(text) > MAX_LABEL or not _LABEL.fullmatch(text):
            return None
        if len(block.lines) > 1:
            self._leave_text(block)
        self._mark(block.end, block.end, "text")
        return Heading(text.strip("*_: "), 7, block.end, block.end)

    def _leave_text(self, block: Block) -> None:
        """Mark a paragraph as left out; a line in it that looks like a box is reported."""
        is_table = len(block.lines) > 1 and "|" in block.lines[0] and TABLE_RULE.match(block.lines[1]) is not None
        self._mark(block.line, block.end, "table" if is_table else "text")
        for number, line in enumerate(block.lines, block.line):
            if is_table:
                self.report.look_for_box_in_table(line, number)
            elif "[" in line and is_like_box(line):
                self.report.add("paragraph", number)

    def _leave_block(self, block: Block) -> None:
        """Mark as left out what is neither an item nor a paragraph."""
        kind, marker = block.kind, block.marker
        if kind == "rule":
            self._mark(block.line, block.end, USED)
            return
        reason = {"quote": "quoted", "definition": "link definition", "code": "code"}.get(kind, "")
        if not reason:
            reason = {"<!--": "comment", "<pre>": "code"}.get(marker, "HTML")
        self._mark(block.line, block.end, reason)
        is_open = not block.is_closed and (marker == FENCED or reason == "comment") and block.end >= len(self.lines) - 1
        if is_open or reason == "HTML":
            for number, line in self._source(block.line, block.end):
                if is_like_box(line):
                    self.report.add("html" if reason == "HTML" else "unclosed", block.line if is_open else number)
                    if is_open:
                        break

    # -- items --------------------------------------------------------------------------------------------------------

    def _read_item(self, item: Block, section: Sequence[Heading], parents: Sequence[str]) -> None:
        """Read an item that is in no feature; `parents` are the texts of the items around it."""
        head, box = read_head(item)
        text = join_head(head, box) if head else ""
        if box is None:
            self._read_bullet(item, head, text, section, parents)
            return
        if not box.is_usual:
            self.report.add_unusual(item.line)
        if text:
            self.report.count_box(box.state)
        state = self._decide_state(box, item.line)
        record = self.names.add(item, text)
        reason = self._find_reason(box, state, text, section)
        if not reason and not text:
            if len(item.children) > 1:
                self.report.add("empty", item.line)
            reason = "empty box"
        if not reason:
            self._read_open_box(item, head, text, section, parents, record)
            return
        self._mark(item.line, item.end, reason)
        record.reason = reason
        for number, line in self._source(item.line + 1, head.end if head else item.line):
            if "[ ]" in line and is_like_box(line):  # open, and yet a part of what is left out
                self.report.add("paragraph", number)
        if reason in ("done", "unknown mark", "empty box"):
            self._read_children(item, section, [*parents, text] if text else parents, in_box=True)
        else:
            self._count_nested(item)

    def _decide_state(self, box: Box, line: int) -> str:
        """Return OPEN, DONE or UNKNOWN for a box; report a mark that the user has to decide about."""
        state = box.state
        if state == DASH:
            if not self.options.dash:
                self.report.add("dash", line)
            return OPEN
        if state == UNCLEAR:
            self.report.add("unclear", line)
        if state == OPEN and box.mark in STRESSED_MARKS:
            self.report.add_stressed(box.mark, line)
        return OPEN if state == UNCLEAR else state

    def _find_reason(self, box: Box, state: str, text: str, section: Sequence[Heading]) -> str:
        """Return why a box is left out; empty if it is to be done."""
        if state == DONE:
            return "done"
        if state == UNKNOWN:
            self.report.add_unknown(box.mark)
            return "unknown mark"
        if box.state == DASH and self.options.dash == "cancelled":
            return "cancelled"
        if box.is_optional and not self.options.optional:
            return "optional"
        return find_end(text) or self.report.find_without([heading.text for heading in section], text)

    def _read_bullet(
        self, item: Block, head: Optional[Block], text: str, section: Sequence[Heading], parents: Sequence[str]
    ) -> None:
        """Read an item without a box: the boxes in it have its text as context."""
        if not parents:
            self._mark(item.line, item.end, "bullet without a box")
        has_boxes = has_box(item)
        if not parents and not has_boxes:
            self.report.add_bullet(text, item.line)
        if self.options.bullets and not parents and not has_boxes and text:
            reason = find_end(text) or self.report.find_finished([heading.text for heading in section])
            reason = reason or self.report.find_without([heading.text for heading in section], text)
            record = self.names.add(item, text)
            record.reason = reason
            if reason:
                self._mark(item.line, item.end, reason)
            else:
                self._read_open_box(item, head, text, section, parents, record)
            return
        before = len(self.features)
        self._read_children(item, section, [*parents, text] if text else parents, in_box=False)
        if len(self.features) > before and head:
            self._mark(head.line, head.end, USED)

    def _read_children(self, item: Block, section: Sequence[Heading], parents: Sequence[str], *, in_box: bool) -> None:
        was_inside, self.names.is_inside_box = self.names.is_inside_box, self.names.is_inside_box or in_box
        for child in item.children:
            if child.kind == "item":
                self._read_item(child, section, parents)
            elif child.kind in ("html", "code") and not in_box:
                self._leave_block(child)
        self.names.is_inside_box = was_inside

    def _count_nested(self, item: Block) -> None:
        """Count the boxes of an item that is left out as a whole."""
        for other in items_below(item):
            head, box = read_head(other)
            if box and head:
                self.report.count_box(box.state)
                self.names.add_step(other, join_head(head, box), -1)

    def _read_open_box(
        self,
        item: Block,
        head: Optional[Block],
        text: str,
        section: Sequence[Heading],
        parents: Sequence[str],
        record: BoxRecord,
    ) -> None:
        """Make a feature of an open item, or with `leaves` of the innermost open ones in it."""
        try:
            feature = parse_feature(text, self.name, item.line, near_misses=True)
        except FeatureListError as error:
            self.note_errors.append(error)
            return
        steps = self._read_steps(item)
        if self.options.leaves and any(step.is_open for step in steps):
            self._mark(item.line, item.end, "text of a box with sub-boxes")
            before = len(self.features)
            self._read_children(item, section, [*parents, feature.text], in_box=True)
            record.features = range(before, len(self.features))
            self.names.read_needs(record, feature.details, item)
            if head:
                self._mark(head.line, head.end, USED)
            self.report.groups += 1
            return
        self._mark(item.line, item.end, USED)
        removed = self._remove_steps(steps)
        details = dict(feature.details)
        place = self._name_section(section, parents)
        if place:
            details["section"] = place
        description = self._describe(item, head, removed)
        if description:
            details["description"] = description
        record.features = (len(self.features),)
        self.names.read_needs(record, details, item)
        for step in steps:
            self.report.add_step(step.state, step.text)
            self.names.add_step(step.item, step.text, -1 if step.item.line in removed else len(self.features))
        self.report.add_feature(feature.text, item.line, [heading.text for heading in section], len(steps))
        self.features.append(Feature(feature.text, item.line, details))
        for heading in section:
            self._mark(heading.line, heading.end, USED)

    def _read_steps(self, item: Block) -> List[Step]:
        """Return the items with a box below an item, from the first to the last line."""
        steps: List[Step] = []
        end_of_left_out = 0
        for other in items_below(item):
            head, box = read_head(other)
            if box is None or head is None:
                continue
            if not box.is_usual:
                self.report.add_unusual(other.line)
            text = join_head(head, box)
            if box.mark == " " and not box.is_optional:  # as most of 200,000
                reason = find_end(text) or self.report.find_without((), text)
            else:
                state = box.state if self.options.leaves else self._decide_state(box, other.line)
                reason = self._find_reason(box, OPEN if state in (DASH, UNCLEAR) else state, text, ())
            is_open = not reason and bool(text) and other.line > end_of_left_out
            if reason and reason not in ("done", "unknown mark"):
                end_of_left_out = max(end_of_left_out, other.end)
            steps.append(Step(other, text, box.state, is_open, reason if reason in _REMOVED else ""))
        return steps

    def _remove_steps(self, steps: Sequence[Step]) -> Dict[int, str]:
        """Mark the steps that are left out; return reason by line."""
        removed: Dict[int, str] = {}
        for step in steps:
            if step.reason and step.item.line not in removed:
                self._mark(step.item.line, step.item.end, step.reason)
                removed.update(dict.fromkeys(range(step.item.line, step.item.end + 1), step.reason))
        return removed

    def _name_section(self, section: Sequence[Heading], parents: Sequence[str]) -> str:
        parts = [heading.text for heading in section] + [clean(parent).strip() for parent in parents]
        text = " > ".join(part for part in parts if part)
        # One text in memory for all features below a heading.
        return self.places.setdefault(text, check_section(text, self.name, section[-1].line if section else 0))

    def _describe(self, item: Block, head: Optional[Block], removed: Dict[int, str]) -> str:
        """Return what is nested in an item, as it is written, without its indentation."""
        first = head_end(head) + 1 if head else item.line
        kept = [line for number, line in self._source(first, item.end) if number not in removed]
        return clean_block("\n".join(dedent(line, item.offset) for line in kept)) if kept else ""
