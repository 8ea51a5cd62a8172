"""Tell what the text of a list item says about its state: its box, what marks it as done, what strikes it out. Pure.

box = read_box("[ ]* Write tests")        Box(OPEN, "Write tests", " ", True, True); None for a plain bullet
find_end("~~Old page~~")                  "struck through": why an item that is open by its box is not to be done
is_like_box("[ ] text")                   whether a line would be taken for a box by a reader
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

OPEN, DONE, DASH, UNKNOWN, UNCLEAR = "open", "done", "dash", "unknown", "unclear"

# The marks that have one meaning everywhere. `[!]`, `[?]` and `[*]` stress a task that is open.
_OPEN_MARKS = frozenset("/~>!?*\u23f3\U0001f504\U0001f6a7\U0001f7e1\U0001f7e0\u2610")
STRESSED_MARKS = frozenset("!?*")
_DONE_MARKS = frozenset("xX\u2713\u2714\u2611\u2705\u221a\u2612")
_UNCLEAR_MARKS = frozenset("\u274c\u2717\u2718\u2716\U0001f6ab\u2013\u2014")
_USUAL_BOXES = {"[ ] ": OPEN, "[x] ": DONE, "[X] ": DONE}
_SIGNS = {**dict.fromkeys("\u2610\u2b1c\U0001f532\u25a1\u25a2\u25fb", OPEN), **dict.fromkeys("\u2611\u2612", DONE)}

_BOX = re.compile(
    r"(?P<left>\\?\[)(?P<mark>[ \t\xa0]*(?:[^\s\[\]\\`]\ufe0f?[ \t\xa0]*)?)(?P<right>\\?\])(?P<optional>(?:\\?\*)?)"
    r"(?P<gap>[ \t]+|$|(?=[^\s(\[:]))"
)
_SIGN = re.compile(r"([\u2610\u2b1c\U0001f532\u25a1\u25a2\u25fb\u2611\u2612])\ufe0f?[ \t]+")
_LIKE_BOX = re.compile(
    r"[ \t]*(?:(?:[-*+\u2022]|[0-9]{1,9}[.)]|[0-9]{1,4}(?:\.[0-9]{1,4})+[.)]?)[ \t]*)?"
    r"\[(?:[ xX/~>-]|[ \t]*)\](?![(\[:])(?=\*?(?:[ \t]|$|[^\s(\[]))"
)
_STRUCK = re.compile(r"(?:~~|<(del|s|strike)>)(?P<text>.+?)(?:~~|</\1>)(?P<rest>.*)", re.DOTALL | re.IGNORECASE)
_DONE_SIGN = r"(?:\u2705|\u2714|\u2611|\u2713)\ufe0f?"
_DONE_WORD = "done|completed?|finished|fixed|implemented|resolved|shipped|merged|已?完成|完了"
# Where or when it was done: `PR #66`, `in v1.2`, `May 2024`, but not `on Linux`, `but slow` or `3/7`.
_DONE_WHERE = (
    r"(?:[\s:,;&+\u2013\u2014-]+(?:(?:in|on|at|by|via|since|as|and|with|see|prs?|mrs?|commits?|issues?|releases?|version|"
    r"sprint|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6})(?!\w)|(?!\d+/\d+(?![\w/]))[#v!]{0,2}\d[\w./]{0,30}|"
    r"[a-f][0-9a-f]{6,39}(?!\w)))*"
)
_DONE_START = re.compile(rf"{_DONE_SIGN}|\[(?:DONE|COMPLETED|FIXED)\]|(?:DONE|COMPLETED|FIXED)(?=:)|DONE(?=\s)")
_DONE_END = re.compile(
    rf"""(?:
      {_DONE_SIGN}(?:\s*(?:{_DONE_WORD})\W*)?(?:\s*\(?\d{{4}}-\d\d-\d\d\)?)?
      | [(\[\uff08]\s*(?:{_DONE_SIGN}\s*)?(?:already\s+)?(?:{_DONE_WORD}){_DONE_WHERE}\s*[!.]?[)\]\uff09]
      | \s(?:-{{1,3}}|\u2013|\u2014|\u2192|->|=>|:)\s*[*_]*(?:{_DONE_WORD})[*_]*[!.]?
    )[*_`]*\s*$""",
    re.IGNORECASE | re.VERBOSE,
)
_DONE_CAPITALS = re.compile(r"[\s*_](?:DONE|COMPLETED|FIXED|FINISHED)[*_]*[!.]?\s*$")
_CLOSING = "*_`!.)]\uff09 "
# What a mark at the end ends in, closing characters aside; a digit is that of a date.
_ENDS = (
    *"\u2705\u2714\u2611\u2713\ufe0f0123456789",
    *("done", "complete", "completed", "finished", "fixed", "implemented", "resolved", "shipped", "merged"),
    *("完成", "完了", "january", "february", "march", "april", "may", "june", "july", "august", "september"),
    *("october", "november", "december"),
)
_MENTION = re.compile(
    r"(?:\b(?:as|to|be|is|are|or|and|of|in|status|column|not|the|a|when|until|becomes?)|[=|/,\"'`])\s*[*_]*$", re.I
)
_REMARK = re.compile(r"\s*(?:$|[.,;:!]|[(\[\u2014\u2013\u2192-]|=>|" + _DONE_SIGN + ")")


class Box(NamedTuple):
    """A box: OPEN, DONE, DASH, UNKNOWN or UNCLEAR, the text behind it, its mark, and whether its task is optional.

    `is_usual` says whether Markdown shows a box for it. UNKNOWN is a letter or digit, which may be a label; UNCLEAR a
    mark that means cancelled to some and not done to others.
    """

    state: str
    text: str
    mark: str
    is_optional: bool
    is_usual: bool


def read_box(text: str) -> Optional[Box]:
    """Return the box that the text of an item begins with, None if there is none."""
    usual = _USUAL_BOXES.get(text[:4])
    if usual is not None:  # nearly all boxes, without a search
        return Box(usual, text[4:].lstrip(" \t"), text[1], False, True)
    match = _BOX.match(text)
    if match is None:
        sign = _SIGN.match(text)
        return Box(_SIGNS[sign[1]], text[sign.end() :], sign[1], False, True) if sign else None
    mark = match["mark"].strip() or " "
    rest = text[match.end() :]
    if not match["gap"] and rest and mark not in (" ", "x", "X"):
        return None  # `[a]text` is text
    state = classify_mark(mark[0])
    is_usual = (
        len(match["mark"]) >= 1
        and match["mark"] in (mark, "\t")
        and match["left"] == "["
        and bool(match["gap"] or not rest)
    )
    return Box(state, rest, mark, bool(match["optional"]), is_usual)


def classify_mark(mark: str) -> str:
    """Return the state of a box with one mark: OPEN, DONE, DASH, UNCLEAR or UNKNOWN."""
    if mark == " " or mark in _OPEN_MARKS:
        return OPEN
    if mark in _DONE_MARKS:
        return DONE
    if mark == "-":
        return DASH
    return UNCLEAR if mark in _UNCLEAR_MARKS else UNKNOWN


def is_like_box(line: str) -> bool:
    """Return whether a reader would take a line of text for a check box."""
    return "[" in line and _LIKE_BOX.match(line) is not None


def find_end(text: str) -> str:
    """Return why the text of an item says that it is not to be done: `struck through`, `done`; empty if it does not."""
    struck = _STRUCK.match(text) if text[:1] in "~<*_" or "~~" in text[:6] else None
    if struck is None and text[:1] in "*_":
        struck = _STRUCK.match(text.lstrip("*_"))
    if struck and _REMARK.match(struck["rest"].lstrip("*_")):
        return "struck through"
    return "done" if is_marked_done(text) else ""


def is_marked_done(text: str) -> bool:
    """Return whether a text begins or ends with a mark that says it is done: a tick, `DONE`, `(done)`."""
    bare = text.lstrip("*_ ")
    if _DONE_START.match(bare):
        return True
    tail = text[-80:]
    if not tail.rstrip(_CLOSING).casefold().endswith(_ENDS):
        return False
    if _DONE_END.search(tail):
        return True
    capitals = _DONE_CAPITALS.search(tail)
    return capitals is not None and not _MENTION.search(tail, 0, capitals.start() + 1)
