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
    check_section,
    decode_text,
    parse_clean_feature,
    split_lines,
)
from ..open_entries import count_open, number_open_features
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
TAG = re.compile(r"\w+")


class Headline:
    """A headline: its line, level, keyword (may be empty), text, and the lines below it up to the next headline.

    `has_open` says whether one of the headlines in it is open.
    """

    def __init__(self, line: int, level: int, keyword: str, text: str) -> None:
        self.line, self.level, self.keyword, self.text = line, level, keyword, text
        self.body: List[Tuple[int, str]] = []
        self.children: List[Headline] = []
        self.has_open = False

    def lines(self) -> List[Tuple[int, str]]:
        """Return the lines below the headline with their numbers, those of its children too."""
        lines = list(self.body)
        for child in _walk(self.children):
            lines.append((child.line, f"{'*' * child.level} {child.keyword} {child.text}".replace("  ", " ")))
            lines += child.body
        return lines


def read(data: bytes, name: str, options: ListOptions) -> Listing:
    """Return the features of an Org file. Raises FeatureListError."""
    if not data.strip():
        raise FeatureListError("the file is empty. Write each feature as `* TODO text`.", "features-file", name)
    texts = split_lines(decode_text(data, name), name)
    opened, closed = _declared_keywords(texts)
    top = _parse_headlines(texts, opened, opened | closed)
    for headline in _walk(top.children):
        if headline.keyword == "TODO" and not headline.text and (headline.children or any(headline.body)):
            headline.keyword, headline.text = "", "TODO"
    keywords = {headline.keyword for headline in _walk(top.children)} - {""}
    if not keywords:
        return _read_without_keywords(data, texts, top, name, options)
    reader = _OrgReader(name, options, opened)
    reader.leave_out(top.body, "text")
    for headline in top.children:
        reader.take(headline)
    if not reader.features:
        others = f" {reader.without_keyword} innermost ones have none." if reader.without_keyword else ""
        raise FeatureListError(
            f"no open features: all {reader.is_open.count(False):,} headlines with a keyword are done.{others} Write "
            "what is still to do as `* TODO text`.",
            "features-file",
            name,
        )
    features = check_features(number_open_features(reader.features, reader.is_open), name)
    return Listing(
        features, {}, f"Org headlines: {count_open(reader.is_open)}", sorted(reader.left_out), reader.notes()
    )


def _declared_keywords(texts: Sequence[str]) -> Tuple[Set[str], Set[str]]:
    opened, closed = set(OPEN), set(CLOSED)
    for text in texts:
        declared = KEYWORDS.match(text.strip())
        if declared:
            words = [re.sub(r"\([^()]*\)", "", word) for word in declared[1].split()]
            at = words.index("|") if "|" in words else len(words) - 1
            opened |= set(words[:at]) - {"|"}
            closed |= set(words[at:]) - {"|"}
            opened -= set(words[at:])
    return opened, closed


def _parse_headlines(texts: Sequence[str], opened: Set[str], keywords: Set[str]) -> Headline:
    """Return the headlines as children of an invisible one; what is in a block is no headline."""
    top = Headline(0, 0, "", "")
    path = [top]
    ends: Tuple[str, ...] = ()  # how the line begins that closes the block
    for number, raw in enumerate(texts, start=1):
        text = clean(raw).rstrip()
        begin = BLOCK.match(text)
        if ends:
            ends = () if text.lstrip()[: len(ends[0])].lower().startswith(ends) else ends
        elif begin and begin[1]:
            name = begin[1].lower()
            ends = (f"#+end_{name}", f"#+end{name}")
        match = None if ends or begin else text_lines.ORG_HEADLINE.match(text)
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
        if keyword in opened:
            for above in path:
                above.has_open = True
        path.append(headline)
    return top


def _walk(headlines: Sequence[Headline]) -> List[Headline]:
    """Return headlines and all that are in them, in the order of the file."""
    every, waiting = [], list(reversed(headlines))
    while waiting:
        headline = waiting.pop()
        every.append(headline)
        waiting += reversed(headline.children)
    return every


def _is_archived(text: str) -> bool:
    """Return whether `archive` is one of the tags, `:work:archive:`, that a headline ends with."""
    _, *tags = text.rstrip().casefold().split(":")
    if not tags or tags.pop():
        return False
    while tags and TAG.fullmatch(tags[-1]):
        if tags.pop() == "archive":
            return True
    return False


class _OrgReader:
    def __init__(self, name: str, options: ListOptions, opened: Set[str]) -> None:
        self.name, self.options, self.opened = name, options, opened
        self.without = {heading.strip().casefold() for heading in options.without}
        self.features: List[Feature] = []
        self.left_out: List[LeftOut] = []
        self.is_open: List[bool] = []
        self.nested = False
        self.without_keyword = 0
        self.boxes = {"text": 0, "done": 0}

    def leave_out(self, lines: Sequence[Tuple[int, str]], reason: str) -> None:
        """Note lines that are in no feature, blank ones not."""
        for number, text in lines:
            shown = clean(text).strip()
            if shown:
                self.left_out.append(LeftOut(number, shown, "comment" if shown.startswith("#") else reason))
                if OPEN_BOX.match(text) and reason in self.boxes:
                    self.boxes[reason] += 1

    def take(self, headline: Headline) -> None:
        """Make a feature of a headline, or of those below it, or say why it is left out."""
        waiting: List[Tuple[Headline, Tuple[str, ...]]] = [(headline, ())]
        while waiting:  # no recursion: there may be thousands of levels
            headline, section = waiting.pop()
            if self._take_one(headline, section):
                inner = (*section, headline.text)
                waiting += [(child, inner) for child in reversed(headline.children)]

    def _take_one(self, headline: Headline, section: Tuple[str, ...]) -> bool:
        """Return whether the headlines in one are to be taken one by one, after taking that itself."""
        line = [(headline.line, headline.text)]
        if headline.text.startswith("COMMENT ") or _is_archived(headline.text):
            self.leave_out(
                [*line, *headline.lines()], "comment" if headline.text.startswith("COMMENT ") else "archived"
            )
        elif headline.text.casefold() in self.without:
            self.leave_out([*line, *headline.lines()], f"below {headline.text!r}")
        elif not headline.keyword and text_lines.judge_heading(headline.text) in plain_text.DONE_REASONS:
            self.leave_out([*line, *headline.lines()], text_lines.judge_heading(headline.text))
            self.is_open += [False for each in _walk(headline.children) if each.keyword]
        elif headline.keyword in self.opened and not (self.options.leaves and headline.has_open):
            self._add(headline, section)
        else:
            if headline.keyword and headline.keyword not in self.opened:
                self.is_open.append(False)
            self.leave_out(line, self._why_not(headline))
            self.leave_out(headline.body, "done" if headline.keyword not in ("", *self.opened) else "text")
            return True
        return False

    def _why_not(self, headline: Headline) -> str:
        if headline.keyword:
            return "parent" if headline.keyword in self.opened else "done"
        if headline.children:
            return "heading"
        self.without_keyword += 1
        return "no keyword"

    def _add(self, headline: Headline, section: Tuple[str, ...]) -> None:
        self.is_open.append(True)
        self.nested = self.nested or headline.has_open
        text = headline.text if headline.keyword == "TODO" else f"{headline.keyword} {headline.text}"
        feature = parse_clean_feature(clean(text).strip(), self.name, headline.line, near_misses=True)
        details = dict(feature.details)
        if section:
            details["section"] = check_section(" > ".join(section), self.name, headline.line)
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
        for reason, whose in (("text", "without a keyword"), ("done", "that are done")):
            if self.boxes[reason]:
                notes.append(
                    f"Open boxes below headlines {whose}, which are left out: {self.boxes[reason]}. Write `TODO` "
                    "before such a headline."
                )
        return notes


def _read_without_keywords(
    data: bytes, texts: Sequence[str], top: Headline, name: str, options: ListOptions
) -> Listing:
    """Return what an Org file without keywords lists: boxes, or a single level of headlines, or bullets."""
    boxes = [
        text
        for text in texts
        if text_lines.BOX.match(re.sub(r"^\s*(?:[-+]|\d+[.)])\s+", "", text)) and re.search(r"\[|\( \)", text)
    ]
    headlines = _walk(top.children)
    is_flat = headlines and all(not each.children for each in headlines)
    bodies = [each for each in headlines if any(text.strip() for _, text in each.body)]
    if boxes or (bodies and all(text_lines.TITLE.match(each.text) for each in headlines)) or not headlines:
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
    for headline in headlines if options.leaves else top.children:
        headline.keyword = "" if options.leaves and headline.children else "TODO"
    for headline in top.children:
        reader.take(headline)
    return Listing(
        check_features(reader.features, name), {}, f"Org headlines: {len(reader.features):,}", sorted(reader.left_out)
    )
