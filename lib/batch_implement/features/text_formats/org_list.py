"""Read a list of features in Org: headlines with a keyword, `* TODO text`.

The outermost open headline is a feature; what is below it is its description, headlines in it its steps. Open
headlines below one that is done are features with it as section, as are those below headlines without a keyword. With
`leaves` each innermost open headline is a feature. A file without keywords is read by its boxes or bullets; with
`bullets` its top-level headlines are the features.
"""

from __future__ import annotations

import re

from ...base.text import clean, clean_block
from ..feature_list import (
    Feature,
    FeatureListError,
    LeftOut,
    Listing,
    ListOptions,
    check_features,
    decode_text,
    parse_clean_feature,
    split_lines,
)
from ..open_entries import number_open_features
from . import plain_text, text_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence, Set, Tuple

KEYWORDS = re.compile(r"#\+(?:SEQ_|TYP_)?TODO:\s*(.*)$", re.IGNORECASE)
# Those that Org and its common packages use, besides what a file declares.
OPEN = {
    "TODO", "NEXT", "STARTED", "WAITING", "WAIT", "HOLD", "DOING", "INPROGRESS", "IN-PROGRESS", "IN_PROGRESS", "STRT",
    "PROJ", "LOOP", "IDEA", "SOMEDAY", "MAYBE", "FIXME", "BUG", "REVIEW", "BLOCKED", "PROJECT", "LATER", "NOW",
}  # fmt: skip
CLOSED = {
    "DONE",
    "CANCELLED",
    "CANCELED",
    "KILL",
    "NO",
    "CLOSED",
    "FIXED",
    "DEFERRED",
    "ABORTED",
    "REJECTED",
    "WONTFIX",
}
BLOCK = re.compile(r"\s*#\+begin_?(\w*)", re.IGNORECASE)
BOX = re.compile(r"\[([ xX-])\]\s+(\S.*)$")
OPEN_BOX = re.compile(r"\s*(?:[-+]|\d+[.)])\s+\[[ -]\]\s")
ARCHIVED = re.compile(r":archive:(?:\w+:)*\s*$", re.IGNORECASE)


class Headline:
    """A headline: its line, level, keyword (may be empty), text, and the lines below it up to the next headline."""

    def __init__(self, line: int, level: int, keyword: str, text: str) -> None:
        self.line, self.level, self.keyword, self.text = line, level, keyword, text
        self.body: List[Tuple[int, str]] = []
        self.children: List[Headline] = []

    def lines(self) -> List[Tuple[int, str]]:
        """Return the lines below the headline with their numbers, those of its children too."""
        lines = list(self.body)
        for child in self.children:
            lines.append((child.line, f"{'*' * child.level} {child.keyword} {child.text}".replace("  ", " ")))
            lines += child.lines()
        return lines


def read(data: bytes, name: str, options: ListOptions) -> Listing:
    """Return the features of an Org file. Raises FeatureListError."""
    if not data.strip():
        raise FeatureListError("the file is empty. Write each feature as `* TODO text`.", "features-file", name)
    texts = split_lines(decode_text(data, name), name)
    opened, closed = _declared_keywords(texts)
    top = _parse_headlines(texts, opened | closed)
    keywords = {headline.keyword for headline in _walk(top.children)} - {""}
    if not keywords:
        return _read_without_keywords(data, texts, top, name, options)
    reader = _OrgReader(name, options, opened)
    reader.leave_out(top.body, "text")
    for headline in top.children:
        reader.take(headline, ())
    if not reader.features:
        others = f" {reader.without_keyword} innermost ones have none." if reader.without_keyword else ""
        raise FeatureListError(
            f"no open features: all {reader.is_open.count(False):,} headlines with a keyword are done.{others} Write "
            "what is still to do as `* TODO text`.",
            "features-file",
            name,
        )
    features = check_features(number_open_features(reader.features, reader.is_open), name)
    open_count = sum(reader.is_open)
    way = f"Org headlines: {open_count:,} open of {len(reader.is_open):,}"
    return Listing(features, {}, way, sorted(reader.left_out), reader.notes())


def _declared_keywords(texts: Sequence[str]) -> Tuple[Set[str], Set[str]]:
    opened, closed = set(OPEN), set(CLOSED)
    for text in texts:
        declared = KEYWORDS.match(text.strip())
        if declared:
            words = [re.sub(r"\(.*?\)", "", word) for word in declared[1].split()]
            at = words.index("|") if "|" in words else len(words) - 1
            opened |= set(words[:at]) - {"|"}
            closed |= set(words[at:]) - {"|"}
            opened -= set(words[at:])
    return opened, closed


def _parse_headlines(texts: Sequence[str], keywords: Set[str]) -> Headline:
    """Return the headlines as children of an invisible one; what is in a block is no headline."""
    top = Headline(0, 0, "", "")
    path, block = [top], ""
    for number, raw in enumerate(texts, start=1):
        text = clean(raw).rstrip()
        begin = BLOCK.match(text)
        if block:
            block = "" if re.match(rf"\s*#\+end_?{block}", text, re.IGNORECASE) else block
        elif begin and begin[1]:
            block = re.escape(begin[1])
        match = None if block or begin else text_lines.ORG_HEADLINE.match(text)
        if match is None:
            path[-1].body.append((number, raw.rstrip()))
            continue
        word, _, rest = match[2].partition(" ")
        keyword = word if word in keywords and (rest.strip() or word in ("TODO", "DONE")) else ""
        box = None if keyword else BOX.match(match[2])
        if box:  # a box instead of a keyword; `[-]` is begun in Org
            keyword, rest = "DONE" if box[1] in "xX" else "TODO", box[2]
        headline = Headline(number, len(match[1]), keyword, (rest if keyword else match[2]).strip())
        while path[-1].level >= headline.level:
            path.pop()
        path[-1].children.append(headline)
        path.append(headline)
    return top


def _walk(headlines: Sequence[Headline]) -> List[Headline]:
    every = []
    for headline in headlines:
        every += [headline, *_walk(headline.children)]
    return every


class _OrgReader:
    def __init__(self, name: str, options: ListOptions, opened: Set[str]) -> None:
        self.name, self.options, self.opened = name, options, opened
        self.without = {heading.strip().casefold() for heading in options.without}
        self.features: List[Feature] = []
        self.left_out: List[LeftOut] = []
        self.is_open: List[bool] = []
        self.nested = False
        self.without_keyword = self.boxes = 0

    def leave_out(self, lines: Sequence[Tuple[int, str]], reason: str) -> None:
        """Note lines that are in no feature, blank ones not."""
        for number, text in lines:
            shown = clean(text).strip()
            if shown:
                self.left_out.append(LeftOut(number, shown, "comment" if shown.startswith("#") else reason))
                self.boxes += reason == "text" and OPEN_BOX.match(text) is not None

    def take(self, headline: Headline, section: Tuple[str, ...]) -> None:
        """Make a feature of a headline, or of those below it, or say why it is left out."""
        line = [(headline.line, headline.text)]
        inner = (*section, headline.text)
        if headline.text.startswith("COMMENT ") or ARCHIVED.search(headline.text):
            self.leave_out(
                [*line, *headline.lines()], "comment" if headline.text.startswith("COMMENT ") else "archived"
            )
        elif headline.text.casefold() in self.without:
            self.leave_out([*line, *headline.lines()], f"below {headline.text!r}")
        elif not headline.keyword and text_lines.judge_heading(headline.text) in plain_text.DONE_REASONS:
            self.leave_out([*line, *headline.lines()], text_lines.judge_heading(headline.text))
            self.is_open += [False for each in _walk(headline.children) if each.keyword]
        elif headline.keyword in self.opened and not (self.options.leaves and self._has_open(headline.children)):
            self._add(headline, section)
        else:
            if headline.keyword and headline.keyword not in self.opened:
                self.is_open.append(False)
            self.leave_out(line, self._why_not(headline))
            self.leave_out(headline.body, "done" if headline.keyword not in ("", *self.opened) else "text")
            for child in headline.children:
                self.take(child, inner)

    def _why_not(self, headline: Headline) -> str:
        if headline.keyword:
            return "parent" if headline.keyword in self.opened else "done"
        if headline.children:
            return "heading"
        self.without_keyword += 1
        return "no keyword"

    def _has_open(self, headlines: Sequence[Headline]) -> bool:
        return any(headline.keyword in self.opened for headline in _walk(headlines))

    def _add(self, headline: Headline, section: Tuple[str, ...]) -> None:
        self.is_open.append(True)
        self.nested = self.nested or self._has_open(headline.children)
        text = headline.text if headline.keyword == "TODO" else f"{headline.keyword} {headline.text}"
        feature = parse_clean_feature(clean(text).strip(), self.name, headline.line, near_misses=True)
        details = dict(feature.details)
        if section:
            details["section"] = " > ".join(section)
        description = clean_block("\n".join(text for _, text in headline.lines()))
        if description:
            details["description"] = description
        self.features.append(feature._replace(details=details))

    def notes(self) -> List[str]:
        """Return what the user should know of the way in which the file was read."""
        notes = []
        if self.nested and not self.options.leaves:
            notes.append(
                "Open headlines below an open one are its steps: `--leaves` makes each innermost one a feature."
            )
        if self.without_keyword:
            notes.append(
                f"{self.without_keyword} of the innermost headlines have no keyword and are left out: write `TODO` "
                "before what is to be done."
            )
        if self.boxes:
            notes.append(
                f"Open boxes below headlines without a keyword, which are left out: {self.boxes}. Write `TODO` before "
                "such a headline."
            )
        return notes


def _read_without_keywords(
    data: bytes, texts: Sequence[str], top: Headline, name: str, options: ListOptions
) -> Listing:
    """Return what an Org file without keywords lists: boxes, or a single level of headlines, or bullets."""
    boxes = [
        text for text in texts if text_lines.BOX.match(re.sub(r"^\s*(?:[-+]|\d+[.)])\s+", "", text)) and "[" in text
    ]
    headlines = _walk(top.children)
    is_flat = headlines and all(not each.children for each in headlines)
    bodies = [each for each in headlines if any(text.strip() for _, text in each.body)]
    if boxes or not headlines:
        return plain_text.read_org_text(data, name, options)
    if not (is_flat and not bodies) and not options.bullets and not options.leaves:
        raise FeatureListError(
            "no features: no headline has a keyword and there is no check box. Write each feature as `* TODO text`; "
            "or add `--bullets` to take the top-level headlines, `--leaves` to take the innermost ones.",
            "features-file",
            name,
        )
    reader = _OrgReader(name, options, {"TODO"})
    reader.leave_out(top.body, "text")
    for headline in _walk(top.children) if options.leaves else top.children:
        if options.leaves and headline.children:
            reader.leave_out([(headline.line, headline.text), *headline.body], "heading")
            continue
        headline.keyword = "TODO"
        reader.take(headline, _find_section(top, headline) if options.leaves else ())
    return Listing(
        check_features(reader.features, name), {}, f"Org headlines: {len(reader.features):,}", sorted(reader.left_out)
    )


def _find_section(top: Headline, wanted: Headline) -> Tuple[str, ...]:
    """Return the texts of the headlines above one."""
    for child in top.children:
        if child is wanted:
            return ()
        if wanted in _walk(child.children):
            return (child.text, *_find_section(child, wanted))
    return ()
