"""Work out which features of a checklist the references in it mean: numbers, names at the start of texts, ids.

    names = BoxNames("TODO.md")
    record = names.add(item, "T012 Add a page")         every box, in the order of the list
    record.features = (0,)
    names.read_needs(record, details, item)             what its note and the lines below it say
    resolve_needs(features, names, report)              {(1, "T012"): (0,)}, for `Listing.resolved`

A number counts the boxes that are in no other box, ticked ones included. A reference to a box that is done is met. What
could mean two boxes is refused; a line below an item that names no box is reported and has no effect.
"""

from __future__ import annotations

import re

from ..feature_list import IDENTIFIER, FeatureListError, describe_lines, parse_feature
from ..list_references import has_name, leading_name, leading_number, read_need_line
from .blocks import NO_NUMBER
from .boxes import read_box

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

    from ..feature_list import Feature
    from .blocks import Block
    from .messages import Report

MAX_NOTES = 1_000  # the characters at the end of a text among which notes are
_ID_NOTE = re.compile(r"\(\s*id\s*:\s*([A-Za-z0-9._-]{1,64})\s*\)", re.IGNORECASE)
_SPEC_KIT = re.compile(r"t[0-9]{3,4}[a-z]?")
_KIRO = re.compile(r"\s+(?:-\s*)?_Requirements?: ")
_OPENSPEC = re.compile(r"##\s+[0-9]+\.\s")
MET = ("done", "struck through")


class BoxRecord:
    """A box as references see it.

    `features` are the indices of the features that are in it, or, as a tuple of one, of the feature that it is or is
    in; `reason` says why it is left out.
    `run` is the number of the ordered list that it is in, 0 for none.
    """

    __slots__ = ("features", "line", "marker", "name", "number", "reason", "run")

    def __init__(self, line: int, name: str, number: int, marker: int) -> None:
        self.line, self.name, self.number, self.marker = line, name, number, marker
        self.features: Sequence[int] = ()
        self.reason = ""
        self.run = 0


class _Reference:
    """What a box says that it needs. `is_note` is a note at the end of its text, the others are lines below."""

    __slots__ = ("is_note", "is_sure", "line", "record", "reference")

    def __init__(self, record: BoxRecord, reference: str, line: int, *, is_note: bool, is_sure: bool) -> None:
        self.record, self.reference, self.line = record, reference, line
        self.is_note, self.is_sure = is_note, is_sure


class BoxNames:
    """The boxes of a list and what they say that they need."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.is_inside_box = False
        self.top: List[BoxRecord] = []
        self.by_name: Dict[str, List[BoxRecord]] = {}
        self.by_number: Dict[int, List[BoxRecord]] = {}
        self.by_marker: Dict[Tuple[int, int], List[BoxRecord]] = {}  # the number of an ordered list, and that in it
        self.references: List[_Reference] = []
        self.runs = 0

    def add(self, item: Block, text: str) -> BoxRecord:
        """Return the record of a box: of the top level unless `is_inside_box` is set."""
        record = self._record(item, text)
        if not self.is_inside_box:
            if item.number != NO_NUMBER:
                last = self.top[-1] if self.top else None
                is_next = last is not None and last.run and last.marker + 1 == item.number
                self.runs += 0 if is_next else 1
                record.run = self.runs
                self.by_marker.setdefault((record.run, item.number), []).append(record)
            self.top.append(record)
        return record

    def add_step(self, item: Block, text: str, index: int) -> None:
        """Add a box inside of another one; `index` is that of its feature, -1 if it is left out."""
        is_note = text.endswith((")", "]"))
        if not is_note and "(" not in text and not has_name(text):
            return  # as most: nobody can refer to it
        record = self._record(item, text)
        if index < 0:
            record.reason = "left out"
            return
        record.features = (index,)
        if not is_note:
            return
        try:
            details = parse_feature(text, self.source, item.line, near_misses=True).details
        except FeatureListError:
            return  # it stays in the description as it is
        for reference in details.get("depends_on", ()):
            self.references.append(_Reference(record, reference, item.line, is_note=False, is_sure=True))

    def _record(self, item: Block, text: str) -> BoxRecord:
        record = BoxRecord(item.line, leading_name(text), leading_number(text), item.number)
        given = _ID_NOTE.search(text, max(0, len(text) - MAX_NOTES)) if "(" in text else None
        if record.name:
            self.by_name.setdefault(record.name.casefold(), []).append(record)
        if given and given[1].casefold() != record.name.casefold():
            self.by_name.setdefault(given[1].casefold(), []).append(record)
        if record.number and not self.is_inside_box:
            self.by_number.setdefault(record.number, []).append(record)
        return record

    def read_needs(self, record: BoxRecord, details: Dict[str, Any], item: Block) -> None:
        """Collect what the note of a box says that it needs, and the lines below it.

        A box that is one feature has those of the boxes in it as well.
        """
        for reference in details.get("depends_on", ()):
            self.references.append(_Reference(record, reference, item.line, is_note=True, is_sure=True))
        self._read_lines(record, item, is_one=isinstance(record.features, tuple))

    def _read_lines(self, record: BoxRecord, item: Block, *, is_one: bool) -> None:
        for block in item.children:
            if block.kind == "item":
                first = block.children[0].lines if block.children else []
                if is_one or not (first and read_box(first[0])):
                    self._read_lines(record, block, is_one=is_one)
            elif block.kind == "paragraph":
                for number, line in enumerate(block.lines, block.line):
                    need = read_need_line(line) if ":" in line and number != record.line else None
                    if need is None:
                        continue
                    references = need.references
                    for reference in [""] if references is None and need.is_sure else references or ():
                        self.references.append(
                            _Reference(record, reference, number, is_note=False, is_sure=need.is_sure)
                        )


def resolve_needs(features: List[Feature], names: BoxNames, report: Report) -> Dict[Tuple[int, str], Sequence[int]]:
    """Return what the references of each feature mean, and add those below its text to its `depends_on`.

    Raises FeatureListError for notes that could mean two boxes or mean none.
    """
    resolved: Dict[Tuple[int, str], Sequence[int]] = {}
    added: Dict[int, Dict[str, None]] = {}
    known: Dict[Tuple[str, int], Tuple[List[BoxRecord], List[int]]] = {}  # the same note may be there 10,000 times

    def add_reference(index: int, reference: str) -> None:
        added.setdefault(index, dict.fromkeys(features[index].details.get("depends_on", ())))[reference] = None

    for need in names.references:
        key = (need.reference, need.record.run)
        if key not in known:
            records = _find_candidates(*key, names)
            known[key] = records, [record.line for record in records]
        candidates, lines = known[key]
        if len(candidates) != 1:
            if need.is_note and (candidates or need.reference.isdigit()):
                report.add_reference(need.reference, need.line, lines, len(names.top))
            elif not need.is_note and need.is_sure:
                report.add_unfollowed(need.line)
            if need.is_note and not candidates:
                for index in need.record.features:
                    add_reference(index, need.reference)
            continue
        target = candidates[0]
        if target.reason and target.reason not in MET:
            report.add_needs_left_out(need.line, target.line)
        for index in need.record.features:
            wanted = target.features
            if index in wanted:
                wanted = tuple(other for other in wanted if other != index)
            if target.features and not wanted:
                if need.is_note:
                    report.add_reference(need.reference, need.line, [need.line], len(names.top))
                continue
            add_reference(index, need.reference)
            resolved[index, need.reference] = wanted
    report.raise_reference_problems()
    for index, references in added.items():
        features[index].details["depends_on"] = list(references)
    _name_features(features, names)
    return resolved


def _find_candidates(reference: str, run: int, names: BoxNames) -> List[BoxRecord]:
    """Return the boxes that a reference can mean in a box of the ordered list `run`, 0 for one in no such list."""
    if not reference or reference.startswith("#"):
        return []
    if not (reference.isdigit() and reference.isascii()):
        known = names.by_name.get(reference.casefold(), [])
        is_open = [record for record in known if not record.reason]
        return is_open if len(is_open) == 1 else known  # an open box goes before a ticked one of the same name
    number = int(reference[:9])
    records = names.top[number - 1 : number] if number else []
    records += names.by_number.get(number, ())
    records += names.by_marker.get((run, number), ()) if run else ()
    return list(dict.fromkeys(records))


def _name_features(features: List[Feature], names: BoxNames) -> None:
    """Give each feature the name that its text begins with as its id, unless another box has it."""
    for records in names.by_name.values():
        record: Optional[BoxRecord] = records[0] if len(records) == 1 else None
        if record and record.name and len(record.features) == 1:
            feature = features[record.features[0]]
            if feature.line == record.line and "id" not in feature.details and IDENTIFIER.fullmatch(record.name):
                feature.details["id"] = record.name


def name_form(by_name: Mapping[str, Sequence[BoxRecord]], lines: Sequence[str]) -> str:
    """Return what a list is called: the task file of a tool that its names and lines are typical of, or a checklist."""
    names = list(by_name)
    if len(names) >= 2 and 2 * sum(1 for name in names if _SPEC_KIT.fullmatch(name)) > len(names):
        return "spec-kit tasks.md"
    if any(map(_KIRO.match, lines)):
        return "Kiro tasks.md"
    if names and lines and any(map(_OPENSPEC.match, lines)) and any("." in name for name in names):
        return "OpenSpec tasks.md"
    return "Markdown checklist"


def describe_ambiguity(reference: str, lines: Sequence[int], total: int) -> str:
    """Return what is wrong with a note whose reference means several boxes (on `lines`) or none."""
    if not lines:
        return f"`(after: {reference})` counts the boxes of the list that are in no other box, and there are {total}"
    if len(lines) == 1:
        return f"`(after: {reference})` means the box itself"
    return f"`(after: {reference})` may mean the box on {describe_lines(lines).replace('and', 'or')}"
